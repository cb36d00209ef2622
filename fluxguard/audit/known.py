"""What earlier audits found in packs, in loose objects and in a repository as a whole: from the cache's records, and into them."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fluxguard.audit import cache as caches
from fluxguard.audit.cache import Cache, Identity, Record
from fluxguard.audit.depot import Bytes, Depot, Opened
from fluxguard.audit.sighting import Sighting
from fluxguard.audit.whole import NOTHING, Clear, Stamps, Whole, loose_digest, loose_stamps, state
from fluxguard.repo.arrays import np, npt
from fluxguard.repo.links import Ints, Prefixes, Present
from fluxguard.repo.pack import KINDS
from fluxguard.repo.store import Store

_NUMBERS = {name: number for number, name in KINDS.items()}
_STAMP = 5
_FOUND = 5  # members of `Content.value` that say what was found; the last two say how much there was
PASSING = "took too long here"  # in a reason of detect.engine's that may not be one on another day
Home = tuple[bytes, bytes, str]
Array = npt.NDArray[Any]


@dataclass(slots=True)
class Content:
    """What was found in some objects. All ids are in hex.

    unread: (id, where inside, why). lost: what is not there, with all that name it. homes: (mode, name, id).
    pointers: ids of objects of Git LFS that blobs stand for. objects, bytes: how much of it there was. outside: what else they name, by its first eight bytes.
    """

    sightings: list[Sighting] = field(default_factory=list)
    unread: list[tuple[str, str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    homes: set[Home] = field(default_factory=set)
    pointers: set[str] = field(default_factory=set)
    objects: int = 0
    bytes: int = 0
    outside: Prefixes = field(default_factory=lambda: np.zeros(0, np.uint64))

    def value(self) -> list[Any]:
        """As JSON carries it, in an order of its own."""
        homes = sorted([mode.decode("latin-1"), name.decode("latin-1"), id] for mode, name, id in self.homes)
        sightings = [one.values() for one in sorted(self.sightings, key=Sighting.values)]
        pointers = sorted(self.pointers)
        return [sightings, sorted(self.unread), sorted(self.lost), homes, pointers, self.objects, self.bytes]

    @classmethod
    def of(cls, value: Any, outside: Prefixes) -> Content:
        """What `value` made."""
        sightings, unread, lost, homes, pointers, objects, size = value
        return cls(
            [Sighting.of(one) for one in sightings],
            [(id, where, why) for id, where, why in unread],
            [(id, owner) for id, owner in lost],
            {(mode.encode("latin-1"), name.encode("latin-1"), id) for mode, name, id in homes},
            {*pointers},
            objects,
            size,
            outside,
        )

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.sightings or self.unread or self.homes or self.pointers)

    def clear(self, clear: Clear) -> bool:
        """Whether it may be kept: no text in it is a key, and nothing is unread that may be read another time."""
        if any(PASSING in why for _, _, why in self.unread):
            return False
        texts = {text for one in self.sightings for text in (*one.via, one.allowed)}
        texts |= {text for _, where, why in self.unread for text in (where, why)}
        texts |= {name.decode("utf-8", "surrogateescape") for _, name, _ in self.homes}
        return all(map(clear, texts))


class Known:
    """What is known of packs and objects. With no cache, nothing is, and nothing is kept."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._identities: dict[str, Identity] = {}
        self._records: dict[str, Record] = {}
        self._named: dict[str, Prefixes] = {}

    # --- packs ---------------------------------------------------------------------------------------------------

    def kinds(self, path: str, width: int) -> Bytes | None:
        """The kinds of a pack's objects, in the order of its index, where the pack is known."""
        if self._cache is None:
            return None
        identity = caches.identity(path, width)
        if identity is None or not self._cache.settled(*identity.seen):
            return None
        self._identities[path] = identity
        record = self._cache.read(identity.name, identity.value)
        if record is None:
            return None
        self._records[path] = record
        return record.arrays["kinds"]

    def pack(self, opened: Opened) -> Content:
        """What was found in a pack that is known."""
        record = self._records[opened.path]
        return Content.of(record.value, record.arrays["outside"])

    def outside(self, opened: Opened) -> Prefixes:
        """What the objects of a known pack name that was in other places."""
        return self._records[opened.path].arrays["outside"]

    def keep_pack(self, opened: Opened, content: Content, clear: Clear) -> None:
        """Keeps what was found in a pack, all of which was read."""
        identity = self._identities.get(opened.path)
        if self._cache is None or identity is None or not content.clear(clear):
            return
        if not _same(opened, identity):
            return  # what was opened is not what was there at the start
        arrays: dict[str, Array] = {"kinds": opened.kinds, "outside": content.outside}
        record = self._records[opened.path] = Record(content.value(), arrays)
        self._cache.write(identity.name, identity.value, record)

    def may_name(self, opened: Opened, wanted: Iterable[bytes]) -> frozenset[bytes]:
        """Which of these ids the objects of a pack may name, all others being named by none of them; all where it is not known.

        What they name was in the pack when it was read, or elsewhere, or missing: the record tells of each.
        """
        record = self._records.get(opened.path)
        if record is None:
            return frozenset(wanted)
        if opened.path not in self._named:
            mine = np.ascontiguousarray(opened.ids[:, :8]).view(">u8").ravel().astype(np.uint64)
            lost = np.array([int(id[:16], 16) for id, _ in record.value[2]], np.uint64)
            self._named[opened.path] = np.sort(np.concatenate([mine, record.arrays["outside"], lost]))
        there = self._named[opened.path]
        listed = list(wanted)
        asked = np.frombuffer(b"".join(id[:8] for id in listed), dtype=">u8").astype(np.uint64)
        at = np.minimum(np.searchsorted(there, asked), max(len(there) - 1, 0))
        hit = np.flatnonzero(there[at] == asked) if len(there) else np.zeros(0, np.int64)
        return frozenset(listed[number] for number in hit.tolist())

    def aside(self, opened: Opened, what: str) -> Record | None:
        """What was worked out from a pack that is known, for some purpose of its own."""
        identity = self._identities.get(opened.path)
        if self._cache is None or identity is None or opened.path not in self._records:
            return None
        return self._cache.read(f"{identity.name} {what}", identity.value + what.encode())

    def keep_aside(
        self, opened: Opened, what: str, record: Record, texts: Iterable[str], clear: Clear
    ) -> None:
        """Keeps that, where the pack is known and still the same. texts: all in it that could hold a key."""
        identity = self._identities.get(opened.path)
        if self._cache is None or identity is None or opened.path not in self._records:
            return
        if _same(opened, identity) and all(map(clear, set(texts))):
            self._cache.write(f"{identity.name} {what}", identity.value + what.encode(), record)

    # --- loose objects -------------------------------------------------------------------------------------------

    def loose(self, of: Store, present: Callable[[], Present]) -> Loose:
        """The loose objects of a store."""
        return Loose(self._cache, of, present)

    # --- the whole -----------------------------------------------------------------------------------------------

    def whole(self, depots: Sequence[Depot], loose: Sequence[Loose]) -> Whole:
        """What was worked out from all of it together."""
        for depot, singles in zip(depots, loose, strict=True):
            known = all(path in self._identities for path in depot.store.packs) and len(
                depot.store.packs
            ) == len(depot.packs)
            if not known or not singles.settled or any(one.path not in self._records for one in depot.packs):
                return NOTHING
        if self._cache is None:
            return NOTHING
        stores = [depot.store for depot in depots]
        return Whole(self._cache, *state(stores, self._identities, [singles.digest() for singles in loose]))

    def close(self) -> None:
        """Nothing more is kept."""
        if self._cache is not None:
            self._cache.close()


class Loose:
    """The loose objects of a store: which of them are known, and what was found in those.

    pending: ids of the others, which are to be read. known: the kind of each that is known. content: what was found in those.
    settled: whether nothing among them changed just now.
    """

    def __init__(self, cache: Cache | None, of: Store, present: Callable[[], Present]) -> None:
        self._cache = cache
        self._store = of
        self._name = f"loose {of.width} {os.path.realpath(of.path)}"
        self.pending: list[str] = list(of.loose)
        self.known: dict[str, str] = {}
        self.content = Content()
        self._stamps: Stamps = {}
        self._rows: dict[str, tuple[int, list[Any] | None, Prefixes]] = {}
        self._dropped = False
        self.settled = True
        if cache is not None and of.loose:
            self._look(cache, present)

    def _look(self, cache: Cache, present: Callable[[], Present]) -> None:
        self._stamps = loose_stamps(cache, self._store)
        self.settled = len(self._stamps) == len(self._store.loose)
        record = cache.read(self._name, b"")
        if record is not None:
            self._recall(record, present)
            self.pending = [id for id in self._store.loose if id not in self.known]

    def _recall(self, record: Record, present: Callable[[], Present]) -> None:
        """Takes up what is said of the objects that are still the same, and name nothing that has gone."""
        size, of = self._store.width, record.arrays
        ids = np.frombuffer(of["ids"].tobytes(), np.uint8).reshape(-1, size)
        stamps = of["stamps"].reshape(-1, _STAMP).tolist()
        names, ends = of["names"], of["ends"].tolist()
        gone = self._gone(names, of["ends"], present)
        kinds, sizes = of["kinds"].tolist(), of["sizes"].tolist()
        start = 0
        for row, end in enumerate(ends):
            id = ids[row].tobytes().hex()
            if self._stamps.get(id) == tuple(stamps[row]) and row not in gone:
                found = record.value.get(id)
                self.known[id] = KINDS[kinds[row]]
                self._take(id, KINDS[kinds[row]], sizes[row], found, names[start:end])
            else:
                self._dropped = True
            start = end

    def _gone(self, names: Prefixes, ends: Ints, present: Callable[[], Present]) -> set[int]:
        if not len(names):
            return set()
        lacking = np.flatnonzero(present().lack(names))
        return set(np.searchsorted(ends, lacking, side="right").tolist())

    def _take(self, id: str, kind: str, size: int, found: Any, names: Prefixes) -> None:
        self._rows[id] = (size, found, names)
        self.content.objects += 1
        self.content.bytes += size
        if found:
            one = Content.of([*found, 0, 0], names)
            self.content.sightings += one.sightings
            self.content.unread += one.unread
            self.content.homes |= one.homes
            self.content.pointers |= one.pointers

    def keep(self, read: Mapping[str, tuple[str, int, Content]], clear: Clear) -> None:
        """Keeps what was found in objects that were read, each (kind, size, what was found)."""
        if self._cache is None:
            return
        kinds = dict(self.known)
        fresh = False
        for id, (kind, size, content) in read.items():
            if id in self._stamps and not content.lost and content.clear(clear):
                found = content.value()[:_FOUND] if content else None
                self._rows[id] = (size, found, content.outside)
                kinds[id] = kind
                fresh = True
        if fresh or self._dropped:
            self._cache.write(self._name, b"", self._record(kinds))

    def _record(self, kinds: Mapping[str, str]) -> Record:
        ids = list(kinds)
        rows = [self._rows[id] for id in ids]
        return Record(
            {id: found for id, (_, found, _) in zip(ids, rows, strict=True) if found},
            {
                "ids": np.frombuffer(bytes.fromhex("".join(ids)), np.uint8),
                "stamps": np.array([self._stamps[id] for id in ids], np.int64).ravel(),
                "kinds": np.array([_NUMBERS[kinds[id]] for id in ids], np.uint8),
                "sizes": np.array([size for size, _, _ in rows], np.int64),
                "names": np.concatenate([np.zeros(0, np.uint64), *(names for _, _, names in rows)]),
                "ends": np.cumsum([len(names) for _, _, names in rows], dtype=np.int64),
            },
        )

    def digest(self) -> str:
        """Which objects these are."""
        return loose_digest(self._stamps)


def _same(opened: Opened, identity: Identity) -> bool:
    """Whether the pack that was read is the one that there was at the start."""
    return [*map(caches.stamp, opened.pack.seen)] == [*map(caches.stamp, identity.seen)]


class Table:
    """Values that many rows share, each once: texts, bytes, numbers, None and tuples of them, as JSON carries them."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.texts: set[str] = set()
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        """The number of a value in the table."""
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(self.packed(value))
        return self._numbers[value]

    def packed(self, value: Any) -> Any:
        """A value as JSON carries it."""
        if isinstance(value, bytes):
            self.texts.add(value.decode("utf-8", "surrogateescape"))
            return {"bytes": base64.b64encode(value).decode()}
        if isinstance(value, str):
            self.texts.add(value)
        return [self.packed(one) for one in value] if isinstance(value, tuple) else value


def unpacked(value: Any) -> Any:
    """A value as it was before `Table` took it."""
    if isinstance(value, dict):
        return base64.b64decode(value["bytes"])
    return tuple(map(unpacked, value)) if isinstance(value, list) else value
