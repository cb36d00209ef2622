"""What the objects of a repository hold, put together: keys at their places, what is unread, the certificates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

from fluxguard.audit import certificate, counting, unchanged
from fluxguard.audit.cache import Cache
from fluxguard.audit.certificate import Counted
from fluxguard.audit.depot import Depot, Depots
from fluxguard.audit.examiner import Examiner
from fluxguard.audit.known import PASSING, Known, Table, unpacked
from fluxguard.audit.missing import BRING, Beside, Cut, missing_objects, unread_inside
from fluxguard.audit.sifting import Sifting
from fluxguard.audit.sighting import Examined, Sighting
from fluxguard.audit.surroundings import Surroundings
from fluxguard.audit.whole import Whole
from fluxguard.chunk import Origin, Skipped
from fluxguard.detect.triggers import Triggers
from fluxguard.model import Certificate, Event, Finding, Location, Mention, Secret, Suppression, Trace
from fluxguard.repo import links, store
from fluxguard.repo.forest import TOO_MUCH
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import TOO_DEEP
from fluxguard.repo.store import Store, TooLarge
from fluxguard.sources.windows import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.audit.history import History
    from fluxguard.config import Config
    from fluxguard.findings import Seen

_HURRY = 3.0  # seconds, in which what was found before an interruption is traced, or not at all
Placed = tuple[
    Sighting, str, bytes, Trace
]  # a key in an object, what kind of place that is, its path, its story
_SPARE = "there is another, so that git can do without it: git repack -ad"
_TOO_MANY = "a key stands at more paths below one tree, or deeper down, than can be told: not each is"
_MOST_HOMES = 200_000
_LONGEST_PATH = 4096  # bytes; a tree that holds itself has paths without an end


class Objects:
    """What the objects hold, put together: secrets, places, what is unread, the certificates."""

    def __init__(
        self,
        stores: Sequence[Store],
        memory: Cache | None,
        configure: Callable[[], Config],
        triggers: Triggers,
    ) -> None:
        """memory: what earlier audits know of them. configure: brings the configuration, where it is needed."""
        self._tick: Callable[[], None] = lambda: None
        self._packs = Known(memory)
        self._depots = Depots(stores, self._packs.kinds)
        self._examiner = Examiner(configure, triggers)
        self._sifting = Sifting(self._depots, self._examiner, triggers, self._packs)
        self._found = self._sifting.found
        self._configure = configure
        self._around: Surroundings
        self._cut: Cut
        self._counts: dict[int, Counted] = {}
        self.skipped: list[Skipped] = []
        self.hidden: list[tuple[bytes, str]] = []
        self._secrets: dict[str, Secret] = {}
        self._names: dict[tuple[str, int], bytes] = {}
        self._unread: list[set[str]] = [set() for _ in self._depots.each]
        self._sightings: list[Sighting] = []
        self._home_paths: dict[str, set[bytes]] = {}  # names of FluxLoop's under which an object holds a key
        self._known: Whole = self._sifting.whole()
        self._history: History | None = None
        self.mentions: dict[str, Mention] = {}

    @property
    def total(self) -> int:
        """How many there are."""
        return self._sifting.total

    @property
    def amount(self) -> tuple[int, int]:
        """How many were read, and how many bytes those have."""
        return self._found.objects, self._found.bytes

    @property
    def pointers(self) -> set[str]:
        """Ids of the objects of Git LFS that blobs stand for."""
        return self._found.pointers

    @property
    def problems(self) -> list[list[tuple[str, str]]]:
        """Of each store what can't be opened at all: (where, why)."""
        return [depot.problems for depot in self._depots.each]

    # --- the pass ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sets the processes to work that look at all of them."""
        self._sifting.start()

    def finish(self, watch: Callable[[int, int], None]) -> None:
        """Waits for them. watch: told, now and then, how many objects were read and how many keys seen."""
        self._sifting.finish(watch)
        keys = len({one.fingerprint for one in self._found.sightings})
        self._tick = lambda: watch(self.total, keys)

    def stop(self) -> None:
        """Ends them."""
        self._sifting.stop()

    def surrounded(self, around: Surroundings, cut: Cut) -> None:
        """Takes in what stands beside the objects, once the pass is over. cut: what is missing by design."""
        self._around = around
        self._cut = cut
        self._sightings = list(self._found.sightings)
        self._known = self._sifting.whole()

    def settle(self) -> None:
        """Looks at what the pass left over."""
        self._large()
        self._sifting.keep()
        self._known = self._sifting.whole()
        self._at_home()
        self._settle_unread()

    # --- what the pass left over ---------------------------------------------------------------------------------

    def _large(self) -> None:
        """Objects that are too large for the memory, in pieces that overlap."""
        last = None
        for copy in self._found.large:
            number, path, id = copy
            if copy == last:
                self._fail(number, id, "its pack holds it twice, and one of them was not read", certain=True)
                continue
            last = copy
            try:
                kind, size, pieces = self._depots.each[number].pieces(id, path)
                largest = self._configure().largest
                if size > largest:
                    self._fail(number, id, f"larger than the limit of {largest:,} bytes", True)
                    continue
                before = len(self._sightings), len(self._found.unread)
                for chunk in windows(pieces, Origin("blob", b"", id)):
                    if self._examiner.suspects(chunk.data):
                        self._take_window(id, kind, chunk.data, chunk.line, chunk.column)
                self._found.objects += 1
                self._found.bytes += size
                sightings, unread = self._sightings[before[0] :], self._found.unread[before[1] :]
                self._sifting.found_in(copy, sightings, unread, size)
            except Damaged as error:
                self._fail(number, id, str(error), certain=True)

    def _take_window(self, id: str, kind: str, data: bytes, line: int, column: int) -> None:
        seen = set(self._sightings)
        examined = self._examiner.examine(id, "blob" if kind == "tree" else kind, data)
        for sighting in examined.sightings:
            if not sighting.via:
                moved = sighting.column + column - 1 if sighting.line == 1 else sighting.column
                sighting = replace(sighting, line=sighting.line + line - 1, column=moved)
            if sighting not in seen:
                self._sightings.append(sighting)
        self._keep(examined)
        self._found.unread += [(id, where, reason) for where, reason in examined.unread]

    def _keep(self, examined: Examined) -> None:
        for sighting, secret in zip(examined.sightings, examined.secrets, strict=True):
            self._secrets[sighting.fingerprint] = secret

    def _at_home(self) -> None:
        """What stands under a name of FluxLoop's is looked at with the rules for such places, whatever it holds."""
        kept = self._known.recall("homes", sorted(self._found.homes))
        if kept is not None:
            self._sightings += map(Sighting.of, kept[0])
            self._home_paths = {id: {*unpacked(paths)} for id, paths in kept[1]}
            return
        before = len(self._sightings), len(self.skipped)
        self._look_at_home()
        fresh = self._sightings[before[0] :]
        if len(self.skipped) == before[1]:
            texts = {text for one in fresh for text in (*one.via, one.allowed)}
            table = Table()
            paths = [table.packed(tuple(sorted(paths))) for paths in self._home_paths.values()]
            value = [[one.values() for one in fresh], [*zip(self._home_paths, paths, strict=True)]]
            self._known.keep(
                "homes", sorted(self._found.homes), value, texts | table.texts, self._examiner.is_clear
            )

    def _look_at_home(self) -> None:
        done: set[tuple[str, bytes]] = set()
        pending = sorted(self._found.homes)
        while pending:
            mode, path, id = pending.pop()
            if (id, path) in done or mode == links.SUBMODULE:
                continue
            done.add((id, path))
            if len(done) > _MOST_HOMES or len(path) > _LONGEST_PATH:
                self.skipped.append(
                    Skipped(path[:200], "too many files under FluxLoop's names to look at each again")
                )
                return
            is_tree = mode.lstrip(b"0") == b"40000"
            if not is_tree and not self._examiner.concerned(path):
                continue
            try:
                kind, data = self._depots.content(id)
            except (KeyError, Damaged, TooLarge):
                continue  # is named elsewhere
            if is_tree:
                pending += [(m, path + b"/" + n, i.hex()) for m, n, i in links.entries(data, len(id) // 2)]
            else:
                examined = self._examiner.examine(id, kind, data, path)
                known = set(self._sightings)
                self._sightings += [one for one in examined.sightings if one not in known]
                if examined.sightings:
                    self._home_paths.setdefault(id, set()).add(path)
                self._keep(examined)

    def _settle_unread(self) -> None:
        for number, broken in enumerate(self._found.broken):
            for id, reason in broken.items():
                self._fail(number, id, reason)
        for number, dead in enumerate(self._found.dead):
            self._unread[number].update(dead)
            if dead:
                reason = f"{len(dead):,} objects: the process that was reading them ended unexpectedly"
                self.skipped.append(Skipped(f"object {min(dead)} and others".encode(), reason))
        sound = not self.skipped
        self.skipped += missing_objects(self._found.lost, self._cut, self._content)
        absent = self._depots.absent(set(self._beside.ids) - set(self._found.lost), self._sifting.present)
        self.skipped += self._beside.missing(absent, self._cut)
        self.skipped += unread_inside(self._found.unread, self._beside)
        if sound:
            self._keep_unchanged(absent)

    def _content(self, id: str) -> bytes:
        try:
            return self._depots.content(id)[1]
        except (KeyError, Damaged, TooLarge):
            return b""

    @cached_property
    def _beside(self) -> Beside:
        return Beside(self._around)

    def _keep_unchanged(self, absent: Sequence[str]) -> None:
        """Where no key stands in them, and each could be read, the next audit need not know more than this."""
        found = self._found
        passing = any(PASSING in why for _, _, why in found.unread)
        if self._sightings or found.pointers or passing or any((*self._unread, *found.broken, *found.dead)):
            return
        counted = [self._counted(number, depot) for number, depot in enumerate(self._depots.each)]
        unchanged.keep(
            self._known,
            self.amount,
            found.unread,
            found.lost,
            counted,
            self._beside,
            absent,
            self._examiner.is_clear,
        )

    def _fail(self, number: int, id: str, reason: str, certain: bool = False) -> None:
        """A copy of an object can't be read: the object counts as unread where there is no other, or if it is certain."""
        if certain or reason == TOO_MUCH or not self._readable(id):
            self._unread[number].add(id)
            said = reason if certain or reason in (TOO_MUCH, TOO_DEEP) else f"{reason}; {BRING}"
        elif reason == store.GONE:  # git packed it meanwhile
            return
        else:
            said = f"one copy of it can't be read: {reason}; {_SPARE}"
        self.skipped.append(Skipped(f"object {id}".encode(), said, id))

    def _readable(self, id: str) -> bool:
        """Whether there is a copy of an object that can be read; each copy has its own turn to be looked at."""
        try:
            self._depots.content(id)
        except TooLarge:
            return True
        except (KeyError, Damaged):
            return False
        return True

    # --- places --------------------------------------------------------------------------------------------------

    def seen(self, anew: bool) -> list[Seen]:
        """Every key at every place, traced. anew: what is known of that from an earlier audit is not used."""
        return list(self._seen(anew))

    def _seen(self, anew: bool) -> Iterator[Seen]:
        if not self._sightings:
            return
        self._recover()
        recalled = None if anew else self._recalled_places()
        for sighting, kind, path, traced in self._found_places() if recalled is None else recalled:
            yield from self._one(sighting, kind, path, traced)

    def hurried(self) -> list[Seen] | None:
        """What was found before an interruption, traced through all of the history; None where that takes more than seconds."""
        from fluxguard.audit.lineage import TooLong

        try:
            return list(self._hurried())
        except TooLong:
            return None

    def _hurried(self) -> Iterator[Seen]:
        if self._sightings:
            until = time.monotonic() + _HURRY
            for depot, kinds in zip(self._depots.each, self._found.loose, strict=True):
                kinds.update(_kinds(depot, kinds, until))
            self._recover()
            for sighting, kind, path, traced in self._found_places(until):
                yield from self._one(sighting, kind, path, traced)

    def _recalled_places(self) -> list[Placed] | None:
        kept = self._known.recall("places", self._behind_places())
        if kept is None:
            return None
        table = [*map(unpacked, kept[0])]
        for id, *said, parents in kept[2]:
            author, date, committed, subject = (table[cell] for cell in said)
            self.mentions[table[id]] = Mention(author, date, committed, subject, parents)
        return [
            (self._sightings[row[0]], table[row[1]], table[row[2]], Trace(*(table[cell] for cell in row[3:])))
            for row in kept[1]
        ]

    def _behind_places(self) -> list[Any]:
        """What the places follow from, beside the objects."""
        objects = {one.object for one in self._sightings}
        indexed = sorted((id, sorted(paths)) for id, paths in self._around.indexed.items() if id in objects)
        return [[one.values() for one in self._sightings], sorted(set(self._refs())), indexed]

    def _found_places(self, until: float = float("inf")) -> list[Placed]:
        from fluxguard.audit.history import History
        from fluxguard.audit.lineage import Lineage
        from fluxguard.audit.story import mentions

        before = len(self.skipped)
        lineage = Lineage(
            self._depots, self._found.loose, self._packs, self._examiner.is_clear, until, self._tick
        )
        history = self._history = History(self._depots, lineage, self._refs())
        found = [*self._in_paths(history), *self._in_words(history)]
        lineage.keep()
        if history.truncated:
            self.skipped.append(Skipped(b"history", _TOO_MANY))
        if lineage.unread:
            self.skipped.append(Skipped(b"history", "part of it could not be read to trace the leaks"))
        self.mentions = mentions(history, (traced for *_, traced in found))
        if len(self.skipped) == before:
            self._keep_places(found)
        return found

    def _keep_places(self, found: list[Placed]) -> None:
        table = Table()
        numbers = {sighting: number for number, sighting in enumerate(self._sightings)}
        rows = [
            [numbers[sighting], *map(table.number, (kind, path, *_fields(traced)))]
            for sighting, kind, path, traced in found
        ]
        said = [
            [*map(table.number, (id, one.author, one.date, one.committed, one.subject)), one.parents]
            for id, one in self.mentions.items()
        ]
        self._known.keep(
            "places", self._behind_places(), [table.values, rows, said], table.texts, self._examiner.is_clear
        )

    def untraced(self) -> list[Seen]:
        """Every key in its object, where nobody waits for more."""
        return list(self._untraced())

    def _untraced(self) -> Iterator[Seen]:
        self._recover()
        for sighting in self._sightings:
            path = self._names.get((sighting.object, sighting.name), b"")
            yield from self._one(sighting, sighting.kind, path, None)

    def events(self, finding: Finding, family: Sequence[GitDir]) -> tuple[Event, ...]:
        """What happened to a key, where one of these objects holds it."""
        if self._history is None:
            return ()
        from fluxguard.audit.story import Teller

        teller = Teller(self._history, family, self.mentions)
        events = teller.events(finding)
        self.mentions = teller.said
        return events

    def save(self) -> None:
        """What was worked out here need not be worked out again while nothing changes."""
        self._known.save()

    def _refs(self) -> Iterator[tuple[bytes, str]]:
        from fluxguard.audit.history import LOG

        for ref in self._around.refs:
            yield ref.name, ref.id
        for name, id in set(self._around.logs):
            yield LOG + name, id

    def _recover(self) -> None:
        """Brings the keys back: each is looked up in one of the objects that hold it; for names, in all of them."""
        for id in {sighting.object: None for sighting in self._sightings}:
            self._recover_from(id)
        for id in sorted({one.object for one in self._sightings if one.fingerprint not in self._secrets}):
            reason = "a key stands in it, which could not be read another time"
            self.skipped.append(Skipped(self._beside.place_of(id), reason, id))

    def _recover_from(self, id: str) -> None:
        """From one copy of an object after the other, for they need not hold the same."""
        for depot in self._depots.each:
            for path in depot.copies(id):
                if not self._lacks(id):
                    return
                try:
                    self._recover_from_copy(id, *depot.copy(id, path))
                except TooLarge:
                    self._recover_from_large(depot, id, path)
                except (KeyError, Damaged):
                    continue

    def _lacks(self, id: str) -> bool:
        """Whether a key in an object is not known yet, or the name that one stands in."""
        return any(
            one.fingerprint not in self._secrets or (one.kind == "path" and (id, one.name) not in self._names)
            for one in self._by_object().get(id, ())
        )

    def _recover_from_copy(self, id: str, kind: str, data: bytes) -> None:
        examined = self._examiner.examine(id, kind, data)
        self._keep(examined)
        for path in sorted(self._home_paths.get(id, ())):
            self._keep(self._examiner.examine(id, kind, data, path))
        named = [
            one for one in zip(examined.sightings, examined.secrets, strict=True) if one[0].kind == "path"
        ]
        entries = list(links.entries(data, len(id) // 2)) if named else []
        for sighting, secret in named:
            name = self._names[id, sighting.name] = entries[sighting.name][1]
            if sighting.via:
                self.hidden.append((name, secret.masked))

    def _recover_from_large(self, depot: Depot, id: str, path: str) -> None:
        try:
            kind, _, pieces = depot.pieces(id, path)
            for chunk in windows(pieces, Origin("blob", b"", id)):
                if self._examiner.suspects(chunk.data):
                    kind = "blob" if kind == "tree" else kind
                    self._keep(self._examiner.examine(id, kind, chunk.data))
        except Damaged:
            return

    def _by_object(self) -> dict[str, list[Sighting]]:
        if not hasattr(self, "_grouped"):
            self._grouped: dict[str, list[Sighting]] = {}
            for sighting in self._sightings:
                self._grouped.setdefault(sighting.object, []).append(sighting)
        return self._grouped

    def _in_paths(self, history: History) -> Iterator[Placed]:
        """Keys in blobs and in the names of trees."""
        numbers: dict[tuple[str, str, bytes], int] = {}
        standing: dict[tuple[bytes, int], list[Sighting]] = {}
        keys: dict[bytes, set[int]] = {}
        for sighting in self._sightings:
            if sighting.kind in ("blob", "path"):
                name = self._names.get((sighting.object, sighting.name), b"")
                number = numbers.setdefault((sighting.fingerprint, sighting.kind, name), len(numbers))
                id = bytes.fromhex(sighting.object)
                standing.setdefault((id, number), []).append(sighting)
                keys.setdefault(id, set()).add(number)
        names = [name for _, _, name in numbers]
        for place, traced in history.places({id: frozenset(held) for id, held in keys.items()}):
            path = b"/".join(part for part in (place.path, names[place.key]) if part)
            for sighting in standing[place.blob, place.key]:
                yield from self._at(sighting, path, traced)

    def _at(self, sighting: Sighting, path: bytes, traced: Trace) -> Iterator[Placed]:
        kind = sighting.kind
        if not traced.commit and not traced.refs and sighting.object in self._around.indexed:
            for indexed in self._around.indexed[sighting.object]:
                yield sighting, "index", indexed, traced
            return
        yield sighting, kind, path, traced

    def _one(self, sighting: Sighting, kind: str, path: bytes, traced: Trace | None) -> Iterator[Seen]:
        from fluxguard.findings import Seen

        rule = next((one for one in self._configure().rules if one.id == sighting.rule), None)
        secret = self._secrets.get(sighting.fingerprint)
        if secret is None or (rule is not None and path and not rule.concerns(path)):
            return
        place = Location(
            kind,
            path,
            sighting.line,
            sighting.column,
            sighting.via,
            sighting.object,
            suppressed=Suppression("allow-comment", sighting.allowed) if sighting.allowed else None,
            trace=traced,
        )
        yield Seen(sighting.rule, secret, sighting.environment, sighting.confidence, place)

    def _in_words(self, history: History) -> Iterator[Placed]:
        """Keys in commits and tags themselves."""
        commits = [one for one in self._sightings if one.kind.startswith("commit")]
        tags = [one for one in self._sightings if one.kind.startswith("tag")]
        traces = {
            **history.of_commits(one.object for one in commits),
            **history.of_tags(one.object for one in tags),
        }
        for sighting in (*commits, *tags):
            yield sighting, sighting.kind, b"", traces[sighting.object]

    def certificates(self, interrupted: bool) -> Iterator[Certificate]:
        """One for each store."""
        stores = zip(self._depots.each, self._unread, self._found.read, strict=True)
        for number, (depot, unread, read) in enumerate(stores):
            made = certificate.certify(depot.store, self._counted(number, depot), unread)
            yield replace(made, read=min(made.read, read)) if interrupted else made

    def _counted(self, number: int, depot: Depot) -> Counted:
        if number not in self._counts:
            kept = self._known.recall(f"count {number}", depot.store.path)
            counted = Counted(*kept) if kept else counting.count(depot, self._found.loose[number])
            value = [counted.kinds, counted.total, counted.digest]
            self._known.keep(f"count {number}", depot.store.path, value, (), self._examiner.is_clear)
            self._counts[number] = counted
        return self._counts[number]


def _kinds(depot: Depot, known: Mapping[str, str], until: float) -> dict[str, str]:
    """The kinds of the loose objects that the pass did not come to. Raises TooLong."""
    from fluxguard.audit.lineage import TooLong

    found = {}
    for id in depot.store.loose:
        if id not in known:
            if time.monotonic() > until:
                raise TooLong
            try:
                found[id] = store.read_loose(depot.store, id)[0]
            except (Damaged, TooLarge):
                continue
    return found


def _fields(trace: Trace) -> tuple[Any, ...]:
    return tuple(getattr(trace, one.name) for one in fields(trace))
