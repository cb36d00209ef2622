"""Files that are written whole, or not at all: a full disk or a kill leaves what was there before."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from typing import TextIO


def whole(path: str, write: Callable[[TextIO], object]) -> None:
    """Has `write` fill a new file beside `path`, and renames it there. Raises OSError, and then leaves nothing behind.

    A device or a pipe is written to directly. A symbolic link is never replaced: it is followed, but not where a
    repository may have put it there; that is an OSError, too.
    """
    if _takes_a_stream(path):
        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            write(stream)
        return
    if os.path.islink(path):
        if _is_planted(path):
            raise OSError(errno.ELOOP, "it is a symbolic link in the repository, which may lead anywhere")
        path = os.path.realpath(path)
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def exactly(path: str, data: bytes, mode: int | None) -> None:
    """Puts `data` in the place of a file, whole or not at all. Raises OSError, and then leaves nothing behind.

    mode: the permissions that it gets; None for those of any new file.
    """
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with os.fdopen(fd, "wb") as stream:
            if mode is not None:
                os.fchmod(fd, mode)
            stream.write(data)
            stream.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _is_planted(link: str) -> bool:
    """Whether a link lies in a repository: below a folder with a `.git` in it."""
    folder = os.path.realpath(os.path.dirname(link) or ".")
    while not os.path.lexists(os.path.join(folder, ".git")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return False
    return True


def is_full(error: OSError) -> bool:
    """Whether the place was right, but has no room (or no working disk): nothing that the person typed is wrong."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _takes_a_stream(path: str) -> bool:
    """Whether `path` is, or leads to, something that is no file: a terminal, /dev/stdout, a named pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
