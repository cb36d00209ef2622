"""What stands in one object: every key, as a sighting that can be handed on and kept."""

from __future__ import annotations

import builtins

from fluxguard import display
from fluxguard.audit.sighting import Examined, Sighting
from fluxguard.detect import suppress
from fluxguard.detect.engine import Detection, Detector, Match
from fluxguard.detect.layers import Places
from fluxguard.masks import Masks
from fluxguard.model import Secret
from fluxguard.repo import links


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
