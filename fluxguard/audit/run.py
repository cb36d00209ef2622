"""The audit from its start to its report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from fluxguard.audit import cache, certificate
from fluxguard.audit.certificate import Counted
from fluxguard.audit.depot import Depot, Depots
from fluxguard.audit.examine import Examined, Sighting, examine
from fluxguard.audit.history import LOG, History
from fluxguard.audit.known import Known, Table, unpacked
from fluxguard.audit.lineage import Lineage, TooLong
from fluxguard.audit.looked import Looked
from fluxguard.audit.sifting import Sifting
from fluxguard.audit.story import Teller, chosen, mentions
from fluxguard.audit.surroundings import Surroundings
from fluxguard.chunk import Origin, Skipped
from fluxguard.config import Config
from fluxguard.detect.triggers import Triggers
from fluxguard.findings import Seen, gather
from fluxguard.model import (
    Beside,
    Certificate,
    Finding,
    Location,
    Mention,
    Report,
    Secret,
    Stats,
    Story,
    Suppression,
    Trace,
    Unread,
)
from fluxguard.repo import gitdir, links, refs, store
from fluxguard.repo.forest import TOO_MUCH
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.graph import parse_commit
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import TOO_DEEP
from fluxguard.repo.store import TooLarge
from fluxguard.sources import metadata
from fluxguard.sources.windows import windows

INTERRUPTED = "interrupted: only part of it was looked at"
_UNTRACED = ", and no place is traced"
_HURRY = 3.0  # seconds, in which what was found before an interruption is traced, or not at all
Watch = Callable[[int, int, int], None]
_BRING = "bring it back from a remote that has it: git fetch --refetch"
_FORGET = (
    "bring it back from a copy that has it, or, if it is gone for good, have git forget the entry: "
    "git reflog expire --stale-fix --expire=never --all"
)
Placed = tuple[
    Sighting, str, bytes, Trace
]  # a key in an object, what kind of place that is, its path, its story
_MOST_HOMES = 200_000
_LONGEST_PATH = 4096  # bytes; a tree that holds itself has paths without an end


def quiet(done: int, total: int, keys: int) -> None:
    """Nobody watches."""


def audit(target: str, config: Config, watch: Watch = quiet, full: bool = False, explain: str = "") -> Report:
    """Audits the repository that `target` belongs to. Raises BrokenRepository where there is none.

    full: whatever an earlier audit knows is not used. explain: the beginning of a fingerprint whose story is wanted, too.
    A KeyboardInterrupt, once there is something to tell, ends in a report of what was found so far.
    """
    return Audit(target, config, watch, full, explain).report()


class Audit:
    """One repository's audit."""

    def __init__(
        self, target: str, config: Config, watch: Watch = quiet, full: bool = False, explain: str = ""
    ) -> None:
        self._started = time.perf_counter()
        self._target = target
        self._config = config
        self._watch = watch
        self._full = full
        self._explain = explain
        self._interrupted = False
        self._surrounded = False  # whether refs and logs were read to the end
        self._untraced = False
        self._skipped: list[Skipped] = []
        self._repository = gitdir.locate(target)
        self._family = gitdir.family(self._repository)
        self._triggers = Triggers([literal for rule in config.rules for literal in rule.literals])
        self._scan = Looked(config)

    def report(self) -> Report:
        """All of it, in order: objects and surroundings at the same time, then the places of what was found."""
        known = Known(cache.of_user(self._config, self._folders(), self._full))
        depots = Depots(store.stores(self._family), known.kinds)
        sifting = Sifting(depots, self._config, self._triggers, known)
        around = self._sift(sifting)
        found = sifting.found
        for depot in depots.each:
            unseen = [where for where, _ in depot.problems]
            self._scan.run(metadata.strays(depot.store, unseen, self._config.largest))
        self._skipped += around.skipped + self._scan.skipped
        for depot in depots.each:
            self._skipped += [Skipped(os.fsencode(where), reason) for where, reason in depot.problems]
        promised = _is_partial(self._repository.common)
        cut = Cut.of(self._family, promised)
        whole = _Whole(depots, sifting, known, around, self._config, cut)
        seen = [*self._beside(), *self._placed(whole)]
        self._skipped += [*whole.skipped, *_incomplete(self._family), *cut.skipped()]
        findings = tuple(_as_information(finding) for finding in gather(seen, self._config))
        story = self._story(whole, findings) if self._explain else None
        certificates = self._certified(whole)
        if self._interrupted:
            said = INTERRUPTED + (_UNTRACED if self._untraced else "")
            self._skipped.insert(0, Skipped(b"the audit", said))
        unread = tuple(
            Unread(item.where, item.reason, self._config.acceptance(item.where, item.object, item.reason))
            for item in self._skipped
        )
        stats = Stats(
            found.objects + self._scan.objects,
            found.bytes + self._scan.bytes,
            time.perf_counter() - self._started,
        )
        if not self._interrupted:
            whole.save()
        known.close()
        refs = tuple(sorted({(ref.name, ref.id) for ref in around.refs}))
        return Report(
            "audit",
            self._target,
            findings,
            unread,
            stats,
            hidden=(*whole.hidden, *(self._scan.collector.hidden() if self._scan.collector else ())),
            certificates=certificates,
            beside=(Beside(self._repository.common, refs, self._scan.looked_at()),),
            mentions=whole.mentions,
            story=story,
            interrupted=self._interrupted,
        )

    def _folders(self) -> Iterator[str]:
        """All that belongs to the repository, and so to whoever made it."""
        for member in self._family:
            yield from (member.path, member.common, member.objects, *([member.tree] if member.tree else []))

    def _sift(self, sifting: Sifting) -> Surroundings:
        """The pass over the objects, with the surroundings looked at meanwhile; ends early when it is interrupted."""
        around = Surroundings([], self._config, self._scan)
        sifting.start()
        try:
            self._watch(0, sifting.total, 0)
            around = Surroundings(self._family, self._config, self._scan)
            self._surrounded = True
            sifting.finish(lambda done, keys: self._watch(done, sifting.total, keys))
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            sifting.stop()
        return around

    def _certified(self, whole: _Whole) -> tuple[Certificate, ...]:
        try:
            return tuple(whole.certificates(self._interrupted))
        except KeyboardInterrupt:
            self._interrupted = True
            return ()

    def _placed(self, whole: _Whole) -> list[Seen]:
        """Every key at every place; untraced where there was no time for that."""
        try:
            if not self._interrupted:
                whole.settle()
                return list(whole.seen(anew=bool(self._explain)))
            if self._surrounded:
                return list(whole.hurried())
        except KeyboardInterrupt:
            self._interrupted = True
        except TooLong:
            pass
        self._untraced = True
        return list(whole.untraced())

    def _story(self, whole: _Whole, findings: tuple[Finding, ...]) -> Story:
        """What happened to the key whose fingerprint begins as asked."""
        finding = chosen(self._explain, findings)
        if finding is None or whole.history is None:
            return Story(self._explain, finding)
        teller = Teller(whole.history, self._family, whole.mentions)
        events = teller.events(finding)
        whole.mentions = teller.said
        return Story(self._explain, finding, events)

    def _beside(self) -> Iterator[Seen]:
        if self._scan.collector is not None:
            yield from map(_as_ref, self._scan.collector.seen())


class _Whole:
    """What the objects hold, put together: secrets, places, what is unread, the certificates."""

    def __init__(
        self, depots: Depots, sifting: Sifting, known: Known, around: Surroundings, config: Config, cut: Cut
    ) -> None:
        self._cut = cut
        self._depots = depots
        self._sifting = sifting
        self._packs = known
        found = self._found = sifting.found
        self._around = around
        self._config = config
        self.skipped: list[Skipped] = []
        self.hidden: list[tuple[bytes, str]] = []
        self._secrets: dict[str, Secret] = {}
        self._names: dict[tuple[str, int], bytes] = {}
        self._unread: list[set[str]] = [set() for _ in depots.each]
        self._sightings = list(found.sightings)
        self._home_paths: dict[str, set[bytes]] = {}  # names of FluxLoop's under which an object holds a key
        self._known = sifting.whole()
        self.history: History | None = None
        self.mentions: dict[str, Mention] = {}

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
        for number, id in self._found.large:
            depot = self._depots.each[number]
            try:
                kind, size, pieces = depot.pieces(id)
                if size > self._config.largest:
                    self._fail(number, id, f"larger than the limit of {self._config.largest:,} bytes", True)
                    continue
                before = len(self._sightings), len(self._found.unread)
                for chunk in windows(pieces, Origin("blob", b"", id)):
                    if self._sifting.detector.suspects(chunk.data):
                        self._take_window(id, kind, chunk.data, chunk.line, chunk.column)
                self._found.objects += 1
                self._found.bytes += size
                sightings, unread = self._sightings[before[0] :], self._found.unread[before[1] :]
                self._sifting.found_in(number, id, sightings, unread, size)
            except Damaged as error:
                self._fail(number, id, str(error), certain=True)

    def _take_window(self, id: str, kind: str, data: bytes, line: int, column: int) -> None:
        seen = set(self._sightings)
        examined = examine(id, "blob" if kind == "tree" else kind, data, self._sifting.detector)
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
                "homes", sorted(self._found.homes), value, texts | table.texts, self._sifting.is_clear
            )

    def _look_at_home(self) -> None:
        detector = self._sifting.detector if self._found.homes else None
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
            assert detector is not None
            is_tree = mode.lstrip(b"0") == b"40000"
            if not is_tree and not detector.concerned(path):
                continue
            try:
                kind, data = self._depots.content(id)
            except (KeyError, Damaged, TooLarge):
                continue  # is named elsewhere
            if is_tree:
                pending += [(m, path + b"/" + n, i.hex()) for m, n, i in links.entries(data, len(id) // 2)]
            else:
                examined = examine(id, kind, data, detector, path)
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
        for id, owner in sorted(self._found.lost.items()):
            if not self._cut.covers(id, partial(self._content, owner), owner):
                self._missing(id, f"object {owner}")
        self._named_beside()
        for id, where, reason in self._found.unread:
            inside = f"{reason} (in {where})" if where else reason
            self.skipped.append(Skipped(self._place_of(id), inside, id))

    def _content(self, id: str) -> bytes:
        try:
            return self._depots.content(id)[1]
        except (KeyError, Damaged, TooLarge):
            return b""

    def _named_beside(self) -> None:
        """Refs and indexes name objects as well, and so do reflogs: git removes none that an entry of one names."""
        logged = {id: b"the reflog of " + name for name, id in reversed(self._around.logs)}
        named = logged | {ref.id: ref.name for ref in reversed(self._around.refs) if _is_kept(ref.name)}
        named |= {id: b"the index, for " + paths[0] for id, paths in self._around.indexed.items() if id}
        for id in self._depots.absent(set(named) - set(self._found.lost), self._sifting.present):
            if not self._cut.covers(id):
                owner = named[id].decode("utf-8", "backslashreplace")
                self._missing(id, owner, _FORGET if named[id] == logged.get(id) else _BRING)

    def _missing(self, id: str, owner: str, mend: str = _BRING) -> None:
        reason = f"it is not there, and {owner} names it; {mend}"
        self.skipped.append(Skipped(f"object {id}".encode(), reason, id))

    def _fail(self, number: int, id: str, reason: str, certain: bool = False) -> None:
        """A copy of an object can't be read: that counts where there is no other copy, or if it is certain."""
        if certain or reason == TOO_MUCH or not self._readable(id):
            self._unread[number].add(id)
            said = reason if certain or reason in (TOO_MUCH, TOO_DEEP) else f"{reason}; {_BRING}"
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

    def _place_of(self, id: str) -> bytes:
        """How to name an object to a person: its path in an index, where it has one."""
        paths = self._around.indexed.get(id)
        return paths[0] if paths else f"object {id}".encode()

    # --- places --------------------------------------------------------------------------------------------------

    def seen(self, anew: bool) -> Iterator[Seen]:
        """Every key at every place, traced. anew: what is known of that from an earlier audit is not used."""
        if not self._sightings:
            return
        self._recover()
        recalled = None if anew else self._recalled_places()
        for sighting, kind, path, traced in self._found_places() if recalled is None else recalled:
            yield from self._one(sighting, kind, path, traced)

    def hurried(self) -> Iterator[Seen]:
        """What was found before an interruption, traced through all of the history. Raises TooLong after a few seconds."""
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
        before = len(self.skipped)
        lineage = Lineage(self._depots, self._found.loose, self._packs, self._sifting.is_clear, until)
        history = self.history = History(self._depots, lineage, self._refs())
        found = [*self._in_paths(history), *self._in_words(history)]
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
            "places", self._behind_places(), [table.values, rows, said], table.texts, self._sifting.is_clear
        )

    def untraced(self) -> Iterator[Seen]:
        """Every key in its object, where nobody waits for more."""
        self._recover()
        for sighting in self._sightings:
            path = self._names.get((sighting.object, sighting.name), b"")
            yield from self._one(sighting, sighting.kind, path, None)

    def save(self) -> None:
        """What was worked out here need not be worked out again while nothing changes."""
        self._known.save()

    def _refs(self) -> Iterator[tuple[bytes, str]]:
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
            self.skipped.append(Skipped(self._place_of(id), reason, id))

    def _recover_from(self, id: str) -> None:
        mine = [one for one in self._by_object().get(id, ()) if one.kind == "path"]
        if not mine and all(one.fingerprint in self._secrets for one in self._by_object().get(id, ())):
            return
        try:
            kind, data = self._depots.content(id)
        except TooLarge:
            self._recover_from_large(id)
            return
        except (KeyError, Damaged):
            return
        if mine:
            entries = list(links.entries(data, len(id) // 2))
            for one in mine:
                self._names[id, one.name] = entries[one.name][1]
        examined = examine(id, kind, data, self._sifting.detector)
        self._keep(examined)
        for path in sorted(self._home_paths.get(id, ())):
            self._keep(examine(id, kind, data, self._sifting.detector, path))
        for sighting, secret in zip(examined.sightings, examined.secrets, strict=True):
            if sighting.kind == "path" and sighting.via:
                self.hidden.append((self._names[id, sighting.name], secret.masked))

    def _recover_from_large(self, id: str) -> None:
        for depot in self._depots.each:
            try:
                kind, _, pieces = depot.pieces(id)
                for chunk in windows(pieces, Origin("blob", b"", id)):
                    if self._sifting.detector.suspects(chunk.data):
                        kind = "blob" if kind == "tree" else kind
                        self._keep(examine(id, kind, chunk.data, self._sifting.detector))
            except Damaged:
                continue

    def _by_object(self) -> dict[str, list[Sighting]]:
        if not hasattr(self, "_grouped"):
            self._grouped: dict[str, list[Sighting]] = {}
            for sighting in self._sightings:
                self._grouped.setdefault(sighting.object, []).append(sighting)
        return self._grouped

    def _in_paths(self, history: History) -> Iterator[Placed]:
        """Keys in blobs and in the names of trees."""
        numbers: dict[tuple[str, str, bytes], int] = {}
        keys: dict[bytes, set[int]] = {}
        for sighting in self._sightings:
            if sighting.kind in ("blob", "path"):
                name = self._names.get((sighting.object, sighting.name), b"")
                number = numbers.setdefault((sighting.fingerprint, sighting.kind, name), len(numbers))
                keys.setdefault(bytes.fromhex(sighting.object), set()).add(number)
        meanings = list(numbers)
        for place, traced in history.places({id: frozenset(held) for id, held in keys.items()}):
            fingerprint, kind, name = meanings[place.key]
            id = place.blob.hex()
            path = b"/".join(part for part in (place.path, name) if part)
            for sighting in self._by_object()[id]:
                if (sighting.fingerprint, sighting.kind) == (fingerprint, kind) and (
                    self._names.get((id, sighting.name), b"") == name
                ):
                    yield from self._at(sighting, path, traced)

    def _at(self, sighting: Sighting, path: bytes, traced: Trace) -> Iterator[Placed]:
        kind = sighting.kind
        if not traced.commit and not traced.refs and sighting.object in self._around.indexed:
            for indexed in self._around.indexed[sighting.object]:
                yield sighting, "index", indexed, traced
            return
        yield sighting, kind, path, traced

    def _one(self, sighting: Sighting, kind: str, path: bytes, traced: Trace | None) -> Iterator[Seen]:
        rules = {rule.id: rule for rule in self._config.rules}
        rule = rules.get(sighting.rule)
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
            made = certificate.certify(depot, self._counted(number, depot), unread)
            yield replace(made, read=min(made.read, read)) if interrupted else made

    def _counted(self, number: int, depot: Depot) -> Counted:
        kept = self._known.recall(f"count {number}", depot.store.path)
        if kept is not None:
            return Counted(*kept)
        counted = certificate.count(depot, self._found.loose[number])
        value = [counted.kinds, counted.total, counted.digest]
        self._known.keep(f"count {number}", depot.store.path, value, (), self._sifting.is_clear)
        return counted


def _kinds(depot: Depot, known: Mapping[str, str], until: float) -> dict[str, str]:
    """The kinds of the loose objects that the pass did not come to. Raises TooLong."""
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


def _is_kept(ref: bytes) -> bool:
    """Whether git keeps what a ref names. What ORIG_HEAD, MERGE_HEAD and their like name, `git gc` may remove."""
    name = ref.rpartition(b":")[2]
    return b"/" in name or name == b"HEAD"


def _fields(trace: Trace) -> tuple[Any, ...]:
    return tuple(getattr(trace, one.name) for one in fields(trace))


def _as_ref(seen: Seen) -> Seen:
    """Who can see a ref's name is who can see the ref."""
    place = seen.location
    if place.kind != "ref-name":
        return seen
    trace = Trace(refs=(place.path,), tips=(place.path,))
    return replace(seen, location=replace(place, trace=trace))


def _as_information(finding: Finding) -> Finding:
    """A key that stands in the working tree alone is where it may be: it is mentioned."""
    if all(place.kind == "file" for place in finding.locations):
        return replace(finding, severity="warn")
    return finding


@dataclass(slots=True)
class Cut:
    """What a shallow or partial clone left with its remote: it is missing by design, and said once.

    boundary: the commits of which git cut the parents off. left: how many other objects are with the remote.
    """

    boundary: frozenset[str]
    promised: bool
    left: int = 0

    @classmethod
    def of(cls, family: Iterable[GitDir], promised: bool) -> Cut:
        """By git's own account."""
        files = (refs.small_file(os.path.join(member.common, "shallow"), 64 << 20) for member in family)
        return cls(
            frozenset(id.decode("ascii", "replace") for file in files for id in file.split()), promised
        )

    def covers(self, id: str, commit: Callable[[], bytes] = bytes, owner: str = "") -> bool:
        """Whether a missing object is one of those. commit: the content of the one that names it, `owner`."""
        if owner in self.boundary:
            cut = parse_commit(bytes.fromhex(owner), commit())
            if cut is not None and bytes.fromhex(id) in cut.parents:
                return True
        self.left += self.promised
        return self.promised

    def skipped(self) -> Iterator[Skipped]:
        """What a partial clone lacks; where all that is named is here, nothing is left to fetch."""
        if self.left:
            yield Skipped(
                b"partial clone",
                f"{self.left:,} objects that are named here were left with the remote; "
                "complete it with: git fetch --refetch --no-filter",
            )


def _incomplete(family: Iterable[GitDir]) -> Iterator[Skipped]:
    """What of the history is cut off, by git's own account."""
    for common, name in {member.common: member.name for member in reversed(list(family))}.items():
        where = "" if name == ".git" or name.startswith("worktrees/") else f"{name}: "
        if refs.small_file(os.path.join(common, "shallow"), 1 << 20).strip():
            yield Skipped(
                f"{where}shallow clone".encode(),
                "the history ends where it was cut off; complete it with: git fetch --unshallow",
            )
        if refs.small_file(os.path.join(common, "info", "grafts")).strip():
            yield Skipped(
                f"{where}info/grafts".encode(),
                "grafts hide parents of commits from git; make them replace refs: git replace --convert-graft-file",
            )


def _is_partial(common: str) -> bool:
    config = refs.small_file(os.path.join(common, "config"), 1 << 20).lower()
    return b"partialclone" in config or b"promisor" in config or _promised(common)


def _promised(common: str) -> bool:
    try:
        names: Iterable[str] = os.listdir(os.path.join(common, "objects", "pack"))
    except OSError:
        return False
    return any(name.endswith(".promisor") for name in names)
