"""Allow comments: `fluxguard:allow` on the line of a key, with a reason behind it."""

from __future__ import annotations

import functools
import re

from fluxguard.detect.layers import Text
from fluxguard.detect.triggers import MARKER, Triggers
from fluxguard.model import Suppression

_OPENER = re.compile(
    rb"\#|//|/\*|--|;|<!--|\{\#|%|\*|'|\bREM\b|\bdnl\b|\"\"\"|^[ \t]*\"",
    re.IGNORECASE,
)
_MARKER = re.compile(rb"fluxguard:allow|gitleaks:allow|pragma: ?allowlist secret", re.IGNORECASE)
_END = re.compile(rb"\*/|-->|\#\}|\"\"\"|\*\)")
_LONG = re.compile(rb"[A-Za-z0-9]{16,}")
_OURS = re.compile(rb"(?:\#|//|/\*|--|;|<!--)[ \t]*fluxguard:allow\b")
_QUOTES = (b'"', b"'", b"`", b")")


def allowed(lines: bytes) -> Suppression | None:
    """The allow comment on one of these whole lines, or None."""
    for line in lines.splitlines():
        # In two steps: one expression would go over the rest of the line for every sign that may open a comment.
        opener = _OPENER.search(line)
        marker = _MARKER.search(line, opener.end()) if opener else None
        if marker:
            return Suppression("allow-comment", _reason(line[marker.end() :]) or marker[0].decode())
    return None


def _reason(rest: bytes) -> str:
    """What stands behind the marker, to the end of the comment; "" where it may hold a key, or a part of one."""
    reason = _END.split(rest, maxsplit=1)[0]
    if _LONG.search(reason) or _triggers().kinds(reason) & ~MARKER:
        return ""
    return reason.decode("utf-8", "replace").strip(" :\t-")


@functools.cache
def _triggers() -> Triggers:
    return Triggers()


def markers(text: Text) -> list[int]:
    """The lines, from 1, that carry a comment which begins with `fluxguard:allow`, and no quote or bracket behind it."""
    return [number for number, line in enumerate(text.data.splitlines(), 1) if _is_ours(line)]


def _is_ours(line: bytes) -> bool:
    return b"fluxguard:allow" in line and bool(_OURS.search(line, max(map(line.rfind, _QUOTES)) + 1))
