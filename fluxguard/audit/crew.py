"""Processes that work through a list of tasks together and hand over what they find.

Forked, so that they share what was read before; what they hand over goes through anonymous pipes as `marshal` values.
A process that dies takes nothing with it unseen: the task that it was at is named.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fluxguard.repo import run

_NUMBER = 4
_MOST_TURNS = (
    1_000  # what fits into the smallest pipe; of more tasks than that, a process takes several in turn
)
_READ = 1 << 18


class Died(Exception):
    """A process ended in the middle of a task."""


Work = Callable[[int], Iterable[Any]]
Answer = tuple[int, Any]
DONE = None


class Crew:
    """`work(task)` is called for each task from 0 on, in one of `size` processes; what it yields comes back.

    `answers` yields (task, value), and (task, DONE) at a task's end; for a task that was never finished (task, Died).
    """

    def __init__(self, tasks: int, work: Work, size: int) -> None:
        self._tasks = tasks
        self._work = work
        self._pipes: dict[int, tuple[int, bytearray]] = {}
        self._open: set[int] = set(range(tasks))
        if size > 1 and tasks > 1 and hasattr(os, "fork"):
            self._start(min(size, tasks))

    def _start(self, size: int) -> None:
        step = -(-self._tasks // _MOST_TURNS)
        queue, filler = os.pipe()
        os.write(filler, b"".join(first.to_bytes(_NUMBER, "big") for first in range(0, self._tasks, step)))
        os.close(filler)
        for _ in range(size):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                for other, _ in self._pipes.values():
                    os.close(other)
                os.close(reader)
                _labour(self._work, queue, step, self._tasks, writer)
            os.close(writer)
            run.STARTED.add(pid)
            self._pipes[pid] = (reader, bytearray())
        os.close(queue)

    def answers(self) -> Iterator[Answer]:
        """What the processes hand over, as it comes."""
        if not self._pipes:
            yield from self._alone()
            return
        try:
            yield from self._together()
        finally:
            self.stop()

    def _alone(self) -> Iterator[Answer]:
        for task in range(self._tasks):
            for value in self._work(task):
                yield task, value
            yield task, DONE

    def _together(self) -> Iterator[Answer]:
        poll = select.poll()
        by_reader = {}
        for pid, (reader, _) in self._pipes.items():
            poll.register(reader, select.POLLIN | select.POLLHUP)
            by_reader[reader] = pid
        while by_reader:
            for reader, _ in poll.poll():
                pid = by_reader[reader]
                buffer = self._pipes[pid][1]
                data = os.read(reader, _READ)
                if not data:
                    poll.unregister(reader)
                    del by_reader[reader]
                    continue
                buffer += data
                for task, value in _frames(buffer):
                    if value is DONE:
                        self._open.discard(task)
                    yield task, value
        for task in sorted(self._open):
            yield task, Died

    def stop(self) -> None:
        """Ends the processes, if they have not ended."""
        for pid, (reader, _) in self._pipes.items():
            os.close(reader)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.waitpid(pid, 0)
            run.STARTED.discard(pid)
        self._pipes.clear()


def _frames(buffer: bytearray) -> Iterator[Answer]:
    """Takes the whole frames off a buffer: four bytes of length, then a `marshal` value."""
    at = 0
    while len(buffer) - at >= _NUMBER:
        end = at + _NUMBER + int.from_bytes(buffer[at : at + _NUMBER], "big")
        if len(buffer) < end:
            break
        yield marshal.loads(buffer[at + _NUMBER : end])  # noqa: S302 - written by a process of our own
        at = end
    del buffer[:at]


def _labour(work: Work, queue: int, step: int, end: int, writer: int) -> None:
    """The life of one process; never returns."""
    try:
        # What was there before is not looked through again and again, and its pages stay shared.
        gc.freeze()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started us is told, and ends us
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.SIG_DFL)
        while number := os.read(queue, _NUMBER):
            first = int.from_bytes(number, "big")
            for task in range(first, min(first + step, end)):
                for value in work(task):
                    _send(writer, (task, value))
                _send(writer, (task, DONE))
        os._exit(0)
    finally:
        os._exit(1)


def _send(writer: int, value: Answer) -> None:
    data = marshal.dumps(value)
    view = memoryview(len(data).to_bytes(_NUMBER, "big") + data)
    while view:
        view = view[os.write(writer, view) :]


def hands() -> int:
    """How many processes may work at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
