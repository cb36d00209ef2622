"""The pass over everything in the object stores: what is suspect, what can't be read, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fluxguard.audit.crew import DONE, Crew, Died, hands
from fluxguard.audit.depot import Depots, Opened
from fluxguard.audit.examine import Examined, Sighting, examine, homes
from fluxguard.audit.sift import Sieve
from fluxguard.config import Config
from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.detect.triggers import Triggers, head
from fluxguard.repo import links, store
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import KINDS
from fluxguard.repo.store import TooLarge

_SHARES = 96  # of one pack, at the most
_LOOSE = 500  # objects in a share
_ALONE = 24 << 20  # bytes of objects; for less, another process costs more than it brings
DIED = "the process that was reading it ended unexpectedly"
_UNPACKED = 64 << 30  # bytes that all packed contents together may unpack to


@dataclass(slots=True)
class Found:
    """What the pass found. All ids are in hex.

    unread: what could not be looked at, (id or "", where, why). large: objects to be read in pieces. lost: objects that are
    not there, each with one that names it. homes: entries of trees that are called after FluxLoop, (tree, mode, name, id).
    loose: the kind of each loose object. broken: per store, objects of which a copy could not be read. read: per store,
    how many copies of objects were read.
    """

    sightings: list[Sighting] = field(default_factory=list)
    unread: list[tuple[str, str, str]] = field(default_factory=list)
    large: list[tuple[int, str]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    homes: list[tuple[str, bytes, bytes, str]] = field(default_factory=list)
    loose: list[dict[str, str]] = field(default_factory=list)
    broken: list[dict[str, str]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A share of the work: some trees of deltas of a pack, or some loose objects."""

    depot: int
    pack: Opened | None
    roots: list[int]
    loose: list[str]


class Sifting:
    """The pass. `start` sets the processes to work, `finish` gathers what they found."""

    def __init__(self, depots: Depots, config: Config, triggers: Triggers) -> None:
        self._depots = depots
        self._triggers = triggers
        self._config = config
        self._detector: Detector | None = None
        self._present = links.Present(rows for depot in depots.each for rows in depot.ids())
        self.tasks = list(self._divided())
        self.total = sum(len(rows) for depot in depots.each for rows in depot.ids())
        self._crew: Crew | None = None
        each = depots.each
        self.found = Found(
            loose=[{} for _ in each], broken=[depot.broken() for depot in each], read=[0 for _ in each]
        )

    @property
    def detector(self) -> Detector:
        """The rules, loaded when the first suspect turns up."""
        if self._detector is None:
            limits = replace(self._config.limits, total=max(self._config.limits.total, _UNPACKED))
            self._detector = Detector([*built_in(), *self._config.rules], self._triggers, limits)
        return self._detector

    def _divided(self) -> Iterator[Task]:
        for number, depot in enumerate(self._depots.each):
            for opened in depot.packs:
                for roots in opened.forest.shares(_SHARES):
                    yield Task(number, opened, roots, [])
            loose = depot.store.loose
            for start in range(0, len(loose), _LOOSE):
                yield Task(number, None, [], loose[start : start + _LOOSE])

    def start(self) -> None:
        """Sets the processes to work."""
        self._triggers.hurry()
        size = sum(opened.pack.size.sum() for depot in self._depots.each for opened in depot.packs)
        self._crew = Crew(len(self.tasks), self._work, hands() if size > _ALONE else 1)

    def stop(self) -> None:
        """Ends the processes."""
        if self._crew is not None:
            self._crew.stop()

    def _work(self, number: int) -> Iterator[Any]:
        task = self.tasks[number]
        return self._packed(task, task.pack) if task.pack is not None else self._loosely(task)

    def _packed(self, task: Task, opened: Opened) -> Iterator[Any]:
        pack, forest = opened.pack, opened.forest
        width = self._depots.each[task.depot].store.width
        named = links.Links(self._present, width)
        sieve = Sieve(pack, forest, self._triggers.find, self._triggers.longest - 1, head, named)
        for entry, data in sieve.suspects(task.roots):
            yield from self._suspect(pack.id(entry), KINDS[int(pack.kind[entry])], data, width)
        named.flush()
        lost = list(links.lost(named.missing.items(), lambda entry: _content(opened, entry), width))
        broken = {pack.id(entry): reason for entry, reason in forest.broken.items()}
        large = [pack.id(entry) for entry in forest.large]
        forest.broken.clear()
        forest.large.clear()
        yield (
            "end", sieve.objects, sieve.bytes, broken, large, [(id, pack.id(owner)) for id, owner in lost], {}
        )  # fmt: skip

    def _loosely(self, task: Task) -> Iterator[Any]:
        depot = self._depots.each[task.depot]
        named = links.Links(self._present, depot.store.width)
        kinds: dict[str, str] = {}
        broken: dict[str, str] = {}
        large: list[str] = []
        contents: dict[int, tuple[str, bytes]] = {}
        size = 0
        for number, id in enumerate(task.loose):
            try:
                kind, data = store.read_loose(depot.store, id)
            except TooLarge as error:
                kinds[id] = error.kind
                large.append(id)
                continue
            except Damaged as error:
                broken[id] = str(error)
                continue
            kinds[id] = kind
            size += len(data)
            if kind == "tree":
                named.tree(number, data)
                contents[number] = kind, data
            elif kind == "commit":
                named.commit(number, data)
                contents[number] = kind, data
            elif kind == "tag":
                named.tag(number, data)
                contents[number] = kind, data
            if self._triggers.kinds(data):
                yield from self._suspect(id, kind, data, depot.store.width)
        named.flush()
        lost = links.lost(named.missing.items(), contents.__getitem__, depot.store.width)
        owned = [(id, task.loose[owner]) for id, owner in lost]
        yield "end", len(kinds) - len(large), size, broken, large, owned, kinds

    def _suspect(self, id: str, kind: str, data: bytes, width: int) -> Iterator[Any]:
        found = examine(id, kind, data, self.detector)
        if found:
            yield "found", id, [sighting.values() for sighting in found.sightings], list(found.unread)
        if kind == "tree":
            for mode, name, other in homes(data, width):
                yield "home", id, mode, name, other.hex()

    def finish(self, watch: Callable[[int, int], None]) -> Found:
        """All that was found; `found` has it as it grows, should this be interrupted.

        watch: told, now and then, how many objects were read and how many keys seen.
        """
        assert self._crew is not None
        found = self.found
        for number, value in self._crew.answers():
            task = self.tasks[number]
            if value is Died:
                self._died(task, found)
            elif value is not DONE:
                _take(task, value, found)
                watch(found.objects, len({sighting.fingerprint for sighting in found.sightings}))
        return found

    def _died(self, task: Task, found: Found) -> None:
        """A process ended in the middle of its work (killed, out of memory): none of it counts as read."""
        if task.pack is not None:
            pack, forest = task.pack.pack, task.pack.forest
            ids = [pack.id(entry) for root in task.roots for entry in forest.below(root)]
        else:
            ids = task.loose
        found.broken[task.depot].update(dict.fromkeys(ids, DIED))


def _content(opened: Opened, entry: int) -> tuple[str, bytes]:
    try:
        return KINDS[int(opened.pack.kind[entry])], opened.forest.content(entry)
    except Damaged:
        return "unknown", b""


def _take(task: Task, value: Any, found: Found) -> None:
    what, *rest = value
    if what == "found":
        id, sightings, unread = rest
        found.sightings += map(Sighting.of, sightings)
        found.unread += [(id, where, reason) for where, reason in unread]
    elif what == "home":
        tree, mode, name, id = rest
        found.homes.append((tree, mode, name, id))
    else:
        objects, size, broken, large, lost, kinds = rest
        found.objects += objects
        found.read[task.depot] += objects
        found.bytes += size
        found.broken[task.depot].update(broken)
        found.large += [(task.depot, id) for id in large]
        found.lost.update(lost)
        found.loose[task.depot].update(kinds)


def secrets_of(examined: Iterable[Examined]) -> dict[str, Any]:
    """The keys by their fingerprints."""
    return {
        sighting.fingerprint: secret
        for one in examined
        for sighting, secret in zip(one.sightings, one.secrets, strict=True)
    }
