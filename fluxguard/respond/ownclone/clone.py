"""The user's own clone as it stands: its working trees, refs and logs, and what stands in the way of cleaning it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxguard import display
from fluxguard.repo import gitdir
from fluxguard.respond.mirror import git

# Nothing of the repository's own runs, and git tidies up nothing by itself, while we are at work in it.
STILL = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", "core.splitIndex=false",
    "-c", "gc.auto=0", "-c", "maintenance.auto=false",
)  # fmt: skip
UNDER_WAY = {
    "MERGE_HEAD": "a merge", "CHERRY_PICK_HEAD": "a cherry-pick", "REVERT_HEAD": "a revert", "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or git am", "sequencer": "a cherry-pick or revert", "BISECT_LOG": "a bisect",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tree:
    """A working tree. folder: where its files are. private: its own git directory. head: the commit, or "" before the first one.

    branch: the whole name of the branch that HEAD names, or "" where it is detached.
    """

    folder: Path
    private: Path
    head: str
    branch: str


@dataclass(frozen=True, slots=True)
class Clone:
    """A repository of the user's own. common: its git directory. trees: its working trees; none of a bare one."""

    common: Path
    trees: tuple[Tree, ...]

    def git(self, *arguments: str, data: bytes | None = None, good: tuple[int, ...] = (0,)) -> bytes:
        """git in it, beside any working tree."""
        return git(self.common, "--git-dir=.", *STILL, *arguments, data=data, good=good)

    def refs(self) -> dict[str, str]:
        """Every ref that is no symbolic one, with its id."""
        return {name: id for name, (id, target) in self._listed().items() if not target}

    def links(self) -> dict[str, str]:
        """Symbolic refs, with what they name."""
        return {name: target for name, (_, target) in self._listed().items() if target}

    def _listed(self) -> dict[str, tuple[str, str]]:
        lines = self.git("for-each-ref", "--format=%(refname)%00%(objectname)%00%(symref)").split(b"\n")
        parts = [line.split(b"\0") for line in lines if line]
        return {_text(name): (id.decode(), _text(target)) for name, id, target in parts}

    def objects(self) -> list[str]:
        """The ids of all objects in its store, sorted."""
        said = self.git("cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)")
        return sorted(set(said.decode().split()))

    def logs(self) -> Iterator[Path]:
        """The files of all reflogs, those of linked working trees too."""
        for base in (self.common, *(tree.private for tree in self.trees if tree.private != self.common)):
            for folder, _, files in os.walk(base / "logs"):
                yield from (Path(folder) / name for name in sorted(files))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def opened(repository: Path) -> Clone:
    """The clone that a folder belongs to, with all its working trees. Raises: FluxguardError."""
    located = gitdir.locate(str(repository))
    common = Path(located.common)
    members = [one for one in gitdir.family(located) if one.common == located.common]
    trees = [_tree(Path(one.tree), Path(one.path)) for one in members if one.tree and Path(one.tree).is_dir()]
    return Clone(common, tuple(trees))


def _tree(folder: Path, private: Path) -> Tree:
    named = (private / "HEAD").read_bytes()
    branch = _text(named[5:].strip()) if named.startswith(b"ref: ") else ""
    head = git(folder, *STILL, "rev-parse", "--verify", "--quiet", "HEAD", good=(0, 1)).decode().strip()
    return Tree(folder, private, head, branch)


def hindrances(clone: Clone) -> list[str]:
    """Why it can't be cleaned as it stands, each with what to do."""
    if programs := list(_programs(clone)):
        return programs  # asked further, git would start them
    found = list(_of_the_store(clone))
    for name in sorted(_names(clone.common / "worktrees")):
        private = clone.common / "worktrees" / name
        if not any(os.path.realpath(one.private) == os.path.realpath(private) for one in clone.trees):
            found.append("a linked working tree is not there: bring it back, or run git worktree prune")
    for tree in clone.trees:
        found += [f"{tree.folder.name}: {one}" for one in _of_a_tree(tree)]
    return found


def _programs(clone: Clone) -> Iterator[str]:
    """Programs through which git passes files, which the repository itself names: they are not the user's word. git-lfs is."""
    wanted = ("config", "--show-scope", "-z", "--get-regexp", r"^filter\..*\.(clean|smudge|process)$")
    for place in (clone.common, *(tree.folder for tree in clone.trees)):
        parts = git(place, *STILL, *wanted, good=(0, 1)).split(b"\0")
        for scope, entry in zip(parts[::2], parts[1::2], strict=False):
            name, _, command = entry.partition(b"\n")
            if scope in (b"local", b"worktree") and not _LFS.fullmatch(command):
                section = display.path(name.rpartition(b".")[0])
                yield (
                    f"its own configuration names a program through which git passes files ({display.path(name)}): if it is yours, "
                    f"put it into ~/.gitconfig; git config --remove-section {section}"
                )
                return


_LFS = re.compile(rb"git-lfs (?:clean|smudge)(?: --skip)? -- %f|git-lfs filter-process(?: --skip)?")


def _of_the_store(clone: Clone) -> Iterator[str]:
    common = clone.common
    pack = common / "objects" / "pack"
    if (common / "shallow").exists():
        yield "it is shallow, so it lacks part of the history: git fetch --unshallow"
    if any(pack.glob("*.promisor")) or clone.git("config", "--get", "extensions.partialclone", good=(0, 1)):
        yield "it is a partial clone, so it lacks objects: clone it anew"
    if (common / "objects" / "info" / "alternates").exists():
        yield "it borrows objects from another repository: git repack -a -d, then remove .git/objects/info/alternates"
    if any(pack.glob("*.keep")):
        yield "packs of it are marked to be kept: remove .git/objects/pack/*.keep"
    if (common / "info" / "grafts").exists():
        yield "it has grafts: remove .git/info/grafts"
    if (common / "reftable").exists():
        yield "its refs are in a reftable, which is not handled here: clone it anew"
    if any(name.startswith("refs/replace/") for name in clone.refs()):
        yield "it has replacements (git replace -l): delete them, or make them real"


def _of_a_tree(tree: Tree) -> Iterator[str]:
    yield from (
        f"{what} is under way: finish it, or abort it"
        for name, what in UNDER_WAY.items() if (tree.private / name).exists()
    )  # fmt: skip
    if (tree.private / "refs" / "worktree").is_dir() and any((tree.private / "refs" / "worktree").rglob("*")):
        yield "it has refs of its own (refs/worktree), which are not handled here: remove them"
    if git(tree.folder, *STILL, "config", "--bool", "core.sparseCheckout", good=(0, 1)).strip() == b"true":
        yield "it is sparse: git sparse-checkout disable"
    flags = git(tree.folder, *STILL, "ls-files", "-v", "-z").split(b"\0")
    hidden = [one for one in flags if one[:1] == b"S" or one[:1].islower()]
    if hidden:
        yield f"{len(hidden)} files are marked so that git does not see their changes (git ls-files -v): unmark them"
    changed = git(
        tree.folder, "--no-optional-locks", *STILL, "status", "--porcelain", "-z", "--untracked-files=no",
        "--ignore-submodules=all",
    )  # fmt: skip
    if changed:
        yield "there are changes that are not committed: commit them, or git stash"


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if stat.S_ISDIR(entry.stat().st_mode)]
    except OSError:
        return []
