"""Packs written by hand, entry by entry, so that they can hold what git itself would never write.

Format: gitformat-pack(5). `git index-pack` makes the index, and so proves that a pack is what git can read.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=folder, input=stdin, env=ENVIRONMENT, capture_output=True, check=True
    ).stdout


def init(folder: Path, sha256: bool = False) -> Path:
    """An empty bare repository."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "--bare", "--object-format=" + ("sha256" if sha256 else "sha1"))
    return folder


@dataclass(frozen=True)
class Copy:
    """Copies from the base. long: writes a size of 65,536 as three operand bytes instead of none."""

    offset: int
    size: int
    long: bool = False

    def code(self) -> bytes:
        code, operands = 0x80, b""
        for bit in range(4):
            byte = self.offset >> 8 * bit & 255
            if byte:
                code |= 1 << bit
                operands += bytes([byte])
        size = 0 if self.size == 0x10000 and not self.long else self.size
        for bit in range(3):
            byte = size >> 8 * bit & 255
            if byte:
                code |= 16 << bit
                operands += bytes([byte])
        return bytes([code]) + operands


@dataclass(frozen=True)
class Insert:
    """Inserts bytes: 1 to 127 of them."""

    data: bytes

    def code(self) -> bytes:
        return bytes([len(self.data)]) + self.data


Instruction = Copy | Insert


def inserts(data: bytes) -> list[Instruction]:
    """As many insert instructions as `data` needs."""
    return [Insert(data[at : at + 127]) for at in range(0, len(data), 127)]


def made(base: bytes, instructions: Sequence[Instruction]) -> bytes:
    """What the instructions make of a base."""
    return b"".join(
        base[one.offset : one.offset + one.size] if isinstance(one, Copy) else one.data
        for one in instructions
    )


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def delta(base_size: int, result_size: int, instructions: Sequence[Instruction]) -> bytes:
    return varint(base_size) + varint(result_size) + b"".join(one.code() for one in instructions)


def header(kind: int, size: int) -> bytes:
    """Type and size of an entry."""
    byte, size = kind << 4 | size & 15, size >> 4
    out = b""
    while size:
        out += bytes([byte | 128])
        byte, size = size & 127, size >> 7
    return out + bytes([byte])


def distance(value: int) -> bytes:
    """How far back the base of an OFS_DELTA lies."""
    out = bytes([value & 127])
    value >>= 7
    while value:
        value -= 1
        out = bytes([value & 127 | 128]) + out
        value >>= 7
    return out


def digest(sha256: bool = False) -> Callable[[bytes], bytes]:
    """The repository's hash."""
    return lambda data: (hashlib.sha256 if sha256 else hashlib.sha1)(data).digest()


def object_id(kind: int, data: bytes, sha256: bool = False) -> bytes:
    return digest(sha256)(NAMES[kind] + b" %d\0" % len(data) + data)


@dataclass(frozen=True)
class Item:
    """An entry to be written. base: of a delta, the item in the list that it is made from; `named`: by its id."""

    kind: int
    data: bytes
    base: int | None = None
    instructions: tuple[Instruction, ...] = ()
    named: bool = False

    def __repr__(self) -> str:
        data = self.data if len(self.data) < 300 else f"{len(self.data)} bytes: {self.data[:100]!r}"
        return f"Item({self.kind}, {data!r}, {self.base}, {self.instructions}, {self.named})"


def write(items: Sequence[Item], order: Sequence[int] | None = None, sha256: bool = False) -> bytes:
    """A pack. order: in which the items are written; a base that comes later has to be named by its id."""
    places: dict[int, int] = {}
    out = bytearray(b"PACK\0\0\0\2" + len(items).to_bytes(4, "big"))
    for number in order if order is not None else range(len(items)):
        item = items[number]
        places[number] = len(out)
        if item.base is None:
            out += header(item.kind, len(item.data)) + zlib.compress(item.data, 1)
            continue
        base = items[item.base]
        content = delta(len(base.data), len(item.data), item.instructions)
        if item.named or item.base not in places:
            out += header(REF_DELTA, len(content)) + object_id(base.kind, base.data, sha256)
        else:
            out += header(OFS_DELTA, len(content)) + distance(places[number] - places[item.base])
        out += zlib.compress(content, 1)
    return bytes(out) + digest(sha256)(bytes(out))


def seal(body: bytes, sha256: bool = False) -> bytes:
    """A pack's bytes with the checksum behind them."""
    return body + digest(sha256)(body)


def index_of(
    pack: bytes, entries: Sequence[tuple[bytes, int]], version: int = 2, sha256: bool = False
) -> bytes:
    """An index that says whatever it is told to. entries: (id, offset)."""
    listed = sorted(entries)
    firsts = [id[0] for id, _ in listed]
    fan = b"".join(bisect_right(firsts, first).to_bytes(4, "big") for first in range(256))
    if version == 1:
        body = fan + b"".join(offset.to_bytes(4, "big") + id for id, offset in listed)
    else:
        far = [offset for _, offset in listed if offset >= 1 << 31]
        near = [offset if offset < 1 << 31 else 1 << 31 | far.index(offset) for _, offset in listed]
        body = b"\xfftOc\0\0\0\2" + fan + b"".join(id for id, _ in listed) + bytes(4 * len(listed))
        body += b"".join(offset.to_bytes(4, "big") for offset in near)
        body += b"".join(offset.to_bytes(8, "big") for offset in far)
    body += pack[-32 if sha256 else -20 :]
    return body + digest(sha256)(body)


def install(folder: Path, pack: bytes, version: int = 2, index: bytes | None = None) -> Path:
    """Puts a pack into a repository, with an index of git's making or a given one."""
    name = f"pack-{hashlib.sha1(pack).hexdigest()}"
    path = folder / "objects" / "pack" / f"{name}.pack"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack)
    if index is None:
        git(folder, "index-pack", f"--index-version={version}", str(path))
    else:
        path.with_suffix(".idx").write_bytes(index)
    return path


def objects(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every object, as git gives it: by id, its kind and content."""
    raw = git(folder, "cat-file", "--batch-all-objects", "--batch", "--unordered", "--buffer")
    return dict(_listed(raw))


def _listed(raw: bytes) -> Iterator[tuple[str, tuple[str, bytes]]]:
    at = 0
    while at < len(raw):
        end = raw.index(b"\n", at)
        id, kind, size = raw[at:end].decode().split()
        yield id, (kind, raw[end + 1 : end + 1 + int(size)])
        at = end + 2 + int(size)
