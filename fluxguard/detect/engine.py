"""Finds keys in bytes, through every layer: the one entry to detection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fluxguard.detect import layers, triggers
from fluxguard.detect.containers import Budget, Closed, unpack
from fluxguard.detect.layers import Layer, Text
from fluxguard.detect.ruleset import Rule, TooSlow
from fluxguard.model import Secret

_BASE64_HITS = re.compile(
    b"|".join(
        re.escape(literal) for literal, bit in triggers.Triggers().literals.items() if bit == triggers.BASE64
    )
)
_DECODED = triggers.ESCAPE | triggers.BASE64 | triggers.HEX | triggers.WIDE | triggers.PACKED
_SHORTEST_PACKED = 48  # bytes; what a key takes in gzip
NODES = 5_000  # layers looked at in one content, after which it counts as made to exhaust the scan


@dataclass(frozen=True, slots=True)
class Match:
    """A key in a text: text.data[start:end] holds it, in clear or encoded as `via` says."""

    rule: Rule
    secret: Secret
    environment: str
    confidence: str
    text: Text
    start: int
    end: int
    via: tuple[str, ...]


@dataclass(slots=True)
class Detection:
    """What stands in one content. unread: what could not be looked into, (where inside, why)."""

    matches: list[Match] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """depth: layers within layers. expanded: bytes that one content may unpack to. total: and all of them together."""

    depth: int = 8
    expanded: int = 256 << 20
    total: int = 4 << 30


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

    def suspects(self, data: bytes) -> bool:
        """Whether anything may stand in `data`; False is certain."""
        return bool(self._triggers.kinds(data))

    def concerned(self, path: bytes) -> bool:
        """Whether a rule wants to see this path's content whatever stands in it."""
        return any(rule.concerns(path) for rule in self._by_path)

    def detect(self, data: bytes, path: bytes | None = b"") -> Detection:
        """All keys in `data`, which stands at `path`. Never raises, whatever the bytes are.

        path None: anywhere. A configured rule for certain paths is then asked as well; whoever knows the paths later on
        has to drop what it found elsewhere.
        """
        visit = _Visit(
            self._rules, self._triggers, self._limits, min(self._limits.expanded, self._total), path
        )
        visit.text(Text(data))
        self._total = max(0, self._total - visit.spent())
        return Detection(_settle(visit.matches), visit.unread)


def _is_chance(member: Closed, layer: Layer) -> bool:
    """Whether a few decoded characters only happen to begin like a packed file (`H4sI` in a source, say)."""
    inside_text = layer.data is not layer.text.data
    return inside_text and len(layer.data) < _SHORTEST_PACKED and not member.reason.startswith("encrypted")


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
        self.matches: list[Match] = []
        self.unread: list[tuple[str, str]] = []

    def spent(self) -> int:
        """The bytes that were unpacked."""
        return self._size - max(0, self._budget.left)

    def text(self, text: Text, depth: int = 0) -> None:
        """A text in which a person can look: the content itself, or what came out of a container."""
        marked = layers.marked(text)
        if marked is None:
            encoding = layers.looks_wide(text.data) if self._triggers.kinds(text.data) & triggers.WIDE else ""
            if encoding:
                decoded = text.data.decode(encoding, "replace").encode("utf-8", "replace")
                marked = Text(decoded, (*text.via, encoding))
        if marked is not None:
            text = marked
        pending = [Layer.of(text, depth)]
        while pending:
            layer = pending.pop(0)
            self._nodes += 1
            if self._nodes > NODES:
                self._skip(text.via, f"more than {NODES:,} layers: not all of them were looked into")
                return
            pending += self._layer(layer)

    def _layer(self, layer: Layer) -> list[Layer]:
        """Looks at one layer; the layers inside it."""
        kinds = self._triggers.kinds(layer.data)
        if not kinds and not self._always:
            return []
        if kinds & (triggers.PLAIN | triggers.JOINED) or self._always:
            self._rules_on(layer)
        if kinds & _DECODED and layer.depth >= self._limits.depth:
            self._skip(layer.via, f"nested in more than {self._limits.depth} layers")
            return []
        return list(self._inside(layer, kinds))

    def _inside(self, layer: Layer, kinds: int) -> Iterator[Layer]:
        if kinds & triggers.PACKED:
            yield from self._unpack(layer)
        if kinds & (triggers.ESCAPE | triggers.PLAIN) and layer.depth < self._limits.depth:
            yield from layers.escapes(layer)
        if kinds & (triggers.JOINED | triggers.PLAIN) and (not layer.via or layer.via[-1] != "concat"):
            yield from layers.joined(layer)
        if kinds & triggers.BASE64:
            yield from layers.base64(layer, _BASE64_HITS)
        if kinds & triggers.HEX:
            yield from layers.hexadecimal(layer)
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
        if name:
            self._rules_on(Layer.of(Text(name, (*layer.via, via.partition(":")[0], "name"))))
        self.text(Text(data, (*layer.text.via, via)), layer.depth + 1)

    def _rules_on(self, layer: Layer) -> None:
        for rule in self._rules:
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
                            )
                        )
            except TooSlow:
                self._skip(layer.via, f"rule {rule.id} took too long here")

    def _skip(self, via: Sequence[str], reason: str) -> None:
        entry = (" > ".join(via), reason)
        if entry not in self.unread:
            self.unread.append(entry)


_RANK = {"high": 0, "medium": 1, "low": 2}


def _settle(matches: list[Match]) -> list[Match]:
    """Each key once for each place: what another match explains better is dropped."""
    kept: list[Match] = []
    for match in sorted(
        matches, key=lambda match: (match.rule.judge == "value", _RANK[match.confidence], len(match.via))
    ):
        if not (
            _cut_short(match, matches) or _unpacked(match, matches) or any(_explains(b, match) for b in kept)
        ):
            kept.append(match)
    kept.sort(key=lambda match: (match.text.via, match.start))
    return kept


def _explains(better: Match, match: Match) -> bool:
    if better.text is not match.text or not (better.start < match.end and match.start < better.end):
        return False
    return better.secret == match.secret or match.rule.judge == "value"


def _unpacked(match: Match, matches: list[Match]) -> bool:
    """Whether the bytes of an uncompressed archive only show what one of its members shows better."""
    depth = len(match.text.via)
    return any(
        other.secret == match.secret
        and len(other.text.via) > depth
        and other.text.via[:depth] == match.text.via
        for other in matches
    )


def _cut_short(match: Match, matches: list[Match]) -> bool:
    """Whether another match, read on over a seam, begins at the same place and goes further."""
    value = match.secret.reveal()
    return match.confidence != "high" and any(
        other.text is match.text
        and other.start == match.start
        and other.rule.judge == match.rule.judge
        and len(other.secret.reveal()) > len(value)
        and other.secret.reveal().startswith(value)
        for other in matches
    )
