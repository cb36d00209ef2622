"""What stands in place of git's own files: over a pipe or a device git would wait, or read without an end.

Looked at before git is started over a repository, so that there is a reason to name instead of a git to stop.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator

Obstacle = tuple[str, str]  # the name of a file in its git directory, and what is wrong with it

PIPE = "a pipe, a device or a socket stands in its place"
_FOLDER = "a folder stands in its place"
AWAY = "it is a link to a folder that is not part of a git directory, and was not followed"
_SMALL = 16 << 20  # bytes; what git takes into its memory at once
_OWN = ("HEAD", "index", "commondir", "config.worktree", "info/sparse-checkout")
_SHARED = ("HEAD", "config", "packed-refs", "shallow", "info/grafts", "info/exclude", "info/attributes")
_OF_STORE = ("info/alternates", "info/commit-graph", "info/commit-graphs/commit-graph-chain")
_UNLIMITED = ("index", "packed-refs", "info/commit-graph")
_INCLUDE = re.compile(rb"(?im)^[ \t]*path[ \t]*=[ \t]*\"?([^\"\r\n]+)")
_DEEPEST = 32
_MOST_STORES = 64


def small_file(path: str, limit: int = 1 << 16) -> bytes:
    """The first `limit` bytes of a plain file; nothing where it can't be read. Never waits on a pipe or drains a device."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        return b""
    try:
        with os.fdopen(fd, "rb") as stream:
            return stream.read(limit) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""


def complaint(path: str, limit: int = 0) -> str:
    """Why git should not be let loose on a file; "" where it may be, or finds nothing. limit: bytes, 0 for none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return ""
    if stat.S_ISREG(state.st_mode):
        return f"it is larger than {limit:,} bytes" if limit and state.st_size > limit else ""
    return _FOLDER if stat.S_ISDIR(state.st_mode) else PIPE


def leads_away(folder: str) -> bool:
    """Whether a folder of a git directory is a link to somewhere that is not part of a git directory, as `/` is.

    `git new-workdir` and `repo` of Android's put links into one git directory that lead to the same folder of another.
    """
    if not os.path.islink(folder):
        return False
    above, name = os.path.split(os.path.realpath(folder))
    if name != os.path.basename(folder):
        return True
    if os.path.basename(above) in ("logs", "info"):
        above = os.path.dirname(above)
    return not (
        os.path.lexists(os.path.join(above, "HEAD")) and os.path.isdir(os.path.join(above, "objects"))
    )


def obstacles(path: str, common: str) -> list[Obstacle]:
    """What keeps us from starting git over the git directory at `path`. common: the one that linked worktrees share."""
    found = [*_of_files(path, _OWN), *_of_files(common, _SHARED), *_of_includes(common)]
    for folder in dict.fromkeys((common, path)):
        found += _of_listed(folder, "sharedindex.")
        found += _of_refs(os.path.join(folder, "refs"), "refs", 0)
        found += _of_listed(os.path.join(folder, "reftable"), "", "reftable/")
    return [*dict.fromkeys([*found, *_of_stores(os.path.join(common, "objects"), "objects")])]


def _of_files(folder: str, names: Iterable[str], lead: str = "") -> Iterator[Obstacle]:
    for name in names:
        wrong = complaint(os.path.join(folder, name), 0 if name in _UNLIMITED else _SMALL)
        if wrong:
            yield lead + name, wrong


def _of_listed(folder: str, start: str, lead: str = "") -> Iterator[Obstacle]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(start) and not entry.is_file(follow_symlinks=False):
            wrong = complaint(entry.path)
            if wrong and (start or wrong != _FOLDER):
                yield lead + entry.name, wrong


def _of_includes(common: str) -> Iterator[Obstacle]:
    """Files that the configuration includes."""
    pending = [os.path.join(common, "config")]
    for config in pending:
        text = small_file(config, 1 << 20)
        if b"nclude" not in text.lower():
            continue
        for match in _INCLUDE.finditer(text):
            named = os.path.expanduser(os.fsdecode(match[1].strip()))
            other = os.path.join(os.path.dirname(config), named)
            wrong = complaint(other, _SMALL)
            if wrong:
                yield "config", f"it includes a file, and {wrong}"
            elif other not in pending and len(pending) < _DEEPEST:
                pending.append(other)


def entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder of the git directory, by name; nothing in one that can't be read or that leads away."""
    if leads_away(folder):
        return []
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def _of_refs(folder: str, name: str, depth: int) -> Iterator[Obstacle]:
    if leads_away(folder):
        yield name, AWAY
    for entry in entries(folder):
        inner = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEEPEST:
                yield from _of_refs(entry.path, inner, depth + 1)
        elif entry.is_dir():
            yield inner, AWAY
        elif not entry.is_file(follow_symlinks=False) and (wrong := complaint(entry.path, _SMALL)):
            yield inner, wrong


def _of_stores(objects: str, name: str) -> Iterator[Obstacle]:
    """Of an object store, and of its alternates, as git follows them."""
    stores = {os.path.realpath(objects): f"{name}/"}
    for number in range(_MOST_STORES):
        if number >= len(stores):
            return
        folder, lead = [*stores.items()][number]
        yield from _of_files(folder, _OF_STORE, lead)
        for inner in ("pack", "info/commit-graphs"):
            yield from _of_listed(os.path.join(folder, inner), "", f"{lead}{inner}/")
        for line in small_file(os.path.join(folder, "info", "alternates"), 1 << 20).splitlines():
            if line and b"\0" not in line:
                other = os.path.realpath(os.path.join(folder, os.fsdecode(line)))
                if os.path.isdir(other):
                    stores.setdefault(other, f"{other}/")
