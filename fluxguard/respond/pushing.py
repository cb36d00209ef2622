"""The cleaned history pushed ref by ref, each only if the remote still has what it had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.respond.mirror import Moved, git, quoted, remote_refs

FOREIGN = ("refs/pull/", "refs/merge-requests/", "refs/changes/", "refs/keep-around/", "refs/pipelines/")


def push(
    folder: Path, rewritten: Mapping[str, tuple[str, str]], secret: Secret, say: Callable[[str], None]
) -> dict[str, str]:
    """Pushes each changed ref, only if the remote still has what it had. Returns what came of each: `pushed`, `there`, `refused`, `foreign`.

    Raises: FluxguardError where somebody pushed meanwhile; nothing of theirs is overwritten.
    """
    now, outcome = remote_refs(folder), {}
    key = secret.reveal().decode("ascii")
    for name, (old, new) in rewritten.items():
        if name.startswith(FOREIGN):
            outcome[name] = "foreign"
        elif now.get(name, "") == new:
            outcome[name] = "there"
        elif now.get(name, "") != old:
            raise Moved(
                f"{name.replace(key, '***')} has moved on the remote since the mirror was made.",
                "Resume: it starts from what is there now.",
            )
        else:
            outcome[name] = _pushed(folder, name, old, new, key)
            say(f"{name.replace(key, '***')}: {outcome[name]}")
    return outcome


def _pushed(folder: Path, name: str, old: str, new: str, key: str) -> str:
    """One ref. A name that holds the key must not be an argument: it goes by the configuration file."""
    refspec = f"{new}:{name}" if new else f":{name}"
    if key in name:
        config = folder / "config"
        kept = config.read_text("utf-8", "surrogateescape")
        try:
            with config.open("a", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(
                    f'[remote "origin"]\n\tmirror = false\n\tpush = {quoted("+" + refspec if new else refspec)}\n'
                )
            git(folder, "-c", "remote.origin.mirror=false", "push", "--quiet", "origin")
        finally:
            config.write_text(kept, "utf-8", "surrogateescape")
        return "pushed"
    lease = f"--force-with-lease={name}:{old}"
    try:
        git(folder, "-c", "remote.origin.mirror=false", "push", "--quiet", lease, "origin", refspec)
    except FluxguardError as error:
        if name.startswith(("refs/heads/", "refs/tags/")):
            raise
        return f"refused ({error.hint or error.what})"
    return "pushed"
