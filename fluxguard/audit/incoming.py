"""The packs that a push brings to a server, gone through by the audit's engine: in which of their objects nothing stands.

git has just written these packs, and checked every byte of them. An object that is not cleared here, for whatever reason,
is looked at in the ordinary way, by itself; so this can make a look shorter, and never change what it says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from fluxguard.audit.crew import DONE, Crew, Died, hands
from fluxguard.audit.depot import Opened
from fluxguard.audit.examine import examine
from fluxguard.audit.homes import HOME, homes
from fluxguard.audit.sift import Sieve
from fluxguard.config import Config
from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.detect.triggers import MARKER, Triggers, head
from fluxguard.push import Cleared
from fluxguard.repo.arrays import np
from fluxguard.repo.pack import COMMIT, KINDS, DamagedPack
from fluxguard.sources import lfs

_SHARES = 96  # of one pack, at the most
_ALONE = 24 << 20  # bytes of objects; for less, another process costs more than it brings

Task = tuple[int, Sequence[int]]  # the number of a pack, and the roots of some of its trees of deltas


class _Odd:
    """Notes the trees in which anything is called after FluxLoop, in whatever letters."""

    def __init__(self) -> None:
        self.found: set[int] = set()

    def trees(self, entries: Sequence[int], stretches: Sequence[bytes]) -> None:
        """Takes in trees, of each what is new in it."""
        if HOME in b"\n".join(stretches).lower():
            self.found.update(
                entry for entry, new in zip(entries, stretches, strict=True) if HOME in new.lower()
            )

    def commit(self, entry: int, data: bytes) -> None:
        """No names stand in a commit."""

    def tag(self, entry: int, data: bytes) -> None:
        """Nor in a tag."""


class _Sifting:
    """The packs, and what each process does with a share of them."""

    def __init__(self, packs: Sequence[Opened], config: Config, look: Triggers) -> None:
        self.packs = packs
        self._look = look
        self._detector = Detector([*built_in(), *config.rules], look, config.limits)
        self.tasks: list[Task] = [
            (number, roots)
            for number, opened in enumerate(packs)
            for roots in opened.forest.shares(_SHARES)
        ]  # fmt: skip

    def work(self, task: int) -> Iterator[Any]:
        """Hands over the entries that are not cleared, what trees call after FluxLoop, and how many bytes it read."""
        number, roots = self.tasks[task]
        opened = self.packs[number]
        odd = _Odd()
        sieve = Sieve(opened.pack, opened.forest, self._look.find, self._look.longest - 1, _whole, odd)
        left: set[int] = set()
        named: list[tuple[bytes, bytes, str]] = []
        for entry, data in sieve.suspects(roots):
            kind = KINDS[int(opened.pack.kind[entry])]
            if not self._holds_nothing(opened.pack.id(entry), kind, data):
                left.add(entry)
            if kind == "tree":
                named += [(mode, bytes(name), id.hex()) for mode, name, id in homes(data, opened.width)]
        left |= odd.found | set(opened.forest.broken) | set(opened.forest.large)
        opened.forest.broken.clear()
        opened.forest.large.clear()
        yield [int(entry) for entry in left], named, sieve.bytes

    def _holds_nothing(self, id: str, kind: str, data: bytes) -> bool:
        """Whether detection clears what looked suspicious. Of an allow comment a report has something to say."""
        if lfs.is_pointer(data) or self._look.kinds(data) & MARKER:
            return False
        return not examine(id, kind, data, self._detector)


def _whole(data: bytes) -> int:
    """What makes a blob suspect by its start or end."""
    return head(data) or lfs.is_pointer(data)


def cleared(folder: str, width: int, config: Config, look: Triggers) -> Cleared | None:
    """What is cleared of the packs in a folder of objects; None where there is none that can be opened.

    width: bytes of an id.
    """
    packs = [opened for opened in _opened(folder, width) if _is_whole(opened)]
    if not packs:
        return None
    look.hurry()
    sifting = _Sifting(packs, config, look)
    size = sum(int(opened.pack.size.sum()) for opened in packs)
    crew = Crew(len(sifting.tasks), sifting.work, hands() if size > _ALONE else 1)
    found = Cleared()
    clear = [np.ones(len(opened.pack), dtype=bool) for opened in packs]
    unfinished = set(range(len(sifting.tasks)))
    try:
        for task, value in crew.answers():
            if value is DONE or value is Died:
                continue
            left, named, read = value
            clear[sifting.tasks[task][0]][left] = False
            unfinished.discard(task)
            found.homes += named
            found.bytes += read
    finally:
        crew.stop()
    for task in unfinished:
        number, roots = sifting.tasks[task]
        clear[number][[entry for root in roots for entry in packs[number].forest.below(root)]] = False
    for opened, these in zip(packs, clear, strict=True):
        pack = opened.pack
        found.ids.update(_hex(pack.ids[these], width))
        found.commits.update(_hex(pack.ids[these & (pack.kind == COMMIT)], width))
    return found


def _opened(folder: str, width: int) -> Iterator[Opened]:
    folder = os.path.join(folder, "pack")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.endswith(".pack"):
            yield Opened(name, os.path.join(folder, name), width)


def _is_whole(opened: Opened) -> bool:
    try:
        return not opened.pack.complaint and not opened.pack.broken
    except (DamagedPack, OSError):
        return False


def _hex(rows: Any, width: int) -> Iterator[str]:
    text = rows.tobytes().hex()
    return (text[at : at + 2 * width] for at in range(0, len(text), 2 * width))
