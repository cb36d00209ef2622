"""Where a repository keeps its things: working tree, git directory, branch."""

from __future__ import annotations

import os

from fluxguard.errors import GitError
from fluxguard.repo import run


def root(cwd: str | None = None) -> str | None:
    """The top of the working tree that `cwd` lies in; None outside one. Costs no process.

    Goes up to the first folder with a `.git` in it, as git does, unless GIT_DIR or GIT_WORK_TREE say otherwise.
    """
    if cwd is None and ("GIT_DIR" in os.environ or "GIT_WORK_TREE" in os.environ):
        top = run.try_output("rev-parse", "--show-toplevel")
        return os.fsdecode(top[:-1]) if top else None
    try:
        folder = os.path.realpath(cwd or os.getcwd())
    except FileNotFoundError:
        raise GitError("The folder that this runs in is gone.", "Change into another one.") from None
    while True:
        if os.path.lexists(os.path.join(folder, ".git")):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def branch(cwd: str | None = None) -> bytes:
    """The full name of the ref that HEAD points at; empty where HEAD is detached or there is no repository."""
    top = root(cwd)
    if top is not None and cwd is None and "GIT_DIR" not in os.environ:
        name = _read_head(os.path.join(top, ".git"))
        if name is not None:
            return name
    return (run.try_output("symbolic-ref", "--quiet", "HEAD", cwd=cwd) or b"").rstrip(b"\n")


def _read_head(git: str) -> bytes | None:
    """HEAD of an ordinary git directory, without a process; None where only git can tell (worktree, reftable)."""
    if os.path.islink(os.path.join(git, "HEAD")):
        return None
    try:
        fd = os.open(os.path.join(git, "HEAD"), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        head = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    if not head.startswith(b"ref: ") or b".invalid" in head:
        return b"" if head[:4].isalnum() else None
    return head[5:].strip()


def git_dir(cwd: str | None = None) -> str | None:
    """The git directory, of this working tree where there are several; None outside a repository. Costs no process."""
    named = os.environ.get("GIT_DIR")
    if named and cwd is None:
        return named
    top = root(cwd)
    if top is None:
        return None
    git = os.path.join(top, ".git")
    if os.path.isdir(git):
        return git
    pointer = _first_line(git)
    return os.path.join(top, pointer[8:]) if pointer.startswith("gitdir: ") else None


def common_dir(cwd: str | None = None) -> str | None:
    """The git directory that all the working trees of a repository share; None outside one. Costs no process."""
    if cwd is None and "GIT_COMMON_DIR" in os.environ:
        return os.environ["GIT_COMMON_DIR"]
    git = git_dir(cwd)
    if git is None:
        return None
    pointer = _first_line(os.path.join(git, "commondir"))
    return os.path.join(git, pointer) if pointer else git


def shallow_file() -> str:
    """Where git keeps the commits at which a shallow clone ends; it need not exist."""
    return os.environ.get("GIT_SHALLOW_FILE") or os.path.join(common_dir() or ".git", "shallow")


def _first_line(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return ""
    try:
        return os.fsdecode(os.read(fd, 1 << 16).partition(b"\n")[0].rstrip(b"\r"))
    except OSError:
        return ""
    finally:
        os.close(fd)
