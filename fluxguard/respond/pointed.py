"""Refs that lead straight to a file or a folder: git's export, and so git-filter-repo, leaves them as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fluxguard.respond import paths
from fluxguard.respond.cutting import Cleaner
from fluxguard.respond.mirror import git, pointed_anew


def without_commit(folder: Path, cleaner: Cleaner, names: Mapping[bytes, bytes]) -> int:
    """Cleans what they lead to. Returns how many changed."""
    clean = _Objects(folder, cleaner, names)
    return pointed_anew(folder, lambda kind, id: clean.by_kind(kind)(id))


class _Objects:
    """Files and folders without the key, written anew where they held it."""

    def __init__(self, folder: Path, cleaner: Cleaner, names: Mapping[bytes, bytes]) -> None:
        self._folder, self._cleaner, self._names = folder, cleaner, names

    def by_kind(self, kind: bytes) -> Callable[[bytes], bytes]:
        """How an object of a kind is cleaned; commits are the tool's work."""
        return {b"blob": self.blob, b"tree": self.tree, b"tag": self.tag}.get(kind, bytes)

    def tag(self, id: bytes) -> bytes:
        """A tag, where what it leads to is another now."""
        data = git(self._folder, "cat-file", "tag", id.decode())
        first, kind, rest = data.split(b"\n", 2)
        child = first.removeprefix(b"object ")
        new = self.by_kind(kind.removeprefix(b"type "))(child)
        if new == child:
            return id
        cleaned = b"object %s\n%s\n%s" % (new, kind, self._cleaner.text(rest))
        return git(self._folder, "hash-object", "-t", "tag", "-w", "--stdin", data=cleaned).strip()

    def blob(self, id: bytes) -> bytes:
        data = git(self._folder, "cat-file", "blob", id.decode())
        cleaned = self._cleaner.blob(id.decode(), data)
        if cleaned == data:
            return id
        return git(self._folder, "hash-object", "-w", "--stdin", data=cleaned).strip()

    def tree(self, id: bytes) -> bytes:
        listed = git(self._folder, "ls-tree", "-z", id.decode())
        entries = []
        for entry in filter(None, listed.split(b"\0")):
            what, path = entry.split(b"\t", 1)
            mode, kind, child = what.split(b" ")
            new = self.by_kind(kind)(child)
            entries.append(
                b"%s %s %s\t%s\0" % (mode, kind, new, paths.cleaned(path, self._names, self._cleaner.forms))
            )
        if b"".join(entries) == listed:
            return id
        return git(self._folder, "mktree", "-z", "--missing", data=b"".join(entries)).strip()
