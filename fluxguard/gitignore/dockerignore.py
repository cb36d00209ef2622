"""What a .dockerignore keeps out of a build: Docker's rules, which are not git's.

A pattern is about the whole path from the context's top, `**/` goes over folders, the last pattern that matches the path or a
folder above it decides, and `!` takes back in. Source: docs.docker.com/build/concepts/context/#dockerignore-files and
github.com/moby/patternmatcher.
"""

from __future__ import annotations

import posixpath

import regex

_TIMEOUT = 1.0
_MOST = 5_000  # patterns

Pattern = tuple[bool, regex.Pattern[bytes]]


class Dockerignore:
    """The patterns of one file."""

    def __init__(self, text: bytes) -> None:
        self._patterns = [*_patterns(text.removeprefix(b"\xef\xbb\xbf"))][-_MOST:]

    def excludes(self, path: bytes) -> bool:
        """Whether a file, named from the context's top, stays out. False where a pattern takes too long."""
        parts = path.split(b"/")
        prefixes = [b"/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        try:
            for back_in, pattern in reversed(self._patterns):
                if any(pattern.fullmatch(prefix, timeout=_TIMEOUT) for prefix in prefixes):
                    return not back_in
        except TimeoutError:
            pass
        return False


def _patterns(text: bytes) -> list[Pattern]:
    found = []
    for line in text.split(b"\n"):
        word = line.strip()
        if not word or line.startswith(b"#"):
            continue
        back_in = word.startswith(b"!")
        plain = word[1:].strip() if back_in else word
        plain = posixpath.normpath(plain) if plain else b""
        plain = plain.removeprefix(b"//").removeprefix(b"/")
        compiled = _compiled(plain)
        if plain and compiled is not None:
            found.append((back_in, compiled))
    return found


def _compiled(pattern: bytes) -> regex.Pattern[bytes] | None:
    out = b""
    at = 0
    while at < len(pattern):
        one = pattern[at : at + 1]
        if pattern.startswith(b"**", at):
            at += 2
            if pattern.startswith(b"/", at):
                at += 1
            out += b".*" if at >= len(pattern) else b"(?:.*/)?"
            continue
        if one == b"*":
            out += b"[^/]*"
        elif one == b"?":
            out += b"[^/]"
        elif one == b"\\" and at + 1 < len(pattern):
            at += 1
            out += regex.escape(pattern[at : at + 1])
        elif one == b"[" and (end := pattern.find(b"]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
            out += b"[" + inside + b"]"
            at = end
        else:
            out += regex.escape(one)
        at += 1
    try:
        return regex.compile(out, regex.DOTALL)
    except regex.error:
        return None
