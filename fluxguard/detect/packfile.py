"""What is in a pack of git's that stands outside of an object store: in a bundle, or in what a fetch left behind.

Formats: gitformat-bundle(5), gitformat-pack(5). No index is needed: the entries are read one after another, so that of a
pack that was cut off everything before the cut is seen.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

from fluxguard.detect.containers import Budget, Closed, Opened

BUNDLES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
PACKS = (b"PACK\0\0\0\2", b"PACK\0\0\0\3")
_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFS, _REF = 6, 7
_MOST = 200_000  # objects
_PIECE = 1 << 16
_SHOWN = 12  # digits of an id


class _Cut(Exception):
    """The data end, or make no sense, here."""


@dataclass(slots=True)
class _Entry:
    """An object, or what is known of it: a delta, with where its base begins or which id that has."""

    kind: int
    data: bytes
    offset: int
    base: int = -1
    named: bytes = b""


@dataclass(slots=True)
class _Reader:
    """The place up to which a pack was read, and what was found."""

    data: bytes
    at: int
    width: int
    budget: Budget
    made: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # by offset: kind and content
    offsets: dict[bytes, int] = field(default_factory=dict)  # by id
    waiting: dict[bytes, list[_Entry]] = field(default_factory=dict)  # deltas by the id of their base
    later: dict[int, list[_Entry]] = field(default_factory=dict)  # and by where their base begins

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise _Cut
        self.at += 1
        return self.data[self.at - 1]

    def entry(self) -> _Entry:
        """The next entry. Raises _Cut, also where it unpacks to more than may be."""
        offset = self.at
        byte = self.byte()
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 128:
            byte = self.byte()
            size |= (byte & 127) << shift
            shift += 7
        entry = _Entry(kind, b"", offset)
        if kind == _OFS:
            byte = self.byte()
            distance = byte & 127
            while byte & 128:
                byte = self.byte()
                distance = (distance + 1) << 7 | byte & 127
            entry.base = offset - distance
        elif kind == _REF:
            entry.named = self.data[self.at : self.at + self.width]
            self.at += self.width
        elif kind not in _KINDS:
            raise _Cut
        if not self.budget.take(size):
            raise _Cut
        entry.data = self.inflated(size)
        return entry

    def inflated(self, size: int) -> bytes:
        inflater = zlib.decompressobj()
        parts = []
        left = size
        try:
            while not inflater.eof:
                piece = inflater.unconsumed_tail or self.data[self.at : self.at + _PIECE]
                if not piece or left < 0:
                    raise _Cut
                if not inflater.unconsumed_tail:
                    self.at += len(piece)
                parts.append(inflater.decompress(piece, left + 1))
                left -= len(parts[-1])
        except zlib.error:
            raise _Cut from None
        self.at -= len(inflater.unused_data)
        if left:
            raise _Cut
        return b"".join(parts)

    def settle(self, entry: _Entry) -> Iterator[tuple[str, bytes]]:
        """What an entry makes, with all that waited for it: kind and id, and the content, of each."""
        pending = [entry]
        while pending:
            entry = pending.pop()
            if entry.kind in (_OFS, _REF):
                base = self.offsets.get(entry.named, -1) if entry.kind == _REF else entry.base
                if base not in self.made:
                    waiting = self.waiting.setdefault(entry.named, []) if entry.kind == _REF else None
                    (self.later.setdefault(base, []) if waiting is None else waiting).append(entry)
                    continue
                kind, below = self.made[base]
                made = _applied(below, entry.data, self.budget)
                if made is None:
                    continue
            else:
                kind, made = entry.kind, entry.data
            id = self.id(kind, made)
            self.made[entry.offset] = kind, made
            self.offsets[id] = entry.offset
            pending += self.waiting.pop(id, []) + self.later.pop(entry.offset, [])
            yield f"{_KINDS[kind]} {id.hex()[:_SHOWN]}", made

    def id(self, kind: int, content: bytes) -> bytes:
        digest = (hashlib.sha1 if self.width == 20 else hashlib.sha256)(usedforsecurity=False)
        digest.update(f"{_KINDS[kind]} {len(content)}\0".encode())
        digest.update(content)
        return digest.digest()

    def unsettled(self) -> list[_Entry]:
        return [entry for entries in (*self.waiting.values(), *self.later.values()) for entry in entries]


def _applied(base: bytes, delta: bytes, budget: Budget) -> bytes | None:
    if not budget.take(_said(delta)):
        return None
    try:
        return b"".join(apply_delta(base, delta))
    except (ApplyDeltaError, AssertionError, IndexError, ValueError):
        return None


def _said(delta: bytes) -> int:
    """The size of what a delta says that it makes: the second of two numbers of 7 bits a byte."""
    at = 0
    while at < len(delta) and delta[at] & 128:
        at += 1
    size = shift = 0
    for byte in delta[at + 1 : at + 10]:
        size |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            break
    return size


def members(data: bytes, budget: Budget) -> Iterator[Opened | Closed]:
    """Every object in a pack or a bundle. Its via says what it is: `bundle:blob 0123456789ab`."""
    name, at, width = "pack", 0, 20
    if data.startswith(BUNDLES):
        name, at = "bundle", data.find(b"\n\n") + 2
        width = 32 if b"\n@object-format=sha256\n" in data[:at] else 20
    if not data.startswith(PACKS, at) or len(data) < at + 12:
        yield Closed(name, "it is cut off before its first object")
        return
    count = int.from_bytes(data[at + 8 : at + 12], "big")
    reader = _Reader(data, at + 12, width, budget)
    for number in range(count):
        try:
            if number >= _MOST:
                raise _Cut
            entry = reader.entry()
        except _Cut:
            yield Closed(name, f"only {number:,} of its {count:,} objects could be read")
            break
        for what, content in reader.settle(entry):
            yield Opened(f"{name}:{what}", content)
    left = reader.unsettled()
    for entry in left:  # what a delta inserts stands in it as it is
        yield Opened(f"{name}:delta", entry.data)
    if left:
        yield Closed(name, f"{len(left):,} of its objects are made from others that are not in it")
