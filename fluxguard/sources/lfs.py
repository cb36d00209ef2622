"""Files of Git LFS: git holds a pointer, and what is pushed lies beside it.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, a pointer file: lines of `key SP value`, at most 1024 bytes.
"""

from __future__ import annotations

import os

from fluxguard.chunk import Chunk, Skipped
from fluxguard.repo import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxguard.chunk import Origin

_START = b"version https://git-lfs.github.com/spec/"
_LARGEST = 1024


def is_pointer(data: bytes) -> bool:
    """Whether a blob stands for a file of LFS."""
    return len(data) <= _LARGEST and data.startswith(_START)


def named(pointer: bytes) -> str:
    """The id of the object that a pointer stands for, in hex; "" where it names none."""
    _, found, rest = pointer.partition(b"\noid sha256:")
    name = rest.partition(b"\n")[0].rstrip(b"\r").decode("ascii", "replace")
    return name if found and len(name) == 64 and not name.strip("0123456789abcdef") else ""


def path_of(common: str, name: str) -> str:
    """Where an object lies, if it is here. common: the git directory that all working trees share."""
    return os.path.join(common, "lfs", "objects", name[:2], name[2:4], name)


def content(pointer: bytes, origin: Origin, limit: int) -> Iterator[Chunk | Skipped]:
    """What the pointer stands for, where it is here; what is not here is not pushed from here either."""
    name = named(pointer)
    common = layout.common_dir()
    if not name or common is None:
        return
    path = path_of(common, name)
    from fluxguard.sources import worktree

    for item in worktree.contents([(os.fsencode(path), origin.path)], limit):
        if isinstance(item, Chunk):
            item.origin = origin
        yield item
