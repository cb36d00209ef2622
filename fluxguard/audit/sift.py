"""The loop that matters: every object of a pack in turn, and of each only what has not been seen in the one it is made from.

A content is suspect where a trigger stands in it. What a delta copies was looked at in its base, so only what it inserts,
and its seams, are looked at again; unless the base is suspect itself. So the suspects are exactly those that a look at
every content whole would name, which a property test holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fluxguard.repo import delta as deltas
from fluxguard.repo.forest import Forest
from fluxguard.repo.links import SEAM, Links
from fluxguard.repo.pack import COMMIT, TAG, TREE, Pack

# A delta is taken apart where its result is so many times longer: elsewhere looking is quicker than taking apart.
_WORTH = {TREE: 20}
_WORTH_ELSE = 60

Look = Callable[[bytes], int]


class Sieve:
    """Goes through the objects of a forest.

    look: 0 where nothing stands in the bytes. overlap: one less than the longest that it looks for. whole: a further look,
    at an object's start and end. links: takes in what the objects name, where that is wanted.
    """

    def __init__(
        self,
        pack: Pack,
        forest: Forest,
        look: Look,
        overlap: int,
        whole: Look | None = None,
        links: Links | None = None,
    ) -> None:
        self._forest = forest
        self._base = pack.base.data
        self._kind = pack.kind.data
        self._look = look
        self._overlap = overlap
        self._whole = whole
        self._links = links
        self._suspects: set[int] = set()
        self.objects = 0
        self.bytes = 0

    def suspects(self, roots: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """The suspects below the given roots: (entry, content). Whole trees of deltas only: a base comes before its deltas."""
        base, kinds, look, whole, overlap = self._base, self._kind, self._look, self._whole, self._overlap
        suspects = self._suspects
        join, novel, links = SEAM.join, deltas.novel, self._links
        for entry, data, delta in self._forest.walk(roots):
            self.objects += 1
            self.bytes += len(data)
            kind = kinds[entry]
            new = data
            if delta is not None and len(data) > len(delta) * _WORTH.get(kind, _WORTH_ELSE):
                new = join(novel(delta, data, overlap))
            if links is not None:
                _note(links, kind, entry, data, new)
            if base[entry] in suspects:
                new = data
            # What is joined may look like more than it was: only the content itself makes a suspect.
            if (look(new) and (new is data or look(data))) or (whole is not None and whole(data)):
                suspects.add(entry)
                yield entry, data


def _note(links: Links, kind: int, entry: int, data: bytes, new: bytes) -> None:
    if kind == TREE:
        links.tree(entry, new)
    elif kind == COMMIT:
        links.commit(entry, data)
    elif kind == TAG:
        links.tag(entry, data)
