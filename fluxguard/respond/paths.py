"""New names for files and folders whose names hold the key: in the whole history no two that differ become the same.

Each part of a path is renamed by itself, so that a folder stays one, and a file never takes a folder's place.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Mapping

from fluxguard.respond.forms import forms, renamed, replaced


def names(key: bytes, known: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """New names of all parts of paths that hold the key, in the repository around the current folder.

    known: those that have theirs already, from another repository with the same commits.
    """
    return renamed(_suspects(key), key, known)


def cleaned(path: bytes, names: Mapping[bytes, bytes], by: list[tuple[bytes, bytes]]) -> bytes:
    """A path without the key. One in which it goes over a slash, as base64 may, gets a name of its own."""
    apart = b"/".join(names.get(part, part) for part in path.split(b"/"))
    whole = replaced(apart, by)
    if whole == apart:
        return apart
    return whole + b"-" + hashlib.sha256(b"fluxguard/path/v1\0" + path).hexdigest()[:12].encode()


def _suspects(key: bytes) -> set[bytes]:
    """All names in all trees that hold the key, or what would take its place: no others could meet."""
    by = forms(key)
    wanted = {word for form, instead in by for word in (form, instead)}
    some = re.compile(b"|".join(re.escape(word) for word in sorted(wanted, key=len, reverse=True)))
    return {
        name for tree, width in _trees() if some.search(tree)
        for name in _entries(tree, width) if some.search(name)
    }  # fmt: skip


def _entries(tree: bytes, width: int) -> Iterator[bytes]:
    """The names in a tree: `MODE NAME NUL ID`, one after the other."""
    at = 0
    while at < len(tree):
        end = tree.index(b"\0", at)
        yield tree[tree.index(b" ", at) + 1 : end]
        at = end + 1 + width


def _trees() -> Iterator[tuple[bytes, int]]:
    """All trees of the repository, each with the width of an id in it."""
    listed = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objecttype) %(objectname)"],
        capture_output=True, check=True,
    )  # fmt: skip
    ids = [line[5:] for line in listed.stdout.split(b"\n") if line.startswith(b"tree ")]
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            child.stdin.write(b"".join(id + b"\n" for id in some))
            child.stdin.flush()
            for id in some:
                size = int(child.stdout.readline().split(b" ")[2])
                yield child.stdout.read(size + 1)[:-1], len(id) // 2


_BATCH = 512  # ids at a time: less than a pipe holds
