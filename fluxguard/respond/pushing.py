"""The cleaned history pushed: branches and tags all or none, where the remote can do that; each ref only if the remote still has what it had."""

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

    Branches and tags go in one transaction, where the remote offers that: a history that is cleaned in part is none. What else there is goes by
    itself, lest a remote that keeps such refs to itself refuses all. Raises: FluxguardError where somebody pushed meanwhile (nothing of theirs is
    overwritten), or a branch or a tag is refused.
    """
    outcome = _without_push(remote_refs(folder), rewritten, secret)
    wanted = {name: pair for name, pair in rewritten.items() if name not in outcome}
    needed = {name: pair for name, pair in wanted.items() if name.startswith(_NEEDED)}
    if 1 < len(needed) <= _TOGETHER and _push_together(folder, needed, secret):
        outcome |= {name: _in_a_word(new) for name, (_, new) in needed.items()}
        say(f"{count(len(needed), 'branch or tag', 'branches and tags')}: pushed together")
    for name, (old, new) in sorted(wanted.items(), key=lambda pair: pair[0] not in needed):
        if name not in outcome:
            arrived = sum(map(ARRIVED.__contains__, outcome.values()))
            outcome[name] = _pushed_alone(folder, name, old, new, secret, arrived)
            say(f"{shown(name, secret)}: {outcome[name]}")
    return {name: outcome[name] for name in rewritten}


_NEEDED = ("refs/heads/", "refs/tags/")  # the clean-up depends on them
_TOGETHER = 5_000  # refs, each with a lease, that fit into one command line


def _without_push(
    now: Mapping[str, str], rewritten: Mapping[str, tuple[str, str]], secret: Secret
) -> dict[str, str]:
    """Refs that are not to be pushed. Raises: Moved where the remote has something else than it had."""
    outcome = {}
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
    return outcome


def _in_a_word(new: str) -> str:
    return "pushed" if new else "deleted"


def _pushed_alone(folder: Path, name: str, old: str, new: str, secret: Secret, before: int) -> str:
    """What came of one ref. before: how many have arrived already."""
    try:
        _push_with_leases(folder, {name: (old, new)}, secret)
    except Moved:
        raise
    except FluxguardError as error:
        return _refused(name, error, secret, before)
    return _in_a_word(new)


def _push_together(folder: Path, pairs: Mapping[str, tuple[str, str]], secret: Secret) -> bool:
    """All of them or none; False where the remote does not offer that, and none was pushed. Raises: FluxguardError."""
    try:
        _push_with_leases(folder, pairs, secret, "--atomic")
    except Moved:
        raise
    except GitFailed as error:
        if b"does not support --atomic" in error.said:
            return False
        name = _blamed(error.said, list(pairs))
        if name is None:
            raise
        words = f"the remote says: {_words(error.said, secret)}"
        raise FluxguardError(
            f"{shown(name, secret)} was not pushed; {words}. No branch and no tag was pushed: they go all or none.",
            error.hint,
        ) from None
    return True


def _blamed(said: bytes, names: list[str]) -> str | None:
    """The first ref that the remote refused for its own sake."""
    for match in _REJECTED.finditer(said):
        told = match[1].decode("utf-8", "surrogateescape")
        found = next((one for one in names if told in (one, one.split("/", 2)[-1])), None)
        if found is not None and not match[2].startswith(b"atomic "):
            return found
    return None


_REJECTED = re.compile(rb"^ ! \[(?:remote )?rejected\] +(?:\S+ -> )?(\S+) \((.*)\)$", re.MULTILINE)


def _refused(name: str, error: FluxguardError, secret: Secret, before: int) -> str:
    """What is said of a ref that the remote did not take. Raises: FluxguardError for a branch or a tag, on which the clean-up depends."""
    words = _words(error.said, secret) if isinstance(error, GitFailed) else ""
    if not name.startswith(_NEEDED):
        return f"refused ({words or error.hint or error.what})"
    said = f"the remote says: {words}" if words else error.what.rstrip(".")
    pushed = f" {count(before, 'ref')} had been pushed before, and stay so." if before else ""
    raise FluxguardError(f"{shown(name, secret)} was not pushed; {said}.{pushed}", error.hint)


def _words(said: bytes, secret: Secret) -> str:
    """The remote's own words, shortened, with no key in them and nothing that a terminal would obey."""
    lines = [match[1] or match[2] or b"" for match in _SAID.finditer(said)]
    own = [line for line in lines if line.strip() and not line.startswith(b"atomic ")]
    told = [shown(line.strip(), secret)[:_LONGEST] for line in own]
    return "; ".join(list(dict.fromkeys(told))[:_MOST]).rstrip(".")


_SAID = re.compile(rb"^(?:remote: (.*)|.*\[(?:remote )?rejected\].*\((.*)\))$", re.MULTILINE)
_LONGEST = 160  # letters of a line of the remote's
_MOST = 4  # lines of it

_NO_MIRROR = ("-c", "remote.origin.mirror=false")
# git hands a lease on to its helper for HTTP as an argument. A pre-push hook is told the same, on its input: what the remote says that it
# has, in the conversation in which the update is sent; the remote itself takes the update only while that is still so.
_LEASES = """#!/bin/sh
while read -r _ _ name was; do
  while read -r wanted old; do
    if [ "$name" = "$wanted" ] && [ "$was" != "$old" ]; then
      echo "stale info" >&2
      exit 1
    fi
  done <"$0.leases" || exit 1
done
"""


_OWN_LINES = b'[remote "origin"]\n\tmirror = false\n'


def _push_with_leases(
    folder: Path, pairs: Mapping[str, tuple[str, str]], secret: Secret, *options: str
) -> None:
    """Refs, each with its lease: the remote still has the old id, or nothing of that name where there is none.

    A name that holds the key must not be an argument: such refs go by the mirror's own files, their leases too.
    """
    masks = masks_of(secret)
    unnamed = {
        name: pair for name, pair in pairs.items() if masks.stand_in(name.encode("utf-8", "surrogateescape"))
    }
    leases = [f"--force-with-lease={name}:{old}" for name, (old, _) in pairs.items() if name not in unnamed]
    # "+" would override git's own lease.
    specs = [f"{'+' * (name in unnamed and bool(new))}{new}:{name}" for name, (_, new) in pairs.items()]
    config, hooks = folder / "config", folder / "leases"
    kept = config.read_bytes().partition(_OWN_LINES)[0]  # one that was killed left them there
    nothing = "0" * (64 if _is_sha256(kept) else 40)
    hooks.mkdir(mode=0o700, exist_ok=True)
    try:
        config.write_bytes(kept)
        hook = hooks / "pre-push"
        hook.write_text(_LEASES, "ascii")
        hook.chmod(0o700)
        wanted = "".join(f"{name} {old or nothing}\n" for name, (old, _) in unnamed.items())
        (hooks / "pre-push.leases").write_bytes(wanted.encode("utf-8", "surrogateescape"))
        with config.open("a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(_OWN_LINES.decode())
            stream.writelines(f"\tpush = {quoted(spec)}\n" for spec in specs)
        git(
            folder,
            *_NO_MIRROR,
            "-c",
            f"core.hooksPath={hooks}",
            "push",
            "--quiet",
            *options,
            *leases,
            "origin",
        )
    finally:
        config.write_bytes(kept)
        shutil.rmtree(hooks)


def _is_sha256(config: bytes) -> bool:
    return re.search(rb"(?mi)^\s*objectformat\s*=\s*sha256", config) is not None
