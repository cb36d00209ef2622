"""Writes the lines of a plan into .gitignore files: nothing of what was there changes, and each file is written whole or not at all."""

from __future__ import annotations

import os
import stat

from fluxguard.errors import FluxguardError
from fluxguard.gitignore.lines import Plan, changes
from fluxguard.repo.holdings import Holdings, Refused, on_disk
from fluxguard.writing import exactly


def write(plan: Plan, held: Holdings) -> list[bytes]:
    """Writes them; returns the paths of the files that it changed. Raises FluxguardError where one can't be written.

    A file that is not as it was when the plan was made is left alone: that is an error, too.
    """
    written = []
    for path, before, after in changes(plan, held.ignores):
        _replace(held.root, path, before, after)
        written.append(path)
    return written


def _replace(root: str, path: bytes, before: bytes, after: bytes) -> None:
    name = os.path.join(os.path.realpath(root), os.fsdecode(path))
    shown = os.fsdecode(path)
    if os.path.realpath(os.path.dirname(name)) != os.path.dirname(name):
        raise FluxguardError(
            f"{shown} lies behind a symbolic link, which is not followed.", "Look at its folders."
        )
    if _content(root, path, shown) != before:
        raise FluxguardError(f"{shown} was changed meanwhile.", "Run it again.")
    try:
        mode = stat.S_IMODE(os.lstat(name).st_mode) if os.path.lexists(name) else None
        exactly(name, after, mode)
    except OSError as error:
        raise FluxguardError(
            f"{shown} can't be written: {(error.strerror or '').lower()}.",
            "What was there is unchanged. Look at the folder's permissions and room, and run it again.",
        ) from None


def _content(root: str, path: bytes, shown: str) -> bytes:
    try:
        return on_disk(root, path)
    except FileNotFoundError:
        return b""
    except Refused as error:
        raise FluxguardError(f"{shown} is not written to: {error}.", "Put a plain file there.") from None
