"""The cleaned history pushed ref by ref, each only if the remote still has what it had."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.respond.mirror import GitFailed, Moved, git, quoted, remote_refs
from fluxguard.respond.veil import masks_of, shown
from fluxguard.words import count

FOREIGN = ("refs/pull/", "refs/merge-requests/", "refs/changes/", "refs/keep-around/", "refs/pipelines/")
ARRIVED = ("pushed", "deleted", "there")  # the remote has it now as it should be


def in_words(outcome: str) -> str:
    """What came of a ref, for people."""
    return "the host keeps it, and takes no push to it" if outcome == "foreign" else outcome


def push(
    folder: Path, rewritten: Mapping[str, tuple[str, str]], secret: Secret, say: Callable[[str], None]
) -> dict[str, str]:
    """Pushes each changed ref, only if the remote still has what it had. Returns what came of each: `pushed`, `deleted`, `there`, `foreign`,
    or that it was refused, with the remote's words.

    Raises: FluxguardError where somebody pushed meanwhile (nothing of theirs is overwritten), or a branch or a tag is refused.
    """
    now, outcome = remote_refs(folder), {}
    for name, (old, new) in rewritten.items():
        if name.startswith(FOREIGN):
            outcome[name] = "foreign"
        elif now.get(name, "") == new:
            outcome[name] = "there"
        elif now.get(name, "") != old:
            raise Moved(
                f"{shown(name, secret)} has moved on the remote since the mirror was made.",
                "Resume: it starts from what is there now.",
            )
        else:
            try:
                outcome[name] = _pushed(folder, name, old, new, secret)
            except Moved:
                raise
            except FluxguardError as error:
                outcome[name] = _refused(
                    name, error, secret, sum(map(ARRIVED.__contains__, outcome.values()))
                )
            say(f"{shown(name, secret)}: {outcome[name]}")
    return outcome


def _pushed(folder: Path, name: str, old: str, new: str, secret: Secret) -> str:
    """One ref, with a lease: the remote still has the old id, or nothing of that name where there is none."""
    refspec = f"{new}:{name}" if new else f":{name}"
    if not masks_of(secret).stand_in(name.encode("utf-8", "surrogateescape")):
        git(folder, *_NO_MIRROR, "push", "--quiet", f"--force-with-lease={name}:{old}", "origin", refspec)
    else:
        _push_unnamed(folder, name, old, "+" + refspec if new else refspec)
    return "pushed" if new else "deleted"


def _refused(name: str, error: FluxguardError, secret: Secret, before: int) -> str:
    """What is said of a ref that the remote did not take. Raises: FluxguardError for a branch or a tag, on which the clean-up depends."""
    words = _words(error.said, secret) if isinstance(error, GitFailed) else ""
    if not name.startswith(("refs/heads/", "refs/tags/")):
        return f"refused ({words or error.hint or error.what})"
    said = f"the remote says: {words}" if words else error.what.rstrip(".")
    pushed = f" {count(before, 'ref')} had been pushed before, and stay so." if before else ""
    raise FluxguardError(f"{shown(name, secret)} was not pushed; {said}.{pushed}", error.hint)


def _words(said: bytes, secret: Secret) -> str:
    """The remote's own words, shortened, with no key in them and nothing that a terminal would obey."""
    lines = [match[1] or match[2] or b"" for match in _SAID.finditer(said)]
    told = [shown(line.strip(), secret)[:_LONGEST] for line in lines if line.strip()]
    return "; ".join(list(dict.fromkeys(told))[:_MOST]).rstrip(".")


_SAID = re.compile(rb"^(?:remote: (.*)|.*\[(?:remote )?rejected\].*\((.*)\))$", re.MULTILINE)
_LONGEST = 160  # letters of a line of the remote's
_MOST = 4  # lines of it

_NO_MIRROR = ("-c", "remote.origin.mirror=false")
# git hands a lease on to its helper for HTTP as an argument. A pre-push hook is told the same, on its input: what the remote says that it
# has, in the conversation in which the update is sent; the remote itself takes the update only while that is still so.
_LEASE = """#!/bin/sh
IFS= read -r wanted <"$0.lease" || exit 1
while read -r _ _ name was; do
  if [ "$name $was" != "$wanted" ]; then
    echo "stale info" >&2
    exit 1
  fi
done
"""


def _push_unnamed(folder: Path, name: str, old: str, refspec: str) -> None:
    """A ref whose name holds the key, which must not be an argument: it goes by the mirror's own files, the lease too."""
    config, hooks = folder / "config", folder / "leases"
    kept = config.read_bytes()
    nothing = "0" * (64 if _is_sha256(kept) else 40)
    hooks.mkdir(mode=0o700, exist_ok=True)
    try:
        hook = hooks / "pre-push"
        hook.write_text(_LEASE, "ascii")
        hook.chmod(0o700)
        lease = f"{name} {old or nothing}\n"
        (hooks / "pre-push.lease").write_bytes(lease.encode("utf-8", "surrogateescape"))
        with config.open("a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f'[remote "origin"]\n\tmirror = false\n\tpush = {quoted(refspec)}\n')
        git(folder, *_NO_MIRROR, "-c", f"core.hooksPath={hooks}", "push", "--quiet", "origin")
    finally:
        config.write_bytes(kept)
        shutil.rmtree(hooks)


def _is_sha256(config: bytes) -> bool:
    return re.search(rb"(?mi)^\s*objectformat\s*=\s*sha256", config) is not None
