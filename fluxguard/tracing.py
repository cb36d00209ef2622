"""Where the keys of a push come from: which of its commits brought each, and what the other side has already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from fluxguard.findings import Collector, Seen, gather
from fluxguard.model import Location, Report, Secret, Stats, Trace
from fluxguard.push import Look
from fluxguard.repo import index, objects, run
from fluxguard.repo.graph import Commit, Signature, parse_commit, parse_signature, rfc3339, topological
from fluxguard.repo.introduced import Arrival, arrivals
from fluxguard.repo.trace import reaching
from fluxguard.sources.windows import WHOLE

_CONTENT = ("blob", "lfs-object")
_MOST_LEFT = 100  # files that a commit took away, among which one that was moved is looked for


def report(done: Look, command: str, target: str, started: float, allow_comments: bool = True) -> Report:
    """The report: every key with the commit that brought it. allow_comments: whether those in the content count."""
    collector = done.scan.collector or Collector(done.config)
    stats = Stats(done.scan.objects, done.scan.bytes, time.perf_counter() - started)
    plain = collector.report(command, target, done.scan.skipped, stats, whole=False)
    if collector.empty:
        return plain
    placed = Tracer(done, collector).placed()
    if not allow_comments:
        placed = [replace(one, location=replace(one.location, suppressed=None)) for one in placed]
    return replace(plain, findings=gather(placed, collector.config))


class Tracer:
    """Traces what a look at a push has found."""

    def __init__(self, done: Look, collector: Collector) -> None:
        self._done = done
        self._collector = collector
        self._seen = list(collector.seen())
        self._new = {id for id, _ in done.lacking.objects}
        self._keys: dict[str, frozenset[Secret]] = {}
        self._commits: dict[str, Commit] = {}
        self._said: dict[str, Signature | None] = {}
        self._trees: set[str] = set()  # of which an arrival told
        self._found: dict[str, set[Secret]] = {}
        for one in self._seen:
            self._found.setdefault(one.location.object, set()).add(one.secret)
        self._brought: dict[str, list[Arrival]] = {}
        self._named: dict[bytes, list[Arrival]] = {}

    def placed(self) -> list[Seen]:
        """Every key at every place to which a commit of the push brought it; what the other side has is `known`."""
        self._read_commits()
        if any(one.location.kind in (*_CONTENT, "path") for one in self._seen):
            self._follow()
        found = [replace(one, location=place) for one in self._seen for place in self._places(one)]
        told = {one.secret for one in found}
        found += [one for one in self._seen if one.secret not in told]
        return list(self._with_refs(list(dict.fromkeys(found))))

    # --- reading -------------------------------------------------------------------------------------------------

    def _read_commits(self) -> None:
        tags = {one.location.object for one in self._seen if one.location.kind.startswith("tag-")}
        for opened in objects.read([*self._done.seen.commits, *sorted(tags)]):
            data = b"".join(opened.pieces())
            if opened.kind == "tag":
                self._said[opened.id] = parse_signature(data, b"tagger")
                continue
            self._said[opened.id] = parse_signature(data)
            commit = parse_commit(bytes.fromhex(opened.id), data)
            if commit is not None:
                self._commits[opened.id] = commit

    def _follow(self) -> None:
        """Goes through what each commit changed, for what was found."""
        blobs = {one.location.object for one in self._seen if one.location.kind in _CONTENT}
        names = {one.location.path for one in self._seen if one.location.kind == "path"}
        order = [commit.id.hex() for commit in self._order()]
        parents = {id: len(commit.parents) for id, commit in self._commits.items()}
        self._trees.update(commit.tree.hex() for commit in self._commits.values())
        for arrival in arrivals(order, parents):
            if arrival.change.id in blobs:
                self._brought.setdefault(arrival.change.id, []).append(arrival)
            if arrival.change.mode == index.TREE:
                self._trees.add(arrival.change.id)
            name = arrival.change.path.rpartition(b"/")[2]
            if name in names and all(map(index.is_null, arrival.before)):
                self._named.setdefault(name, []).append(arrival)

    def _order(self) -> list[Commit]:
        return topological({commit.id: commit for commit in self._commits.values()})

    # --- placing -------------------------------------------------------------------------------------------------

    def _places(self, one: Seen) -> Iterator[Location]:
        place = one.location
        if place.kind in _CONTENT:
            yield from self._blob_places(one)
        elif place.kind == "path":
            yield from self._name_places(place)
        elif place.kind == "ref-name":
            held = any(update.old for update in self._done.updates if update.name == place.path)
            yield replace(place, known=held)
        else:
            commit = place.object if place.kind.startswith("commit-") else ""
            yield replace(place, trace=self._trace(place.object, commit))

    def _blob_places(self, one: Seen) -> Iterator[Location]:
        """Where commits brought it; of those that only left it where it was, nothing is told again."""
        arrived = self._brought.get(one.location.object, [])
        for arrival in arrived:
            held = self._held_before(one.secret, arrival)
            if not held:
                yield self._at(one.location, arrival)
            elif not held <= self._new:
                yield replace(one.location, path=arrival.change.path, known=True)
        if not arrived:
            yield one.location

    def _name_places(self, place: Location) -> Iterator[Location]:
        brought = self._named.get(place.path, [])
        for arrival in brought:
            yield self._at(place, arrival)
        if not brought:
            yield replace(place, known=place.object in self._trees)

    def _at(self, place: Location, arrival: Arrival) -> Location:
        object = arrival.change.id if place.kind == "path" else place.object
        trace = self._trace(arrival.commit, arrival.commit)
        return replace(place, path=arrival.change.path, object=object, trace=trace)

    def _held_before(self, secret: Secret, arrival: Arrival) -> set[str]:
        """The blobs with the key that an arrival replaced, or that moved to its path from another one."""
        path = arrival.change.path
        held = {id for id in arrival.before if secret in self._keys_of(id, path)}
        gone = arrival.left[:_MOST_LEFT] if not held else ()
        return held | {change.base for change in gone if secret in self._keys_of(change.base, change.path)}

    def _keys_of(self, id: str, path: bytes) -> frozenset[Secret]:
        """The keys in a blob, be it of the push or of what the other side has."""
        if index.is_null(id):
            return frozenset()
        if id not in self._keys:
            if id in self._new:
                self._keys[id] = frozenset(self._found.get(id, ()))
            else:
                self._keys[id] = self._detected(id, path)
        return self._keys[id]

    def _detected(self, id: str, path: bytes) -> frozenset[Secret]:
        for opened in objects.read([id]):
            if opened.kind == "blob" and opened.size <= WHOLE:
                return self._collector.secrets(b"".join(opened.pieces()), path)
        return frozenset()

    def _trace(self, id: str, commit: str) -> Trace:
        said = self._said.get(id)
        return Trace(commit, said.person if said else b"", rfc3339(said))

    # --- refs ----------------------------------------------------------------------------------------------------

    def _with_refs(self, found: list[Seen]) -> Iterator[Seen]:
        """Each with the refs of the push that bring it."""
        commits = {one.location.trace.commit for one in found if one.location.trace}
        starts = sorted(bytes.fromhex(id) for id in commits if id)
        targets = [(update.name, self._peeled(update.new)) for update in self._done.updates if update.new]
        names = reaching(self._order(), starts, targets)
        for one in found:
            place = one.location
            refs: tuple[bytes, ...] = ()
            if place.trace and place.trace.commit:
                refs = names[bytes.fromhex(place.trace.commit)]
            elif place.object:
                refs = tuple(update.name for update in self._done.updates if update.new == place.object)
            trace = replace(place.trace or Trace(), refs=refs, tips=())
            yield replace(one, location=replace(place, trace=trace)) if place.trace or refs else one

    def _peeled(self, id: str) -> bytes:
        if id in self._commits:
            return bytes.fromhex(id)
        found = run.try_output("rev-parse", "--verify", "--quiet", f"{id}^{{commit}}")
        return bytes.fromhex((found or id.encode()).decode().strip())
