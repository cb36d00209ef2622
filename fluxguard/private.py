"""Files in a folder of the user's own, believed only where nobody else can have written them. Light: the hooks load it.

Folder and file belong to the user, are no links and not open to others; a file gets its name once it is whole.
"""

from __future__ import annotations

import os
import stat


def opened(path: str, forbidden: int) -> int | None:
    """A descriptor of the folder, which stays the same whatever happens to its name; None where it can't be believed.

    forbidden: permissions that it may not have.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if _ours(os.fstat(fd), forbidden):
        return fd
    os.close(fd)
    return None


def read(folder: int, name: str, largest: int, touch: bool = False) -> bytes | None:
    """What is in a file; None where there is none that can be believed, or of more than `largest` bytes.

    touch: it gets the time of its last use.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or not _ours(seen, 0o077) or seen.st_size > largest:
            return None
        with open(fd, "rb", closefd=False) as stream:
            data = stream.read(largest + 1)
        if touch:
            os.utime(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return data


def write(folder: int, name: str, data: bytes) -> None:
    """Puts it there, all at once or not at all. Never raises OSError."""
    draft = f"{name}.{os.getpid()}.{os.urandom(6).hex()}.tmp"
    try:
        fd = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        try:
            with open(fd, "wb") as stream:
                stream.write(data)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(draft, dir_fd=folder)
            raise
    except OSError:
        return


def _ours(seen: os.stat_result, forbidden: int) -> bool:
    return seen.st_uid == os.geteuid() and not seen.st_mode & forbidden
