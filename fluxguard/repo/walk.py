"""What a push brings, found by going from loose object to loose object: what was committed of late is loose, and git is not needed.

A walk lists all that git would list, or gives up. It may list more: an object that the other side has at another path, or
on a branch that nobody asked about. So what is clean is clean; where anything is found, git's own list decides.
"""

from __future__ import annotations

import os

from fluxguard.errors import GitError
from fluxguard.repo import loose, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Brought = tuple[bytes, bytes, list[str]]

_MOST = 1000  # commits; with more, git is as quick
_DEEPEST = 200  # folders within folders
_TREE, _LINK = b"40000 ", b"160000 "


class GivenUp(Exception):
    """Only git can tell."""


class Walk:
    """The way from `wanted` to `held`, ids in hex. objects: id and path, as in Lacking. at_hand: kind and content by id.

    Raises GivenUp, and GitError where git is needed and can't be asked.
    """

    def __init__(self, wanted: Iterable[str], held: Iterable[str]) -> None:
        store = loose.folder()
        if store is None or os.path.lexists(".git/shallow") or os.path.lexists(".git/info/grafts"):
            raise GivenUp
        self._store = store
        self._inflate = loose.inflater(many=True)
        self._held = frozenset(held)
        self._trees: dict[str, str] = {}  # commit -> its tree
        self._parents: dict[str, list[str]] = {}
        self._old: dict[str, tuple[str, bytes]] = {}  # trees that are not known to be new
        self._done: set[str] = set()
        self.objects: list[tuple[str, bytes]] = []
        self.at_hand: dict[str, tuple[str, bytes]] = {}
        self._commits(list(wanted))
        left = [commit for commit in self._trees if not self._compare(commit)]
        if left:
            self._ask(left)

    def _read(self, id: str) -> tuple[str, bytes]:
        found = loose.read(self._store, id, self._inflate)
        if found is None:
            raise GivenUp
        return found

    # --- commits -----------------------------------------------------------------------------------------------------

    def _commits(self, pending: list[str]) -> None:
        while pending:
            id = pending.pop()
            if id in self.at_hand or id in self._held:
                continue
            kind, data = self.at_hand[id] = self._read(id)
            self.objects.append((id, b""))
            if len(self.objects) > _MOST:
                raise GivenUp
            if kind == "tag" and data.startswith(b"object "):
                pending.append(_hex(data, 7))
            elif kind == "commit" and data.startswith(b"tree "):
                self._trees[id] = _hex(data, 5)
                parents = self._parents[id] = _parents(data)
                if not parents and self._held:
                    raise GivenUp  # it went past what the other side holds
                pending += reversed(parents)
            else:
                raise GivenUp

    # --- trees -------------------------------------------------------------------------------------------------------

    def _compare(self, commit: str) -> bool:
        """Lists what a commit holds that none of its parents has in the same place. False where it takes what is in packs."""
        try:
            befores = [self._tree_of(parent) for parent in self._parents[commit]]
            self._enter(self._trees[commit], befores, b"", 0)
        except GivenUp:
            if not self._parents[commit]:
                raise
            return False
        return True

    def _tree_of(self, commit: str) -> str:
        tree = self._trees.get(commit)
        if tree is None:
            kind, data = self._read(commit)
            if kind != "commit" or not data.startswith(b"tree "):
                raise GivenUp
            tree = _hex(data, 5)
        return tree

    def _tree(self, id: str) -> bytes:
        """The content of a tree, the other side's too."""
        kind, data = self.at_hand.get(id) or self._old.get(id) or self._read(id)
        if kind != "tree":
            raise GivenUp
        if id not in self.at_hand:
            self._old[id] = kind, data
        return data

    def _enter(self, id: str, befores: list[str], path: bytes, depth: int) -> None:
        if id in self._done or id in befores:
            return
        if depth > _DEEPEST:
            raise GivenUp
        self._take(id, path)
        for entry, raw, inside in _brought(self._tree(id), [self._tree(before) for before in befores]):
            if entry.startswith(_LINK):
                continue  # a submodule's commit, which is not here
            _, _, name = entry.partition(b" ")
            inner = path + b"/" + name if path else name
            if entry.startswith(_TREE):
                self._enter(raw.hex(), inside, inner, depth + 1)
            elif raw.hex() not in self._done:
                self._done.add(raw.hex())
                self.objects.append((raw.hex(), inner))

    def _take(self, id: str, path: bytes) -> None:
        self.at_hand[id] = self._old.get(id) or self._read(id)
        self._done.add(id)
        self.objects.append((id, path))

    def _ask(self, commits: list[str]) -> None:
        """As `_compare`, for commits that take what is in packs: git says in what each differs from its first parent."""
        asked = "".join(f"{commit} {self._parents[commit][0]}\n" for commit in commits).encode()
        raw = run.output(
            "diff-tree", "--stdin", "-r", "-t", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id",
            stdin=asked,
        )  # fmt: skip
        for commit in commits:
            self._note(b"040000", self._trees[commit], b"")
        fields = raw.split(b"\0")
        for change, path in zip(fields[::2], fields[1::2], strict=False):
            words = change.split(b" ")
            if len(words) != 5:
                raise GivenUp
            if words[4] != b"D":
                self._note(words[1], words[3].decode(), path)

    def _note(self, mode: bytes, id: str, path: bytes) -> None:
        if mode == b"160000" or id in self._done:
            return
        self._done.add(id)
        self.objects.append((id, path))
        found = loose.read(self._store, id, self._inflate) if mode == b"040000" else None
        if found is not None:
            self.at_hand[id] = found


def _hex(data: bytes, at: int) -> str:
    """The id that stands there, with nothing behind it on its line."""
    id = data[at : at + 40]
    if data[at + 40 : at + 41] != b"\n" or id.strip(b"0123456789abcdef") or len(id) != 40:
        raise GivenUp
    return id.decode()


def _parents(data: bytes) -> list[str]:
    """Format: `tree ID LF`, then `parent ID LF` as often as there are parents."""
    parents = []
    at = 46
    while data.startswith(b"parent ", at):
        parents.append(_hex(data, at + 7))
        at += 48
    return parents


def _brought(new: bytes, olds: list[bytes]) -> Iterator[Brought]:
    """The entries of a tree that none of the others has: `mode SP name`, id, and what has that name in the others."""
    if len(olds) == 1:
        yield from _changed(new, olds[0], _first_difference(new, olds[0]))
        return
    others = [_entries(old, 0) for old in olds]
    for entry, raw in _entries(new, 0).items():
        inside = [other[entry] for other in others if entry in other]
        if raw not in inside:
            yield entry, raw, [id.hex() for id in inside]


def _changed(new: bytes, old: bytes, at: int) -> Iterator[Brought]:
    """As `_brought`, from an offset on, before which both are the same. Mostly one entry has changed, and no more."""
    other = at
    while new[at:] != old[other:]:
        nul, end = new.find(b"\0", at), old.find(b"\0", other)
        if nul < 0 or end < 0:
            break
        entry, had = new[at:nul], old[other:end]
        if entry == had:
            if new[nul : nul + 21] != old[end : end + 21]:
                yield entry, new[nul + 1 : nul + 21], [old[end + 1 : end + 21].hex()]
            at, other = nul + 21, end + 21
        elif new.startswith(had, nul + 21):
            yield entry, new[nul + 1 : nul + 21], []
            at = nul + 21
        elif old.startswith(entry, end + 21):
            other = end + 21
        else:
            break
    else:
        return
    rest = _entries(old, other)
    for entry, raw in _entries(new, at).items():
        if rest.get(entry) != raw:
            yield entry, raw, [rest[entry].hex()] if entry in rest else []


def _first_difference(one: bytes, other: bytes) -> int:
    """Where the first entry begins that is not the same in both."""
    same, end = 0, min(len(one), len(other)) + 1
    while end - same > 1:
        middle = (same + end) // 2
        if one[:middle] == other[:middle]:
            same = middle
        else:
            end = middle
    at = 0
    find = one.find
    while (nul := find(b"\0", at)) >= 0 and nul + 21 <= same:
        at = nul + 21
    return at


def _entries(data: bytes, at: int) -> dict[bytes, bytes]:
    """All entries from an offset on. Format: a row of `mode SP name NUL id`."""
    entries = {}
    find = data.find
    while (nul := find(b"\0", at)) >= 0:
        end = nul + 21
        entries[data[at:nul]] = data[nul + 1 : end]
        at = end
    if at != len(data):
        raise GivenUp
    return entries


def walked(wanted: Iterable[str], held: Iterable[str]) -> Walk | None:
    """The walk, or None where it leads nowhere."""
    try:
        return Walk(wanted, held)
    except (GivenUp, GitError):
        return None
