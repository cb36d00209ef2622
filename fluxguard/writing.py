"""Files that are written whole, or not at all: a full disk or a kill leaves what was there before."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TextIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


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

    def fill(fd: int) -> None:
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())

    _replaced(path, 0o666, fill)


def exactly(
    path: str | os.PathLike[str], data: bytes, mode: int | None, owner: tuple[int, int] | None = None
) -> None:
    """Puts `data` in the place of a file: on disk when this returns, or nothing changed. Raises OSError.

    mode: the permissions that it gets, and until then nobody else may read it; None for those of any new file.
    owner: user and group, where they are not those of this process.
    """

    def fill(fd: int) -> None:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(fd, *owner)
            if mode is not None:
                os.fchmod(fd, mode)
            os.fsync(fd)

    _replaced(os.fspath(path), 0o666 if mode is None else 0o600, fill)
    settle(os.path.dirname(path) or ".")


def _replaced(path: str, mode: int, fill: Callable[[int], None]) -> None:
    """A new file beside `path`, filled and renamed there; gone again where that fails. `fill` closes it."""
    temporary = _new_name(path)
    fd = os.open(temporary, _NEW, mode)
    try:
        fill(fd)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def once(path: str | os.PathLike[str], data: bytes) -> None:
    """Makes a file that nobody else may read, with its folder; one that is there already stays. On disk when this returns.

    Of two processes that do so at once, one's data stands there, whole. Raises OSError.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, 0o700, exist_ok=True)
    temporary = _new_name(path)
    fd = os.open(temporary, _NEW, 0o600)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(fd)
        os.link(temporary, path)  # never over one that is there
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
    settle(folder)


def settle(folder: str | os.PathLike[str]) -> None:
    """What was made, renamed or removed in a folder is so on disk when this returns. Raises OSError.

    Some file systems know no such thing for a folder; there it does nothing.
    """
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def _new_name(path: str) -> str:
    return f"{path}.{os.urandom(6).hex()}.tmp"


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
