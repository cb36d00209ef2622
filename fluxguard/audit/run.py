"""The audit from its start to its report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from fluxguard.audit import cache, certificate
from fluxguard.audit.certificate import Counted
from fluxguard.audit.depot import Depot, Depots
from fluxguard.audit.examine import Examined, Sighting, examine
from fluxguard.audit.history import LOG, History
from fluxguard.audit.known import Known, Table, unpacked
from fluxguard.audit.sifting import Found, Sifting
from fluxguard.audit.surroundings import Surroundings
from fluxguard.chunk import Origin, Skipped
from fluxguard.config import Config
from fluxguard.detect.triggers import Triggers
from fluxguard.findings import Seen, gather
from fluxguard.model import Certificate, Finding, Location, Report, Secret, Stats, Suppression, Trace, Unread
from fluxguard.repo import gitdir, links, refs, store
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.store import TooLarge
from fluxguard.scan import Scan
from fluxguard.sources.windows import windows

Watch = Callable[[int, int, int], None]
Placed = tuple[
    Sighting, str, bytes, Trace
]  # a key in an object, what kind of place that is, its path, its story
_MOST_HOMES = 200_000


def quiet(done: int, total: int, keys: int) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class Partial(Exception):
    """The audit was interrupted: what it found so far."""

    report: Report


def audit(target: str, config: Config, watch: Watch = quiet, full: bool = False) -> Report:
    """Audits the repository that `target` belongs to. Raises BrokenRepository where there is none.

    full: whatever an earlier audit knows is not used.
    """
    return Audit(target, config, watch, full).report()


class Audit:
    """One repository's audit."""

    def __init__(self, target: str, config: Config, watch: Watch = quiet, full: bool = False) -> None:
        self._started = time.perf_counter()
        self._target = target
        self._config = config
        self._watch = watch
        self._full = full
        self._skipped: list[Skipped] = []
        self._repository = gitdir.locate(target)
        self._family = gitdir.family(self._repository)
        self._triggers = Triggers([literal for rule in config.rules for literal in rule.literals])
        self._scan = Scan(config)

    def report(self) -> Report:
        """All of it, in order: objects and surroundings at the same time, then the places of what was found."""
        known = Known(cache.of_user(self._config, self._folders(), self._full))
        depots = Depots(store.stores(self._family), known.kinds)
        sifting = Sifting(depots, self._config, self._triggers, known)
        sifting.start()
        try:
            around = Surroundings(self._family, self._config, self._scan)
            found = sifting.finish(lambda done, keys: self._watch(done, sifting.total, keys))
        finally:
            sifting.stop()
        self._skipped += around.skipped + self._scan.skipped
        for depot in depots.each:
            self._skipped += [Skipped(os.fsencode(where), reason) for where, reason in depot.problems]
        whole = _Whole(depots, sifting, found, around, self._config)
        seen = [*self._beside(), *whole.seen()]
        self._skipped += [*whole.skipped, *_incomplete(self._repository)]
        findings = tuple(_as_information(finding) for finding in gather(seen, self._config))
        unread = tuple(
            Unread(item.where, item.reason, self._config.acceptance(item.where, item.object))
            for item in self._skipped
        )
        stats = Stats(
            found.objects + self._scan.objects,
            found.bytes + self._scan.bytes,
            time.perf_counter() - self._started,
        )
        certificates = tuple(whole.certificates())
        whole.save()
        known.close()
        return Report(
            "audit",
            self._target,
            findings,
            unread,
            stats,
            hidden=(*whole.hidden, *(self._scan.collector.hidden() if self._scan.collector else ())),
            certificates=certificates,
        )

    def _folders(self) -> Iterator[str]:
        """All that belongs to the repository, and so to whoever made it."""
        for member in self._family:
            yield from (member.path, member.common, member.objects, *([member.tree] if member.tree else []))

    def _beside(self) -> Iterator[Seen]:
        if self._scan.collector is not None:
            yield from self._scan.collector.seen()


class _Whole:
    """What the objects hold, put together: secrets, places, what is unread, the certificates."""

    def __init__(
        self, depots: Depots, sifting: Sifting, found: Found, around: Surroundings, config: Config
    ) -> None:
        self._depots = depots
        self._sifting = sifting
        self._found = found
        self._around = around
        self._config = config
        self.skipped: list[Skipped] = []
        self.hidden: list[tuple[bytes, str]] = []
        self._secrets: dict[str, Secret] = {}
        self._names: dict[tuple[str, int], bytes] = {}
        self._unread: list[set[str]] = [set() for _ in depots.each]
        self._sightings = list(found.sightings)
        self._home_paths: dict[str, set[bytes]] = {}  # names of FluxLoop's under which an object holds a key
        self._large()
        sifting.keep()
        self._known = sifting.whole()
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
                    self._fail(number, id, f"larger than the limit of {self._config.largest:,} bytes")
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
                self._fail(number, id, str(error))

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
            if len(done) > _MOST_HOMES:
                self.skipped.append(
                    Skipped(path, "too many files under FluxLoop's names to look at each again")
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
            self.skipped.append(
                Skipped(f"object {id}".encode(), f"it is not there, and object {owner} names it", id)
            )
        for id, where, reason in self._found.unread:
            inside = f"{reason} (in {where})" if where else reason
            self.skipped.append(Skipped(self._place_of(id), inside, id))

    def _fail(self, number: int, id: str, reason: str) -> None:
        """A copy of an object can't be read: that counts where there is no other copy."""
        try:
            self._depots.content(id)
        except TooLarge:
            if "larger than" not in reason:
                return
        except (KeyError, Damaged):
            pass
        else:
            return
        self._unread[number].add(id)
        self.skipped.append(Skipped(f"object {id}".encode(), reason, id))

    def _place_of(self, id: str) -> bytes:
        """How to name an object to a person: its path in an index, where it has one."""
        paths = self._around.indexed.get(id)
        return paths[0] if paths else f"object {id}".encode()

    # --- places --------------------------------------------------------------------------------------------------

    def seen(self) -> Iterator[Seen]:
        """Every key at every place, traced."""
        if not self._sightings:
            return
        self._recover()
        recalled = self._recalled_places()
        for sighting, kind, path, traced in self._found_places() if recalled is None else recalled:
            yield from self._one(sighting, kind, path, traced)

    def _recalled_places(self) -> list[Placed] | None:
        kept = self._known.recall("places", self._behind_places())
        if kept is None:
            return None
        table = [*map(unpacked, kept[0])]
        return [
            (self._sightings[row[0]], table[row[1]], table[row[2]], Trace(*(table[cell] for cell in row[3:])))
            for row in kept[1]
        ]

    def _behind_places(self) -> list[Any]:
        """What the places follow from, beside the objects."""
        objects = {one.object for one in self._sightings}
        indexed = sorted((id, sorted(paths)) for id, paths in self._around.indexed.items() if id in objects)
        return [[one.values() for one in self._sightings], sorted(set(self._refs())), indexed]

    def _found_places(self) -> list[Placed]:
        before = len(self.skipped)
        found = [*self._traced()]
        if len(self.skipped) == before:
            table = Table()
            numbers = {sighting: number for number, sighting in enumerate(self._sightings)}
            rows = [
                [numbers[sighting], *map(table.number, (kind, path, *_fields(traced)))]
                for sighting, kind, path, traced in found
            ]
            self._known.keep(
                "places", self._behind_places(), [table.values, rows], table.texts, self._sifting.is_clear
            )
        return found

    def _traced(self) -> Iterator[Placed]:
        history = History(self._depots, self._found.loose, self._refs())
        if history.unread:
            self.skipped.append(Skipped(b"history", "part of it could not be read to trace the leaks"))
        yield from self._in_paths(history)
        yield from self._in_words(history)

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

    def _one(self, sighting: Sighting, kind: str, path: bytes, traced: Trace) -> Iterator[Seen]:
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

    def certificates(self) -> Iterator[Certificate]:
        """One for each store."""
        for number, depot in enumerate(self._depots.each):
            yield certificate.certify(depot, self._counted(number, depot), self._unread[number])

    def _counted(self, number: int, depot: Depot) -> Counted:
        kept = self._known.recall(f"count {number}", depot.store.path)
        if kept is not None:
            return Counted(*kept)
        counted = certificate.count(depot, self._found.loose[number])
        value = [counted.kinds, counted.total, counted.digest]
        self._known.keep(f"count {number}", depot.store.path, value, (), self._sifting.is_clear)
        return counted


def _fields(trace: Trace) -> tuple[Any, ...]:
    return tuple(getattr(trace, one.name) for one in fields(trace))


def _as_information(finding: Finding) -> Finding:
    """A key that stands in the working tree alone is where it may be: it is mentioned."""
    if all(place.kind == "file" for place in finding.locations):
        return replace(finding, severity="warn")
    return finding


def _incomplete(repository: GitDir) -> Iterator[Skipped]:
    """What of the history is kept elsewhere, by git's own account."""
    common = repository.common
    shallow = refs.small_file(os.path.join(common, "shallow"), 1 << 20)
    if shallow.strip():
        yield Skipped(
            b"shallow clone",
            "the history ends where it was cut off; complete it with: git fetch --unshallow",
        )
    if refs.small_file(os.path.join(common, "info", "grafts")).strip():
        yield Skipped(
            b"info/grafts",
            "grafts hide parents of commits from git; make them replace refs: git replace --convert-graft-file",
        )
    config = refs.small_file(os.path.join(common, "config"), 1 << 20).lower()
    if b"partialclone" in config or b"promisor" in config or _promised(common):
        yield Skipped(
            b"partial clone",
            "objects were left with the remote; complete it with: git fetch --refetch --filter=blob:limit=9t",
        )


def _promised(common: str) -> bool:
    try:
        names: Iterable[str] = os.listdir(os.path.join(common, "objects", "pack"))
    except OSError:
        return False
    return any(name.endswith(".promisor") for name in names)
