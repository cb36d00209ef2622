"""A zip archive made anew: headers, contents and gaps of all other members are copied as they lie there.

After APPNOTE.TXT 4.3: local headers with their contents, then the directory, then its end. `zipfile` reads, packs and compares; it does not
write the archive, for it would drop what only a local header says.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass

from fluxguard.respond.repacking.change import Change, must, must_stay_apart

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DESCRIBED = 8  # the flag of a member whose sum and sizes stand behind it
_ENCRYPTED = 1
_LZMA = 14
_LZMA_MARKED = 2  # the flag of an LZMA stream that marks its own end
_FULL = 0xFFFFFFFF  # the value stands elsewhere: more than 4 GiB
_ZIP64 = b"\1\0"  # what an extra field of that begins with
# How hard Deflate tried, by the flags' second and third bits.
_LEVELS = {0: 6, 2: 9, 4: 2, 6: 1}


@dataclass(slots=True)
class _Row:
    """A record of the directory. fields: as in _CENTRAL."""

    fields: list[int]
    name: bytes
    extra: bytes
    comment: bytes

    # Where the values stand among the fields.
    FLAGS, METHOD, SUM, PACKED, SIZE, OFFSET = 2, 3, 6, 7, 8, 15

    def written(self) -> bytes:
        self.fields[9:12] = [len(self.name), len(self.extra), len(self.comment)]
        return _CENTRAL.pack(b"PK\1\2", *self.fields) + self.name + self.extra + self.comment


def rebuilt(data: bytes, change: Change) -> bytes:
    """The archive without the key. Raises: Inexact."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members, comment = archive.infolist(), archive.comment
        end = len(data) - _END.size - len(comment)
        directory, rows = _directory(data, end)
        must(rows and len(rows) == len(members))
        order = sorted(range(len(rows)), key=lambda number: members[number].header_offset)
        shift = members[order[0]].header_offset - rows[order[0]].fields[_Row.OFFSET]
        stops = [members[number].header_offset for number in order[1:]] + [directory]
        parts = [data[: members[order[0]].header_offset]]
        written = len(parts[0])
        for number, stop in zip(order, stops, strict=True):
            block = _member(
                archive, members[number], rows[number], data[members[number].header_offset : stop], change
            )
            rows[number].fields[_Row.OFFSET] = written - shift
            parts.append(block)
            written += len(block)
    listed = [row.written() for row in rows]
    fresh = change.name(comment)
    fields = list(_END.unpack_from(data, end))
    fields[5:] = [sum(map(len, listed)), written - shift, len(fresh)]
    made = b"".join([*parts, *listed, _END.pack(*fields), fresh])
    _compare(data, made, change)
    return made


def _directory(data: bytes, end: int) -> tuple[int, list[_Row]]:
    """Where the directory begins, and its records. Raises: Inexact where it does not lie right before its end, or is one of more than 4 GiB."""
    must(end >= 0 and data[end : end + 4] == b"PK\5\6" and data[end - 20 : end - 16] != b"PK\6\7")
    _, disk, first, _, count, size, _, _ = _END.unpack_from(data, end)
    must(disk == first == 0 and size <= end)
    start = at = end - size
    rows = []
    for _ in range(count):
        must(at + _CENTRAL.size <= end)
        mark, *fields = _CENTRAL.unpack_from(data, at)
        behind = at + _CENTRAL.size
        cuts = [behind, behind + fields[9]]
        cuts += [cuts[1] + fields[10], cuts[1] + fields[10] + fields[11]]
        must(mark == b"PK\1\2" and _FULL not in (fields[_Row.PACKED], fields[_Row.SIZE], fields[_Row.OFFSET]))
        rows.append(_Row(fields, *(data[one:other] for one, other in zip(cuts, cuts[1:], strict=False))))
        at = cuts[-1]
    must(at == end)
    return start, rows


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, row: _Row, block: bytes, change: Change
) -> bytes:
    """A member from its header to the next one's; its row of the directory is changed with it."""
    mark, *fields = _LOCAL.unpack_from(block)
    body = _LOCAL.size + fields[8] + fields[9]
    name, extra = block[_LOCAL.size : _LOCAL.size + fields[8]], block[_LOCAL.size + fields[8] : body]
    packed, behind = block[body : body + member.compress_size], block[body + member.compress_size :]
    must(mark == b"PK\3\4" and name == row.name and len(packed) == member.compress_size)
    row.comment = change.name(row.comment)
    fresh = change.name(name)
    content = _content(archive, member, change)
    if content is None and fresh == name:
        return block
    row.name = fresh
    fields[8] = len(fresh)
    if content is not None:
        must(not extra.startswith(_ZIP64) and _FULL not in (fields[6], fields[7]))
        packed, behind = _repacked(member, row, fields, content, behind)
    return b"".join([_LOCAL.pack(mark, *fields), fresh, extra, packed, behind])


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, change: Change) -> bytes | None:
    """A member's content where it changes."""
    if f"zip:{member.filename}" not in change.touched:
        return None
    before = archive.read(member)
    after = change.content(before)
    return after if after != before else None


def _repacked(
    member: zipfile.ZipInfo, row: _Row, fields: list[int], content: bytes, behind: bytes
) -> tuple[bytes, bytes]:
    """Packed as it was packed; and what follows it. The figures of both headers are changed."""
    old = (member.CRC, member.compress_size, member.file_size)
    packed, sum_, flags = _packed(content, member)
    figures = (sum_, len(packed), len(content))
    if member.compress_type == _LZMA:
        fields[1] = row.fields[_Row.FLAGS] = member.flag_bits & ~_LZMA_MARKED | flags & _LZMA_MARKED
    row.fields[_Row.SUM : _Row.SIZE + 1] = figures
    if not member.flag_bits & _DESCRIBED:
        must(tuple(fields[5:8]) == old)
        fields[5:8] = figures
        return packed, behind
    must(tuple(fields[5:8]) in (old, (0, 0, 0)))
    if any(fields[5:8]):
        fields[5:8] = figures
    before, after = (struct.pack("<3L", *one) for one in (old, figures))
    signed = b"PK\7\x08" * behind.startswith(b"PK\7\x08")
    must(behind.startswith(signed + before))
    return packed, signed + after + behind[len(signed + before) :]


def _packed(content: bytes, like: zipfile.ZipInfo) -> tuple[bytes, int, int]:
    """What zipfile makes of a content: packed, its sum, its flags."""
    stream, member = io.BytesIO(), zipfile.ZipInfo("x")
    member.compress_type = like.compress_type
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(member, content, compresslevel=_LEVELS[like.flag_bits & 6])
    begin = _LOCAL.size + len(member.filename)
    return stream.getvalue()[begin : begin + member.compress_size], member.CRC, member.flag_bits


_SAME = (
    "compress_type", "date_time", "external_attr", "internal_attr", "create_system", "create_version", "extract_version",
    "extra", "reserved", "volume",
)  # fmt: skip


def _compare(data: bytes, made: bytes, change: Change) -> None:
    """What zipfile finds in it, and found in the one before. Raises: Inexact."""
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(io.BytesIO(made)) as new:
        pairs = list(zip(old.infolist(), new.infolist(), strict=True))
        must(new.comment == change.name(old.comment))
        must_stay_apart([one.filename for one, _ in pairs], [other.filename for _, other in pairs])
        for before, after in pairs:
            must(all(getattr(before, name) == getattr(after, name) for name in _SAME))
            must(before.flag_bits | _LZMA_MARKED == after.flag_bits | _LZMA_MARKED)
            must(after.comment == change.name(before.comment))
            must(after.filename == change.text(before.filename))
            if before.flag_bits & _ENCRYPTED:
                must((before.CRC, before.compress_size) == (after.CRC, after.compress_size))
                continue
            content = old.read(before)
            wanted = change.content(content) if f"zip:{before.filename}" in change.touched else content
            must(new.read(after) == wanted)
