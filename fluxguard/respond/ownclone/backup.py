"""A copy of all that the user's clone holds, made and proved before anything is changed in it.

The whole git directory, file by file: objects that nothing leads to, logs, stashes, indexes and configuration with it. The person keeps it
until they say otherwise; the key still stands in it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fluxguard.errors import FluxguardError
from fluxguard.respond.ownclone.clone import Clone
from fluxguard.writing import settle

ORIGINALS = "originals"
ASIDE = ("modules", "lfs")  # repositories and files of their own, in which nothing is changed


def make(clone: Clone, folder: Path) -> dict[str, Any]:
    """Copies and proves. Returns the figures. Raises: FluxguardError; then there is none, and the clone is as it was."""
    fresh = folder.with_name(".backup")
    shutil.rmtree(fresh, ignore_errors=True)
    size = _size(clone.common)
    # The copy, the rewrite's own packs, and the pack that goes from there into the clone.
    for place, times in ((folder.parent, 3), (clone.common, 1)):
        free = shutil.disk_usage(place).free
        if free < times * size:
            raise FluxguardError(
                f"There is no room to clean your clone safely: {_mib(times * size)} are needed, {_mib(free)} are free.",
                f"Make room in {place}, then resume.",
            )
    fresh.mkdir(mode=0o700)
    try:
        _copied(clone.common, fresh)
    except OSError as error:
        raise FluxguardError(
            f"The backup of your clone could not be made: {error.strerror}.", "Mend that, then resume."
        ) from None
    figures = _proved(clone, Clone(fresh, ()))
    os.sync()
    fresh.rename(folder)
    settle(folder.parent)
    return {"folder": str(folder), "bytes": size, **figures}


def kept(incident: Path) -> list[Path]:
    """The backups in an incident's folder, the oldest first."""
    return sorted(incident.glob("backup-*"), key=lambda path: int(path.name.partition("-")[2]))


def originals(incident: Path) -> list[Path]:
    """The folder of files that were replaced whole on the remote, if there is one."""
    folder = incident / ORIGINALS
    return [folder] if folder.is_dir() else []


def next_in(incident: Path) -> Path:
    """Where the next backup goes: beside the others, never over one."""
    last = [int(path.name.partition("-")[2]) for path in kept(incident)]
    return incident / f"backup-{max(last, default=0) + 1}"


def remove(folder: Path) -> None:
    """The backup goes."""
    shutil.rmtree(folder)
    settle(folder.parent)


def _proved(clone: Clone, copy: Clone) -> dict[str, Any]:
    """What the copy holds, once it is sound and holds all that the clone does."""
    try:
        copy.git("fsck", "--full", "--no-dangling", "--no-progress")
    except FluxguardError:
        raise FluxguardError(
            "git fsck finds fault with your clone, or with the copy of it. Nothing was changed.",
            "Run git fsck in the clone, mend it or clone anew, then resume; or leave it: fluxguard respond resume --leave-clone",
        ) from None
    held = copy.objects()
    if held != clone.objects() or copy.refs() != clone.refs():
        raise FluxguardError(
            "Your clone changed while it was copied. Nothing was changed by fluxguard.",
            "Let nothing else work in it, then resume.",
        )
    digest = hashlib.sha256("".join(f"{id}\n" for id in held).encode()).hexdigest()
    return {"objects": len(held), "digest": f"sha256:{digest}", "refs": len(copy.refs())}


def _copied(source: Path, target: Path) -> None:
    """Files as they are, links as links; sockets and pipes hold nothing."""
    for path, mode in _entries(source):
        there = target / path.relative_to(source)
        if stat.S_ISLNK(mode):
            there.symlink_to(os.readlink(path))
        elif stat.S_ISDIR(mode):
            there.mkdir(mode=0o700)
        elif stat.S_ISREG(mode):
            shutil.copy2(path, there)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path, mode in _entries(folder) if stat.S_ISREG(mode))


def _entries(folder: Path) -> Iterator[tuple[Path, int]]:
    """Everything in a git directory, a folder before what is in it."""
    for where, folders, files in os.walk(folder):
        if Path(where) == folder:
            folders[:] = [name for name in folders if name not in ASIDE]
        for name in (*folders, *files):
            path = Path(where) / name
            yield path, path.lstat().st_mode


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
