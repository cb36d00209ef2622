"""Where the old key stands on this machine, found by value, and how the new one is put there: to the byte, or not at all.

A file that git tracks, or would commit, never gets the new key: it would be the next leak. It is named, with what to do.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.repo import run as git
from fluxguard.writing import exactly

_LARGEST = 4 << 20
_SKIPPED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache"})


@dataclass(frozen=True, slots=True)
class Place:
    """A file that holds the key. path: what is written; of a link, what it leads to. count: how often. tracked: git has it, or would commit it."""

    path: Path
    count: int
    tracked: bool


def find(trees: list[Path], secret: Secret, home: Path) -> tuple[list[Place], list[str]]:
    """Files that hold the key, below working trees and in the home folder's FluxLoop folder; and what could not be read."""
    unread: list[str] = []
    found: list[Place] = []
    for tree in trees:
        holding = [(path, count) for path in _files(tree, unread) if (count := _count(path, secret, unread))]
        kept = _kept_by_git(tree, [path for path, _ in holding])
        for path, count in holding:
            real = path.resolve()
            if real not in {one.path for one in found}:
                found.append(Place(real, count, path in kept or (real != path and _in_git(real, tree))))
    own = (home / ".fluxloop" / name for name in (".env", "credentials", "config.yaml"))
    found += [
        Place(path, count, False)
        for path in own
        if path.is_file()
        and (count := _count(path, secret, unread))
        and path not in {one.path for one in found}
    ]
    return found, unread


def _files(tree: Path, unread: list[str]) -> Iterator[Path]:
    for folder, names, files in os.walk(tree, onerror=lambda error: unread.append(str(error.filename))):
        names[:] = [name for name in names if name not in _SKIPPED]
        yield from (Path(folder) / name for name in files)


def _count(path: Path, secret: Secret, unread: list[str]) -> int:
    try:
        facts = path.stat() if path.is_symlink() and path.exists() else path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return 0
        if facts.st_size > _LARGEST:
            return _count_in_large(path, secret, unread)
        return path.read_bytes().count(secret.reveal())
    except OSError:
        unread.append(str(path))
        return 0


def _count_in_large(path: Path, secret: Secret, unread: list[str]) -> int:
    """A large file that holds the key is named, and edited by hand."""
    key = secret.reveal()
    with path.open("rb") as stream:
        rest = b""
        while block := stream.read(_LARGEST):
            if key in rest + block:
                unread.append(f"{path}: holds the key, and is too large to be edited here")
                break
            rest = block[-len(key) :]
    return 0


def _in_git(path: Path, tree: Path) -> bool:
    """Whether what a link leads to lies in the tree, and is not ignored there."""
    root = tree.resolve()
    return path.is_relative_to(root) and bool(_kept_by_git(root, [path]))


def _kept_by_git(tree: Path, paths: list[Path]) -> set[Path]:
    """Those of the paths that git tracks or would commit: all that it does not ignore."""
    if not paths:
        return set()
    data = b"\0".join(os.fsencode(path.relative_to(tree)) for path in paths) + b"\0"
    environment = git.environment(isolated=True)
    environment.pop("GIT_LITERAL_PATHSPECS", None)  # check-ignore does not know them
    asked = subprocess.run(
        ["git", "-C", str(tree), "-c", "core.fsmonitor=false", "check-ignore", "-z", "--stdin"],
        input=data, capture_output=True, env=environment, check=False,
    )  # fmt: skip
    if asked.returncode not in (0, 1):
        return set(paths)
    ignored = {tree / os.fsdecode(name) for name in asked.stdout.split(b"\0") if name}
    return {path for path in paths if path not in ignored}


def replace(path: Path, old: Secret, new: Secret) -> str:
    """Puts the new key where the old one stands. Returns `written`, or `there` where the new one stands already.

    Everything else of the file stays: line ends, quotes, comments, mode, owner. On disk when this returns, or nothing changed.
    Raises: FluxguardError where the file holds neither key any more, or can't be replaced.
    """
    try:
        data = path.read_bytes()
        facts = path.stat()
    except OSError as error:
        raise FluxguardError(f"{path} can't be read: {error.strerror}.") from None
    if old.reveal() not in data:
        if new.reveal() in data:
            return "there"
        raise FluxguardError(
            f"{path} holds neither the old key nor the new one any more.", "Look at it, then resume."
        )
    wanted = data.replace(old.reveal(), new.reveal())
    try:
        exactly(path, wanted, stat.S_IMODE(facts.st_mode), (facts.st_uid, facts.st_gid))
    except OSError as error:
        raise FluxguardError(
            f"{path} can't be written: {error.strerror}.", "Mend that, then resume."
        ) from None
    if path.read_bytes() != wanted:
        raise FluxguardError(f"{path} was changed while the new key was written.", "Look at it, then resume.")
    return "written"
