"""From matches to findings: one per key, with its places, what suppresses it, and how severe it is."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fluxguard.chunk import Chunk, Skipped
from fluxguard.config import Config
from fluxguard.detect import suppress
from fluxguard.detect.engine import Detection, Detector, Match
from fluxguard.detect.layers import Places, Text
from fluxguard.detect.ruleset import built_in
from fluxguard.detect.triggers import MARKER, Triggers
from fluxguard.model import Finding, Location, Report, Secret, Stats, Suppression, Unread

_RANK = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A key in a chunk. lines: the whole lines it stands on; copy: the how-manieth such line of the file; offset: in the whole."""

    match: Match
    location: Location
    lines: bytes | None
    copy: int
    offset: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A key at one place, as a rule judged it."""

    rule: str
    secret: Secret
    environment: str
    confidence: str
    location: Location


def gather(seen: Iterable[Seen], config: Config) -> tuple[Finding, ...]:
    """One finding for each key, with all its places; what blocks first, then the surest."""
    groups: dict[Secret, list[Seen]] = {}
    for one in seen:
        groups.setdefault(one.secret, []).append(one)
    return _sorted(tuple(_finding(group, config) for group in groups.values()))


def _finding(group: list[Seen], config: Config) -> Finding:
    best = min(group, key=lambda one: _RANK[one.confidence])
    places = tuple(_place(one, config) for one in group)
    open_places = [place for place in places if place.suppressed is None]
    severity = config.severity_of(best.rule, best.environment, best.confidence)
    if open_places and all(place.known for place in open_places):
        severity = "warn"
    return Finding(
        rule=best.rule,
        secret=best.secret,
        environment=best.environment,
        confidence=best.confidence,
        severity=severity,
        locations=places,
        suppressed=None if open_places else places[0].suppressed,
    )


def _place(one: Seen, config: Config) -> Location:
    place = one.location
    if place.suppressed is not None:
        return place
    reason = config.suppression(place.path, one.rule, one.secret.fingerprint, place.object)
    return replace(place, suppressed=reason) if reason else place


class _View:
    """What the matches of one chunk share, so that each of many in a long line does not go over all of it again."""

    def __init__(self, chunk: Chunk) -> None:
        self.binary = is_binary(chunk.data)
        self._places: dict[int, Places] = {}
        self._copies: dict[bytes, dict[int, int]] = {}
        self._last: tuple[int, int, int] = (0, 0, 0)
        self._lines: tuple[bytes, Suppression | None] = (b"", None)

    def places(self, text: Text) -> Places:
        """The lines and columns of a text; the matches hold on to it."""
        return self._places.setdefault(id(text), Places(text))

    def lines(self, text: Text, first: int, last: int) -> tuple[bytes, Suppression | None]:
        """text.data[first:last], which are whole lines, and the allow comment in them."""
        if (id(text), first, last) != self._last:
            lines = text.data[first:last]
            self._last = (id(text), first, last)
            self._lines = (lines, suppress.allowed(lines))
        return self._lines

    def copy(self, lines: bytes, first: int) -> int:
        """The how-manieth of their kind these lines are, which begin at `first`."""
        standing = self._copies.setdefault(lines, {})
        return standing.setdefault(first, len(standing) + 1)


class Collector:
    """Takes chunks that may hold something, and makes a report of what they hold."""

    def __init__(
        self, config: Config | None, triggers: Triggers | None = None, detector: Detector | None = None
    ) -> None:
        """detector: one that is at work already; it has to be for this configuration."""
        self.config = config or Config()
        self._detector = detector or Detector([*built_in(), *self.config.rules], triggers, self.config.limits)
        self._triggers = triggers or Triggers()
        self._sightings: list[_Sighting] = []
        self._stale: list[str] = []
        self._seen: set[tuple[str, bytes, str, int, Secret]] = set()

    @property
    def empty(self) -> bool:
        """Whether nothing was found, and there is nothing to point out."""
        return not self._sightings and not self._stale

    def add(self, chunk: Chunk, detection: Detection | None = None) -> list[Skipped]:
        """Looks into one chunk; what could not be looked into comes back. detection: of this chunk, where it was made already."""
        detection = detection or self._detector.detect(chunk.data, chunk.origin.path)
        view = _View(chunk)
        used: set[int] = set()
        for match in detection.matches:
            sighting = self._sighting(chunk, match, view)
            used.update(
                range(
                    sighting.location.line,
                    sighting.location.line + match.text.data.count(b"\n", match.start, match.end) + 1,
                )
            )
            key = (chunk.origin.kind, chunk.origin.path, chunk.origin.object, sighting.offset, match.secret)
            if key not in self._seen:
                self._seen.add(key)
                self._sightings.append(sighting)
        if self._triggers.kinds(chunk.data) & MARKER and chunk.start == 0:
            self._note_stale(chunk, used)
        return [_skipped(chunk, where, reason) for where, reason in detection.unread]

    def _sighting(self, chunk: Chunk, match: Match, view: _View) -> _Sighting:
        places = view.places(match.text)
        line, column = places.position(match.start)
        raw = not match.text.via
        if raw and chunk.start:
            line, column = (
                (line + chunk.line - 1, column) if line > 1 else (chunk.line, column + chunk.column - 1)
            )
        first, last = places.line_span(match.start, match.end)
        whole, allowed = view.lines(match.text, first, last)
        lines = None
        copy = 0
        if raw and not view.binary:
            lines = whole
            copy = view.copy(lines, first)
        place = Location(
            chunk.origin.kind,
            chunk.origin.path,
            line,
            column,
            match.via,
            chunk.origin.object,
            suppressed=allowed,
        )
        return _Sighting(match, place, lines, copy, chunk.start + match.start if raw else match.start)

    def _note_stale(self, chunk: Chunk, used: set[int]) -> None:
        shown = chunk.origin.path.decode("utf-8", "replace")
        for number in suppress.markers(Text(chunk.data)):
            if number not in used:
                self._stale.append(
                    f"{shown}:{number}: this fluxguard:allow comment allows nothing: there is no key on its line."
                )

    def secrets(self, data: bytes, path: bytes) -> frozenset[Secret]:
        """The keys in bytes, which count for nothing else."""
        return frozenset(match.secret for match in self._detector.detect(data, path).matches)

    def paths(self) -> set[bytes]:
        """The paths at which something was found."""
        return {sighting.location.path for sighting in self._sightings}

    def forget_known(self, bases: Mapping[bytes, bytes]) -> None:
        """Marks what stood in the same lines of the same file before: `bases` holds that file's former content, by path."""
        texts = {path: None if is_binary(base) else _line_counts(base) for path, base in bases.items()}
        for number, sighting in enumerate(self._sightings):
            counts = texts.get(sighting.location.path)
            if counts is None or sighting.lines is None or sighting.location.kind in ("path", "blob"):
                continue
            if sighting.copy <= counts(sighting.lines):
                self._sightings[number] = replace(sighting, location=replace(sighting.location, known=True))

    def report(
        self, command: str, target: str, skipped: Iterable[Skipped], stats: Stats, whole: bool
    ) -> Report:
        """All that was found. whole: everything was looked at, so that unused exceptions may be pointed out."""
        findings = gather(self.seen(), self.config)
        unread = tuple(
            Unread(item.where, item.reason, self.config.acceptance(item.where, item.object, item.reason))
            for item in skipped
        )
        stale = list(self._stale)
        if whole:
            stale += self.unused(findings)
        return Report(command, target, findings, unread, stats, tuple(stale), hidden=self.hidden())

    def hidden(self) -> tuple[tuple[bytes, str], ...]:
        """Names show up in reports: what of them is a key in another form is to be masked as well."""
        return tuple(
            (match.text.data[match.start : match.end], match.secret.masked)
            for match, location in ((sighting.match, sighting.location) for sighting in self._sightings)
            if location.kind in ("path", "ref-name") and match.via
        )

    def seen(self) -> Iterator[Seen]:
        """Every key at every place."""
        for sighting in self._sightings:
            match = sighting.match
            yield Seen(match.rule.id, match.secret, match.environment, match.confidence, sighting.location)

    def unused(self, findings: tuple[Finding, ...]) -> list[str]:
        reasons: set[Suppression | None] = {
            place.suppressed for finding in findings for place in finding.locations
        }
        present = {finding.secret.fingerprint for finding in findings}
        stale = [
            f"[[allow]] {', '.join(allowed.globs)}: no finding there any more; the entry can go."
            for allowed in self.config.allow
            if Suppression("path", allowed.reason) not in reasons
        ]
        gone = [fingerprint for fingerprint in self.config.baseline if fingerprint not in present]
        if gone:
            stale.append(
                f"The baseline lists {len(gone)} key(s) that are no longer found (first: {gone[0][:16]}...)."
            )
        return stale


def _skipped(chunk: Chunk, where: str, reason: str) -> Skipped:
    shown = chunk.origin.path or chunk.origin.kind.encode()
    return Skipped(shown, f"{reason} (in {where})" if where else reason, chunk.origin.object)


def is_binary(data: bytes) -> bool:
    """Whether content is not text that has lines: a NUL byte in it, as for git, but anywhere."""
    return b"\0" in data


def _line_counts(base: bytes) -> Callable[[bytes], int]:
    """How often certain lines stand in a text, one after another; line ends make no difference."""
    text = _unix(base)
    single = Counter(text.split(b"\n"))
    around = b"\n" + text + b"\n"

    @functools.cache
    def count(lines: bytes) -> int:
        wanted = _unix(lines)
        if b"\n" not in wanted:
            return single[wanted]
        found, at = 0, around.find(b"\n" + wanted + b"\n")
        while at >= 0:
            found += 1
            at = around.find(b"\n" + wanted + b"\n", at + 1)
        return found

    return count


def _unix(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _sorted(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    def order(finding: Finding) -> tuple[bool, int, bytes, int]:
        first = finding.locations[0]
        return not finding.blocks, _RANK[finding.confidence], first.path, first.line

    return tuple(sorted(findings, key=order))
