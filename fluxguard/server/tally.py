"""How much of its hourly quota each key has used, on the embedded database: a file that all its processes have in memory.

A request counts under a lock of the file, so the count is exact whoever counts, and it costs a few microseconds instead of a
transaction: no log of writes grows, nothing waits for a disk. It asks for what SQLite's write-ahead log asks for anyway: one
machine, and files that can be mapped (https://www.sqlite.org/wal.html#noshm). What is there outlives every process; a crash of the machine
may forget the last second, for the table `windows` has a copy that is written each second, and that a count begins with.

A record stands at the number of its key's row: when the hour began (milliseconds), the requests since then, and a mark of the key's id, which
shows whether the record is that key's at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path

from fluxguard.server.settings import HOUR

RECORD = struct.Struct(
    "<qq8s"
)  # the mark last: a record that was written halfway is nobody's, or its hour begins anew
HEAD = 64  # bytes: the format, then the start of the machine that the records come from
FORMAT = b"fgtally1"
FIRST = 64 << 10  # bytes
TRIES = 50  # for the lock, at once, before others of this process go on
PATIENCE = 5.0  # seconds for it that a reader waits
Count = tuple[int, int]  # requests, and when their hour began


class Busy(Exception):
    """Another process writes."""


class Unwritable(Exception):
    """The file can't grow: the disk is full."""


class Tally:
    """The counts of one platform. path: of the file, made where there is none. begun: what `windows` has for a key's id."""

    def __init__(self, path: str, begun: Callable[[str], Count | None]) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._begun = begun
        self._threads = threading.Lock()
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            _prepare(self._fd)
            self._memory = mmap.mmap(self._fd, 0)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def count(self, row: int, key_id: str, now: int) -> Count:
        """One request more. row: the number of the key's row. Raises: Busy, Unwritable."""
        mark, at = _mark(key_id), HEAD + row * RECORD.size
        with self._alone():
            if at + RECORD.size > len(self._memory):
                self._grow(at + RECORD.size)
            start, n, whose = RECORD.unpack_from(self._memory, at)
            if whose != mark:
                n, start = self._begun(key_id) or (0, now)
            n, start = (1, now) if now - start >= HOUR else (n + 1, min(start, now))
            RECORD.pack_into(self._memory, at, start, n, mark)
        return n, start

    def read(self, row: int, key_id: str) -> Count | None:
        """What was counted; nothing where nobody has counted for the key since the machine started. Raises: Busy, after a while."""
        mark, at = _mark(key_id), HEAD + row * RECORD.size
        with self._alone(PATIENCE):
            if at + RECORD.size > len(self._memory):
                self._memory = mmap.mmap(self._fd, 0)
            if at + RECORD.size > len(self._memory):
                return None
            start, n, whose = RECORD.unpack_from(self._memory, at)
        return (n, start) if whose == mark else None

    @contextmanager
    def _alone(self, patience: float = 0.0) -> Iterator[None]:
        """No other thread and no other process counts meanwhile. A process that is killed lets go. Raises: Busy."""
        with self._threads:
            self._lock(patience)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self, patience: float) -> None:
        """Whoever has it has it for microseconds, unless the system lets another process run meanwhile."""
        end = 0.0
        for tries in count():
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if tries < TRIES:
                    time.sleep(0)
                    continue
            end = end or time.monotonic() + patience
            if time.monotonic() >= end:
                raise Busy
            time.sleep(0.0005)

    def _grow(self, least: int) -> None:
        """Zeros to the end, which are really there: a hole in a mapped file would kill whoever fills it on a full disk."""
        size = os.fstat(self._fd).st_size
        _zeros(self._fd, size, max(2 * size, least) if least > size else size)
        self._memory = mmap.mmap(self._fd, 0)

    def close(self) -> None:
        self._memory.close()
        os.close(self._fd)


def _prepare(fd: int) -> None:
    """An empty file becomes a tally; one of an earlier start of the machine is emptied, for a crash may have left anything there."""
    head = (FORMAT + _machine_start()).ljust(HEAD, b"\0")[:HEAD]
    size = os.fstat(fd).st_size
    if size < FIRST or os.pread(fd, HEAD, 0) != head:
        _zeros(fd, 0, max(FIRST, size))  # never shorter: another process may have it mapped
        os.pwrite(fd, head, 0)


def _zeros(fd: int, start: int, end: int) -> None:
    for at in range(start, end, FIRST):
        part = min(FIRST, end - at)
        try:
            written = os.pwrite(fd, bytes(part), at)
        except OSError as error:
            raise Unwritable(error.strerror) from None
        if written != part:
            raise Unwritable("No space left on device")


def _machine_start() -> bytes:
    """A name for this start of the machine, where the system has one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""


@lru_cache(4096)
def _mark(key_id: str) -> bytes:
    return hashlib.blake2b(key_id.encode(), digest_size=8).digest()
