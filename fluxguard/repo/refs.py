"""Every ref of a repository: its name, what it points at, and what kind of ref that is."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from fluxguard.errors import GitError
from fluxguard.repo import run
from fluxguard.repo.gitdir import GitDir

_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Ref:
    """A ref: full name, the id that it points at, and the commit (or other object) behind a tag, or ""."""

    name: bytes
    id: str
    peeled: str = ""


def read(repository: GitDir) -> tuple[list[Ref], str]:
    """All refs, and why the list may not be all: "" where git itself gave it.

    Where git refuses (an owner that it distrusts, a broken configuration), the loose and packed refs are read from
    their files instead; refs in a reftable can't be read that way.
    """
    packed = os.path.join(repository.common, "packed-refs")
    if os.path.lexists(packed) and not os.path.isfile(packed):  # git would wait for a pipe
        return list(_from_files(repository.common)), "packed-refs is no plain file"
    try:
        return list(_from_git(repository)), ""
    except GitError as error:
        return list(_from_files(repository.common)), error.what


def _from_git(repository: GitDir) -> Iterator[Ref]:
    raw = run.output(
        "for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", cwd=repository.path, isolated=True
    )
    for line in raw.splitlines():
        id, peeled, name = line.split(b" ", 2)
        yield Ref(name, id.decode(), peeled.decode())
    yield from heads(repository)


def heads(repository: GitDir) -> Iterator[Ref]:
    """HEAD, and the other names that stand for a commit beside the refs (ORIG_HEAD, MERGE_HEAD ...)."""
    for name in (
        "HEAD",
        "ORIG_HEAD",
        "MERGE_HEAD",
        "CHERRY_PICK_HEAD",
        "REVERT_HEAD",
        "REBASE_HEAD",
        "AUTO_MERGE",
    ):
        text = small_file(os.path.join(repository.path, name)).strip()
        if _ID.match(text):
            yield Ref(name.encode(), text.decode())


def _from_files(common: str) -> Iterator[Ref]:
    seen: dict[bytes, str] = {}
    for line in small_file(os.path.join(common, "packed-refs"), 64 << 20).splitlines():
        id, _, name = line.partition(b" ")
        if _ID.match(id) and name:
            seen[name] = id.decode()
    for name, path in _loose(os.path.join(common, "refs"), b"refs", 0):
        text = small_file(path).strip()
        if _ID.match(text):
            seen[name] = text.decode()
    for name, found in sorted(seen.items()):
        yield Ref(name, found)


def _loose(folder: str, name: bytes, depth: int) -> Iterator[tuple[bytes, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        inner = name + b"/" + os.fsencode(entry.name)
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEPTH:
                yield from _loose(entry.path, inner, depth + 1)
        else:
            yield inner, entry.path


def small_file(path: str, limit: int = 1 << 16) -> bytes:
    """The first `limit` bytes of a plain file; nothing where it can't be read. Never waits on a pipe or drains a device."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return b""
    try:
        with os.fdopen(fd, "rb") as stream:
            return stream.read(limit) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
