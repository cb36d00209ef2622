"""Allow comments: `fluxguard:allow` on the line of a key, with a reason behind it."""

from __future__ import annotations

import re

from fluxguard.detect.layers import Text
from fluxguard.model import Suppression

# Two searches, one after the other, take time in proportion to a line: `opener.*?marker` takes that of its square.
_OPENER = re.compile(
    rb"\#|//|/\*|--|;|<!--|\{\#|%|\*|'|\bREM\b|\bdnl\b|\"\"\"|^[ \t]*\"",
    re.IGNORECASE,
)
_MARKER = re.compile(
    rb"(?P<marker>fluxguard:allow|gitleaks:allow|pragma: ?allowlist secret)(?P<reason>[^\n\r]*)",
    re.IGNORECASE,
)
_END = re.compile(r"(?:\*/|-->|\#\}|\"\"\"|\*\))\s*$")
_OURS = re.compile(rb"(?:\#|//|/\*|--|;|<!--)[ \t]*fluxguard:allow\b")
_CLOSERS = (b'"', b"'", b"`", b")")  # behind one of these it may be a string that only speaks of a comment


def allowed(text: Text, start: int, end: int) -> Suppression | None:
    """The allow comment on one of the lines of text.data[start:end], or None."""
    first, last = text.line_span(start, end)
    for line in text.data[first:last].splitlines():
        opener = _OPENER.search(line)
        marker = _MARKER.search(line, opener.end()) if opener else None
        if marker:
            reason = _END.sub("", marker["reason"].decode("utf-8", "replace")).strip(" :\t-")
            return Suppression("allow-comment", reason or marker["marker"].decode())
    return None


def markers(text: Text) -> list[int]:
    """The lines, from 1, that carry a comment which begins with `fluxguard:allow`."""
    return [number for number, line in enumerate(text.data.splitlines(), 1) if _is_ours(line)]


def _is_ours(line: bytes) -> bool:
    """Whether a comment with the marker stands behind the last quote or bracket of a line."""
    return _OURS.search(line, 1 + max(map(line.rfind, _CLOSERS))) is not None
