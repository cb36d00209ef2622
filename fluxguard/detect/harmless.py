"""What a first look suspects and a second one clears, without loading the rest of detection: that costs more than most scans.

A packed file whose members hold no trigger; `flux` at the end of a quotation, in prose. True is certain: detection
would find nothing here, and open everything (a property test holds that). Whatever is not plainly so is left to it.
"""

from __future__ import annotations

from fluxguard.detect.triggers import ENVIRONMENTS, JOINED, PACKED, head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 32 << 20  # bytes that are unpacked here
MEMBERS = 1000  # of an archive: each takes a while in here
_REACH = 4096 + 64  # bytes behind its first word, within which detection reads a key in pieces
_QUOTES = (b'"', b"'", b"`")
_CLOSING = b"\\\"'`"
_STORED, _DEFLATED = 0, 8
_BLOCK = 512


def is_harmless(data: bytes, kinds: int, look: Callable[[bytes], int]) -> bool:
    """kinds: the bits that `look`, Triggers.kinds, has answered for `data`."""
    if kinds == JOINED:
        return _goes_on_nowhere(data)
    if kinds != PACKED:
        return False
    if data.startswith(b"\x1f\x8b\x08"):
        return _gzip(data, look)
    if data[257:262] == b"ustar":
        return _tar(data)
    return data.startswith((b"PK\3\4", b"PK\5\6")) and _zip(data, look)


def _goes_on_nowhere(data: bytes) -> bool:
    """Whether `flux` stands before closing quotes alone, and behind these begins no word that could be its rest."""
    if any(b"x_" + name + b"_" in data for name in ENVIRONMENTS):
        return False
    at = data.find(b"flux")
    while at >= 0:
        behind = at + 4
        if data[behind : behind + 1] in (b"_", b"\\", b"<"):
            return False
        if data[behind : behind + 1] in _QUOTES:
            rest = data[behind : behind + _REACH]
            if rest.lstrip(_CLOSING).startswith(b",") or any(quote + b"_" in rest for quote in _QUOTES):
                return False
        at = data.find(b"flux", behind)
    return True


def _gzip(data: bytes, look: Callable[[bytes], int]) -> bool:
    """One stream that fills the file (RFC 1952)."""
    content = _inflated(data, 31, LARGEST)
    return content is not None and not look(content)


def _inflated(data: bytes, wbits: int, most: int) -> bytes | None:
    """The content of one stream that goes to the end of `data`; None where it is anything else, or longer than `most`."""
    import zlib

    inflater = zlib.decompressobj(wbits)
    try:
        content = inflater.decompress(data, most + 1)
    except zlib.error:
        return None
    whole = inflater.eof and not inflater.unused_data and not inflater.unconsumed_tail
    return content if whole and len(content) <= most else None


def _tar(data: bytes) -> bool:
    """Plain headers and contents, one behind the other. What they hold has been looked at as it lies there.

    But not at what a content begins or ends with, which says that it is packed itself. POSIX.1-2017, pax, "ustar Interchange Format".
    """
    at = 0
    for _ in range(MEMBERS):
        header = data[at : at + _BLOCK]
        if not header.strip(b"\0"):
            return at > 0 and len(header) == _BLOCK and not data[at:].strip(b"\0")
        size = _tar_size(header)
        if size < 0 or at + _BLOCK + size > len(data):
            return False
        content = data[at + _BLOCK : at + _BLOCK + size]
        if header[156] in b"xg":
            if b"size=" in content or b"sparse" in content or not size:
                return False
        elif header[156] not in b"0\x005" or (header[156] == 53 and size) or head(content):
            return False
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return False


def _tar_size(header: bytes) -> int:
    """The size of what follows; -1 where the header is not an ordinary one, with a right checksum."""
    digits, total = header[124:136].strip(b" \0"), header[148:156].strip(b" \0")
    if header[257:262] != b"ustar" or not digits.isdigit() or not total.isdigit():
        return -1
    try:
        right = int(total, 8) == sum(header[:148]) + 8 * 32 + sum(header[156:])
        return int(digits, 8) if right else -1
    except ValueError:
        return -1


def _zip(data: bytes, look: Callable[[bytes], int]) -> bool:
    """Members one behind the other, each listed, then the directory, and nothing else (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16)."""
    end = data.rfind(b"PK\5\6")  # where its comment had these bytes too, it would not be as long as it says
    if data[end + 4 : end + 8] != b"\0\0\0\0":
        return False
    count, size, start = _number(data, end + 10, 2), _number(data, end + 12, 4), _number(data, end + 16, 4)
    comment = _number(data, end + 20, 2)
    if start + size != end or _number(data, end + 8, 2) != count or end + 22 + comment != len(data):
        return False
    if count > MEMBERS or b"PK\3\4" in data[start:]:  # a member that the directory does not speak of
        return False
    at, entry, left = 0, start, LARGEST
    for _ in range(count):
        behind, left = _zip_member(data, at, entry, left, look)
        if behind < 0:
            return False
        names = sum(_number(data, entry + field, 2) for field in (28, 30, 32))
        at, entry = behind, entry + 46 + names
    return at == start and entry == end


def _zip_member(data: bytes, at: int, entry: int, left: int, look: Callable[[bytes], int]) -> tuple[int, int]:
    """Where the next one begins, and how much may still be unpacked; (-1, 0) where this one is not plainly harmless."""
    import zlib

    no = -1, 0
    # The same version, flags, method, time, checksum and sizes at both places.
    if data[entry : entry + 4] != b"PK\1\2" or data[at : at + 4] != b"PK\3\4":
        return no
    if data[entry + 6 : entry + 28] != data[at + 4 : at + 26] or _number(data, entry + 6, 2) > 63:
        return no
    if (
        _number(data, entry + 8, 2) & ~0x806 or _number(data, entry + 42, 4) != at
    ):  # plain, or a name in UTF-8
        return no
    packed, size, length = _number(data, at + 18, 4), _number(data, at + 22, 4), _number(data, at + 26, 2)
    name = data[at + 30 : at + 30 + length]
    if name != data[entry + 46 : entry + 46 + length] or b"\0" in name or not name.isascii() or look(name):
        return no
    begin = at + 30 + length + _number(data, at + 28, 2)
    piece = data[begin : begin + packed]
    method = _number(data, entry + 10, 2)
    if len(piece) != packed or size > left or method not in (_STORED, _DEFLATED) or b"PK\3\4" in piece:
        return no
    content = piece if method == _STORED else _inflated(piece, -15, size)
    if content is None or len(content) != size or zlib.crc32(content) != _number(data, at + 14, 4):
        return no
    return (begin + packed, left - size) if not look(content) else no


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
