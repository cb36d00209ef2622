"""Which trees of a pack name which: gone through once, so that a key is traced up to the commits however deep its path is.

A tree that is kept as a delta names what its base names, but for what the delta leaves out, and what it inserts. So each
tree is noted for what it inserts alone; whoever asks begins with the trees that insert a wanted id, and follows the deltas
down from there for as long as it still stands in them. What is noted may be too much, and is read before it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fluxguard.repo import delta as deltas
from fluxguard.repo.arrays import np, npt
from fluxguard.repo.forest import Forest
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.links import SEAM, Prefixes
from fluxguard.repo.pack import TREE
from fluxguard.repo.trace import naming


class TooMuch(Exception):
    """More is made of a pack's deltas than can be read in reasonable time."""


Wanted = npt.NDArray[np.bool_]
Owners = npt.NDArray[np.uint32]
_BITS = 24  # of an id, by which most of what nobody will ask for is told
_SHIFT = np.uint64(64 - _BITS)
_WORTH = 20  # as in audit.sift: where the result is so many times longer, a delta is taken apart
_CONTEXT = 64  # bytes around what a delta inserts; an id and the NUL before it have 33
_FLUSH = 1 << 20
WORD = 8
_STEP = 600  # bytes; what it costs to make a content, beside its size
_LEAST_NAMES = 8 << 20
_FEW = 8  # ids, up to which each is looked for by itself


def prefixes(ids: Iterable[bytes]) -> Prefixes:
    """The first eight bytes of ids, as numbers."""
    return np.frombuffer(b"".join(id[:WORD] for id in ids), dtype=">u8").astype(np.uint64)


class Filter:
    """What may be asked for: the trees, and the ids that are wanted first."""

    def __init__(self) -> None:
        self._table: Wanted = np.zeros(1 << _BITS, bool)

    def add(self, names: Prefixes) -> None:
        """Takes in more."""
        self._table[names >> _SHIFT] = True

    def passes(self, names: Prefixes) -> Wanted:
        """Which of these may be asked for."""
        found: Wanted = self._table[names >> _SHIFT]
        return found


def most_names(forest: Forest) -> int:
    """How many ids the trees of a pack may insert, before that counts as meant to exhaust us: an id takes 20 bytes, packed too."""
    return _LEAST_NAMES + forest.packed((TREE,))


def collected(
    forest: Forest, roots: list[int], wanted: Filter, most: int = _LEAST_NAMES
) -> tuple[bytes, bytes] | None:
    """What the trees below some roots insert of what may be asked for: ids by their first bytes, and who inserts each.

    None where they are more than `most`.
    """
    names: list[Prefixes] = []
    owners: list[Owners] = []
    parts: list[bytes] = []
    entries: list[int] = []
    size = count = 0

    def flush() -> int:
        at, words = _behind_nuls(SEAM.join([*parts, b""]))
        good = np.flatnonzero(wanted.passes(words))
        starts = np.cumsum([0, *(len(part) + len(SEAM) for part in parts)])
        names.append(words[good])
        owners.append(np.array(entries, np.uint32)[np.searchsorted(starts, at[good], side="right") - 1])
        return len(good)

    for entry, data, delta in forest.walk(roots):
        part = data
        if delta is not None and len(data) > len(delta) * _WORTH:
            part = SEAM.join(deltas.novel(delta, data, _CONTEXT))
        parts.append(part)
        entries.append(entry)
        size += len(part)
        if size > _FLUSH:
            count += flush()
            parts, entries, size = [], [], 0
            if count > most:
                return None
    if parts:
        flush()
    return b"".join(one.tobytes() for one in names), b"".join(one.tobytes() for one in owners)


class Edges:
    """Of one pack. values: what `collected` made of its trees."""

    def __init__(self, forest: Forest, values: Iterable[tuple[bytes, bytes]]) -> None:
        listed = list(values)
        names = np.frombuffer(b"".join(one for one, _ in listed), np.uint64)
        order = np.argsort(names, kind="stable")
        self._forest = forest
        self._left = forest.allowed((TREE,))
        self._names = names[order]
        self._owners = np.frombuffer(b"".join(one for _, one in listed), np.uint32)[order]

    def naming(self, wanted: frozenset[bytes]) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
        """The trees that name any of the wanted ids, as entries of the pack, each with its entries that do.

        Raises TooMuch where a pack, by what its deltas make of few bytes, is meant to exhaust us.
        """
        beginning: dict[int, set[bytes]] = {}
        ids = sorted(wanted)
        names = prefixes(ids)
        firsts, lasts = (np.searchsorted(self._names, names, side) for side in ("left", "right"))
        for number in np.flatnonzero(firsts < lasts).tolist():
            for owner in self._owners[firsts[number] : lasts[number]].tolist():
                beginning.setdefault(owner, set()).add(ids[number])
        done: set[int] = set()
        # What a tree has from its base shows on the way down from there: so the upper ones come first.
        for entry in self._by_depth(beginning):
            if entry not in done:
                yield from self._down_from(entry, beginning, done)

    def _by_depth(self, entries: Iterable[int]) -> list[int]:
        """Entries, those first that fewer deltas lie above. A chain is gone up once, however many of its entries are asked for."""
        bases = self._forest.bases
        depths: dict[int, int] = {}
        for entry in entries:
            chain = []
            while entry >= 0 and entry not in depths:
                chain.append(entry)
                entry = int(bases[entry])
            depth = depths[entry] if entry >= 0 else -1
            for number, each in enumerate(reversed(chain), 1):
                depths[each] = depth + number
        return sorted(entries, key=depths.__getitem__)

    def _down_from(
        self, top: int, beginning: dict[int, set[bytes]], done: set[int]
    ) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
        forest = self._forest
        nothing: frozenset[bytes] = frozenset()
        pending: list[tuple[int, bytes | None, frozenset[bytes]]] = [(top, None, nothing)]
        while pending:
            here, base, inherited = pending.pop()
            done.add(here)
            try:
                data = forest.content(here, self._pay) if base is None else forest.made(here, base)
            except Damaged:
                continue
            self._pay(len(data))
            asked = inherited | beginning.get(here, nothing)
            held = _held(data, asked)
            if held:
                # What has most below it comes last, when nothing else needs this content any longer.
                pending += [(child, data, held) for child in forest.made_from(here)]
                found = list(naming(data, held))
                if found:
                    yield here, found

    def _pay(self, size: int) -> None:
        """So many bytes were made of what the pack holds."""
        self._left -= size + _STEP
        if self._left < 0:
            raise TooMuch


def _held(data: bytes, asked: frozenset[bytes] | set[bytes]) -> frozenset[bytes]:
    """Which of the ids stand behind a NUL, as they do in an entry, in one pass where they are many; it may be too many."""
    if len(asked) <= _FEW:
        return frozenset(id for id in asked if id in data)
    ids = list(asked)
    there = np.isin(prefixes(ids), _behind_nuls(data)[1])
    return frozenset(ids[number] for number in np.flatnonzero(there).tolist())


def _behind_nuls(data: bytes) -> tuple[npt.NDArray[np.intp], Prefixes]:
    """Where something begins behind a NUL, as an id does in an entry of a tree, and its first bytes as a number."""
    buffer = np.frombuffer(data + bytes(WORD), np.uint8)
    at = np.flatnonzero(buffer[:-WORD] == 0) + 1
    words = np.lib.stride_tricks.as_strided(
        buffer[:WORD].view(">u8"), shape=(len(buffer) - WORD + 1,), strides=(1,)
    )
    return at, words[at].astype(np.uint64)
