"""The names of all files that any commit ever brought, changed or removed: asked of `git log`, merges and reflogs included."""

from __future__ import annotations

import re

from fluxguard.errors import GitError
from fluxguard.repo import run

_PIECE = 1 << 20
_MARK = b"\x01"  # in front of a commit's id
_ID = re.compile(rb"\x01[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Past:
    """git, looking through the history; it works while somebody else does. To be ended with `names` or `stop`."""

    def __init__(self, cwd: str, isolated: bool = True) -> None:
        # Of a merge, what differs from all parents. Nothing of the configuration may change what is listed, or run anything.
        self._running = run.start(
            "log", "-O/dev/null", "--all", "--reflog", "--root", "-c", "--no-renames", "--no-show-signature",
            "--no-ext-diff", "--no-textconv", "--no-relative", "--no-notes", "--no-mailmap", "--no-color",
            "--ignore-submodules=none", "--no-decorate", f"--format=%x{_MARK.hex()}%H", "--name-only", "-z",
            cwd=cwd, isolated=isolated,
        )  # fmt: skip

    def names(self) -> set[bytes]:
        """Every path. Raises GitError where not all of the history could be read."""
        found: set[bytes] = set()
        rest = b""
        try:
            while piece := self._running.read(_PIECE):
                *fields, rest = (rest + piece).split(b"\0")
                found.update(fields)
        except BaseException:
            self.stop()
            raise
        code, text = self._running.finish()
        if code and "does not have any commits" not in text and "bad default revision" not in text:
            raise run.failure("log", code, text)
        found.add(rest)
        # Behind a commit's id, the first name begins with a line of its own.
        return {name.removeprefix(b"\n") for name in found if name and not _ID.fullmatch(name)}

    def stop(self) -> None:
        """Ends it."""
        self._running.kill()
        try:
            self._running.finish()
        except (GitError, OSError):
            pass
