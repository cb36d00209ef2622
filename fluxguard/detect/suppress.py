"""Allow comments: `fluxguard:allow` on the line of a key, with a reason behind it."""

from __future__ import annotations

import re

from fluxguard.detect.layers import Text
from fluxguard.model import Suppression

_MARKER = re.compile(
    rb"(?:\#|//|/\*|--|;|<!--|\{\#|%|\*|'|\bREM\b|\bdnl\b|\"\"\"|^[ \t]*\").*?"
    rb"(?P<marker>fluxguard:allow|gitleaks:allow|pragma: ?allowlist secret)(?P<reason>[^\n\r]*)",
    re.IGNORECASE,
)
_END = re.compile(r"(?:\*/|-->|\#\}|\"\"\"|\*\))\s*$")
_OURS = re.compile(rb"(?:\#|//|/\*|--|;|<!--)[ \t]*fluxguard:allow\b[^\"'`)]*$")


def allowed(text: Text, start: int, end: int) -> Suppression | None:
    """The allow comment on one of the lines of text.data[start:end], or None."""
    first, last = text.line_span(start, end)
    for line in text.data[first:last].splitlines():
        marker = _MARKER.search(line)
        if marker:
            reason = _END.sub("", marker["reason"].decode("utf-8", "replace")).strip(" :\t-")
            return Suppression("allow-comment", reason or marker["marker"].decode())
    return None


def markers(text: Text) -> list[int]:
    """The lines, from 1, that carry a comment which begins with `fluxguard:allow`."""
    return [number for number, line in enumerate(text.data.splitlines(), 1) if _OURS.search(line)]
