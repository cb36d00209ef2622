"""What the hooks have seen: the commits at which the next hook begins to look, and which git process it was that passed.

Lies in `fluxguard/` of the git directory, made by `fluxguard install`; where it is not, nothing is kept. `checked`: a
line about the files of refs and its own size, then ids, the last commit of each line of history that was looked at. The hooks
post-commit, post-merge and post-applypatch add the new commit to it if `passed` names the git process that runs them,
which a hook of ours let pass. `open`: where something was found that no hook refused, the ids at which to begin until
it is gone, and behind `:` the commits that were told of. There is nothing in these files but ids and times.
"""

from __future__ import annotations

import os

from fluxguard.repo import layout

FOLDER = "fluxguard"
_MOST = 64 << 10  # bytes by which `checked` may grow, before it is written anew
_FILES = ("refs/tags", "refs/notes", "refs/stash", "packed-refs")


class State:
    """The state of a repository.

    ids: what was looked at, with all that it leads to. moved: whether there may be something that no hook has seen, or
    something that was found is still to be dealt with. before, told: as in `open`, before is None where there is none.
    """

    __slots__ = ("_checked", "before", "common", "git", "moved", "told")

    def __init__(self, git: str, common: str, checked: bytes) -> None:
        self.git = git
        self.common = common
        first, _, self._checked = checked.partition(b"\n")
        about, _, size = first.rpartition(b" ")
        head = _head(git, common)
        unfinished = _read(os.path.join(common, FOLDER, "open"))
        grown = not size.isdigit() or len(size) > 9 or len(checked) > int(size) + _MOST
        known = head is not None and (head == b"" or self.knows(head))
        self.moved = about != signature(common) or not known or unfinished is not None or grown
        ids, _, commits = (unfinished or b"").partition(b":")
        self.before = None if unfinished is None else ids.split()
        self.told = commits.split()

    def knows(self, id: bytes) -> bool:
        """Whether the id is one of `ids`; cheaper than to look there."""
        return self._checked.startswith(id + b"\n") or b"\n" + id + b"\n" in self._checked

    @property
    def ids(self) -> list[bytes]:
        """The ids that were noted."""
        return self._checked.split()


def state() -> State | None:
    """What is known; None where nothing is kept."""
    git = layout.git_dir()
    common = layout.common_dir()
    if git is None or common is None:
        return None
    told = _read(os.path.join(common, FOLDER, "checked"))
    return None if told is None else State(git, common, told)


def signature(common: str) -> bytes:
    """When the refs beside branches changed last, as a line."""
    times = []
    for name in _FILES:
        try:
            times.append(b"%d" % os.stat(os.path.join(common, name)).st_mtime_ns)
        except OSError:
            times.append(b"0")
    return b" ".join(times)


def passed(found: State, process: str) -> None:
    """Notes that a hook lets this git process pass."""
    if not process.isdigit():
        return
    path = os.path.join(found.git, FOLDER, "passed")
    try:
        _write(path, process.encode() + b"\n")
    except FileNotFoundError:
        os.mkdir(os.path.dirname(path), 0o700)
        _write(path, process.encode() + b"\n")


def advance(common: str, ids: list[bytes]) -> None:
    """All that these ids lead to has been looked at."""
    path = os.path.join(common, FOLDER, "checked")
    content = b"\n".join([*dict.fromkeys(ids), b""])
    _write(path + ".new", b"%s %d\n%s" % (signature(common), len(content), content))
    os.replace(path + ".new", path)


def leave_open(common: str, before: list[bytes], told: list[bytes]) -> None:
    """Something was found: until it is gone, everything behind `before` is looked at again. told: the commits told of."""
    path = os.path.join(common, FOLDER, "open")
    _write(path + ".new", b"\n".join(before) + b"\n:\n" + b"\n".join(told) + b"\n")
    os.replace(path + ".new", path)


def close(common: str) -> None:
    """What was found is gone."""
    try:
        os.unlink(os.path.join(common, FOLDER, "open"))
    except FileNotFoundError:
        pass


def add(common: str, ids: list[bytes]) -> None:
    """These have been looked at, too."""
    fd = os.open(
        os.path.join(common, FOLDER, "checked"), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    )
    try:
        os.write(fd, b"".join(id + b"\n" for id in ids))
    finally:
        os.close(fd)


def tips(cwd: str | None = None) -> list[bytes]:
    """What branches, tags, notes, stashes and HEAD point at."""
    from fluxguard.repo import run

    raw = run.output(
        "for-each-ref",
        "--format=%(objectname)",
        "refs/heads",
        "refs/tags",
        "refs/notes",
        "refs/stash",
        cwd=cwd,
    )
    head = run.try_output("rev-parse", "--verify", "--quiet", "HEAD", cwd=cwd) or b""
    common = layout.common_dir(cwd)
    log = _read(os.path.join(common, "logs", "refs", "stash")) if common else None
    stashes = [line.split(b" ", 2)[1] for line in (log or b"").splitlines() if line.count(b" ") > 1]
    return list(dict.fromkeys([*raw.split(), *head.split(), *stashes]))


def begin(common: str, ids: list[bytes]) -> None:
    """Begins to keep a state, with what these ids lead to as seen; not where one is kept already."""
    folder = os.path.join(common, FOLDER)
    if os.path.exists(os.path.join(folder, "checked")):
        return
    os.makedirs(folder, 0o700, exist_ok=True)
    advance(common, ids)


def end(common: str) -> None:
    """Keeps no state any more. What else lies in the folder (the log of bypasses) stays."""
    import glob

    for folder in (common, *glob.glob(os.path.join(glob.escape(common), "worktrees", "*"))):
        for name in ("checked", "checked.new", "open", "open.new", "passed"):
            try:
                os.unlink(os.path.join(folder, FOLDER, name))
            except OSError:
                pass
        try:
            os.rmdir(os.path.join(folder, FOLDER))
        except OSError:
            pass


def _head(git: str, common: str) -> bytes | None:
    """The id at HEAD, b"" before the first commit; None where only git can tell."""
    head = _read(os.path.join(git, "HEAD"))
    if head is None or not head.startswith(b"ref: "):
        return head.strip() if head is not None else None
    id = _read(os.path.join(common, os.fsdecode(head[5:].strip())))
    return id.strip() if id is not None else None


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 16 << 20)
    except OSError:
        return None
    finally:
        os.close(fd)


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
