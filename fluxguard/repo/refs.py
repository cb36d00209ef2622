"""Every ref of a repository: its name, what it points at, and what kind of ref that is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from fluxguard.errors import GitError
from fluxguard.repo import plain, run
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.plain import small_file as small_file

_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_NAMED = re.compile(rb"ref: ?[^\0-\x1f]{1,4096}\Z")
_DEPTH = 32


class Ref(NamedTuple):
    """A ref: full name, and the id that it points at. There may be very many, and a plain tuple is made soonest."""

    name: bytes
    id: str


Problems = list[tuple[bytes, str]]


def read(repository: GitDir) -> tuple[list[Ref], Problems]:
    """All refs, and what of them can't be read: (where, why and what to do).

    Where git refuses (an owner that it distrusts, a broken configuration), the loose and packed refs are read from
    their files instead; refs in a reftable can't be read that way.
    """
    odd = plain.obstacles(repository.path, repository.common)
    if odd:
        found = [*_from_files(repository.common), *heads(repository)]
        return found, [(os.fsencode(name), f"{wrong}: git was not started here") for name, wrong in odd]
    reftable = _has_reftable(repository.common)
    problems: Problems = [] if reftable else list(_damaged(repository))
    try:
        found = list(_from_git(repository))
    except GitError as error:
        found = [*_from_files(repository.common), *heads(repository)]
        problems.insert(0, (b"refs", _refused(error, reftable)))
    return found, problems


def _refused(error: GitError, reftable: bool) -> str:
    if reftable:
        return f"they are in a reftable, which this git could not read ({error.what}); use a newer git, 2.45 or later"
    return f"git could not list them, so they were read from its files: {error.what} {error.hint}".strip()


def _has_reftable(common: str) -> bool:
    config = small_file(os.path.join(common, "config"), 1 << 20)
    return re.search(rb"(?im)^[ \t]*refstorage[ \t]*=[ \t]*\"?reftable", config) is not None


def _damaged(repository: GitDir) -> Iterator[tuple[bytes, str]]:
    """HEAD and loose refs that name neither an object nor another ref; git passes over them."""
    head = small_file(os.path.join(repository.path, "HEAD")).strip()
    if not _ID.match(head) and not _NAMED.match(head):
        yield b"HEAD", "it names no branch; set it with: git symbolic-ref HEAD refs/heads/main"
    for name, path in _loose(os.path.join(repository.path, "refs"), b"refs", 0):
        if not name.endswith(b".lock"):
            text = small_file(path).strip()
            if not _ID.match(text) and not _NAMED.match(text):
                yield name, "it names no object; delete it with: git update-ref -d, or set it anew"


def _from_git(repository: GitDir) -> Iterator[Ref]:
    # What stands behind a tag is not asked for: git would open the object of every ref, which takes ten times as long.
    raw = run.output("for-each-ref", "--format=%(objectname) %(refname)", cwd=repository.path, isolated=True)
    for line in raw.splitlines():
        id, _, name = line.partition(b" ")
        yield Ref(name, id.decode())
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
    for entry in plain.entries(folder):
        inner = name + b"/" + os.fsencode(entry.name)
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEPTH:
                yield from _loose(entry.path, inner, depth + 1)
        else:
            yield inner, entry.path
