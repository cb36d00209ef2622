"""A working tree's index and files brought from a commit to what became of it. Only what is as it was committed is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.respond.mirror import git
from fluxguard.respond.ownclone.clone import STILL, Clone, Tree
from fluxguard.writing import exactly

_GITLINK = "160000"
_LINK = "120000"


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs. old, new: ids of what it holds, "" where it is not there. mode: of the one that is."""

    path: bytes
    old: str
    new: str
    mode: str


def check(clone: Clone, heads: Mapping[Path, tuple[str, str]]) -> None:
    """Whether everything can be brought over. Raises: FluxguardError before anything is changed."""
    for tree in clone.trees:
        blocked = [one for one in _changes(tree, *heads[tree.folder]) if _state(tree, one) == "other"]
        if blocked:
            raise FluxguardError(
                f"{len(blocked)} files in {tree.folder} are not as they were committed, or stand where a renamed file goes.",
                "Commit them, or move them away (git status names them), then resume.",
            )


def over(tree: Tree, old: str, new: str, scratch: Path) -> int:
    """Index and files of one working tree. scratch: where the new index is made. Returns how many files were written or removed."""
    changes = _changes(tree, old, new)
    if not changes:
        return 0
    index = tree.private / "index"
    shutil.copy2(index, scratch)
    at = {"GIT_INDEX_FILE": str(scratch)}
    git(tree.folder, *STILL, "read-tree", "-i", "-m", old, new, env=at)
    states = [(one, _state(tree, one)) for one in changes]
    write = [one.path for one, state in states if state == "write"]
    if write:
        git(
            tree.folder,
            *STILL,
            "checkout-index",
            "-f",
            "-z",
            "--stdin",
            data=b"\0".join(write) + b"\0",
            env=at,
        )
    gone = [one.path for one, state in states if state == "remove"]
    for path in gone:
        _remove(tree.folder, path)
    git(tree.folder, *STILL, "update-index", "--clear-resolve-undo", env=at)
    git(tree.folder, *STILL, "update-index", "-q", "--refresh", good=(0, 1), env=at)
    exactly(index, scratch.read_bytes(), index.stat().st_mode & 0o777)
    return len(write) + len(gone)


def _changes(tree: Tree, old: str, new: str) -> list[Change]:
    """What differs between two commits. Nothing where the old one is gone: it goes when all that follows from it is done."""
    if not old or old == new or not _is_there(tree, old):
        return []
    fields = git(tree.folder, *STILL, "diff-tree", "-r", "-z", "--no-renames", "--raw", old, new).split(b"\0")
    found = []
    for what, path in zip(fields[::2], fields[1::2], strict=False):
        was, now, before, after, _ = what.decode().removeprefix(":").split(" ")
        mode = now if after.strip("0") else was
        if mode != _GITLINK:
            found.append(
                Change(path, before if before.strip("0") else "", after if after.strip("0") else "", mode)
            )
    return found


def _is_there(tree: Tree, commit: str) -> bool:
    asked = ("rev-parse", "--verify", "--quiet", commit + "^{tree}")
    return bool(git(tree.folder, *STILL, *asked, good=(0, 1, 128)))


def _state(tree: Tree, change: Change) -> str:
    """What is to be done with a file: `write`, `remove`, `done`; or `other` where it is neither what it was nor what it becomes."""
    path = os.path.join(os.fsencode(tree.folder), change.path)
    if _through_a_file(tree.folder, change.path):
        return "other" if change.new else "done"
    if not os.path.lexists(path):
        return "write" if change.new and not change.old else "other" if change.new else "done"
    there = _id(tree, path, change)
    if there == change.new:
        return "done"
    if there == change.old:
        return "write" if change.new else "remove"
    return "other"


def _through_a_file(folder: Path, path: bytes) -> bool:
    """Whether what should be a folder on the way is a file or a link."""
    way = os.fsencode(folder)
    for part in path.split(b"/")[:-1]:
        way = os.path.join(way, part)
        if os.path.lexists(way) and (os.path.islink(way) or not os.path.isdir(way)):
            return True
    return False


def _id(tree: Tree, path: bytes, change: Change) -> str:
    """The id that git would give to a file as it is. Its name goes by standard input: it may hold the key."""
    if os.path.islink(path):
        data = os.readlink(path) if change.mode == _LINK else None
        if data is None:
            return "a link"
        said = git(tree.folder, *STILL, "hash-object", "--stdin", data=data)
    elif os.path.isdir(path) or b"\n" in change.path or not os.path.isfile(path):
        return "a folder, or a name that can't be asked for"
    else:
        said = git(tree.folder, *STILL, "hash-object", "--stdin-paths", data=change.path + b"\n")
    return said.decode().strip()


def _remove(folder: Path, path: bytes) -> None:
    """A file, and the folders that it leaves empty."""
    root = os.fsencode(folder)
    os.unlink(os.path.join(root, path))
    way = os.path.dirname(path)
    while way:
        try:
            os.rmdir(os.path.join(root, way))
        except OSError:
            return
        way = os.path.dirname(way)
