"""Small loose objects, read without a git process: that is what a small commit has just added.

Like git itself, which hashes an object when it writes it and when it checks the repository (fsck, a push, a fetch), this
goes by the file's name, by the size in it and by zlib's checksum over it. To hide a key, a repository would have to
bring a file under the id of a content that is yet to be written, with a key in it that it doesn't know.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FEW = 24  # objects; for more than these, one git process is faster
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_PACKED = 64 << 10
_PIECE = 8 << 10  # bytes that are read at once: mostly all of it
_MOST = 1 << 20
_KINDS = {b"blob": "blob", b"tree": "tree", b"commit": "commit", b"tag": "tag"}


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


def inflater(many: bool) -> Any:
    """What inflates: zlib, or for many objects isal, which is nearly three times as fast and takes longer to import."""
    if many:
        try:
            from isal import isal_zlib
        except ImportError:
            pass
        else:
            return isal_zlib
    import zlib

    return zlib


def blob(store: str, id: str, zlib: Any) -> bytes | None:
    """The content of a blob; None where it is not loose, not small, damaged, or anything else that git should look at."""
    found = read(store, id, zlib)
    return found[1] if found is not None and found[0] == "blob" else None


def read(store: str, id: str, zlib: Any) -> tuple[str, bytes] | None:
    """Kind and content of an object, as `blob`."""
    if len(id) != 40 or not id.isalnum():
        return None
    try:
        fd = os.open(f"{store}/{id[:2]}/{id[2:]}", _OPEN)
    except OSError:
        return None
    try:
        packed = os.read(fd, _PIECE)
        if len(packed) == _PIECE:
            packed += os.read(fd, _PACKED + 1 - _PIECE)
    except OSError:
        return None
    finally:
        os.close(fd)
    return _content(packed, zlib) if len(packed) <= _PACKED else None


def _content(packed: bytes, zlib: Any) -> tuple[str, bytes] | None:
    """What is in a loose object's file, if it is whole. Format: gitformat-loose(5)."""
    unpacker = zlib.decompressobj()
    try:
        whole: bytes = unpacker.decompress(packed, _MOST)
    except zlib.error:
        return None
    if not unpacker.eof or unpacker.unused_data:
        return None
    head, _, data = whole.partition(b"\0")
    kind = _KINDS.get(head.partition(b" ")[0])
    return (kind, data) if kind and head == b"%s %d" % (kind.encode(), len(data)) else None


def blob_id(data: bytes) -> str:
    """The id of a blob, as a repository with SHA-1 ids counts it."""
    id: str = _sha1()(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return id


def _sha1() -> Callable[..., Any]:
    try:
        from _sha1 import sha1  # what hashlib falls back on; hashlib itself loads OpenSSL, which takes 3 ms
    except ImportError:
        from hashlib import sha1
    return sha1  # type: ignore[no-any-return]
