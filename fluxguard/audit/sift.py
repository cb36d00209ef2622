"""The loop that matters: every object of a pack in turn, and of each only what has not been seen in the one it is made from.

A content is suspect where a trigger stands in it. What a delta copies was looked at in its base, so only what it inserts,
and its seams, are looked at again; unless the base is suspect itself. So the suspects are exactly those that a look at
every content whole would name, which a property test holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from fluxguard.repo import delta as deltas
from fluxguard.repo.forest import Forest, Step
from fluxguard.repo.links import SEAM
from fluxguard.repo.pack import BLOB, COMMIT, TAG, TREE, Pack

# A delta is taken apart where its result is so many times longer: elsewhere looking is quicker than taking apart.
_WORTH_TREE = 20
_WORTH = 60

# So much is looked at together, so that most objects cost no call of their own.
_BATCH = 64  # objects
_HELD = 1 << 20  # bytes of their contents

PULSE = -1  # instead of an entry: nothing was found for a while, but it goes on
_PULSE_EVERY = 0.5  # seconds

Look = Callable[[bytes], int]


class Names(Protocol):
    """Takes in what objects name; as `links.Links` does."""

    def trees(self, entries: Sequence[int], stretches: Sequence[bytes]) -> None:
        """Trees, of each what is new in it."""

    def commit(self, entry: int, data: bytes) -> None:
        """A commit."""

    def tag(self, entry: int, data: bytes) -> None:
        """A tag."""


class Sieve:
    """Goes through the objects of a forest.

    look: 0 where nothing stands in the bytes. overlap: one less than the longest that it looks for. whole: a further look,
    at a blob's start and end. links: takes in what the objects name, where that is wanted. pulse: whether somebody watches.
    """

    def __init__(
        self,
        pack: Pack,
        forest: Forest,
        look: Look,
        overlap: int,
        whole: Look | None = None,
        links: Names | None = None,
        pulse: bool = False,
    ) -> None:
        self._forest = forest
        self._base = pack.base.data
        self._kind = pack.kind.data
        self._look = look
        self._overlap = overlap
        self._whole = whole
        self._links = links
        self._suspects: set[int] = set()
        self._due = time.monotonic() + _PULSE_EVERY if pulse else float("inf")
        self.objects = 0
        self.bytes = 0

    def suspects(self, roots: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """The suspects below the given roots: (entry, content). Whole trees of deltas only: a base comes before its deltas.

        Where somebody watches, also PULSE now and then.
        """
        kinds, whole, overlap, links = self._kind, self._whole, self._overlap, self._links
        join, novel = SEAM.join, deltas.novel
        batch = _Batch()
        steps, new, trees, tree_news = batch.steps, batch.new, batch.trees, batch.tree_news
        held = 0
        for step in self._forest.walk(roots):
            entry, data, delta = step
            size = len(data)
            kind = kinds[entry]
            part = data
            if kind == TREE:
                if delta is not None and size > len(delta) * _WORTH_TREE:
                    part = join(novel(delta, data, overlap))
                trees.append(entry)
                tree_news.append(part)
            else:
                if delta is not None and size > len(delta) * _WORTH:
                    part = join(novel(delta, data, overlap))
                if kind != BLOB:
                    if links is not None:
                        _note(links, kind, entry, data)
                elif whole is not None and whole(data):
                    self._suspects.add(entry)
                    batch.sure = True
            steps.append(step)
            new.append(part)
            held += size
            if held > _HELD or len(steps) == _BATCH:
                yield from self._settle(batch, held)
                batch.clear()
                held = 0
                if time.monotonic() > self._due:
                    self._due = time.monotonic() + _PULSE_EVERY
                    yield PULSE, b""
        yield from self._settle(batch, held)

    def _settle(self, batch: _Batch, size: int) -> Iterator[tuple[int, bytes]]:
        """The suspects of a batch, of which mostly there is none: then one look is enough for all of it."""
        self.objects += len(batch.steps)
        self.bytes += size
        if self._links is not None:
            self._links.trees(batch.trees, batch.tree_news)
        base, suspects, look = self._base, self._suspects, self._look
        if not (
            batch.sure
            or look(SEAM.join(batch.new))
            or (suspects and any(base[step[0]] in suspects for step in batch.steps))
        ):
            return
        for (entry, data, _), new in zip(batch.steps, batch.new, strict=True):
            seen = data if base[entry] in suspects else new
            # What is joined may look like more than it was: only the content itself makes a suspect.
            if entry in suspects or (look(seen) and (seen is data or look(data))):
                suspects.add(entry)
                yield entry, data


class _Batch:
    """Objects that are looked at together. new: what is new in each. trees, tree_news: the same of trees alone.

    sure: some of them are suspects already, by a further look.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.new: list[bytes] = []
        self.trees: list[int] = []
        self.tree_news: list[bytes] = []
        self.sure = False

    def clear(self) -> None:
        """Makes room for the next ones, in the same lists."""
        for each in (self.steps, self.new, self.trees, self.tree_news):
            each.clear()
        self.sure = False


def _note(links: Names, kind: int, entry: int, data: bytes) -> None:
    if kind == COMMIT:
        links.commit(entry, data)
    elif kind == TAG:
        links.tag(entry, data)
