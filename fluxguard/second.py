"""A second process that shares a long look. It says by number what was not plainly clean, and nothing else.

So no key ever passes between the two: what the second one could not clear, the first one looks at again. The work is
cut into portions, which both take from one pipe: whoever is held up, by the system or by something to look into, takes
fewer.
"""

from __future__ import annotations

import gc
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tally = tuple[int, int, list[int]]  # contents that were clean, their bytes, the numbers of the others
    Tell = Callable[[int], None]
    Work = Callable[[Tell], Tally]

_END = b"."
_PORTIONS = 512  # their tickets fit into any pipe
_SMALLEST = 8  # contents
_TICKET = 4  # bytes; what is read of a pipe in one go belongs together


def pays() -> bool:
    """Whether there is a second core, and a way to use it."""
    if not hasattr(os, "fork"):
        return False
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1


def forked(life: Callable[[int], None]) -> tuple[int, int]:
    """Starts a process with what is loaded: its number, and the end of a pipe to read from.

    life: what it does, with the end to write into; never returns. Raises OSError where there can be no such process.
    """
    gc.freeze()  # or looking for garbage would copy all memory that the two share
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if pid == 0:
        life(writer)
    os.close(writer)
    return pid, reader


def say(writer: int, words: bytes) -> None:
    """Writes all of it."""
    view = memoryview(words)
    while view:
        view = view[os.write(writer, view) :]


class Portions:
    """The numbers below `count` in portions, each of which is taken once, by whichever process asks first."""

    def __init__(self, count: int) -> None:
        """Raises OSError where there can be no pipe."""
        self._count = count
        self._size = max(_SMALLEST, -(-count // _PORTIONS))
        self._reader, writer = os.pipe()
        starts = range(0, count, self._size)
        os.write(writer, b"".join(start.to_bytes(_TICKET, "big") for start in starts))
        os.close(writer)

    def __iter__(self) -> Iterator[range]:
        while ticket := os.read(self._reader, _TICKET):
            start = int.from_bytes(ticket, "big")
            yield range(start, min(start + self._size, self._count))

    def all_but(self, taken: set[int]) -> list[range]:
        """The portions that do not start with one of these numbers."""
        starts = range(0, self._count, self._size)
        return [range(at, min(at + self._size, self._count)) for at in starts if at not in taken]

    def close(self) -> None:
        """Nobody takes any more, or gets to know it at the next one."""
        os.close(self._reader)


class Second:
    """The process, from its start to `tally` or `stop`."""

    def __init__(self, work: Work) -> None:
        """Starts it. work: tells each number that looks suspicious, and returns how many contents are clean, their bytes,
        and the numbers that it left to others without a look.

        Raises OSError where there can be no second process.
        """
        self._said = b""
        self._pid, self._reader = forked(lambda writer: _work(work, writer))
        os.set_blocking(self._reader, False)

    def has_told(self) -> bool:
        """Whether it has met something suspicious by now."""
        if not self._said:
            try:
                self._said = os.read(self._reader, 1 << 16)
            except BlockingIOError:
                return False
        return b" " in self._said

    def tally(self) -> Tally | None:
        """What it found; None where it did not come to its end, so that its share is still to be done."""
        os.set_blocking(self._reader, True)
        parts = [self._said]
        while part := os.read(self._reader, 1 << 16):
            parts.append(part)
        said = b"".join(parts)
        if self.stop() != 0 or not said.endswith(_END):
            return None
        *numbers, sums = said[:-1].split(b" ")
        count, size, *left = sums.split(b"/")
        return int(count), int(size), list(map(int, numbers + left))

    def stop(self) -> int:
        """Ends it, if it has not ended, and returns its exit code. May be called more than once."""
        if not self._pid:
            return 0
        os.close(self._reader)  # were it still writing, it would end here
        pid, self._pid = self._pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _work(work: Work, writer: int) -> None:
    """The life of the second process; never returns."""
    try:
        count, size, left = work(lambda number: say(writer, b"%d " % number))
        say(writer, b"/".join(b"%d" % number for number in (count, size, *left)) + _END)
        os._exit(0)
    finally:
        os._exit(1)
