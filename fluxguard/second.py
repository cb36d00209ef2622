"""A second process that does half of a long look. It says by number what was not plainly clean, and nothing else.

So no key ever passes between the two: what the second one could not clear, the first one looks at again.
"""

from __future__ import annotations

import gc
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Tally = tuple[int, int, list[int]]  # contents that were clean, their bytes, the numbers of the others

_END = b"."


def pays() -> bool:
    """Whether there is a second core, and a way to use it."""
    if not hasattr(os, "fork"):
        return False
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1


class Second:
    """The process, from its start to `tally` or `stop`."""

    def __init__(self, work: Callable[[], Tally]) -> None:
        """Starts it. Raises OSError where there can't be one."""
        gc.freeze()  # or looking for garbage would copy all memory that the two share
        self._reader, writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._reader)
            os.close(writer)
            raise
        if self._pid == 0:
            _work(work, writer)
        os.close(writer)

    def tally(self) -> Tally | None:
        """What it found; None where it did not come to its end, so that its half is still to be done."""
        parts = []
        while part := os.read(self._reader, 1 << 16):
            parts.append(part)
        said = b"".join(parts)
        if self.stop() != 0 or not said.endswith(_END):
            return None
        count, size, *numbers = map(int, said[:-1].split())
        return count, size, numbers

    def stop(self) -> int:
        """Ends it, if it has not ended, and returns its exit code. May be called more than once."""
        if not self._pid:
            return 0
        os.close(self._reader)  # were it still writing, it would end here
        pid, self._pid = self._pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _work(work: Callable[[], Tally], writer: int) -> None:
    """The life of the second process; never returns."""
    try:
        count, size, numbers = work()
        said = b" ".join(b"%d" % number for number in (count, size, *numbers)) + _END
        view = memoryview(said)
        while view:
            view = view[os.write(writer, view) :]
        os._exit(0)
    finally:
        os._exit(1)
