"""What stands in one object: every key, as a sighting that can be handed on and kept, for it does not hold the key."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from fluxguard import display
from fluxguard.detect import suppress
from fluxguard.detect.engine import Detection, Detector, Match
from fluxguard.detect.layers import Places
from fluxguard.masks import Masks
from fluxguard.model import Secret
from fluxguard.repo import links

HOME = b"fluxloop"  # what stands in this is looked at whatever it holds


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key in an object.

    object: its hex id. kind: the contract's name for the place. line, column: from 1, in the message for a message.
    name: for a path, the how-manieth entry of the tree it is. rule, environment, confidence, via: as in a finding.
    allowed: the reason in an allow comment, or "".
    """

    object: str
    kind: str
    fingerprint: str
    rule: str
    environment: str
    confidence: str
    line: int
    column: int
    via: tuple[str, ...]
    allowed: str = ""
    name: int = -1

    def values(self) -> tuple[Any, ...]:
        """All of it, as values that `marshal` and JSON can carry."""
        values: tuple[Any, ...] = _VALUES(self)
        return values

    @classmethod
    def of(cls, values: Any) -> Sighting:
        """What `values` made, even after a journey through JSON."""
        listed = list(values)
        listed[8] = tuple(listed[8])
        return cls(*listed)


_VALUES = attrgetter(*(one.name for one in fields(Sighting)))


@dataclass(frozen=True, slots=True)
class Examined:
    """What stands in one object. secrets: the key of each sighting. unread: (where inside, why)."""

    sightings: tuple[Sighting, ...] = ()
    secrets: tuple[Secret, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sightings or self.unread)


def examine(id: str, kind: str, data: bytes, detector: Detector, path: bytes | None = None) -> Examined:
    """Looks through every layer of an object. path: of a blob, where it is known."""
    found: list[tuple[Sighting, Secret]] = []
    unread: list[tuple[str, str]] = []
    if kind == "tree":
        end = 0
        for number, (mode, name, other) in enumerate(links.entries(data, len(id) // 2)):
            end = data.index(b"\0", end) + 1 + len(other)
            text = name if mode.isdigit() else mode + b" " + name  # no mode: whatever stands there instead
            if detector.suspects(text):
                _collect(detector.detect(text), id, "path", number, found, unread)
        if end < len(data):
            unread.append(("", "it is damaged: its entries can't be read to the end"))
    elif kind == "blob":
        _collect(detector.detect(data, path), id, "blob", -1, found, unread)
    else:
        head, _, message = data.partition(b"\n\n")
        _collect(detector.detect(head), id, f"{kind}-header", -1, found, unread)
        _collect(detector.detect(message), id, f"{kind}-message", -1, found, unread)
    return Examined(tuple(one for one, _ in found), tuple(secret for _, secret in found), tuple(unread))


def _collect(
    detection: Detection,
    id: str,
    kind: str,
    name: int,
    found: list[tuple[Sighting, Secret]],
    unread: list[tuple[str, str]],
) -> None:
    """Takes over the matches, each key once for each line and column."""
    seen = set()
    places: dict[int, Places] = {}
    masks = Masks((match.secret.reveal(), match.secret.masked) for match in detection.matches)
    for match in detection.matches:
        text = places.setdefault(builtins.id(match.text), Places(match.text))
        sighting = _sighting(match, id, kind, name, text, masks)
        if sighting not in seen:
            seen.add(sighting)
            found.append((sighting, match.secret))
    unread += [(display.safe(where, masks), reason) for where, reason in detection.unread]


def _sighting(match: Match, id: str, kind: str, name: int, places: Places, masks: Masks) -> Sighting:
    line, column = places.position(match.start)
    first, last = places.line_span(match.start, match.end)
    allowed = suppress.allowed(match.text.data[first:last]) if kind == "blob" else None
    return Sighting(
        id,
        kind,
        match.secret.fingerprint,
        match.rule.id,
        match.environment,
        match.confidence,
        line,
        column,
        tuple(display.safe(layer, masks) for layer in match.via),
        allowed.reason if allowed else "",
        name,
    )


def homes(data: bytes, width: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The entries of a tree that are called after FluxLoop: (mode, name, id)."""
    if HOME in data.lower():
        for mode, name, id in links.entries(data, width):
            if HOME in name.lower():
                yield mode, name, id
