"""What content is packed in: gzip, bzip2, xz, zip and its relatives, tar. Bounded in size, members and depth.

A packed file that can't be opened (encrypted, damaged, unknown to us, or a bomb) is no error but a `Closed`: not
looked at is not clean.
"""

from __future__ import annotations

import io
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
MEMBERS = 20_000
_TAR_BLOCK = 512
_DEFLATED = 8
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
    """How many bytes may still be unpacked."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        """Uses up `size` bytes; False once there are none left."""
        self.left -= size
        return self.left >= 0


_STRANGERS = (
    (b"7z\xbc\xaf\x27\x1c", "7z archive: a format that fluxguard does not open"),
    (b"Rar!\x1a\x07", "RAR archive: a format that fluxguard does not open"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data: a format that fluxguard does not open"),
    (b"!<arch>\ndebian-binary", "Debian package: a format that fluxguard does not open"),
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
    elif data[:3] == b"BZh" and data[4:10] == b"1AY&SY":
        import bz2

        yield from _stream("bzip2", data, bz2.BZ2Decompressor, budget)
    elif data.startswith(b"\xfd7zXZ\0"):
        import lzma

        yield from _stream("xz", data, lambda: lzma.LZMADecompressor(memlimit=256 << 20), budget)
    elif data.startswith((b"PACK\0\0\0", b"# v2 git bundle\n", b"# v3 git bundle\n")):
        from fluxguard.detect.packfile import members

        yield from members(data, budget)
    elif data[257:262] == b"ustar":
        yield from _tar(data, budget)
    elif data.startswith((b"PK\3\4", b"PK\5\6")) or data[-22:-18] == b"PK\5\6":
        yield from _zip(data, budget)


def _too_large(via: str) -> Closed:
    return Closed(via, "unpacks to more than the limit")


def _gzip(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    parts: list[bytes] = []
    reason = ""
    at = 0
    while not reason and data[at : at + 2] == b"\x1f\x8b":
        inflater = zlib.decompressobj(wbits=31)
        step = _FIRST_STEP
        try:
            while not inflater.eof and not reason:
                piece = data[at : at + step]
                part = inflater.decompress(piece, PIECE)
                at += len(piece) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
                step = min(2 * step, _LAST_STEP)
                if not budget.take(len(part)):
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


def _stream(
    via: str, data: bytes, decompressor: Callable[[], Any], budget: Budget
) -> Iterator[Opened | Closed]:
    parts: list[bytes] = []
    reason = ""
    at = streams = 0
    while at < len(data) and not reason:
        unpacker = decompressor()
        step = _FIRST_STEP
        try:
            while not unpacker.eof and not reason:
                piece = data[at : at + step] if unpacker.needs_input else b""
                part = unpacker.decompress(piece, PIECE)
                at += len(piece)
                step = min(2 * step, _LAST_STEP)
                if not budget.take(len(part)):
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
    if len(members) > MEMBERS:
        yield Closed("", f"zip archive with more than {MEMBERS:,} members")
        return
    for member in members:
        if not member.is_dir():
            yield from _zip_member(archive, member, budget)
    if _has_unlisted(data, members):
        yield Closed("", "data in the zip archive that its directory does not list")


def _has_unlisted(data: bytes, members: list[zipfile.ZipInfo]) -> bool:
    """Whether a member's header stands in the archive that the directory does not speak of, before or behind it too.

    A member that is only stored may be an archive itself, with headers of its own: they are looked at as its content.
    """
    listed = {member.header_offset for member in members}
    stored = {member.header_offset: member for member in members if member.compress_type == 0}
    at = data.find(b"PK\3\4")
    while at >= 0:
        if at not in listed and _is_member_header(data, at):
            return True
        behind = at + 4
        if at in stored:
            size = min(stored[at].compress_size, stored[at].file_size)
            lengths = int.from_bytes(data[at + 26 : at + 28], "little")
            lengths += int.from_bytes(data[at + 28 : at + 30], "little")
            behind = max(behind, at + 30 + lengths + size)
        at = data.find(b"PK\3\4", behind)
    return False


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
    members = MEMBERS
    at = 0
    while True:
        count = 0
        stream.seek(at)
        try:
            archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115
            while (member := archive.next()) is not None:
                count += 1
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member it has seen
                if count > members:
                    yield Closed("", f"tar archive with more than {MEMBERS:,} members")
                    return
                if member.isreg():
                    yield from _tar_member(archive, member, budget)
            end = int(archive.offset)
        except Exception as error:
            # What describes a member, and none behind it: as `git archive` writes an empty tree.
            end = stream.tell() if str(error) == "end of file header" else -1
        members -= count
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


def _bounded(stream: IO[bytes], budget: Budget) -> bytes | None:
    """All of a stream; None once the budget is used up."""
    parts = []
    while part := stream.read(PIECE):
        if not budget.take(len(part)):
            return None
        parts.append(part)
    return b"".join(parts)
