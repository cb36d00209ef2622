"""What takes a while to make, and is the same each time, kept in the user's own cache folder. Nothing here raises an error.

It is believed on the same terms as the audit's cache (audit/cache.py): folder and file are the user's own, no links, not
open to others, and lie in no working tree, where a repository could have put them. Light: the hooks load it.
"""

from __future__ import annotations

import os

from fluxguard import private, settings

_FOLDER = "compiled"
_MOST = 4  # files: of so many versions of fluxguard side by side
_LARGEST = 4 << 20


def take(name: str) -> bytes:
    """What was put there under a name; b"" for nothing, or nothing that can be believed."""
    folder = _folder(make=False)
    if folder is None:
        return b""
    try:
        return private.read(folder, name, _LARGEST) or b""
    finally:
        os.close(folder)


def put(name: str, data: bytes) -> None:
    """Keeps it, all at once or not at all; what is older than the newest few makes room."""
    folder = _folder(make=True) if len(data) < _LARGEST else None
    if folder is None:
        return
    try:
        _clear(folder)
        private.write(folder, name, data)
    except OSError:
        pass
    finally:
        os.close(folder)


def _folder(make: bool) -> int | None:
    """A descriptor of the folder; None where there is none that can be believed."""
    base = settings.cache_folder()
    if os.name != "posix" or not os.path.isabs(base) or _in_a_working_tree(base):
        return None
    path = os.path.join(base, _FOLDER)
    try:
        if make:
            os.makedirs(path, 0o700, exist_ok=True)
    except OSError:
        return None
    return private.opened(path, 0o077)


def _in_a_working_tree(folder: str) -> bool:
    """Whether a folder lies where a checkout may write: below a `.git`, or in the working tree that this runs for."""
    real = os.path.realpath(folder)
    tree = os.environ.get("GIT_WORK_TREE")
    if tree and (real + os.sep).startswith(os.path.join(os.path.realpath(tree), "")):
        return True
    while True:
        if os.path.lexists(os.path.join(real, ".git")):
            return True
        real, below = os.path.dirname(real), real
        if real == below:
            return False


def _clear(folder: int) -> None:
    names = os.listdir(folder)
    names.sort(key=lambda name: os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime)
    for name in names[: 1 - _MOST]:
        os.unlink(name, dir_fd=folder)
