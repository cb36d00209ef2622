"""Small loose objects, read without a git process: that is what a small commit has just added.

Which file is read is of no consequence, for what is read proves itself: its hash has to be the id that was asked for.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FEW = 24  # objects; for more than these, one git process is faster
_PACKED = 64 << 10
_MOST = 1 << 20


def folder() -> str | None:
    """Where loose objects lie, as seen from the top of an ordinary repository; None where only git can tell."""
    if "GIT_DIR" in os.environ or "GIT_OBJECT_DIRECTORY" in os.environ:
        return None
    return os.path.join(".git", "objects")


def mostly(store: str, ids: Sequence[str]) -> bool:
    """Whether the objects are loose, as those are that a commit has just added; by a sample of them."""
    sample = ids[:: max(1, len(ids) // 32)]
    there = [id for id in sample if os.path.exists(os.path.join(store, id[:2], id[2:]))]
    return 2 * len(there) > len(sample)


class Tools:
    """What the reading is done with: the fastest there is, each of which takes a moment to import."""

    def __init__(self) -> None:
        from hashlib import sha1

        self.sha1: Callable[..., Any] = sha1
        self.zlib = _fast_zlib()


def _fast_zlib() -> Any:
    try:
        from isal import isal_zlib  # nearly three times as fast
    except ImportError:
        import zlib

        return zlib
    return isal_zlib


def blob(store: str, id: str, tools: Tools | None = None) -> bytes | None:
    """The content of a blob; None where it is not loose, not small, damaged, or anything else that git should look at.

    tools: worth their import where there are many objects to read.
    """
    found = read(store, id, tools)
    return found[1] if found is not None and found[0] == "blob" else None


def read(store: str, id: str, tools: Tools | None = None) -> tuple[str, bytes] | None:
    """Kind and content of an object, as `blob`."""
    if len(id) != 40 or not id.isalnum():
        return None
    try:
        fd = os.open(os.path.join(store, id[:2], id[2:]), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        packed = os.read(fd, _PACKED + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
    return _proved(packed, id, tools) if len(packed) <= _PACKED else None


def _proved(packed: bytes, id: str, tools: Tools | None) -> tuple[str, bytes] | None:
    """What is in a loose object's file, if it has this very id. Format: gitformat-loose(5)."""
    zlib = tools.zlib if tools else _zlib()
    unpacker = zlib.decompressobj()
    try:
        whole: bytes = unpacker.decompress(packed, _MOST)
    except zlib.error:
        return None
    sha1 = tools.sha1 if tools else _sha1()
    if not unpacker.eof or sha1(whole, usedforsecurity=False).hexdigest() != id:
        return None
    head, _, data = whole.partition(b"\0")
    return head.partition(b" ")[0].decode("ascii", "replace"), data


def blob_id(data: bytes) -> str:
    """The id of a blob, as a repository with SHA-1 ids counts it."""
    id: str = _sha1()(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return id


def _zlib() -> Any:
    import zlib

    return zlib


def _sha1() -> Callable[..., Any]:
    try:
        from _sha1 import sha1  # what hashlib falls back on; hashlib itself loads OpenSSL, which takes 3 ms
    except ImportError:
        from hashlib import sha1
    return sha1  # type: ignore[no-any-return]
