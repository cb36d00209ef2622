"""Where everything of a repository lies on disk: git directories, object stores, working trees, indexes.

Read from the files themselves (gitrepository-layout(5)), so that it also works where git refuses to look.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from fluxguard.errors import BrokenRepository
from fluxguard.repo.plain import small_file

_MOST_NESTED = 64
_LARGEST_POINTER = 1 << 16
_LARGEST_LIST = 4 << 20
_REGISTERED = re.compile(rb"(?im)^[ \t]*path[ \t]*=[ \t]*\"?([^\"\0\r\n]+)")


@dataclass(frozen=True, slots=True)
class GitDir:
    """A git directory. common: the one that linked worktrees share (the same folder otherwise).

    tree: the working tree, or "" for none. name: how it is called in a report.
    """

    path: str
    common: str
    tree: str
    name: str

    @property
    def objects(self) -> str:
        """The folder of its object store."""
        return os.path.join(self.common, "objects")

    @property
    def index(self) -> str:
        """Its index file, which need not exist."""
        return os.path.join(self.path, "index")


def locate(target: str) -> GitDir:
    """The repository that `target` belongs to: its folder, one below it, a linked worktree, or a bare repository.

    Raises BrokenRepository where there is none, or where what points to it leads nowhere.
    """
    folder = os.path.realpath(target)
    if not os.path.isdir(folder):
        raise BrokenRepository(f"{target} is not a folder.", "Name a repository: fluxguard audit PATH")
    while True:
        if _is_git_dir(folder):
            return _opened(folder, _tree_of(folder))
        dot = os.path.join(folder, ".git")
        if os.path.isdir(os.path.join(dot, "objects")):  # even without a HEAD, which git would ask for
            return GitDir(os.path.realpath(dot), os.path.realpath(dot), folder, ".git")
        if os.path.isfile(dot):
            return _opened(_pointed(dot, b"gitdir: "), folder)
        if os.path.lexists(dot):
            raise BrokenRepository(
                f"{dot} is no git directory.", "Restore it from a copy, or clone the repository again."
            )
        parent = os.path.dirname(folder)
        if parent == folder:
            raise BrokenRepository(
                f"{target} is not in a git repository.", "Name a repository: fluxguard audit PATH"
            )
        folder = parent


def is_repository(folder: str) -> bool:
    """Whether a folder is one itself, be it bare, linked or broken: something there says that it is."""
    return os.path.lexists(os.path.join(folder, ".git")) or _is_git_dir(folder)


def _is_git_dir(folder: str) -> bool:
    if os.path.lexists(os.path.join(folder, "commondir")):
        return os.path.lexists(os.path.join(folder, "HEAD"))
    return os.path.lexists(os.path.join(folder, "HEAD")) and os.path.isdir(os.path.join(folder, "objects"))


def _tree_of(folder: str) -> str:
    return os.path.dirname(folder) if os.path.basename(folder) == ".git" else ""


def _opened(path: str, tree: str, name: str = "") -> GitDir:
    path = os.path.realpath(path)
    if not _is_git_dir(path):
        raise BrokenRepository(
            f"{path} is no git directory, though something points to it.", "Mend it with: git worktree repair"
        )
    common = path
    if os.path.lexists(os.path.join(path, "commondir")):
        common = _pointed(os.path.join(path, "commondir"), b"")
    if not os.path.isdir(os.path.join(common, "objects")):
        raise BrokenRepository(
            f"{common} has no object store.", "Restore it from a copy, or clone the repository again."
        )
    return GitDir(path, common, tree, name or os.path.basename(path))


def _pointed(file: str, prefix: bytes) -> str:
    """The folder that a `.git` file or a `commondir` file names, relative to where it lies."""
    try:
        fd = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            is_file = stat.S_ISREG(os.fstat(fd).st_mode)
            text = os.read(fd, _LARGEST_POINTER) if is_file else b""
        finally:
            os.close(fd)
    except OSError as error:
        raise BrokenRepository(f"{file} can't be read: {error.strerror}.", "Check its permissions.") from None
    if not text.startswith(prefix) or not text.strip() or b"\0" in text:
        raise BrokenRepository(f"{file} does not name a git directory.", "Mend it with: git worktree repair")
    return os.path.realpath(
        os.path.join(os.path.dirname(file), os.fsdecode(text[len(prefix) :].rstrip(b"\r\n")))
    )


def family(repository: GitDir) -> list[GitDir]:
    """The repository's own git directory, those of its linked worktrees, and those of its submodules, nested ones too."""
    main = GitDir(repository.common, repository.common, _main_tree(repository), ".git")
    members = [main]
    members += _worktrees(repository.common)
    for folder in _modules(os.path.join(repository.common, "modules")):
        name = os.path.relpath(folder, repository.common)
        members.append(GitDir(folder, folder, "", name))
        members += _worktrees(folder)
    for folder, name in _embedded(main.tree, ""):
        members.append(GitDir(folder, folder, "", name))
        members += _worktrees(folder)
    return members


def _embedded(tree: str, lead: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Submodules that keep their git directory in the working tree, as git before 1.7.8 made all: its folder, and its name.

    What is registered lies in the working tree itself, or it is none.
    """
    if not tree or depth > _MOST_NESTED:
        return
    listed = small_file(os.path.join(tree, ".gitmodules"), _LARGEST_LIST)
    for path in sorted({os.fsdecode(match[1].rstrip()) for match in _REGISTERED.finditer(listed)}):
        inner = os.path.join(tree, path)
        folder = os.path.join(inner, ".git")
        if _lies_in(folder, tree) and os.path.isdir(folder) and _is_git_dir(folder):
            yield folder, f"{lead}{path}/.git"
            yield from _embedded(inner, f"{lead}{path}/", depth + 1)


def _lies_in(path: str, folder: str) -> bool:
    """Whether a path is inside a folder, with no link on the way and no way out."""
    rest = os.path.relpath(path, folder)
    return (
        path != folder
        and not rest.startswith("..")
        and os.path.realpath(path) == os.path.join(os.path.realpath(folder), rest)
    )


def _main_tree(repository: GitDir) -> str:
    if repository.path == repository.common:
        return repository.tree
    return _tree_of(repository.common)


def _worktrees(common: str) -> Iterator[GitDir]:
    folder = os.path.join(common, "worktrees")
    for name in _names(folder):
        path = os.path.join(folder, name)
        if os.path.lexists(os.path.join(path, "HEAD")):
            yield GitDir(path, common, _linked_tree(path), f"worktrees/{name}")


def _linked_tree(path: str) -> str:
    try:
        tree = os.path.dirname(_pointed(os.path.join(path, "gitdir"), b""))
    except BrokenRepository:
        return ""
    return tree if os.path.isdir(tree) else ""


def _modules(folder: str, depth: int = 0) -> Iterator[str]:
    """The git directories of submodules: a name with a slash in it makes folders between."""
    for name in _names(folder):
        path = os.path.join(folder, name)
        if os.path.islink(path) or not os.path.isdir(path) or depth > _MOST_NESTED:
            continue
        if _is_git_dir(path):
            yield path
            yield from _modules(os.path.join(path, "modules"), depth + 1)
        else:
            yield from _modules(path, depth + 1)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
