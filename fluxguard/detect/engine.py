"""Finds keys in bytes, through every layer: the one entry to detection."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fluxguard.detect import layers, numbers, triggers
from fluxguard.detect.containers import Budget, Closed, unpack
from fluxguard.detect.layers import Layer, Text
from fluxguard.detect.ruleset import PATIENCE, Rule, TooSlow
from fluxguard.secret import Secret

_DECODED = triggers.ESCAPE | triggers.BASE64 | triggers.HEX | triggers.WIDE | triggers.PACKED
_SHORTEST_PACKED = 48  # bytes; what a key takes in gzip
NODES = 5_000  # layers looked at in one content, after which it counts as made to exhaust the scan


@dataclass(frozen=True, slots=True)
class Match:
    """A key in a text: text.data[start:end] holds it, in clear or encoded as `via` says.

    places: where in the text each of its bytes comes from, if that was asked for.
    """

    rule: Rule
    secret: Secret
    environment: str
    confidence: str
    text: Text
    start: int
    end: int
    via: tuple[str, ...]
    places: tuple[int, ...] = ()


@dataclass(slots=True)
class Detection:
    """What stands in one content. unread: what could not be looked into, (where inside, why)."""

    matches: list[Match] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """depth: layers within layers. expanded: bytes that one content may unpack to, and half of it in one piece. total: and all of them together."""

    depth: int = 8
    expanded: int = 512 << 20
    total: int = 4 << 30


class Patience:
    """How much longer configured rules may take: a repository's own could be made to take forever, file by file."""

    def __init__(self) -> None:
        self._left = PATIENCE
        self._started = 0.0

    @property
    def lost(self) -> bool:
        """Whether their time is used up."""
        return self._left < 0

    def begin(self) -> None:
        """A rule sets to work."""
        self._started = time.monotonic()

    def end(self, size: int) -> None:
        """It is done with a text of `size` bytes."""
        self._left += size / 1e6 - (time.monotonic() - self._started)


class Detector:
    """The rules, ready to be used on any number of contents."""

    def __init__(
        self, rules: Sequence[Rule], look: triggers.Triggers | None = None, limits: Limits | None = None
    ) -> None:
        self._rules = list(rules)
        own = [literal for rule in rules if not rule.built_in for literal in rule.literals]
        self._triggers = look or triggers.Triggers(own)
        self._limits = limits or Limits()
        self._total = self._limits.total
        self._by_path = [rule for rule in rules if rule.compiled_paths]
        self._patience = Patience()

    def suspects(self, data: bytes) -> bool:
        """Whether anything may stand in `data`; False is certain."""
        return bool(self._triggers.kinds(data))

    def concerned(self, path: bytes) -> bool:
        """Whether a rule wants to see this path's content whatever stands in it."""
        return any(rule.concerns(path) for rule in self._by_path)

    def detect(self, data: bytes, path: bytes | None = b"", placed: bool = False) -> Detection:
        """All keys in `data`, which stands at `path`. Never raises, whatever the bytes are. placed: with the place of each byte.

        path None: anywhere. A configured rule for certain paths is then asked as well; whoever knows the paths later on
        has to drop what it found elsewhere.
        """
        visit = _Visit(
            self._rules, self._triggers, self._limits, min(self._limits.expanded, self._total), path
        )
        visit.patience = self._patience
        visit.placed = placed
        visit.text(Text(data))
        self._total = max(0, self._total - visit.spent())
        return Detection(_settle(visit.matches), visit.unread)


def _is_chance(member: Closed, layer: Layer) -> bool:
    """Whether a few decoded characters only happen to begin like a packed file (`H4sI` in a source, say)."""
    inside_text = layer.data is not layer.text.data
    return inside_text and len(layer.data) < _SHORTEST_PACKED and not member.reason.startswith("encrypted")


def _is_shown_by(wide: layers.Wide, match: Match) -> bool:
    """Whether a match in the bytes themselves is in step with the decoded text, which shows it better."""
    inner = match.via[len(match.text.via) :]
    return bool(inner) and inner[0][:6] == wide.text.via[-1][:6] and wide.in_step(match.start)


class _Visit:
    """The walk through one content and all that is packed in it."""

    def __init__(
        self, rules: Sequence[Rule], look: triggers.Triggers, limits: Limits, budget: int, path: bytes | None
    ) -> None:
        if path is None:
            self._rules = [rule for rule in rules if not (rule.built_in and rule.compiled_paths)]
        else:
            self._rules = [rule for rule in rules if rule.concerns(path)]
        self._always = path is not None and any(rule.compiled_paths for rule in self._rules)
        self._triggers = look
        self._limits = limits
        self._size = budget
        self._budget = Budget(budget)
        self._nodes = 0
        self.patience = Patience()
        self.placed = False
        self.matches: list[Match] = []
        self._unread: dict[tuple[str, str], None] = {}

    @property
    def unread(self) -> list[tuple[str, str]]:
        """What could not be looked into, each once, in the order in which it was met."""
        return list(self._unread)

    def spent(self) -> int:
        """The bytes that were unpacked."""
        return self._size - max(0, self._budget.left)

    def text(self, text: Text, depth: int = 0) -> None:
        """A text in which a person can look: the content itself, or what came out of a container."""
        wide = layers.marked(text)
        if wide is None and self._triggers.kinds(text.data) & triggers.WIDE:
            wide = layers.looks_wide(text)
        if wide is not None:
            self._walk(wide.text, depth)
        before = len(self.matches)
        self._walk(text, depth)
        if wide is not None:  # other bytes may stand among the wide ones: what another program appended, say
            self.matches[before:] = [one for one in self.matches[before:] if not _is_shown_by(wide, one)]

    def _walk(self, text: Text, depth: int) -> None:
        pending: deque[Layer] = deque()
        self._queue([Layer.of(text, depth)], pending, text)
        while pending:
            self._queue(self._layer(pending.popleft()), pending, text)

    def _queue(self, found: Iterable[Layer], pending: deque[Layer], text: Text) -> None:
        """Layers are made only as long as they will be looked at."""
        for layer in found:
            self._nodes += 1
            if self._nodes > NODES:
                # Said of the container once, not of each of its members.
                self._skip(text.via[:-1], f"more than {NODES:,} layers: not all of them were looked into")
                return
            pending.append(layer)

    def _layer(self, layer: Layer) -> Iterable[Layer]:
        """Looks at one layer; the layers inside it."""
        kinds = self._triggers.kinds(layer.data)
        if not kinds and not self._always:
            return []
        if kinds & triggers.PLAIN or self._always:
            self._rules_on(layer, kinds)
        if kinds & _DECODED and layer.depth >= self._limits.depth:
            self._skip(layer.via, f"nested in more than {self._limits.depth} layers")
            return []
        return self._inside(layer, kinds)

    def _inside(self, layer: Layer, kinds: int) -> Iterator[Layer]:
        if kinds & triggers.PACKED:
            yield from self._unpack(layer)
        if kinds & (triggers.ESCAPE | triggers.PLAIN) and layer.depth < self._limits.depth:
            yield from layers.escapes(layer, early=bool(kinds & triggers.ESCAPE))
        if kinds & (triggers.JOINED | triggers.PLAIN) and (not layer.via or layer.via[-1] != "concat"):
            yield from layers.joined(layer, early=bool(kinds & triggers.JOINED))
        if kinds & triggers.JOINED and (not layer.via or layer.via[-1] != "concat"):
            yield from layers.assembled(layer)
        if kinds & (triggers.JOINED | triggers.PLAIN) and "folded" not in layer.via:
            yield from layers.folded(layer)
        if kinds & triggers.BASE64:
            yield from layers.base64(layer)
        if kinds & triggers.HEX:
            yield from layers.hexadecimal(layer)
            yield from numbers.decoded(layer)
        if kinds & triggers.WIDE:
            yield from layers.wide(layer)

    def _unpack(self, layer: Layer) -> Iterator[Layer]:
        for member in unpack(layer.data, self._budget):
            if isinstance(member, Closed):
                if _is_chance(member, layer):
                    continue
                self._skip((*layer.via, member.via) if member.via else layer.via, member.reason)
            elif layer.data is layer.text.data:
                # A container of its own: what is in it is a text with lines of its own.
                self._member(member.via, member.data, layer)
            else:
                yield layer.inside(member.data, member.via, lambda offset: 0)

    def _member(self, via: str, data: bytes, layer: Layer) -> None:
        if layer.depth + 1 > self._limits.depth:
            self._skip((*layer.via, via), f"nested in more than {self._limits.depth} layers")
            return
        name = via.partition(":")[2].encode("utf-8", "replace")
        if name and (self._always or self._triggers.kinds(name)):  # an archive has thousands of them
            self._rules_on(Layer.of(Text(name, (*layer.via, via.partition(":")[0], "name"))))
        text = Text(data, (*layer.text.via, via))
        # A large archive has more members than layers may be looked at; in most of them there is nothing.
        if self._always or self._triggers.kinds(data) or layers.marked(text) is not None:
            self.text(text, layer.depth + 1)

    def _rules_on(self, layer: Layer, kinds: int = triggers.PLAIN) -> None:
        for rule in self._rules:
            if not kinds & triggers.PLAIN and self._triggers.cover(rule.literals):
                continue  # none of them stands here
            if not rule.built_in and self.patience.lost and rule.looks_into(layer.data):
                self._skip(layer.via, f"rule {rule.id} was given up: the configured rules take too long")
                continue
            self.patience.begin()
            try:
                for verdict in rule.find(layer.data):
                    if layer.fresh(verdict.start, verdict.end):
                        self.matches.append(
                            Match(
                                rule,
                                Secret(layer.data[verdict.start : verdict.end]),
                                verdict.environment,
                                verdict.confidence,
                                layer.text,
                                layer.locate(verdict.start),
                                layer.locate(verdict.end - 1) + 1,
                                layer.via,
                                self._places(layer, verdict.start, verdict.end),
                            )
                        )
            except TooSlow:
                self._skip(layer.via, f"rule {rule.id} took too long here")
            if not rule.built_in:
                self.patience.end(len(layer.data))

    def _places(self, layer: Layer, start: int, end: int) -> tuple[int, ...]:
        return tuple(map(layer.locate, range(start, end))) if self.placed else ()

    def _skip(self, via: Sequence[str], reason: str) -> None:
        entry = (" > ".join(via), reason)
        self._unread[entry] = None


_RANK = {"high": 0, "medium": 1, "low": 2}


def _settle(matches: list[Match]) -> list[Match]:
    """Each key once for each place: what another match explains better is dropped. Nearly linear in the matches."""
    longer = _Longer(matches)
    inner = _inner_places(matches)
    kept = _Kept()
    for match in sorted(
        matches, key=lambda match: (match.rule.judge == "value", _RANK[match.confidence], len(match.via))
    ):
        # The bytes of an uncompressed archive only show what one of its members shows better.
        unpacked = match.text.via in inner[match.secret]
        if not (longer.cuts_short(match) or unpacked or kept.explains(match)):
            kept.add(match)
    return sorted(kept.matches, key=lambda match: (match.text.via, match.start))


def _inner_places(matches: list[Match]) -> dict[Secret, set[tuple[str, ...]]]:
    """For each key, the containers around the texts in which it was found."""
    places: dict[Secret, set[tuple[str, ...]]] = {}
    for match in matches:
        around = places.setdefault(match.secret, set())
        via = match.text.via
        around.update(via[:depth] for depth in range(len(via)))
    return places


class _Longer:
    """Answers whether another match, read on over a seam, begins at the same place and goes further."""

    def __init__(self, matches: list[Match]) -> None:
        self._values: dict[tuple[int, int, str], list[bytes]] = {}
        for match in matches:
            self._values.setdefault(self._place(match), []).append(match.secret.reveal())
        for values in self._values.values():
            values.sort()

    @staticmethod
    def _place(match: Match) -> tuple[int, int, str]:
        return id(match.text), match.start, match.rule.judge

    def cuts_short(self, match: Match) -> bool:
        if match.confidence == "high":
            return False
        value = match.secret.reveal()
        values = self._values[self._place(match)]
        # In sorted order, what begins with a value comes right behind it.
        next = bisect_right(values, value)
        return next < len(values) and values[next].startswith(value)


class _Kept:
    """The matches that stand, and whether one of them explains another: overlaps it, with the same key or better."""

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self._same: dict[tuple[int, Secret], Spans] = {}
        self._any: dict[int, Spans] = {}

    def add(self, match: Match) -> None:
        self.matches.append(match)
        self._same.setdefault((id(match.text), match.secret), Spans()).add(match.start, match.end)
        self._any.setdefault(id(match.text), Spans()).add(match.start, match.end)

    def explains(self, match: Match) -> bool:
        spans = (
            self._any.get(id(match.text))
            if match.rule.judge == "value"
            else self._same.get((id(match.text), match.secret))
        )
        return spans is not None and spans.meet(match.start, match.end)


class Spans:
    """Stretches of a text, joined where they overlap; adding and asking take the logarithm of their number."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Takes in [start, end)."""
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def meet(self, start: int, end: int) -> bool:
        """Whether a stretch overlaps [start, end)."""
        at = bisect_right(self._ends, start)
        return at < len(self._starts) and self._starts[at] < end
