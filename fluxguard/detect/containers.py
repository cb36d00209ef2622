"""What content is packed in: gzip, bzip2, xz, zip and its relatives, tar. Bounded in size, members and depth.

A packed file that can't be opened (encrypted, damaged, unknown to us, or a bomb) is no error but a `Closed`: not
looked at is not clean.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Imported where they are used: most scans meet none of these formats, and together they take 12 ms.
    import tarfile
    import zipfile
    from typing import IO, Any

PIECE = 1 << 20
MEMBERS = 100_000  # in one archive
ALL_MEMBERS = 2 * MEMBERS  # and in all that one content holds
_TAR_BLOCK = 512
_DEFLATED = 8
_AR = b"!<arch>\n"
# With and without a hint of how hard it was tried; RFC 1950. Only the last is unusual in text.
ZLIB = (b"x\x01", b"x\x9c", b"x\xda")
_ZIP_METHODS = frozenset((*range(1, 21), 0, 93, 94, 95, 96, 97, 98, 99))
# A file may hold very many small streams, and what lies behind the end of one is copied each time: so it gets little at first.
_FIRST_STEP = 512
_LAST_STEP = 1 << 16


@dataclass(frozen=True, slots=True)
class Opened:
    """A member: what it lies in (`gzip`, `zip:inner/name`, `tar:inner/name`) and its bytes."""

    via: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """Something that could not be opened, and why. via: the member's name, or "" for the container itself."""

    via: str
    reason: str


class Budget:
    """How many bytes and members may still be unpacked. largest: bytes of a single one, which is held in memory as a whole."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.largest = size // 2
        self.members = ALL_MEMBERS

    def take(self, size: int) -> bool:
        """Uses up `size` bytes; False once there are none left."""
        self.left -= size
        return self.left >= 0

    def fits(self, count: int) -> bool:
        """Uses up the places of `count` members; False where an archive has, or all together have, too many."""
        self.members -= count
        return count <= MEMBERS and self.members >= 0


_TEXT = re.compile(rb"[\t\n\r -~]{11,63}\Z|[\t\n\r -~]{64}")
_STRANGERS = (
    (b"7z\xbc\xaf\x27\x1c", "7z archive: a format that fluxguard does not open"),
    (b"Rar!\x1a\x07", "RAR archive: a format that fluxguard does not open"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data: a format that fluxguard does not open"),
    (b"\x04\x22\x4d\x18", "LZ4 data: a format that fluxguard does not open"),
    (b"\x1f\x9d\x90", "compress (.Z) data: a format that fluxguard does not open"),
    (b"MSCF\0\0\0\0", "cabinet archive: a format that fluxguard does not open"),
    (b"]\0\0\x80\0" + b"\xff" * 8 + b"\0", "LZMA data: a format that fluxguard does not open"),
)


def unpack(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    """The members of packed content, in the order in which they lie there; nothing where it is not packed."""
    for mark, reason in _STRANGERS:
        if data.startswith(mark):
            yield Closed("", reason)
            return
    if data.startswith(b"\x1f\x8b\x08"):
        yield from _gzip(data, budget)
    elif data[:3] == b"BZh" and data[4:10] == b"1AY&SY" and not _TEXT.match(data):  # else it is about bzip2
        import bz2

        yield from _stream("bzip2", data, bz2.BZ2Decompressor, budget)
    elif data.startswith(b"\xfd7zXZ\0"):
        import lzma

        yield from _stream("xz", data, lambda: lzma.LZMADecompressor(memlimit=256 << 20), budget)
    elif data.startswith((b"PACK\0\0\0", b"# v2 git bundle\n", b"# v3 git bundle\n")):
        from fluxguard.detect.packfile import members

        yield from members(data, budget)
    elif data.startswith(_AR):
        yield from _ar(data, budget)
    elif data.startswith(ZLIB):
        yield from _zlib(data, budget)
    elif data[257:262] == b"ustar":
        yield from _tar(data, budget)
    elif data.startswith((b"PK\3\4", b"PK\5\6")) or data[-22:-18] == b"PK\5\6":
        yield from _zip(data, budget)
    else:
        yield from _embedded(data, budget)


def _too_large(via: str) -> Closed:
    return Closed(via, "unpacks to more than the limit")


def _gzip(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    parts: list[bytes] = []
    reason = ""
    at = size = 0
    while not reason and data[at : at + 2] == b"\x1f\x8b":
        inflater = zlib.decompressobj(wbits=31)
        step = _FIRST_STEP
        try:
            while not inflater.eof and not reason:
                piece = data[at : at + step]
                part = inflater.decompress(piece, PIECE)
                at += len(piece) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
                step = min(2 * step, _LAST_STEP)
                size += len(part)
                if not budget.take(len(part)) or size > budget.largest:
                    yield _too_large("gzip")
                    return
                parts.append(part)
                if not part and not piece:
                    reason = "gzip data that ends early"
        except zlib.error:
            reason = "damaged gzip data"
    if parts:
        yield Opened("gzip", b"".join(parts))
    if reason:
        yield Closed("gzip", reason)


def _embedded(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    """gzip streams in the midst of something else, such as a program with what it needs in it.

    Four bytes are no proof that one begins: what unpacks to nothing much is none. Every attempt is paid for, with what it
    reads as well, for a file may be made of beginnings alone.
    """
    behind = 0
    while mark := _GZIPPED.search(data, behind):
        parts: list[bytes] = []
        inflater = zlib.decompressobj(wbits=31)
        place, step, size = mark.start(), _FIRST_STEP, 0
        try:
            while not inflater.eof and (piece := data[place : place + step]):
                parts.append(inflater.decompress(piece, PIECE))
                read = len(piece) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
                place += read
                step = min(2 * step, _LAST_STEP)
                size += len(parts[-1])
                if not budget.take(_FIRST_STEP + read + len(parts[-1])) or size > budget.largest:
                    yield _too_large("gzip")
                    return
        except zlib.error:
            if not budget.take(_FIRST_STEP + len(piece)):
                yield _too_large("gzip")
                return
        if size and (inflater.eof or size >= _ENOUGH):
            yield Opened("gzip", b"".join(parts))
        if size >= _ENOUGH and not inflater.eof:
            yield Closed("gzip", "gzip data in the midst of it that are damaged or end early")
        behind = place if inflater.eof else mark.end()


_GZIPPED = re.compile(rb"\x1f\x8b\x08[\0\x08]")  # as in triggers.GZIPPED


def _stream(
    via: str, data: bytes, decompressor: Callable[[], Any], budget: Budget
) -> Iterator[Opened | Closed]:
    parts: list[bytes] = []
    reason = ""
    at = streams = size = 0
    while at < len(data) and not reason:
        unpacker = decompressor()
        step = _FIRST_STEP
        try:
            while not unpacker.eof and not reason:
                piece = data[at : at + step] if unpacker.needs_input else b""
                part = unpacker.decompress(piece, PIECE)
                at += len(piece)
                step = min(2 * step, _LAST_STEP)
                size += len(part)
                if not budget.take(len(part)) or size > budget.largest:
                    yield _too_large(via)
                    return
                parts.append(part)
                if not part and unpacker.needs_input and at >= len(data):
                    reason = f"{via} data that ends early"
        except (OSError, EOFError, ValueError, _lzma_error()):
            reason = f"damaged {via} data" if not streams else ""  # behind a whole one: padding
            break
        streams += 1
        at -= len(unpacker.unused_data)
    if parts:
        yield Opened(via, b"".join(parts))
    if reason:
        yield Closed(via, reason)


def _lzma_error() -> type[Exception]:
    import lzma

    return lzma.LZMAError


def _zip(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    import zipfile

    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except Exception:  # a hostile file may make zipfile raise nearly anything
        yield Closed("", "damaged zip archive")
        return
    if not budget.fits(len(members)):
        yield Closed("", f"zip archive with more than {MEMBERS:,} members, or beside others with as many")
        return
    for member in members:
        if not member.filename.endswith("/"):  # is_dir() fails where there is no name
            yield from _zip_member(archive, member, budget)
    if _has_unlisted(data, members):
        yield Closed("", "data in the zip archive that its directory does not list")


def _has_unlisted(data: bytes, members: list[zipfile.ZipInfo]) -> bool:
    """Whether a member's header stands in the archive that the directory does not speak of, before or behind it too.

    A member may be an archive itself, with headers of its own: they are looked at as its content. They also show where it
    is packed by Deflate, which takes over as it is what can't be made any smaller.
    """
    listed = {member.header_offset: member for member in members}
    at = data.find(b"PK\3\4")
    while at >= 0:
        if at not in listed and _is_member_header(data, at):
            return True
        behind = at + 4
        if at in listed:
            behind = max(behind, at + _extent(data, at, listed[at]))
        at = data.find(b"PK\3\4", behind)
    return False


def _extent(data: bytes, at: int, member: zipfile.ZipInfo) -> int:
    """The bytes from a member's header on that are its own; its header alone where that can't be told."""
    head = (
        30
        + int.from_bytes(data[at + 26 : at + 28], "little")
        + int.from_bytes(data[at + 28 : at + 30], "little")
    )
    size = member.compress_size
    if member.compress_type == 0:
        return head + min(size, member.file_size)
    if member.compress_type != _DEFLATED or data.find(b"PK\3\4", at + head, at + head + size) < 0:
        return head
    # Read to its end: what a directory calls compressed may go on behind the end of the stream.
    inflater = zlib.decompressobj(wbits=-15)
    piece = data[at + head : at + head + size]
    try:
        while piece and not inflater.eof:
            inflater.decompress(piece, PIECE)
            piece = inflater.unconsumed_tail
    except zlib.error:
        return head
    return head + size - len(inflater.unused_data)


def _is_member_header(data: bytes, at: int) -> bool:
    """Whether the four bytes at `at` are no chance: APPNOTE.TXT 4.3.7, a version, a method and a name that there are."""
    version = data[at + 4 : at + 5]
    method = int.from_bytes(data[at + 8 : at + 10], "little")
    name = int.from_bytes(data[at + 26 : at + 28], "little")
    return version <= b"\x3f" and method in _ZIP_METHODS and 0 < name <= len(data) - at - 30


def _zip_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget
) -> Iterator[Opened | Closed]:
    via = f"zip:{member.filename}"
    if member.flag_bits & 1:
        yield Closed(via, "encrypted archive")
        return
    try:
        with archive.open(member) as stream:
            if member.compress_type == _DEFLATED and member.file_size > _FIRST_STEP:
                _hurry(stream)
            content = _bounded(stream, budget)
    except Exception:
        yield Closed(via, "damaged, or packed in a way that fluxguard does not know")
        return
    yield _too_large(via) if content is None else Opened(via, content)


def _hurry(stream: Any) -> None:
    """Has a member inflated by the fastest library at hand; its checksum is compared all the same."""
    try:
        from isal import isal_zlib
    except ImportError:  # the same result, more slowly
        return
    if hasattr(stream, "_decompressor"):
        stream._decompressor = isal_zlib.decompressobj(-15)


def _tar(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    """The members of a tar archive, or of several one behind the other.

    An archive ends in zeros. tarfile takes a broken header for its end, too: what is behind that was not looked into.
    """
    import tarfile

    stream = io.BytesIO(data)
    at = 0
    while True:
        count = 0
        stream.seek(at)
        try:
            archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115
            while (member := archive.next()) is not None:
                count += 1
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member it has seen
                if count > MEMBERS or not budget.fits(1):
                    yield Closed(
                        "", f"tar archive with more than {MEMBERS:,} members, or beside others with as many"
                    )
                    return
                if member.isreg():
                    yield from _tar_member(archive, member, budget)
            end = int(archive.offset)
        except Exception as error:
            # What describes a member, and none behind it: as `git archive` writes an empty tree.
            end = stream.tell() if str(error) == "end of file header" else -1
        at = _behind_zeros(data, end) if end > at else -1
        if at < 0 or at == end < len(data):
            yield Closed("", "damaged tar archive")
        if at < 0 or data[at + 257 : at + 262] != b"ustar":
            return


def _behind_zeros(data: bytes, start: int) -> int:
    """Where the next block begins that is not all zero; the end of the data where there is none."""
    blocks = range(start, len(data), _TAR_BLOCK)
    return next((at for at in blocks if data[at : at + _TAR_BLOCK].strip(b"\0")), len(data))


def _tar_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, budget: Budget
) -> Iterator[Opened | Closed]:
    via = f"tar:{member.name}"
    try:
        stream = archive.extractfile(member)
        content = _bounded(stream, budget) if stream is not None else b""
    except Exception:
        yield Closed(via, "damaged tar archive")
        return
    yield _too_large(via) if content is None else Opened(via, content)


def _ar(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    """The members of an `ar` archive: a static library, which is all plain, or a Debian package, which packs them.

    Where a header makes no sense, the rest was looked at as it stands: `ar` itself packs nothing.
    """
    at = len(_AR)
    while at + 60 <= len(data) and budget.fits(1):
        header = data[at : at + 60]
        digits = header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit():
            break
        content = data[at + 60 : at + 60 + int(digits)]
        name = header[:16].decode("utf-8", "replace").strip(" /")
        if not budget.take(len(content)):
            yield _too_large(f"ar:{name}")
            return
        yield Opened(f"ar:{name}", content)
        at += 60 + int(digits) + int(digits) % 2
    if at < len(data) and data.startswith(b"debian-binary", len(_AR)):
        yield Closed("", "damaged Debian package")


def _zlib(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    """A bare zlib stream, such as an object of git's. Two bytes are no proof that it is one: what is none is no container."""
    parts: list[bytes] = []
    inflater = zlib.decompressobj()
    size = 0
    piece = data
    try:
        while piece and not inflater.eof:
            parts.append(inflater.decompress(piece, PIECE))
            piece = inflater.unconsumed_tail
            size += len(parts[-1])
            if not budget.take(len(parts[-1])) or size > budget.largest:
                yield _too_large("zlib")
                return
    except zlib.error:
        pass
    if size:
        yield Opened("zlib", b"".join(parts))
    if size >= _ENOUGH and not inflater.eof:
        yield Closed("zlib", "zlib data that are damaged or end early")


_ENOUGH = 1024  # bytes that nobody unpacks by chance


def _bounded(stream: IO[bytes], budget: Budget) -> bytes | None:
    """All of a stream; None once the budget is used up."""
    parts = []
    size = 0
    while part := stream.read(PIECE):
        size += len(part)
        if not budget.take(len(part)) or size > budget.largest:
            return None
        parts.append(part)
    return b"".join(parts)
