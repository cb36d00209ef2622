"""Files and folders as they are on disk."""

from __future__ import annotations

import os
import stat

from fluxguard.chunk import WHOLE, Chunk, Origin, Skipped
from fluxguard.repo import run

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


def plain(name: bytes, limit: int) -> bytes | None:
    """The content of an ordinary file of ordinary size; None for all else, which `contents` has more to say about."""
    try:
        fd = os.open(name, _OPEN | _NOFOLLOW)
    except OSError:
        return None
    try:
        state = os.fstat(fd)
        size = state.st_size
        if not stat.S_ISREG(state.st_mode) or size > limit or size > WHOLE:
            return None
        data = os.read(fd, size + 1)
        return data if len(data) == size else None
    except OSError:
        return None
    finally:
        os.close(fd)


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
            from fluxguard.sources.windows import windows

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
    return Listing(folder, ignored).files()


class Listing:
    """The list of `below`, which git begins to make when this is created.

    nested: folders below that one which have a `.git` folder of their own, relative to it; known where ignored files are listed.
    """

    def __init__(self, folder: str, ignored: bool = False, named: bool = False) -> None:
        """named: by hand, so that it is wanted even where git ignores it."""
        self._start = os.fsencode(folder)
        self.nested: list[bytes] = []
        self._asked = None if ignored else _Asked(folder)
        self._ignored = _ask_whether_ignored(folder) if named and not ignored else None

    def many(self, count: int) -> bool:
        """Whether there will be at least `count` tracked files; known before the list is complete."""
        return self._asked is not None and self._asked.tracked().count(b"\0") >= count

    def files(self) -> tuple[list[tuple[bytes, bytes]], list[Skipped]]:
        """As `below` returns it."""
        skipped: list[Skipped] = []
        start = self._start
        if self._asked is None:
            names = list(_walk(start, skipped, self.nested))
        else:
            names = _listed(start, skipped, 0, self._asked)
            if self._ignored is not None and _answer(self._ignored) is not None:
                skipped.clear()
                names += _walk(start, skipped)
        base = b"" if start == b"." else start.rstrip(b"/") + b"/"
        return [(base + name, base + name) for name in sorted(set(names))], skipped


def _ask_whether_ignored(folder: str) -> run.Running | None:
    """Has git look whether it ignores a folder; None for the top of a working tree, which nobody ignores."""
    parent, name = os.path.split(os.path.realpath(folder))
    if not name or os.path.lexists(os.path.join(folder, ".git")):
        return None
    # check-ignore takes names, no patterns, and refuses to be told so.
    asked = ("--no-literal-pathspecs", "check-ignore", "--quiet", "--no-index", "--", f"./{name}")
    return run.start(*asked, cwd=parent, isolated=True)


class _Asked:
    """Three git processes side by side: where the working tree is, what is tracked in it, and what is not."""

    def __init__(self, folder: str, nested: bool = False) -> None:
        self._nested = nested
        self._entries: bytes | None = None
        self._read = False
        self._folder = os.fsencode(folder)
        self._here = os.path.realpath(self._folder)
        self._top = run.start("rev-parse", "--show-toplevel", cwd=folder, isolated=True)
        self._tracked = run.start("ls-files", "-z", "--stage", cwd=folder, isolated=True)
        self._others = run.start(
            "ls-files", "-z", "--others", "--exclude-standard", cwd=folder, isolated=True
        )

    def tracked(self) -> bytes:
        """The entries of the index; git is still looking for what is not in it."""
        if not self._read:
            self._read, self._entries = True, _answer(self._tracked)
        return self._entries or b""

    def answer(self, skipped: list[Skipped]) -> tuple[list[bytes], list[bytes]] | None:
        """Files, and folders that are repositories of their own; None where it is no working tree, or one that lies elsewhere.

        A repository's `core.worktree` may point anywhere: then git's list is not about this folder. Nor is it where a
        submodule was never fetched: there the repository around it answers. Folders that git could not open go to
        `skipped`.
        """
        tracked = self.tracked()
        top, others = _answer(self._top), self._others.readall()
        code, complaints = self._others.finish(_COMPLAINTS)
        if code:
            return None
        if top is None or self._entries is None:
            return None
        root = os.path.realpath(top.rstrip(b"\n"))
        if self._here != root and (self._nested or not self._here.startswith(root.rstrip(b"/") + b"/")):
            return None
        if len(complaints) >= _COMPLAINTS // 4:  # of so many, not all may have been read
            skipped.append(Skipped(self._folder, "git could not open all of its folders"))
        for locked in filter(None, map(_named_as_locked, complaints.splitlines())):
            real = os.path.join(root, os.fsencode(locked))
            shown = os.path.normpath(os.path.join(self._folder, os.path.relpath(real, self._here)))
            skipped.append(Skipped(shown, "folder can't be read"))
        files: list[bytes] = []
        folders: list[bytes] = []
        for entry in tracked.split(b"\0"):
            head, _, name = entry.partition(b"\t")
            if name:
                (folders if head.startswith(_SUBMODULE) else files).append(name)
        for name in others.split(b"\0"):
            if name:
                (folders if name.endswith(b"/") else files).append(name)
        return files, folders


_SUBMODULE = b"160000 "
_COMPLAINTS = 4 << 20  # bytes
_LOCKED = "warning: could not open directory '"


def _named_as_locked(complaint: str) -> str:
    """The folder of which git says that it can't open it; it lists on without, and ends well. "" for other complaints."""
    return complaint[len(_LOCKED) :].rpartition("'")[0] or "a folder" if complaint.startswith(_LOCKED) else ""


def _answer(running: run.Running) -> bytes | None:
    data = running.readall()
    return data if running.finish()[0] == 0 else None


def _listed(folder: bytes, skipped: list[Skipped], depth: int, asked: _Asked | None = None) -> list[bytes]:
    """Names relative to `folder`, as git lists them; by walking where it is not in a working tree of its own."""
    if depth >= 32:
        return list(_walk(folder, skipped))
    answer = (asked or _Asked(os.fsdecode(folder), nested=True)).answer(skipped)
    if answer is None:
        return list(_walk(folder, skipped))
    names, folders = answer
    for name in folders:
        path = os.path.join(folder, name).rstrip(b"/")
        if os.path.islink(path) or not os.path.isdir(path):
            names.append(name.rstrip(b"/"))
            continue
        nested = name.rstrip(b"/")
        names += [nested + b"/" + inner for inner in _listed(path, skipped, depth + 1)]
    return names


def _walk(folder: bytes, skipped: list[Skipped], nested: list[bytes] | None = None) -> Iterator[bytes]:
    """Every file below a folder, links not followed. nested: takes in the folders with a `.git` folder in them."""
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
                elif relative and nested is not None:
                    nested.append(relative)
            else:
                yield name
