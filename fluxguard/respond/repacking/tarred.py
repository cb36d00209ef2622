"""A tar archive made anew: blocks of all other members, and headers of those that change, are copied as they lie there.

`tarfile` reads and compares. Of a header only size and sum are written anew (POSIX.1-2017, pax, "ustar Interchange Format"); where a name
holds the key, it writes the whole header.
"""

from __future__ import annotations

import copy
import io
import re
import tarfile
from collections.abc import Iterator

from fluxguard.respond.repacking.change import Change, must, must_stay_apart

_BLOCK = 512
_RECORD = 20 * _BLOCK
_SIZE, _SUM, _MAGIC = slice(124, 136), slice(148, 156), slice(257, 265)
_NUMBER = re.compile(rb"( *)([0-7]+)([ \0]+)")


def rebuilt(data: bytes, change: Change) -> bytes:
    """The archive without the key. Raises: Inexact."""
    parts: list[bytes] = []
    at = 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        while (member := archive.next()) is not None:
            parts += _member(data, at, archive, member, change)
            at = archive.offset
    must(parts and not data[at:].strip(b"\0"))
    made = b"".join(parts)
    made += _end(len(made), data[at:], len(data))
    _compare(data, made, change)
    return made


def _end(size: int, zeros: bytes, whole: int) -> bytes:
    """The zeros behind the last member. tar fills up its last record with them."""
    if whole % _RECORD or len(zeros) < 2 * _BLOCK:
        return zeros
    return bytes(2 * _BLOCK + -(size + 2 * _BLOCK) % _RECORD)


def _member(
    data: bytes, at: int, archive: tarfile.TarFile, member: tarfile.TarInfo, change: Change
) -> Iterator[bytes]:
    """A member with what describes it, from the end of the one before."""
    body = member.offset_data
    content = _content(archive, member, change)
    renamed = change.name(data[member.offset : body]) != data[member.offset : body]
    if content is None and not renamed:
        yield data[at : archive.offset]
        return
    must(not member.issparse() and "size" not in member.pax_headers)
    size = member.size if content is None else len(content)
    if renamed:
        yield data[at : member.offset]
        yield _header(data[body - _BLOCK : body], archive, member, size, change)
    else:
        yield data[at : body - _BLOCK]
        yield _resized(data[body - _BLOCK : body], size)
    yield data[body : archive.offset] if content is None else content + bytes(-len(content) % _BLOCK)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, change: Change) -> bytes | None:
    """A member's content where it changes."""
    if not member.isreg() or f"tar:{member.name}" not in change.touched:
        return None
    before = _read(archive, member)
    after = change.content(before)
    return after if after != before else None


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return stream.read() if stream is not None else b""


def _resized(header: bytes, size: int) -> bytes:
    """A header with another size."""
    fresh = bytearray(header)
    fresh[_SIZE] = _number(header[_SIZE], size)
    fresh[_SUM] = b" " * 8
    fresh[_SUM] = _number(header[_SUM], sum(fresh))
    return bytes(fresh)


def _number(field: bytes, value: int) -> bytes:
    """A number as it was written there: with zeros or with spaces before it, and with what ended it."""
    as_it_was = _NUMBER.fullmatch(field)
    must(as_it_was)
    assert as_it_was is not None
    width = as_it_was.end(2)
    fresh = (b"%o" % value).rjust(width, b" " if as_it_was[1] else b"0")
    must(len(fresh) == width)
    return fresh + as_it_was[3]


def _header(
    header: bytes, archive: tarfile.TarFile, member: tarfile.TarInfo, size: int, change: Change
) -> bytes:
    """All headers of a member whose name, or what else describes it, holds the key."""
    fresh = _renamed(member, change)
    fresh.size = size
    encoding = archive.encoding or "utf-8"
    if header[_MAGIC] == tarfile.GNU_MAGIC:
        return fresh.tobuf(tarfile.GNU_FORMAT, encoding, "surrogateescape")
    if member.pax_headers:
        return fresh.tobuf(tarfile.PAX_FORMAT, encoding, "surrogateescape")
    return fresh.tobuf(tarfile.USTAR_FORMAT, encoding, "surrogateescape")


def _renamed(member: tarfile.TarInfo, change: Change) -> tarfile.TarInfo:
    fresh = copy.copy(member)
    for name in ("name", "linkname", "uname", "gname"):
        setattr(fresh, name, change.text(getattr(member, name)))
    fresh.pax_headers = {name: change.text(value) for name, value in member.pax_headers.items()}
    return fresh


_SAME = (
    "name", "linkname", "uname", "gname", "pax_headers", "mode", "uid", "gid", "mtime", "type", "devmajor", "devminor",
    "sparse",
)  # fmt: skip


def _compare(data: bytes, made: bytes, change: Change) -> None:
    """What tarfile finds in it, and found in the one before. Raises: Inexact."""
    with (
        tarfile.open(fileobj=io.BytesIO(data), mode="r:") as old,
        tarfile.open(fileobj=io.BytesIO(made), mode="r:") as new,
    ):
        pairs = list(zip(old.getmembers(), new.getmembers(), strict=True))
        must(old.pax_headers == new.pax_headers)
        must_stay_apart([one.name for one, _ in pairs], [other.name for _, other in pairs])
        for before, after in pairs:
            wished = _renamed(before, change)
            must(all(getattr(wished, name) == getattr(after, name) for name in _SAME))
            if before.isreg():
                content = _read(old, before)
                wanted = change.content(content) if f"tar:{before.name}" in change.touched else content
                must(_read(new, after) == wanted)
