"""What a working tree holds: tracked files, untracked ones, and the .gitignore files that a colleague's clone would have."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fluxguard.errors import GitError
from fluxguard.repo import loose, run
from fluxguard.repo.ignore import NAME, within

LARGEST = 4 << 20  # bytes of one .gitignore
_MOST = 64 << 20  # of all of them
_LARGEST_BLOB = 256 << 20
_SUBMODULE = "160000"
_LINK = "120000"
_OPEN = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the index, or of a tree. fixed: git does not look at the file on disk (sparse checkout, assume-unchanged)."""

    mode: str
    id: str
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is there, by path from the top.

    root: the working tree, "" for a bare repository. tracked: the index; of a bare repository, the tree at HEAD.
    untracked: everything else on disk, ignored or not, without what lies in repositories inside. offered: those of them that
    `git add` would take. committed: the tree at HEAD. nested: repositories inside that are no submodules.
    ignores: the .gitignore files that count, by folder. unshared: those that don't, each with the reason.
    unread: folders and files that could not be read, each with the reason.
    """

    root: str
    tracked: Mapping[bytes, Entry]
    untracked: Sequence[bytes] = ()
    offered: Sequence[bytes] = ()
    committed: Mapping[bytes, Entry] = field(default_factory=dict)
    submodules: Sequence[bytes] = ()
    nested: Sequence[bytes] = ()
    ignores: Mapping[bytes, bytes] = field(default_factory=dict)
    unshared: Mapping[bytes, str] = field(default_factory=dict)
    unread: Sequence[tuple[bytes, str]] = ()
    cwd: str = ""
    isolated: bool = True

    def blob(self, id: str) -> bytes:
        """The content of a blob. Raises GitError."""
        return run.output("cat-file", "blob", id, cwd=self.cwd, isolated=self.isolated)

    def text(self, path: bytes) -> bytes:
        """What stands in a small file: on disk, or where there is no working tree, at HEAD. b"" where it can't be read."""
        entry = self.tracked.get(path)
        try:
            if entry is not None and (entry.fixed or not self.root):
                return self.blob(entry.id)
            return on_disk(self.root, path)
        except (OSError, Refused, GitError):
            return b""

    def blobs(self, ids: Sequence[str], limit: int) -> Iterator[tuple[str, bytes | None]]:
        """The contents of many blobs; None for one that can't be read, or is larger than `limit` bytes."""
        if not ids:
            return
        asked = "\n".join(ids).encode() + b"\n"
        running = run.start(
            "cat-file", "--batch", "--buffer", cwd=self.cwd, stdin=asked, isolated=self.isolated
        )
        broken = False
        for id in ids:
            fields = b"" if broken else running.readline()
            head = fields.split(b" ") if fields else []
            broken = not fields
            if len(head) != 3 or not head[2].isdigit():
                yield id, None
                continue
            size = int(head[2])
            data = _taken(running, size, min(limit, _LARGEST_BLOB))
            broken = len(running.read(1)) < 1
            yield id, None if broken else data
        running.finish()

    def at_head(self) -> dict[bytes, bytes] | None:
        """The .gitignore files as they are committed, by folder; None where they are those that count."""
        there = {path: one for path, one in self.committed.items() if _is_ignore_file(path) and _is_file(one)}
        changed = {os.path.dirname(path) for path in there} ^ set(self.ignores)
        for path, one in there.items():
            data = self.ignores.get(os.path.dirname(path))
            if data is not None and one.id not in (loose.blob_id(data), loose.blob_id(_unix(data))):
                changed.add(os.path.dirname(path))
        if not changed:
            return None
        files = {folder: data for folder, data in self.ignores.items() if folder not in changed}
        for path, one in there.items():
            if os.path.dirname(path) in changed:
                files[os.path.dirname(path)] = self.blob(one.id)
        return files if files != dict(self.ignores) else None


def of_tree(root: str, isolated: bool = True) -> Holdings:
    """The holdings of the working tree at `root`. Raises GitError, also where git takes another folder for the working tree.

    isolated: whether to forget the index that a surrounding hook names.
    """
    asked = {
        "top": ("rev-parse", "--show-toplevel"),
        "index": ("ls-files", "-z", "-v", "--stage"),
        "untracked": ("ls-files", "-z", "--others"),
        "head": ("ls-tree", "-r", "-z", "--full-tree", "HEAD"),
    }
    running = {name: run.start(*words, cwd=root, isolated=isolated) for name, words in asked.items()}
    answers = {name: _answer(one) for name, one in running.items()}
    top = _needed(answers["top"], "rev-parse")
    if os.path.realpath(os.fsdecode(top.removesuffix(b"\n"))) != os.path.realpath(root):
        raise GitError(
            "The repository says that its working tree is another folder (core.worktree).",
            "Name that folder, if you trust the repository.",
        )
    tracked, submodules = _index(_needed(answers["index"], "ls-files"))
    untracked, nested = _names(_needed(answers["untracked"], "ls-files"))
    _refuse_pipes(root, (*tracked, *untracked))
    asking = run.start("ls-files", "-z", "--others", "--exclude-standard", cwd=root, isolated=isolated)
    offered, _ = _names(within(asking, "ls-files"))
    head = answers["head"]
    committed = _tree(head[0]) if head[1] == 0 else {}
    unread = _locked(answers["untracked"][2])
    if head[1] and "Not a valid object name" not in head[2]:
        unread.append((b"HEAD", "the commit there can't be read"))
    held = Holdings(
        root, tracked, untracked, offered, committed, submodules, nested,
        unread=unread, cwd=root, isolated=isolated,
    )  # fmt: skip
    return _with_ignores(held)


def _refuse_pipes(root: str, paths: Iterable[bytes]) -> None:
    """git opens every .gitignore, be it a pipe, and waits for what comes. Raises GitError where one is no file."""
    top = os.fsencode(root)
    for folder in {os.path.dirname(path) for path in paths} | {b""}:
        try:
            mode = os.lstat(os.path.join(top, folder, NAME)).st_mode
        except OSError:
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            shown = os.fsdecode(os.path.join(folder, NAME))
            raise GitError(f"{shown} is a pipe or a device: git would wait for it for ever.", "Remove it.")


def personal_excludes(held: Holdings) -> bytes:
    """What only this person's git ignores: .git/info/exclude, and the file that core.excludesFile names."""
    named = run.try_output(
        "config", "--path", "--null", "--get", "core.excludesFile", cwd=held.cwd, isolated=held.isolated
    )
    usual = os.path.join(
        os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "git", "ignore"
    )
    own = os.fsdecode(named.rstrip(b"\0")) if named is not None else usual
    inside = run.try_output("rev-parse", "--git-path", "info/exclude", cwd=held.cwd, isolated=held.isolated)
    files = [os.path.join(held.cwd, own)] if own else []
    files += [os.path.join(held.cwd, os.fsdecode(inside.rstrip(b"\n")))] if inside else []
    return b"\n".join(map(_or_nothing, files))


def _or_nothing(name: str) -> bytes:
    try:
        return on_disk("", os.fsencode(os.path.realpath(name)))
    except (OSError, Refused):
        return b""


def of_bare(path: str) -> Holdings:
    """The holdings of a bare repository: what is committed at HEAD."""
    raw, code, text = _answer(
        run.start("ls-tree", "-r", "-z", "--full-tree", "HEAD", cwd=path, isolated=True)
    )
    if code and "Not a valid object name" not in text:
        raise run.failure("ls-tree", code, text)
    entries = _tree(raw) if not code else {}
    held = Holdings("", entries, committed=entries, cwd=path)
    places: dict[str, list[bytes]] = {}
    for name, one in entries.items():
        if _is_ignore_file(name) and _is_file(one):
            places.setdefault(one.id, []).append(name)
    ignores: dict[bytes, bytes] = {}
    unread: list[tuple[bytes, str]] = []
    for id, data in held.blobs(list(places), LARGEST):
        for name in places[id]:
            if data is None:
                unread.append((name, "it can't be read, or is too large"))
            else:
                ignores[os.path.dirname(name)] = data
    return Holdings("", entries, committed=entries, ignores=ignores, unread=unread, cwd=path)


def _taken(running: run.Running, size: int, limit: int) -> bytes | None:
    """The next `size` bytes, or None where they are more than the limit."""
    if size <= limit:
        return running.read(size)
    while size > 0:
        piece = len(running.read(min(size, 1 << 20)))
        if not piece:
            break
        size -= piece
    return None


Answer = tuple[bytes, int, str]


def _answer(running: run.Running) -> Answer:
    try:
        raw = running.readall()
    except BaseException:
        running.kill()
        raise
    return raw, *running.finish()


def _needed(answer: Answer, command: str) -> bytes:
    raw, code, text = answer
    if code:
        raise run.failure(command, code, text)
    return raw


def _index(raw: bytes) -> tuple[dict[bytes, Entry], list[bytes]]:
    """`git ls-files -v --stage -z`: tag, mode, id, stage, a tab, the path. A tag other than H: not looked at on disk."""
    entries: dict[bytes, Entry] = {}
    submodules: list[bytes] = []
    for line in raw.split(b"\0"):
        head, _, path = line.partition(b"\t")
        if not path:
            continue
        tag, mode, id, _ = head.decode("ascii").split(" ")
        if mode == _SUBMODULE:
            submodules.append(path)
        else:
            entries[path] = Entry(mode, id, tag == "S" or tag.islower())
    return entries, submodules


def _tree(raw: bytes) -> dict[bytes, Entry]:
    entries = {}
    for line in raw.split(b"\0"):
        head, _, path = line.partition(b"\t")
        if path and not head.startswith(b"160000"):
            mode, _, id = head.decode("ascii").split(" ")
            entries[path] = Entry(mode, id)
    return entries


def _names(raw: bytes) -> tuple[list[bytes], list[bytes]]:
    """Files, and folders that are repositories of their own."""
    names = [name for name in raw.split(b"\0") if name]
    return [name for name in names if not name.endswith(b"/")], [
        name[:-1] for name in names if name.endswith(b"/")
    ]


def _locked(complaints: str) -> list[tuple[bytes, str]]:
    lead = "warning: could not open directory '"
    return [
        (os.fsencode(line[len(lead) :].rpartition("'")[0]), "folder can't be read")
        for line in complaints.splitlines()
        if line.startswith(lead)
    ]


def _is_ignore_file(path: bytes) -> bool:
    return path == NAME or path.endswith(b"/" + NAME)


def _is_file(entry: Entry) -> bool:
    return entry.mode not in (_LINK, _SUBMODULE)


def _unix(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def _with_ignores(held: Holdings) -> Holdings:
    """With the .gitignore files: those that are tracked, and those that `git add` would take."""
    ignores: dict[bytes, bytes] = {}
    unshared: dict[bytes, str] = {}
    unread = list(held.unread)
    offered = set(held.offered)
    left = _MOST
    for path in _ignore_files(held):
        entry = held.tracked.get(path)
        if entry is None and path not in offered:
            unshared[path] = "it is ignored itself, so no clone has it"
            continue
        try:
            data = held.blob(entry.id) if entry is not None and entry.fixed else on_disk(held.root, path)
        except FileNotFoundError:
            continue  # tracked, and gone from the disk
        except Refused as error:
            unshared[path] = str(error)
            if error.unknown:
                unread.append((path, str(error)))
            continue
        left -= len(data)
        if left < 0:
            unread.append((path, "all .gitignore files together are larger than 64 MiB"))
            continue
        if entry is not None and entry.mode == _LINK and entry.fixed:
            unshared[path] = "it is a symbolic link, which git does not follow"
            continue
        ignores[os.path.dirname(path)] = data
    return Holdings(
        held.root, held.tracked, held.untracked, held.offered, held.committed, held.submodules, held.nested,
        ignores, unshared, unread, held.cwd, held.isolated,
    )  # fmt: skip


def _ignore_files(held: Holdings) -> Iterator[bytes]:
    names: Iterable[bytes] = (*held.tracked, *held.untracked)
    return (name for name in names if name.endswith(NAME) and _is_ignore_file(name))


class Refused(Exception):
    """A file that does not count as a .gitignore. unknown: what it says could not be found out."""

    def __init__(self, why: str, unknown: bool = False) -> None:
        super().__init__(why)
        self.unknown = unknown


def on_disk(root: str, path: bytes) -> bytes:
    """What stands in a .gitignore. Raises FileNotFoundError, and Refused where git would not read it, or it can't be read."""
    name = os.path.join(os.fsencode(root), path)
    try:
        fd = os.open(name, _OPEN)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.islink(name):
            raise Refused("it is a symbolic link, which git does not follow") from None
        raise Refused(f"it can't be read: {(error.strerror or '').lower()}", unknown=True) from None
    with os.fdopen(fd, "rb") as stream:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused("it is no regular file")
        try:
            data = stream.read(LARGEST + 1)
        except OSError as error:
            raise Refused(f"it can't be read: {(error.strerror or '').lower()}", unknown=True) from None
    if len(data) > LARGEST:
        raise Refused(f"it is larger than {LARGEST:,} bytes", unknown=True)
    return data
