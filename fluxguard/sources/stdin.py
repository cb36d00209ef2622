"""Standard input, and what is read like it: a pipe or a device that somebody named."""

from __future__ import annotations

import os
import re
import select
import stat
import time

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.errors import FluxguardError
from fluxguard.sources.windows import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

WRITERS_COME_WITHIN = 10.0  # seconds; a named pipe that came with an archive must not hold a scan for ever
_DESCRIPTOR = re.compile(r"/dev/(?:stdin|fd/(\d{1,6}))|/proc/self/fd/(\d{1,6})")
_HINT = "Hand it over: some-command | fluxguard scan --stdin"


def stdin(name: bytes, limit: int, fd: int = 0) -> Iterator[Chunk | Skipped]:
    """What comes in at `fd`, shown as `name`; what lies behind `limit` bytes is not read, and said to be so.

    Raises FluxguardError where it can't be read.
    """
    try:
        yield from _contents(name, limit, fd)
    except OSError as error:
        raise FluxguardError(f"Standard input can't be read: {_why(error)}.", _HINT) from None


def is_stream(path: str) -> bool:
    """Whether `path` is, or leads to, something that has to be read to its end: a pipe, a device, an open descriptor."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return bool(_DESCRIPTOR.fullmatch(path)) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def stream(path: str, limit: int) -> Iterator[Chunk | Skipped]:
    """What such a `path` gives, up to `limit` bytes; Skipped where it can't be read, or nobody writes into it."""
    name = os.fsencode(path)
    if stat.S_ISBLK(os.stat(path).st_mode):
        yield Skipped(name, "a disk, not a file: it is not read")
        return
    try:
        fd = _opened(path)
    except OSError as error:
        yield Skipped(name, f"can't be opened: {_why(error)}")
        return
    try:
        first = _awaited(fd)
        if first is None:
            yield Skipped(name, "a named pipe that nobody writes into")
        else:
            yield from _contents(name, limit, fd, first)
    except OSError as error:
        yield Skipped(name, f"can't be read: {_why(error)}")
    finally:
        os.close(fd)


def _opened(path: str) -> int:
    """A descriptor that is ours already is taken as it is: a socket or a deleted file could not be opened again."""
    match = _DESCRIPTOR.fullmatch(path)
    if match:
        return os.dup(int(match[1] or match[2] or 0))
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _awaited(fd: int) -> bytes | None:
    """What a named pipe gives first, once somebody has opened its other end; None where nobody does. Empty for all else.

    Without a writer such a pipe gives end of file, and hangs up only once it had one.
    """
    if os.get_blocking(fd):
        return b""
    first = b""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        deadline = time.monotonic() + WRITERS_COME_WITHIN
        try:
            while not (first := os.read(fd, 1 << 16)) and not poll.poll(50):
                if time.monotonic() > deadline:
                    return None
        except BlockingIOError:
            pass  # there is one, who is only slow
    os.set_blocking(fd, True)
    return first


def _contents(name: bytes, limit: int, fd: int, first: bytes = b"") -> Iterator[Chunk | Skipped]:
    over = []

    def pieces() -> Iterator[bytes]:
        read = 0
        piece = first
        while piece := piece or os.read(fd, 1 << 20):
            read += len(piece)
            if read > limit:
                over.append(piece)
                return
            yield piece
            piece = b""

    yield from windows(pieces(), Origin("stdin", name))
    if over:
        yield Skipped(name, f"longer than the limit of {limit:,} bytes: the rest was not read")


def _why(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()
