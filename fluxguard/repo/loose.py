"""Small loose objects, read without a git process: that is what a small commit has just added.

Which file is read is of no consequence, for what is read proves itself: its hash has to be the id that was asked for.
"""

from __future__ import annotations

import os

FEW = 24  # objects; for more than these, one git process is faster
_PACKED = 64 << 10
_MOST = 1 << 20


def folder() -> str | None:
    """Where loose objects lie, as seen from the top of an ordinary repository; None where only git can tell."""
    if "GIT_DIR" in os.environ or "GIT_OBJECT_DIRECTORY" in os.environ:
        return None
    return os.path.join(".git", "objects")


def blob(store: str, id: str) -> bytes | None:
    """The content of a blob; None where it is not loose, not small, damaged, or anything else that git should look at."""
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
    return _proved(packed, id) if len(packed) <= _PACKED else None


def _proved(packed: bytes, id: str) -> bytes | None:
    """The content in a loose object's file, if it is a blob with this very id. Format: gitformat-loose(5)."""
    import zlib

    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(packed, _MOST)
    except zlib.error:
        return None
    if not unpacker.eof or _sha1(whole) != id:
        return None
    head, _, data = whole.partition(b"\0")
    return data if head.startswith(b"blob ") else None


def blob_id(data: bytes) -> str:
    """The id of a blob, as a repository with SHA-1 ids counts it."""
    return _sha1(b"blob %d\0" % len(data) + data)


def _sha1(data: bytes) -> str:
    try:
        from _sha1 import sha1  # what hashlib falls back on; hashlib itself loads OpenSSL, which takes 3 ms
    except ImportError:
        from hashlib import sha1
    return str(sha1(data, usedforsecurity=False).hexdigest())
