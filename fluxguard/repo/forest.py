"""The delta trees of a pack: which entries are deltas of which, in shares of about the same work, and walked in bounded memory.

Each entry is inflated once and each delta applied once. Of an entry's deltas the one with the most below it comes last,
and then nothing needs the entry any longer: so at most log2(entries) contents are held at a time, however long a chain is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fluxguard.repo import delta as deltas
from fluxguard.repo.arrays import np, npt
from fluxguard.repo.distinct import distinct
from fluxguard.repo.inflate import TRUSTED, Damaged, decompress, error, inflate
from fluxguard.repo.pack import Pack, release

TOO_MUCH = "more is made of the deltas around it than can be read in reasonable time"
_LEAST_MADE = (
    4 << 30
)  # bytes of contents that a walk may make of its entries, however few bytes those have ...
_PER_BYTE = 10_000  # ... and so many for each of theirs: a hundred times what histories of text come to
IN_MEMORY = 32 << 20  # bytes; larger objects, and what is made from them, are left to be read in pieces
TOO_LARGE = "it is too large to be held in memory"
_RELEASE = (
    40 << 20
)  # bytes of the pack that may have come into memory, after which its pages are given back, if they are many
_AROUND = (
    2 << 20
)  # bytes that the system may bring in around each that is touched: Linux maps whole large folios
_SHARE = 2 << 20  # bytes of contents and deltas
_MOST_MADE = (
    256 << 30
)  # bytes of contents below the roots of one walk; a few bytes of delta can ask for 32 MiB each
_TURN = 1 << 14  # entries whose numbers are at hand at a time
_EACH = 600  # bytes; what an entry costs beside its size

# What is to be done with an entry on a walk.
_DERIVED, _LAST, _BASE, _AT_ONCE, _GIVE_BACK = 1, 2, 4, 8, 16

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Step = tuple[int, bytes, bytes | None]


def allowed(packed: int) -> int:
    """How many bytes may be made of so many packed ones, before that counts as meant to exhaust us."""
    return min(_MOST_MADE, max(_LEAST_MADE, _PER_BYTE * packed))


class TooLarge(Exception):
    """An entry's content is not to be held in memory."""


class _TooMuch(Exception):
    """So much was made already that no more will be."""


@dataclass(slots=True)
class _Level:
    """Entries that are equally many deltas away from their roots. over: of each, which of the level above it is made from.

    starts, counts: for each of the level above, where those that are made from it begin, and how many they are.
    """

    entries: Ints
    over: Ints
    starts: Ints
    counts: Ints


class _Course:
    """The order of a walk, worked out for all of its entries at once."""

    def __init__(self, levels: list[_Level], pack: Pack) -> None:
        sizes = [np.ones(len(level.entries), np.int64) for level in levels]
        for above, below, level in zip(
            reversed(sizes[:-1]), reversed(sizes[1:]), reversed(levels[1:]), strict=True
        ):
            above += np.bincount(level.over, weights=below, minlength=len(above)).astype(np.int64)
        total = int(sizes[0].sum())
        self.entries = np.zeros(total, np.int64)
        self.what = np.zeros(total, np.uint8)
        place = np.full(1, -1, np.int64)
        for depth, (level, size) in enumerate(zip(levels, sizes, strict=True)):
            before = np.cumsum(size) - size
            place = place[level.over] + 1 + before - before[level.starts[level.over]]
            self.entries[place] = level.entries
            self.what[place] = (size > 1) * np.uint8(_BASE)
            if depth:
                self.what[place] |= np.uint8(_DERIVED)
                ends = (level.starts + level.counts)[level.counts > 0] - 1
                self.what[place[ends]] |= np.uint8(_LAST)
        packed = pack.end[self.entries] - pack.begin[self.entries]
        self.packed = int(packed.sum())
        self.what[(packed < TRUSTED) & (pack.size[self.entries] <= IN_MEMORY)] |= np.uint8(_AT_ONCE)
        moves = np.diff(pack.begin[self.entries] // _AROUND, prepend=-1) != 0
        turns = np.cumsum(packed + moves * _AROUND) // _RELEASE
        self.what[np.flatnonzero(np.diff(turns))] |= np.uint8(_GIVE_BACK)

    def steps(self, pack: Pack) -> Iterator[tuple[int, int, int, int, int]]:
        """Entry by entry: its number, where its bytes begin and end, what they inflate to, what is to be done."""
        for start in range(0, len(self.entries), _TURN):
            entries = self.entries[start : start + _TURN]
            yield from zip(
                entries.tolist(),
                pack.begin[entries].tolist(),
                pack.end[entries].tolist(),
                pack.size[entries].tolist(),
                self.what[start : start + _TURN].tolist(),
                strict=True,
            )


class Forest:
    """All entries of certain kinds, as trees of deltas.

    large: entries that were passed over for their size, with all that is made from them. broken: entries that can't be
    read, with the reason. Both grow while the forest is walked.
    """

    def __init__(self, pack: Pack, kinds: Sequence[int]) -> None:
        self._pack = pack
        chosen = np.isin(pack.kind, kinds)
        derived = np.nonzero(chosen & (pack.base >= 0))[0]
        bases = pack.base[derived]
        order = np.argsort(bases, kind="stable")
        self._children = derived[order]
        counts = np.bincount(bases, minlength=len(pack))
        self._last = np.cumsum(counts)
        self._first = self._last - counts
        self._begin = pack.begin.data
        self._end = pack.end.data
        self._size = pack.size.data
        self._weights = self._weighed(derived)
        self._roots = np.nonzero(chosen & (pack.base < 0))[0]
        self.large: list[int] = []
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._children) + len(self._roots)

    def _weighed(self, derived: Ints) -> Ints:
        """How many bytes, about, each entry and all that hangs on it come to: summed from the ends of the chains."""
        weight = np.minimum(self._pack.size, IN_MEMORY) + _EACH
        hanging = self._pack.base < 0
        levels = []
        while len(derived):
            ready = hanging[self._pack.base[derived]]
            levels.append(derived[ready])
            hanging[levels[-1]] = True
            derived = derived[~ready]
        for entries in reversed(levels):
            np.add.at(weight, self._pack.base[entries], weight[entries])
        return weight

    def shares(self, most: int, kinds: Sequence[int] = ()) -> list[list[int]]:
        """The roots, of certain kinds where any are given, in the order in which they lie, cut into lists of about the same work.

        most: how many lists at the most; fewer where a list would hold little.
        """
        roots = self._roots[np.isin(self._pack.kind[self._roots], kinds)] if kinds else self._roots
        if not len(roots):
            return []
        total = np.cumsum(self._weights[roots])
        count = min(most, int(total[-1]) // _SHARE + 1)
        cuts = np.searchsorted(total, np.arange(1, count) * (int(total[-1]) / count))
        return [part.tolist() for part in np.split(roots, distinct(cuts)) if len(part)]

    def walk(self, roots: Sequence[int]) -> Iterator[Step]:
        """Every entry below the given roots: (entry, content, the delta that it was made by or None)."""
        view = memoryview(self._pack.map)
        course = self._course(np.array(roots, dtype=np.int64))
        bases: list[bytes] = []  # what the next entries are made from, the nearest last
        made_in_all = 0
        most = allowed(course.packed)
        steps = course.steps(self._pack)
        for entry, start, stop, size, what in steps:
            base = None
            if what & _DERIVED:
                base = bases.pop() if what & _LAST else bases[-1]
            try:
                if made_in_all > most:
                    raise _TooMuch
                if what & _AT_ONCE:
                    data = decompress(view[start:stop], 15, size or 1)
                    if len(data) != size:
                        raise Damaged("it is not of the size that it should have")
                elif size > IN_MEMORY:
                    raise TooLarge
                else:
                    data = inflate(view[start:stop], size)
                made = None
                if base is not None:
                    made = data
                    if len(made) * len(base) > IN_MEMORY and deltas.result_size(made) > IN_MEMORY:
                        raise TooLarge
                    data = deltas.apply(base, made)
            except (Damaged, TooLarge, _TooMuch, MemoryError, error) as failure:
                skipped = self._failed(entry, failure)
                next(islice(steps, skipped, skipped), None)
                continue
            made_in_all += len(data)
            if what & _BASE:
                bases.append(data)
            yield entry, data, made
            if what & _GIVE_BACK:
                release(self._pack.map)

    def _failed(self, entry: int, failure: Exception) -> int:
        """Notes that an entry can't be read, nor what is made from it; how many others that are."""
        below = self.below(entry)
        if isinstance(failure, _TooMuch):
            self.broken.update(dict.fromkeys(below, TOO_MUCH))
        elif isinstance(failure, TooLarge | MemoryError):
            self.large += below
        else:
            reason = str(failure) if isinstance(failure, Damaged) else "its compressed data are damaged"
            self.broken.update(
                dict.fromkeys(below[1:], "the object that it is a delta of is damaged"),
            )
            self.broken[entry] = reason
        return len(below) - 1

    def _course(self, roots: Ints) -> _Course:
        """The order in which to walk the trees of these roots: each entry, then what is made from it."""
        levels = [
            _Level(roots, np.zeros(len(roots), np.int64), np.zeros(1, np.int64), np.array([len(roots)]))
        ]
        while (level := self._below(levels[-1].entries)) is not None:
            levels.append(level)
        return _Course(levels, self._pack)

    def _below(self, entries: Ints) -> _Level | None:
        """What is made from these entries; of the same one, what has most below it comes last."""
        first = self._first[entries]
        counts = self._last[entries] - first
        total = int(counts.sum())
        if not total:
            return None
        starts = np.cumsum(counts) - counts
        over = np.repeat(np.arange(len(entries)), counts)
        children = self._children[np.arange(total) + (first - starts)[over]]
        if total > np.count_nonzero(counts):
            children = children[np.lexsort((self._weights[children], over))]
        return _Level(children, over, starts, counts)

    def below(self, entry: int) -> list[int]:
        """An entry and all that is made from it."""
        found = [entry]
        for each in found:
            found += self._children[self._first[each] : self._last[each]].tolist()
        return found

    def content(self, entry: int, pay: Callable[[int], None] | None = None) -> bytes:
        """The content of one entry, whatever its kind. Raises Damaged, also where it is too large for the memory.

        pay: told how many bytes each of the contents has that it is made from.
        """
        if entry in self._pack.broken:
            raise Damaged(self._pack.broken[entry])
        chain = [entry]
        while self._pack.base[chain[-1]] >= 0:
            chain.append(int(self._pack.base[chain[-1]]))
        view = memoryview(self._pack.map)
        data = b""
        for step in reversed(chain):
            if self._size[step] > IN_MEMORY:
                raise Damaged(TOO_LARGE)
            made = inflate(view[self._begin[step] : self._end[step]], self._size[step])
            if step == chain[-1]:
                data = made
            elif deltas.result_size(made) > IN_MEMORY:
                raise Damaged(TOO_LARGE)
            else:
                data = deltas.apply(data, made)
            if pay is not None and step != entry:
                pay(len(data))
        return data

    def allowed(self, kinds: Sequence[int]) -> int:
        """How many bytes may be made of all the entries of certain kinds."""
        return allowed(self.packed(kinds))

    def packed(self, kinds: Sequence[int]) -> int:
        """How many bytes all the entries of certain kinds take in the pack."""
        of_kind = np.isin(self._pack.kind, kinds)
        return int((self._pack.end - self._pack.begin)[of_kind].sum())

    @property
    def bases(self) -> Ints:
        """Of each entry, which one it is made from; below 0 for what is whole."""
        return self._pack.base

    def made_from(self, entry: int) -> list[int]:
        """The entries that are deltas of an entry; what has most below it comes first."""
        children = self._children[self._first[entry] : self._last[entry]]
        ordered: list[int] = children[np.argsort(-self._weights[children], kind="stable")].tolist()
        return ordered

    def made(self, entry: int, base: bytes) -> bytes:
        """The content of an entry that is a delta. base: that of what it is made from. Raises Damaged."""
        if entry in self._pack.broken:
            raise Damaged(self._pack.broken[entry])
        if self._size[entry] > IN_MEMORY:
            raise Damaged(TOO_LARGE)
        try:
            made = inflate(
                memoryview(self._pack.map)[self._begin[entry] : self._end[entry]], self._size[entry]
            )
        except error:
            raise Damaged("its compressed data are damaged") from None
        if deltas.result_size(made) > IN_MEMORY:
            raise Damaged(TOO_LARGE)
        return deltas.apply(base, made)
