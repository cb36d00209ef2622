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
from fluxguard.repo.pack import BLOB, COMMIT, TAG, TREE, Pack

# A delta is taken apart where its result is so many times longer: elsewhere looking is quicker than taking apart.
_WORTH = {TREE: 20}
_WORTH_ELSE = 60

# So much is looked at together, so that most objects cost no call of their own.
_BATCH = 64  # objects
_HELD = 1 << 20  # bytes of their contents

Look = Callable[[bytes], int]
Step = tuple[int, bytes, bytes]  # entry, content, what of it is new


class Sieve:
    """Goes through the objects of a forest.

    look: 0 where nothing stands in the bytes. overlap: one less than the longest that it looks for. whole: a further look,
    at a blob's start and end. links: takes in what the objects name, where that is wanted.
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
        kinds, whole, overlap, links = self._kind, self._whole, self._overlap, self._links
        join, novel, worth = SEAM.join, deltas.novel, _WORTH.get
        suspects = self._suspects
        batch: list[Step] = []
        held, sure = 0, False
        for entry, data, delta in self._forest.walk(roots):
            kind = kinds[entry]
            new = data
            if delta is not None and len(data) > len(delta) * worth(kind, _WORTH_ELSE):
                new = join(novel(delta, data, overlap))
            if kind != BLOB:
                if links is not None:
                    _note(links, kind, entry, data, new)
            elif whole is not None and whole(data):
                suspects.add(entry)
                sure = True
            batch.append((entry, data, new))
            held += len(data)
            if held > _HELD or len(batch) == _BATCH:
                yield from self._settle(batch, held, sure)
                batch, held, sure = [], 0, False
        yield from self._settle(batch, held, sure)

    def _settle(self, batch: list[Step], size: int, sure: bool) -> Iterator[tuple[int, bytes]]:
        """The suspects of a batch, of which mostly there is none: then one look is enough for all of it.

        sure: some of them are suspects already, by a further look.
        """
        self.objects += len(batch)
        self.bytes += size
        base, suspects, look = self._base, self._suspects, self._look
        if not (
            sure
            or look(SEAM.join([new for _, _, new in batch]))
            or (suspects and any(base[entry] in suspects for entry, _, _ in batch))
        ):
            return
        for entry, data, new in batch:
            seen = data if base[entry] in suspects else new
            # What is joined may look like more than it was: only the content itself makes a suspect.
            if entry in suspects or (look(seen) and (seen is data or look(data))):
                suspects.add(entry)
                yield entry, data


def _note(links: Links, kind: int, entry: int, data: bytes, new: bytes) -> None:
    if kind == TREE:
        links.tree(entry, new)
    elif kind == COMMIT:
        links.commit(entry, data)
    elif kind == TAG:
        links.tag(entry, data)
