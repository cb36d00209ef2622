"""The audit from its start to its report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from fluxguard import settings
from fluxguard.audit import cache
from fluxguard.audit.asked import chosen
from fluxguard.audit.cache import Cache
from fluxguard.audit.looked import Looked
from fluxguard.audit.missing import Beside as Named
from fluxguard.audit.missing import Cut, away, incomplete
from fluxguard.audit.surroundings import Surroundings
from fluxguard.audit.unchanged import Unchanged
from fluxguard.chunk import Skipped
from fluxguard.model import Beside, Certificate, Finding, Report, Stats, Story, Trace, Unread
from fluxguard.repo import gitdir, store
from fluxguard.repo.store import Store
from fluxguard.sources import metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.audit.objects import Objects
    from fluxguard.config import Config
    from fluxguard.findings import Seen

INTERRUPTED = "interrupted: only part of it was looked at"
_UNTRACED = ", and no place is traced"
_LONG = 64 << 20  # bytes of packs, from which on it takes a while until their objects are counted
Watch = Callable[[int, int, int], None]  # objects read, of how many (-1: not counted yet), keys found


def quiet(done: int, total: int, keys: int) -> None:
    """Nobody watches."""


def audit(
    target: str, config: Config | None, watch: Watch = quiet, full: bool = False, explain: str = ""
) -> Report:
    """Audits the repository that `target` belongs to. Raises BrokenRepository where there is none.

    config: None where nothing is configured. full: whatever an earlier audit knows is not used. explain: the beginning of a
    fingerprint whose story is wanted, too.
    A KeyboardInterrupt, once there is something to tell, ends in a report of what was found so far.
    """
    return Audit(target, config, watch, full, explain).report()


class Audit:
    """One repository's audit. What reads objects is loaded where there are any to be read."""

    def __init__(
        self, target: str, config: Config | None, watch: Watch = quiet, full: bool = False, explain: str = ""
    ) -> None:
        self._started = time.perf_counter()
        self._target = target
        self._given = config
        self._largest = settings.LARGEST if config is None else config.largest
        self._watch = watch
        self._full = full
        self._explain = explain
        self._interrupted = False
        self._surrounded = False  # whether refs and logs were read to the end
        self._untraced = False
        self._skipped: list[Skipped] = []
        self._repository = gitdir.locate(target)
        self._family = gitdir.family(self._repository)
        self._scan = Looked(config)

    @cached_property
    def _config(self) -> Config:
        from fluxguard.config import Config

        return self._given or Config()

    def report(self) -> Report:
        """All of it, in order: objects and surroundings at the same time, then the places of what was found."""
        memory = cache.of_user(self._given, self._folders(), self._full)
        stores = store.stores(self._family)
        objects, around = self._looked_at(memory, stores)
        problems = [*zip(stores, objects.problems, strict=True)]
        for one, wrong in problems:
            self._scan.run(metadata.strays(one, [where for where, _ in wrong], self._largest))
        self._skipped += around.skipped + self._scan.skipped
        for _, wrong in problems:
            self._skipped += [Skipped(os.fsencode(where), reason) for where, reason in wrong]
        cut = Cut(self._family, self._repository.common)
        objects.surrounded(around, cut)
        seen = [*self._beside(), *self._placed(objects)]
        self._skipped += [*objects.skipped, *incomplete(self._family), *cut.skipped()]
        self._skipped += away(self._family, objects.pointers)
        findings = self._gathered(seen)
        story = self._story(objects, findings) if self._explain else None
        certificates = self._certified(objects)
        if self._interrupted:
            said = INTERRUPTED + (_UNTRACED if self._untraced else "")
            self._skipped.insert(0, Skipped(b"the audit", said))
        count, size = objects.amount
        seconds = time.perf_counter() - self._started
        stats = Stats(count + self._scan.objects, size + self._scan.bytes, seconds)
        if not self._interrupted:
            objects.save()
        if memory is not None:
            memory.close()
        collector = self._scan.collector
        return Report(
            "audit",
            self._target,
            findings,
            self._unread(),
            stats,
            hidden=(*objects.hidden, *(collector.hidden() if collector else ())),
            certificates=certificates,
            beside=(Beside(self._repository.common, around.listed(), self._scan.looked_at()),),
            mentions=objects.mentions,
            story=story,
            interrupted=self._interrupted,
        )

    def _folders(self) -> Iterator[str]:
        """All that belongs to the repository, and so to whoever made it."""
        for member in self._family:
            yield from (member.path, member.common, member.objects, *([member.tree] if member.tree else []))

    # --- the looking ---------------------------------------------------------------------------------------------

    def _looked_at(
        self, memory: Cache | None, stores: Sequence[Store]
    ) -> tuple[Objects | Unchanged, Surroundings]:
        """The objects, and what stands beside them: by what is known of all of them, or by a pass over what is new."""
        around = None
        unchanged = None
        if memory is not None and not self._full:
            unchanged = Unchanged.recalled(memory, stores)
        if unchanged is not None:
            around = self._around()
            if self._interrupted or unchanged.knows(Named(around)):
                return unchanged, around
        if _packed(stores) > _LONG:
            self._watch(0, -1, 0)
        from fluxguard.audit.objects import Objects

        objects = Objects(stores, memory, lambda: self._config, self._scan.triggers)
        return objects, self._sift(objects, around)

    def _around(self) -> Surroundings:
        try:
            around = Surroundings(self._family, self._largest, self._scan)
            self._surrounded = True
        except KeyboardInterrupt:
            self._interrupted = True
            around = Surroundings([], self._largest, self._scan)
        return around

    def _sift(self, objects: Objects, around: Surroundings | None) -> Surroundings:
        """The pass over the objects, with the surroundings looked at meanwhile; ends early when it is interrupted."""
        objects.start()
        try:
            self._watch(0, objects.total, 0)
            around = around or self._around()
            if not self._interrupted:
                objects.finish(lambda done, keys: self._watch(done, objects.total, keys))
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            objects.stop()
        return around or Surroundings([], self._largest, self._scan)

    # --- the telling ---------------------------------------------------------------------------------------------

    def _certified(self, objects: Objects | Unchanged) -> tuple[Certificate, ...]:
        try:
            return tuple(objects.certificates(self._interrupted))
        except KeyboardInterrupt:
            self._interrupted = True
            return ()

    def _placed(self, objects: Objects | Unchanged) -> list[Seen]:
        """Every key at every place; untraced where there was no time for that."""
        try:
            if not self._interrupted:
                objects.settle()
                return objects.seen(anew=bool(self._explain))
            if self._surrounded:
                found = objects.hurried()
                if found is not None:
                    return found
        except KeyboardInterrupt:
            self._interrupted = True
        self._untraced = True
        return objects.untraced()

    def _gathered(self, seen: Sequence[Seen]) -> tuple[Finding, ...]:
        if not seen:
            return ()
        from fluxguard.findings import gather

        return tuple(_as_information(finding) for finding in gather(seen, self._config))

    def _unread(self) -> tuple[Unread, ...]:
        accepted = self._given.acceptance if self._given is not None else _nothing_accepted
        return tuple(
            Unread(item.where, item.reason, accepted(item.where, item.object, item.reason))
            for item in self._skipped
        )

    def _story(self, objects: Objects | Unchanged, findings: tuple[Finding, ...]) -> Story:
        """What happened to the key whose fingerprint begins as asked."""
        finding = chosen(self._explain, findings)
        if finding is None:
            return Story(self._explain)
        return Story(self._explain, finding, objects.events(finding, self._family))

    def _beside(self) -> Iterator[Seen]:
        if self._scan.collector is not None:
            yield from map(_as_ref, self._scan.collector.seen())


def _packed(stores: Sequence[Store]) -> int:
    """How many bytes the packs have; those that can't be asked count for nothing."""
    size = 0
    for path in (path for one in stores for path in one.packs):
        try:
            size += os.stat(path).st_size
        except OSError:
            continue
    return size


def _nothing_accepted(where: bytes, object: str, why: str) -> str | None:
    """The answer of a configuration that says nothing."""
    return None


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
