"""The clone moved over to its cleaned history: objects in, refs in one transaction, indexes, working files, logs; then the old objects go.

Each part can be done again: what has moved is left as it is. While it lasts, the index of each working tree is locked, for a git that works
beside us would lose what it makes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.respond.forms import forms, replaced
from fluxguard.respond.mirror import Moved, git
from fluxguard.respond.ownclone import files
from fluxguard.respond.ownclone.carrying import Moves
from fluxguard.respond.ownclone.clone import Clone, Tree
from fluxguard.writing import exactly, once, settle


@dataclass(frozen=True, slots=True)
class Move:
    """One move. copy: the private one. backup: what was there. mark: stands in our locks. scratch: a private folder."""

    clone: Clone
    copy: Path
    backup: Path
    moves: Moves
    secret: Secret
    mark: str
    scratch: Path

    def renames(self) -> dict[str, str]:
        """Refs that get another name."""
        return {name: new for name, new, _, _ in self.moves.refs if name != new}

    def head(self, tree: Tree) -> tuple[str, str]:
        """The commit that a working tree was at, and the one that it goes to."""
        old = self.moves.heads.get(str(tree.private), "")
        return old, self.moves.commits.get(old, old)


def sign(mark: str) -> str:
    """A ref that is made in the transaction in which all move, and goes when all is done."""
    return f"refs/fluxguard/{mark.rpartition(' ')[2]}"


def begun(clone: Clone, mark: str) -> bool:
    """Whether the refs have moved, and the rest has not followed yet: then there is only the way forward."""
    return sign(mark) in clone.refs()


def move(what: Move, say: Callable[[str], None]) -> dict[str, int]:
    """All of it. Returns figures. Raises: Moved where the clone is no longer what was backed up; then nothing was changed."""
    shutil.rmtree(what.scratch, ignore_errors=True)
    what.scratch.mkdir(mode=0o700)
    with _locked(what):
        say("the cleaned objects")
        _objects(what)
        _still_there(what)
        files.check(what.clone, {tree.folder: what.head(tree) for tree in what.clone.trees})
        say("refs")
        changed = _refs(what)
        say("indexes and working files")
        written = sum(files.over(tree, *what.head(tree), what.scratch / "index") for tree in what.clone.trees)
        say("logs")
        lines = _logs(what)
        _leftovers(what)
        say("the old objects go")
        before = len(what.clone.objects())
        _forget(what)
        what.clone.git("update-ref", "-d", sign(what.mark))
    shutil.rmtree(what.scratch)
    return {
        "refs": changed, "files": written, "log_entries": lines, "objects": before - len(what.clone.objects()),
    }  # fmt: skip


@contextmanager
def _locked(what: Move) -> Iterator[None]:
    """The index of each working tree, locked as git locks it. A lock of ours that a kill left is ours again.

    Half moved, the clone stays locked: no git may work in it before the rest is done.
    """
    mark = what.mark.encode() + b"\n"
    locks = [tree.private / "index.lock" for tree in what.clone.trees]
    try:
        for lock in locks:
            once(lock, mark)
            if lock.read_bytes() != mark:
                raise FluxguardError(
                    f"Another git is at work in your clone: {lock}",
                    "Let it end (or, if none runs, remove that file), then resume.",
                )
        yield
    except BaseException:
        if not begun(what.clone, what.mark):
            _unlock(locks, mark)
        raise
    _unlock(locks, mark)


def _unlock(locks: Iterable[Path], mark: bytes) -> None:
    for lock in locks:
        if lock.exists() and lock.read_bytes() == mark:
            lock.unlink()


def _still_there(what: Move) -> None:
    """Each working tree is at the commit that it was at, or where it goes."""
    for tree in what.clone.trees:
        if tree.head not in what.head(tree) and tree.branch not in what.renames():
            raise Moved(
                f"{tree.folder} is at another commit than when your clone was backed up.",
                "Let nothing else work in the clone, then resume: it begins with what is there now.",
            )


def _objects(what: Move) -> None:
    """A pack of everything that the copy's refs lead to, put in as git puts its own: the index last."""
    pack = what.clone.common / "objects" / "pack"
    pack.mkdir(exist_ok=True)
    name = (
        git(what.copy, "pack-objects", "--all", "--quiet", str(what.scratch / "pack"), data=b"")
        .decode()
        .strip()
    )
    for ending in ("pack", "idx"):
        source, target = what.scratch / f"pack-{name}.{ending}", pack / f"pack-{name}.{ending}"
        if not target.exists():
            fresh = pack / f"tmp_{ending}_{name}"
            shutil.copy2(source, fresh)
            with fresh.open("rb") as stream:
                os.fsync(stream.fileno())
            fresh.rename(target)
    settle(pack)


def _refs(what: Move) -> int:
    """One transaction, each ref only if it is what it was. Returns how many changed."""
    now, moving = what.clone.refs(), begun(what.clone, what.mark)
    orders, changed = b"", 0
    for name, new_name, old, new in what.moves.refs:
        if moving and now.get(name, old) not in (old, new):
            continue  # somebody has set it since: theirs
        if name == new_name:
            if now.get(name) == new:
                continue
            orders += b"update %s\0%s\0%s\0" % (os.fsencode(name), new.encode(), old.encode())
        else:
            if name in now:
                orders += b"delete %s\0%s\0" % (os.fsencode(name), old.encode())
            if now.get(new_name) != new:
                orders += b"create %s\0%s\0" % (os.fsencode(new_name), new.encode())
        changed += 1
    if orders and not moving:
        orders += b"create %s\0%s\0" % (sign(what.mark).encode(), what.moves.refs[0][3].encode())
    if orders:
        _transaction(what, orders)
    for tree in what.clone.trees:
        old, new = what.head(tree)
        if not tree.branch and old != new:
            exactly(tree.private / "HEAD", new.encode() + b"\n", None)
    for folder in {what.clone.common, *(tree.private for tree in what.clone.trees)}:
        branch = os.fsdecode((folder / "HEAD").read_bytes().removeprefix(b"ref: ").strip())
        if branch in what.renames():
            exactly(folder / "HEAD", b"ref: " + os.fsencode(what.renames()[branch]) + b"\n", None)
    for name, target in what.clone.links().items():
        if target in what.renames() or name in what.renames():
            path = what.clone.common / os.fsdecode(os.fsencode(name))
            exactly(path, b"ref: " + os.fsencode(what.renames().get(target, target)) + b"\n", None)
    return changed


def _transaction(what: Move, orders: bytes) -> None:
    try:
        what.clone.git(
            "update-ref", "-m", what.mark, "-z", "--stdin", "--no-deref",
            data=b"start\0" + orders + b"prepare\0commit\0",
        )  # fmt: skip
    except Moved:
        raise Moved(
            "A ref of your clone has moved since it was backed up, or is locked. No ref was changed.",
            "Let nothing else work in the clone, then resume: it begins with what is there now.",
        ) from None


def _logs(what: Move) -> int:
    """The logs with the new ids: what could be undone yesterday can be undone today. Returns how many entries there are."""
    for name, new in what.renames().items():
        kept = what.backup / "logs" / name
        if kept.is_file():
            target = what.clone.common / "logs" / new
            target.parent.mkdir(parents=True, exist_ok=True)
            exactly(target, _log(what, kept.read_bytes()), 0o644)
    count = 0
    for path in what.clone.logs():
        data = path.read_bytes()
        cleaned = _log(what, data)
        count += cleaned.count(b"\n")
        if cleaned != data:
            exactly(path, cleaned, path.stat().st_mode & 0o777)
    return count


_ENTRY = re.compile(rb"([0-9a-f]+) ([0-9a-f]+) (.*)", re.DOTALL)


def _log(what: Move, data: bytes) -> bytes:
    """A log's entries with other ids and without the key. Those of our own transaction go."""
    ids, by = what.moves.ids(), forms(what.secret.reveal())
    ours = b"\t" + what.mark.encode() + b"\n"
    lines = []
    for line in data.splitlines(keepends=True):
        parts = _ENTRY.fullmatch(line)
        if line.endswith(ours):
            continue
        if parts is not None:
            pair = [ids.get(id.decode(), id.decode()).encode() for id in parts.groups()[:2]]
            line = b" ".join([*pair, parts[3]])
        lines.append(replaced(line, by))
    return b"".join(lines)


_NOTED = (
    "FETCH_HEAD", "ORIG_HEAD", "AUTO_MERGE", "COMMIT_EDITMSG", "MERGE_MSG", "SQUASH_MSG", "TAG_EDITMSG", "NOTES_EDITMSG",
)  # fmt: skip


def _leftovers(what: Move) -> None:
    """Names of branches in the configuration; what git noted of the old commits, or with the key in it; and what it made from them to be fast."""
    config = what.clone.common / "config"
    data = config.read_bytes()
    cleaned = _configured(data, what.renames())
    if cleaned != data:
        exactly(config, cleaned, config.stat().st_mode & 0o777)
    for folder in {what.clone.common, *(tree.private for tree in what.clone.trees)}:
        for name in _NOTED:
            (folder / name).unlink(missing_ok=True)
    objects = what.clone.common / "objects"
    for path in (objects / "info" / "commit-graph", objects / "pack" / "multi-pack-index"):
        path.unlink(missing_ok=True)
    shutil.rmtree(objects / "info" / "commit-graphs", ignore_errors=True)
    if (what.clone.common / "info" / "refs").exists():
        what.clone.git("update-server-info")


def _configured(data: bytes, renames: Mapping[str, str]) -> bytes:
    """The configuration with branches called by their new names: their sections, and what they follow."""
    pairs = [
        (os.fsencode(old.removeprefix("refs/heads/")), os.fsencode(new.removeprefix("refs/heads/")))
        for old, new in renames.items() if old.startswith("refs/heads/")
    ]  # fmt: skip
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if re.match(rb'\s*(\[branch "|merge\s*=)', line):
            for old, new in sorted(pairs, key=lambda one: len(one[0]), reverse=True):
                line = line.replace(old, new)
            lines[number] = line
    return b"".join(lines)


def _forget(what: Move) -> None:
    """What nothing leads to any more goes; all of it is in the backup."""
    what.clone.git("repack", "-a", "-d", "--quiet")
    what.clone.git("prune", "--expire=now")
    what.clone.git("prune-packed", "--quiet")
