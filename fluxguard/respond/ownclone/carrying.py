"""The clone's history rewritten in a private copy of its backup: everything that a ref, a HEAD or a log of it leads to.

What comes of it is a table: which ref gets which id and name, and which commit became which. Nothing is changed in the clone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.respond import cleanup
from fluxguard.respond.forms import renamed
from fluxguard.respond.mirror import git, refs
from fluxguard.respond.ownclone.clone import Clone

HELD = "refs/fluxguard/at/"  # what a detached HEAD or a log names: nothing else may lead to it
_LOGGED = re.compile(rb"^([0-9a-f]{40}(?:[0-9a-f]{24})?) ([0-9a-f]{40}(?:[0-9a-f]{24})?) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Moves:
    """refs: name, new name, id and new id of each. commits: the new ids of those that changed. heads: of each working tree's private folder
    the commit that it was at."""

    refs: tuple[tuple[str, str, str, str], ...]
    commits: Mapping[str, str]
    heads: Mapping[str, str]

    def ids(self) -> dict[str, str]:
        """What became of everything that a log can name."""
        return {**{old: new for _, _, old, new in self.refs if old != new}, **self.commits}

    def to_json(self) -> dict[str, Any]:
        return {
            "refs": [list(one) for one in self.refs],
            "commits": dict(self.commits),
            "heads": dict(self.heads),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Moves:
        rows = tuple((str(a), str(b), str(c), str(d)) for a, b, c, d in data["refs"])
        return cls(rows, dict(data["commits"]), dict(data["heads"]))


def carry(
    clone: Clone,
    backup: Path,
    folder: Path,
    secret: Secret,
    say: Callable[[str], None],
    names: Mapping[bytes, bytes],
) -> tuple[Moves, cleanup.Rewrite]:
    """Makes the private copy, and rewrites it. Raises: FluxguardError where a change was not expected."""
    shutil.rmtree(folder, ignore_errors=True)
    held = _copy(clone, backup, folder)
    done = cleanup.rewrite(folder, secret, say, names)
    after, fresh = refs(folder), renamed(map(os.fsencode, done.before), secret.reveal())
    rows = []
    for name, id in sorted(held.items()):
        new = os.fsdecode(fresh.get(os.fsencode(name), os.fsencode(name)))
        if new not in after:
            raise FluxguardError(
                "A ref of your clone is missing after the rewrite. Nothing was changed in your clone.",
                "This is a defect; report it.",
            )
        rows.append((name, new, id, after[new]))
    heads = {str(tree.private): tree.head for tree in clone.trees}
    return Moves(tuple(rows), dict(done.commits), heads), done


def _copy(clone: Clone, backup: Path, folder: Path) -> dict[str, str]:
    """A bare repository with the backup's objects (linked: they never change) and refs to all that counts. Returns the clone's own refs."""
    folder.mkdir(mode=0o700)
    copy = Clone(backup, ())
    format = copy.git("rev-parse", "--show-object-format").decode().strip()
    git(folder, "init", "--quiet", "--bare", "--template=", f"--object-format={format}", ".")
    with (folder / "config").open("a", encoding="utf-8") as stream:
        stream.write("[gc]\n\tauto = 0\n")
    shutil.rmtree(folder / "objects")
    shutil.copytree(backup / "objects", folder / "objects", copy_function=_linked, symlinks=True)
    own = copy.refs()
    wanted = own | {HELD + id: id for id in _named(clone, copy)}
    packed = "".join(
        f"{id} {name}\n" for name, id in sorted(wanted.items(), key=lambda one: os.fsencode(one[0]))
    )
    (folder / "packed-refs").write_bytes(os.fsencode(packed))
    branch = next((tree.branch for tree in clone.trees if tree.branch in own), "")
    if branch:
        (folder / "HEAD").write_bytes(b"ref: " + os.fsencode(branch) + b"\n")
    return own


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _named(clone: Clone, copy: Clone) -> list[str]:
    """The commits that a HEAD or a log names, and that are there."""
    ids = {tree.head for tree in clone.trees if tree.head}
    for path in clone.logs():
        ids |= {id.decode() for pair in _LOGGED.findall(path.read_bytes()) for id in pair}
    return _commits(copy, ids)


def _commits(copy: Clone, ids: Iterable[str]) -> list[str]:
    asked = "".join(f"{id}\n" for id in sorted(ids)).encode()
    lines = (
        copy.git("cat-file", "--batch-check=%(objectname) %(objecttype)", data=asked).decode().splitlines()
    )
    return [line.split(" ")[0] for line in lines if line.endswith(" commit")]


def differing(moves: Moves, pushed: Iterable[tuple[str, str]]) -> int:
    """How many refs came out otherwise than the remote's with the same commit: then the clone would not fit it."""
    there = {old: new for old, new in pushed if old and new}
    return sum(
        old in there and there[old] != new
        for name, _, old, new in moves.refs if not name.startswith("refs/notes/")
    )  # fmt: skip
