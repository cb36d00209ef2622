"""Files and folders as they are on disk."""

from __future__ import annotations

import os
import stat

from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.repo import run
from fluxguard.sources.windows import WHOLE, windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
PIECE = 1 << 20


def contents(paths: Iterable[tuple[bytes, bytes]], limit: int) -> Iterator[Chunk | Skipped]:
    """What stands in files: pairs of the name to open and the name to show.

    A symbolic link is not followed: its target's name is its content, as git has it. What is not there any more is
    passed over; what can't be read, or is larger than `limit` bytes, is Skipped.
    """
    for name, shown in paths:
        yield from _file(name, shown, limit)


def _file(name: bytes, shown: bytes, limit: int) -> Iterator[Chunk | Skipped]:
    try:
        fd = os.open(name, _OPEN | _NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        if os.path.islink(name):
            yield from _link(name, shown)
        elif not _is_special(name):
            yield Skipped(shown, f"can't be opened: {(error.strerror or 'unknown error').lower()}")
        return
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            return
        if state.st_size > limit:
            yield Skipped(shown, f"larger than the limit of {limit:,} bytes")
        elif state.st_size > WHOLE:
            yield from windows(_pieces(fd), Origin("file", shown))
        else:
            data = os.read(fd, state.st_size + 1)
            if len(data) != state.st_size:  # it grew, or a read came up short
                data += b"".join(_pieces(fd))
            yield Chunk(data, Origin("file", shown))
    except OSError as error:
        yield Skipped(shown, f"can't be read: {(error.strerror or 'unknown error').lower()}")
    finally:
        os.close(fd)


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, PIECE):
        yield piece


def _link(name: bytes, shown: bytes) -> Iterator[Chunk | Skipped]:
    try:
        yield Chunk(os.readlink(name), Origin("file", shown))
    except OSError:
        yield Skipped(shown, "the symbolic link can't be read")


def _is_special(name: bytes) -> bool:
    """A socket or a device: it holds nothing."""
    try:
        mode = os.lstat(name).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def below(folder: str, ignored: bool = False) -> tuple[list[tuple[bytes, bytes]], list[Skipped]]:
    """The files to read below a folder, each with the name to show, sorted.

    In a git working tree these are the tracked files and the untracked ones that are not ignored, in nested
    repositories and submodules too; `ignored` adds the ignored ones. Elsewhere it is every file.
    A `.git` directory is never entered: what is in there is for `audit`.
    """
    skipped: list[Skipped] = []
    start = os.fsencode(folder)
    names = list(_walk(start, skipped)) if ignored else _listed(start, skipped, 0)
    base = b"" if start == b"." else start.rstrip(b"/") + b"/"
    return sorted((base + name, base + name) for name in set(names)), skipped


def _listed(folder: bytes, skipped: list[Skipped], depth: int) -> list[bytes]:
    """Names relative to `folder`, as git lists them; by walking where it is not in a working tree of its own."""
    listing = _git_list(os.fsdecode(folder)) if depth < 32 else None
    if listing is None:
        return list(_walk(folder, skipped))
    names: list[bytes] = []
    for name in listing:
        path = os.path.join(folder, name)
        if name.endswith(b"/") or (os.path.isdir(path) and not os.path.islink(path)):
            nested = name.rstrip(b"/")
            names += [
                nested + b"/" + inner for inner in _listed(os.path.join(folder, nested), skipped, depth + 1)
            ]
        else:
            names.append(name)
    return names


def _git_list(folder: str) -> list[bytes] | None:
    """What git calls the files below a folder; None where it is no working tree, or one that lies elsewhere.

    A repository's `core.worktree` may point anywhere: then git's list is not about this folder.
    """
    top = run.try_output("rev-parse", "--show-toplevel", cwd=folder, isolated=True)
    if top is None:
        return None
    root = os.path.realpath(top.rstrip(b"\n"))
    here = os.path.realpath(os.fsencode(folder))
    if here != root and not here.startswith(root.rstrip(b"/") + b"/"):
        return None
    raw = run.try_output(
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
        cwd=folder,
        isolated=True,
    )
    return None if raw is None else [name for name in raw.split(b"\0") if name]


def _walk(folder: bytes, skipped: list[Skipped]) -> Iterator[bytes]:
    """Every file below a folder, links not followed."""
    pending = [b""]
    while pending:
        relative = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, relative) if relative else folder))
        except FileNotFoundError:
            continue  # it went away meanwhile, as a file may
        except OSError as error:
            shown = os.path.normpath(os.path.join(folder, relative))
            skipped.append(Skipped(shown, f"folder can't be read: {(error.strerror or '').lower()}"))
            continue
        for entry in entries:
            name = os.path.join(relative, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if entry.name != b".git":
                    pending.append(name)
            else:
                yield name
