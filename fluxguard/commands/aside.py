"""Work whose answer is wanted later, done by a process of its own meanwhile.

Forked, so that it starts with what is loaded. Its answer comes through an anonymous pipe as a `marshal` value.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would import enum
import marshal
import os

from fluxguard.repo import run
from fluxguard.second import forked, pays, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any


class Aside:
    """The process. To be used with `with`, which ends it if nobody asked for the answer."""

    def __init__(self, work: Callable[[], Any]) -> None:
        """work: what is to be done; it returns what `marshal` can carry. Without a second core it waits until it is asked for."""
        self._work = work
        self._pid = 0
        if not pays():
            return
        try:
            self._pid, self._reader = forked(lambda writer: _labour(work, writer))
        except OSError:
            return
        run.HELPERS.add(self._pid)

    def __enter__(self) -> Aside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid:
            try:
                os.kill(self._pid, _signal.SIGTERM)
            except ProcessLookupError:
                pass
            self._end()

    def answer(self) -> Any:
        """What the work returned. Where the process did not come to its end, it is done here."""
        if self._pid:
            parts = []
            while part := os.read(self._reader, 1 << 16):
                parts.append(part)
            if self._end() == 0:
                return marshal.loads(b"".join(parts))  # noqa: S302 - written by a process of our own
        return self._work()

    def _end(self) -> int:
        os.close(self._reader)
        pid, self._pid = self._pid, 0
        status = os.waitpid(pid, 0)[1]
        run.HELPERS.discard(pid)
        return os.waitstatus_to_exitcode(status)


def _labour(work: Callable[[], Any], writer: int) -> None:
    """The life of the process; never returns."""
    try:
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # the one that started us is told, and ends us
        _signal.signal(_signal.SIGTERM, _stop)
        run.STARTED.clear()  # those are not ours
        run.HELPERS.clear()
        say(writer, marshal.dumps(work()))
        os._exit(0)
    finally:
        _stop()


def _stop(*_: object) -> None:
    """Ends it at once: an exception would be printed where it meets code that can't pass it on, as imports have."""
    run.stop_all()
    os._exit(1)
