"""The delta trees of a pack: which entries are deltas of which, in shares of about the same work, and walked in bounded memory.

Each entry is inflated once and each delta applied once. Of an entry's deltas the one with the most below it comes last,
and then nothing needs the entry any longer: so at most log2(entries) contents are held at a time, however long a chain is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fluxguard.repo import delta as deltas
from fluxguard.repo.distinct import distinct
from fluxguard.repo.inflate import Damaged, inflate
from fluxguard.repo.pack import Pack, release

TOO_MUCH = "more is made of the deltas around it than can be read in reasonable time"
IN_MEMORY = 32 << 20  # bytes; larger objects, and what is made from them, are left to be read in pieces
TOO_LARGE = "it is too large to be held in memory"
_RELEASE = 160 << 20  # bytes of the pack in memory, after which its pages are given back
_AROUND = 64 << 10  # bytes that the system brings in around each that is touched
_SHARE = 2 << 20  # bytes of contents and deltas
_MOST_MADE = (
    256 << 30
)  # bytes of contents below the roots of one walk; a few bytes of delta can ask for 32 MiB each
_EACH = 600  # bytes; what an entry costs beside its size

Ints = npt.NDArray[np.int64]
Step = tuple[int, bytes, bytes | None]


class TooLarge(Exception):
    """An entry's content is not to be held in memory."""


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
        self._children = derived[order].data
        counts = np.bincount(bases, minlength=len(pack))
        last = np.cumsum(counts)
        self._last = last.data
        self._first = (last - counts).data
        self._begin = pack.begin.data
        self._end = pack.end.data
        self._size = pack.size.data
        self._weights = self._weighed(derived)
        self._weight = self._weights.data
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
        begin, end, size, first, last = self._begin, self._end, self._size, self._first, self._last
        children = self._children
        touched = made_in_all = 0
        for root in roots:
            pending: list[tuple[int, bytes | None]] = [(root, None)]
            while pending:
                entry, base = pending.pop()
                if made_in_all > _MOST_MADE:
                    self.broken.update(dict.fromkeys(self.below(entry), TOO_MUCH))
                    continue
                start, stop = begin[entry], end[entry]
                touched += stop - start + _AROUND
                try:
                    if size[entry] > IN_MEMORY:
                        raise TooLarge
                    data = inflate(view[start:stop], size[entry])
                    made = None
                    if base is not None:
                        made = data
                        if len(made) * len(base) > IN_MEMORY and deltas.result_size(made) > IN_MEMORY:
                            raise TooLarge
                        data = deltas.apply(base, made)
                except Damaged as damage:
                    self._fail(entry, str(damage))
                    continue
                except (TooLarge, MemoryError):
                    self.large += self.below(entry)
                    continue
                made_in_all += len(data)
                count = last[entry] - first[entry]
                if count == 1:
                    pending.append((children[first[entry]], data))
                elif count:
                    pending += self._next(entry, data)
                yield entry, data, made
                if touched > _RELEASE:
                    touched = 0
                    release(self._pack.map)

    def _next(self, entry: int, data: bytes) -> list[tuple[int, bytes | None]]:
        """The deltas of an entry, the one with the most below it first, for the list is taken from its end."""
        children = self._children[self._first[entry] : self._last[entry]].tolist()
        heaviest = max(children, key=self._weight.__getitem__)
        children.remove(heaviest)
        children.insert(0, heaviest)
        return [(child, data) for child in children]

    def below(self, entry: int) -> list[int]:
        """An entry and all that is made from it."""
        found = [entry]
        for each in found:
            found += self._children[self._first[each] : self._last[each]].tolist()
        return found

    def _fail(self, entry: int, reason: str) -> None:
        broken, *others = self.below(entry)
        self.broken[broken] = reason
        for other in others:
            self.broken[other] = "the object that it is a delta of is damaged"

    def content(self, entry: int) -> bytes:
        """The content of one entry, whatever its kind. Raises Damaged, also where it is too large for the memory."""
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
        return data
