"""The pass over everything in the object stores: what is suspect, what can't be read, what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fluxguard.audit.crew import DONE, Crew, Died, hands
from fluxguard.audit.depot import Depots, Opened
from fluxguard.audit.examiner import Examiner
from fluxguard.audit.homes import homes
from fluxguard.audit.known import Content, Home, Known
from fluxguard.audit.sift import PULSE, Sieve
from fluxguard.audit.sighting import Sighting
from fluxguard.audit.whole import Whole
from fluxguard.detect.triggers import Triggers, head
from fluxguard.repo import links, store
from fluxguard.repo.arrays import np
from fluxguard.repo.distinct import distinct
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import KINDS
from fluxguard.repo.store import TooLarge
from fluxguard.sources import lfs

Hole = tuple[str, str, str]  # the id of an object, where inside, why it can't be looked at
_SHARES = 96  # of one pack, at the most
_LOOSE = 500  # objects in a share
_ALONE = 4 << 20  # bytes of objects; for less, another process costs more than it brings


@dataclass(slots=True)
class Found:
    """What the pass found. All ids are in hex.

    unread: what could not be looked at, (id or "", where, why). large: objects to be read in pieces,
    each copy by itself: (store, path of the pack or "", id). lost: objects that are
    not there, each with one that names it. homes: entries of trees that are called after FluxLoop, (mode, name, id).
    pointers: ids of objects of Git LFS that blobs stand for.
    loose: the kind of each loose object. broken: per store, objects of which a copy could not be read. read: per store,
    how many copies of objects were read. dead: per store, objects that a process which ended was at.
    """

    sightings: list[Sighting] = field(default_factory=list)
    unread: list[tuple[str, str, str]] = field(default_factory=list)
    large: list[tuple[int, str, str]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    homes: set[Home] = field(default_factory=set)
    pointers: set[str] = field(default_factory=set)
    loose: list[dict[str, str]] = field(default_factory=list)
    broken: list[dict[str, str]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    dead: list[list[str]] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A share of the work: some trees of deltas of a pack, or some loose objects. group: of the ids, see links.Present."""

    depot: int
    pack: Opened | None
    roots: list[int]
    loose: list[str]
    group: int = -1


@dataclass(slots=True)
class Share:
    """What came of the tasks of one pack, or of a store's loose objects, that are not known from earlier.

    content: of a pack. each: of loose objects, by id: kind, size, what was found. left: tasks that have not ended.
    doubtful: whether not all of it was read and understood, or will not be the same another time.
    """

    opened: Opened | None
    left: int = 0
    doubtful: bool = False
    content: Content = field(default_factory=Content)
    each: dict[str, tuple[str, int, Content]] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)


class Sifting:
    """The pass. `start` sets the processes to work, `finish` gathers what they found."""

    def __init__(
        self, depots: Depots, examiner: Examiner, triggers: Triggers, known: Known | None = None
    ) -> None:
        self._depots = depots
        self._triggers = triggers
        self._examiner = examiner
        self._known = known or Known(None)
        self._recheck()
        self._loose = [self._known.loose(depot.store, lambda: self.present) for depot in depots.each]
        self._shares: dict[tuple[int, str], Share] = {}
        self.tasks = list(self._divided())
        self.total = sum(map(len, depots.each))
        self._crew: Crew | None = None
        each = depots.each
        self.found = Found(
            loose=[{} for _ in each],
            broken=[{} for _ in each],
            read=[0 for _ in each],
            dead=[[] for _ in each],
        )

    @cached_property
    def present(self) -> links.Present:
        """All objects, of all stores."""
        return links.Present(rows for depot in self._depots.each for rows in depot.ids())

    def _recheck(self) -> None:
        """A pack whose objects name something that was there, and has gone, is read again: then it shows."""
        again = True
        while again:
            again = False
            for depot in self._depots.each:
                for opened in list(depot.packs):
                    lacks = opened.known is not None and self._lacks(self._known.outside(opened))
                    if lacks and not depot.open(opened):
                        depot.packs.remove(opened)
                        del self.present
                        again = True

    def _lacks(self, names: links.Prefixes) -> bool:
        return len(names) > 0 and bool(self.present.lack(names).any())

    def _divided(self) -> Iterator[Task]:
        group = -1
        for number, depot in enumerate(self._depots.each):
            for opened in depot.packs:
                group += 1
                if opened.known is None:
                    yield from self._divided_pack(number, opened, group)
            group += 1
            loose = self._loose[number].pending
            share = self._shares[number, ""] = Share(None)
            for start in range(0, len(loose), _LOOSE):
                share.left += 1
                yield Task(number, None, [], loose[start : start + _LOOSE])

    def _divided_pack(self, number: int, opened: Opened, group: int) -> Iterator[Task]:
        pack = opened.pack
        share = self._shares[number, opened.path] = Share(
            opened, doubtful=bool(pack.complaint or pack.broken)
        )
        for roots in opened.forest.shares(_SHARES):
            share.left += 1
            yield Task(number, opened, roots, [], group)

    def start(self) -> None:
        """Sets the processes to work, if there is any."""
        size = 0
        if self.tasks:
            self._triggers.hurry()
            self.present  # noqa: B018 - made once, for all of them
        for opened in {id(task.pack): task.pack for task in self.tasks if task.pack}.values():
            size += int(opened.pack.size.sum())
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
        named = links.Links(self.present, width, task.group)
        sieve = Sieve(
            pack, forest, self._triggers.find, self._triggers.longest - 1, _whole, named, pulse=True
        )
        for entry, data in sieve.suspects(task.roots):
            if entry == PULSE:
                yield "at", sieve.objects
                continue
            yield from self._suspect(pack.id(entry), KINDS[int(pack.kind[entry])], data, width)
        named.flush()
        lost = list(links.lost(named.missing, lambda entry: _content(opened, entry), width))
        broken = {pack.id(entry): reason for entry, reason in forest.broken.items()}
        large = [pack.id(entry) for entry in forest.large]
        forest.broken.clear()
        forest.large.clear()
        yield (
            "end", sieve.objects, sieve.bytes, broken, large, [(id, pack.id(owner)) for id, owner in lost],
            named.outside.tobytes(), {},
        )  # fmt: skip

    def _loosely(self, task: Task) -> Iterator[Any]:
        depot = self._depots.each[task.depot]
        named = links.Links(self.present, depot.store.width, -1, owned=True)
        kinds: dict[str, tuple[str, int]] = {}
        broken: dict[str, str] = {}
        large: list[str] = []
        contents: dict[int, tuple[str, bytes]] = {}
        size = 0
        for number, id in enumerate(task.loose):
            try:
                kind, data = store.read_loose(depot.store, id)
            except TooLarge as error:
                kinds[id] = error.kind, error.size
                large.append(id)
                continue
            except Damaged as error:
                broken[id] = str(error)
                continue
            kinds[id] = kind, len(data)
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
            if self._triggers.kinds(data) or (kind == "blob" and lfs.is_pointer(data)):
                yield from self._suspect(id, kind, data, depot.store.width)
        named.flush()
        lost = list(links.lost(named.missing, contents.__getitem__, depot.store.width))
        owned = [(id, task.loose[owner]) for id, owner in lost]
        doubt = {owner for _, owner in owned}
        order = np.argsort(named.owners, kind="stable")
        outside = named.outside[order].tobytes()
        ends = np.searchsorted(named.owners[order], np.arange(len(task.loose)), side="right").tolist()
        starts = [0, *ends[:-1]]
        each = {
            id: (*kinds[id], b"" if id in doubt else outside[8 * start : 8 * end], id not in doubt)
            for id, start, end in zip(task.loose, starts, ends, strict=True)
            if id in kinds
        }
        yield "end", len(kinds) - len(large), size, broken, large, owned, b"", each

    def _suspect(self, id: str, kind: str, data: bytes, width: int) -> Iterator[Any]:
        if kind == "blob" and lfs.is_pointer(data):
            yield "pointer", id, lfs.named(data)
            if not self._examiner.suspects(data):
                return
        found = self._examiner.examine(id, kind, data)
        if found:
            yield "found", id, [sighting.values() for sighting in found.sightings], list(found.unread)
        if kind == "tree":
            for mode, name, other in homes(data, width):
                yield "home", id, mode, bytes(name), other.hex()

    def finish(self, watch: Callable[[int, int], None]) -> Found:
        """All that was found; `found` has it as it grows, should this be interrupted.

        watch: told, now and then, how many objects were read and how many keys seen.
        """
        assert self._crew is not None
        self._take_known()
        found = self.found
        seen = _Seen(found)
        for number, value in self._crew.answers():
            task = self.tasks[number]
            share = self._shares[task.depot, task.pack.path if task.pack else ""]
            if value is Died:
                share.doubtful = True
                self._died(task, found)
            elif value is DONE:
                share.left -= 1
                seen.under_way.pop(number, None)
            elif value[0] == "at":
                seen.under_way[number] = value[1]
                watch(*seen.counts())
            else:
                if value[0] == "end":
                    seen.under_way.pop(number, None)
                _take(task, value, found, share)
                watch(*seen.counts())
        _sort(found)
        return found

    def _take_known(self) -> None:
        """What is found already: what earlier audits say, and what can't be read by what the packs say of themselves."""
        for number, depot in enumerate(self._depots.each):
            for opened in depot.packs:
                if opened.known is not None:
                    self._take_content(number, self._known.pack(opened))
                else:
                    broken = {opened.pack.id(entry): why for entry, why in opened.pack.broken.items()}
                    self.found.broken[number].update(broken)
            self._take_content(number, self._loose[number].content)
            self.found.loose[number].update(self._loose[number].known)

    def _take_content(self, number: int, content: Content) -> None:
        found = self.found
        found.sightings += content.sightings
        found.unread += content.unread
        found.homes |= content.homes
        found.pointers |= content.pointers
        found.objects += content.objects
        found.read[number] += content.objects
        found.bytes += content.bytes
        for id, owner in content.lost:
            if not any(depot.holds(id) for depot in self._depots.each):
                found.lost[id] = min(found.lost.get(id, owner), owner)

    # --- for another time ----------------------------------------------------------------------------------------

    def found_in(
        self, copy: tuple[int, str, str], sightings: list[Sighting], unread: list[Hole], size: int
    ) -> None:
        """What was found, later on, in a copy of a large object: one of `Found.large`. It says nothing of other copies."""
        number, path, id = copy
        share = self._shares.get((number, path))
        if share is not None and id in share.large:
            share.large.discard(id)
            share.content.sightings += sightings
            share.content.unread += unread
            share.content.objects += 1
            share.content.bytes += size

    def keep(self) -> None:
        """Keeps all that was read whole, now that the audit has come to its end."""
        for (number, _), share in self._shares.items():
            if share.left or share.doubtful or share.large:
                continue
            if share.opened is not None:
                self._known.keep_pack(share.opened, share.content, self._examiner.is_clear)
            else:
                self._loose[number].keep(share.each, self._examiner.is_clear)

    def whole(self) -> Whole:
        """What was, or is to be, worked out from all of it together."""
        return self._known.whole(self._depots.each, self._loose)

    def _died(self, task: Task, found: Found) -> None:
        """A process ended in the middle of its work (killed, out of memory): none of it counts as read."""
        if task.pack is not None:
            pack, forest = task.pack.pack, task.pack.forest
            ids = [pack.id(entry) for root in task.roots for entry in forest.below(root)]
        else:
            ids = task.loose
        found.dead[task.depot] += ids


def _whole(data: bytes) -> int:
    """What a blob's start or end tells, beside what stands in it: a container, a pointer of Git LFS."""
    return head(data) or lfs.is_pointer(data)


class _Seen:
    """What is told of the pass while it goes on. under_way: how many objects were read of tasks that have not ended."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._keys: set[str] = set()
        self._counted = 0
        self.under_way: dict[int, int] = {}

    def counts(self) -> tuple[int, int]:
        """How many objects were read, and how many keys seen."""
        new = self._found.sightings[self._counted :]
        self._keys.update(sighting.fingerprint for sighting in new)
        self._counted += len(new)
        return self._found.objects + sum(self.under_way.values()), len(self._keys)


def _content(opened: Opened, entry: int) -> tuple[str, bytes]:
    try:
        return KINDS[int(opened.pack.kind[entry])], opened.forest.content(entry)
    except Damaged:
        return "unknown", b""


def _take(task: Task, value: Any, found: Found, share: Share) -> None:
    what, *rest = value
    if what == "found":
        id, listed, holes = rest
        sightings = [Sighting.of(one) for one in listed]
        unread = [(id, where, reason) for where, reason in holes]
        found.sightings += sightings
        found.unread += unread
        content = _content_of(share, id)
        content.sightings += sightings
        content.unread += unread
    elif what == "home":
        tree, mode, name, id = rest
        found.homes.add((mode, name, id))
        _content_of(share, tree).homes.add((mode, name, id))
    elif what == "pointer":
        id, name = rest
        if name:
            found.pointers.add(name)
            _content_of(share, id).pointers.add(name)
    else:
        _take_end(task, rest, found, share)


def _content_of(share: Share, id: str) -> Content:
    """Where what was found in an object is kept: by itself if it is loose, else with the whole pack."""
    if share.opened is not None:
        return share.content
    return share.each.setdefault(id, ("", 0, Content()))[2]


def _take_end(task: Task, values: Sequence[Any], found: Found, share: Share) -> None:
    objects, size, broken, large, lost, outside, each = values
    found.objects += objects
    found.read[task.depot] += objects
    found.bytes += size
    found.broken[task.depot].update(broken)
    found.large += [(task.depot, task.pack.path if task.pack else "", id) for id in large]
    for id, owner in lost:
        found.lost[id] = min(found.lost.get(id, owner), owner)
    found.loose[task.depot].update({id: kind for id, (kind, *_) in each.items()})
    if task.pack is not None:
        content = share.content
        content.objects += objects
        content.bytes += size
        content.lost += lost
        content.outside = distinct(np.append(content.outside, np.frombuffer(outside, np.uint64)))
        known = len(share.large)
        share.large.update(large)
        twice = len(share.large) < known + len(large)
        share.doubtful = share.doubtful or bool(broken) or twice
        return
    for id in (*large, *broken):
        share.each.pop(id, None)
    for id, (kind, length, names, whole) in each.items():
        content = share.each.pop(id, ("", 0, Content()))[2]
        content.outside = np.frombuffer(names, np.uint64)
        if whole and id not in large:
            share.each[id] = kind, length, content


def _sort(found: Found) -> None:
    """An order that does not depend on which process was the first."""
    found.sightings.sort(key=Sighting.values)
    found.unread.sort()
    found.large.sort()
    found.broken = [dict(sorted(broken.items())) for broken in found.broken]
