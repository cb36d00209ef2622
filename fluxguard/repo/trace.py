"""From blobs to history: which commit brought a blob's key to a path, which one took it away, and who can see it.

Trees are searched for the ids of the blobs, then for the ids of those trees, and so on up to the commits: the ids stand
in the trees as they are, so this is the same kind of search as the one for keys, and no tree is parsed in vain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from fluxguard.repo.graph import Commit, Graph, descendants, topological

# From wanted ids to the trees that name any of them: (tree, its entries that do, as name and id).
TreeSearch = Callable[[frozenset[bytes]], Iterable[tuple[bytes, list[tuple[bytes, bytes]]]]]
MOST_PATHS = 20_000  # under one tree: a tree that names itself a thousand times must not exhaust us
LONGEST_PATH = (
    16_384  # bytes, four times what a system takes: of trees a million deep not each path is put together
)
_SUBMODULE = b"160000 "
_BATCH = 1_000  # marks that are followed through the graph at once


@dataclass(frozen=True, slots=True)
class Place:
    """A key's stay at a path.

    key: as the caller numbers them. blob: the one that brought it. commit: the one that introduced it there, None
    where no commit holds it. removed: the commits that took it away. moved_from: the path it had before, if it moved.
    refs: those from whose history it can be reached; tips: those that hold it still.
    """

    key: int
    path: bytes
    blob: bytes
    commit: bytes | None
    removed: tuple[bytes, ...] = ()
    moved_from: bytes = b""
    refs: tuple[bytes, ...] = ()
    tips: tuple[bytes, ...] = ()


@dataclass(slots=True)
class _Stay:
    """A place under construction."""

    key: int
    path: bytes
    blob: bytes
    commit: bytes
    moved_from: bytes
    removed: list[bytes] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)


Presence = dict[bytes, bytes]  # path -> blob


class Trees:
    """The trees that hold wanted blobs, at whatever depth.

    A wanted id may be a tree's, too, for what is in its names: then it stands at the tree's own path, b"" for a root.
    """

    def __init__(self, search: TreeSearch, blobs: Iterable[bytes]) -> None:
        self._entries: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self._blobs = frozenset(blobs)
        self._presence: dict[bytes, Presence] = {}
        self.truncated = False
        wanted = self._blobs
        while wanted:
            wanted = self._level(search, wanted)

    def _level(self, search: TreeSearch, wanted: frozenset[bytes]) -> frozenset[bytes]:
        fresh = set()
        for tree, found in search(wanted):
            if found and tree not in self._entries:
                fresh.add(tree)
            self._entries.setdefault(tree, []).extend(found)
        return frozenset(fresh)

    def __contains__(self, tree: object) -> bool:
        return tree in self._entries or tree in self._blobs

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    def all(self) -> set[bytes]:
        """Every tree that holds a wanted blob, or is wanted itself."""
        return {*self._entries, *self._blobs}

    def presence(self, tree: bytes) -> Presence:
        """Path to blob, for all wanted blobs below a tree."""
        if tree not in self:
            return {}
        pending = [tree]
        waiting = {tree}
        while pending:
            current = pending[-1]
            missing = [
                child
                for _, child in self._entries.get(current, ())
                if child in self._entries and child not in self._presence and child not in waiting
            ]
            if missing and current not in self._presence:
                pending += missing
                waiting.update(missing)
                continue
            waiting.discard(pending.pop())
            if current not in self._presence:
                self._presence[current] = self._assemble(current)
        return self._presence[tree]

    def _assemble(self, tree: bytes) -> Presence:
        found: Presence = {b"": tree} if tree in self._blobs else {}
        for name, child in self._entries.get(tree, ()):
            if child in self._blobs:
                found[name] = child
            for path, blob in self._presence.get(child, {}).items():
                if len(found) >= MOST_PATHS:
                    self.truncated = True
                    return found
                if len(name) + len(path) > LONGEST_PATH:
                    self.truncated = True
                elif path:
                    found[name + b"/" + path] = blob
        return found


_FEW = 8  # ids, up to which it is quicker to have `re` pass over the other entries ...
_USUAL = 1 << 20  # bytes of a tree; in one that has more, that would take much memory


def naming(data: bytes, wanted: frozenset[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a tree whose id is wanted: (name, id). A submodule's commit is kept elsewhere, and so is none.

    Format: gitformat, entries of `mode SP name NUL id`. A damaged tree ends where it can't be read on.
    """
    if 0 < len(wanted) <= _FEW and len(data) <= _USUAL:
        next_of, at = _entries_of(wanted).match, 0
        while match := next_of(data, at):
            at = match.end()
            if not match[1].startswith(_SUBMODULE):
                yield match[1].partition(b" ")[2], match[2]
        return
    size = len(next(iter(wanted), b"\0" * 20))
    at = 0
    end = len(data)
    while at < end:
        nul = data.find(b"\0", at)
        if nul < 0:
            return
        id = data[nul + 1 : nul + 1 + size]
        if id in wanted and not data.startswith(_SUBMODULE, at):
            yield data[at:nul].partition(b" ")[2], id
        at = nul + 1 + size


@lru_cache(maxsize=1024)
def _entries_of(wanted: frozenset[bytes]) -> re.Pattern[bytes]:
    """An expression for entries with other ids, up to the next with one of these: it goes from entry to entry."""
    ids = b"|".join(map(re.escape, sorted(wanted)))
    width = len(next(iter(wanted)))
    return re.compile(rb"(?:[^\0]*+\0.{%d})*?([^\0]*+)\0(%s)" % (width, ids), re.DOTALL)


def trace(
    keys: Mapping[bytes, frozenset[int]],
    trees: Trees,
    commits: Graph,
    refs: Iterable[tuple[bytes, bytes]],
    stashes: frozenset[bytes] = frozenset(),
) -> list[Place]:
    """Every stay of every key at every path. Only commits that hold a key, or descend from one that does, have a say in it.

    keys: the keys in each blob. refs: name and the id it points at (the commit behind a tag, too).
    A merge introduces only what none of its parents has at that path, and removes only what all of them have;
    what a merge drops from one side is taken for removed there where nothing else removed it.
    stashes: commits that only look like merges: they keep the index and the untracked files as parents, and remove nothing.
    """
    order = topological(commits.since(commits.holding(trees.all())))
    walk = _Walk(keys, trees, stashes)
    for commit in order:
        walk.commit(commit)
    targets = list(refs)
    held = _outside(keys, trees, walk.seen, targets, commits)
    return walk.places(order, targets) + held


class _Walk:
    def __init__(
        self, keys: Mapping[bytes, frozenset[int]], trees: Trees, stashes: frozenset[bytes] = frozenset()
    ) -> None:
        self._keys = keys
        self._trees = trees
        self._stashes = stashes
        self._active: dict[
            bytes, dict[tuple[bytes, int], frozenset[int]]
        ] = {}  # commit -> stays that hold there
        self._by_tree: dict[bytes, dict[tuple[bytes, int], bytes]] = {}
        self._stays: list[_Stay] = []
        self.seen: set[bytes] = set()  # blobs that some commit holds

    def commit(self, commit: Commit) -> None:
        """Compares a commit with its parents."""
        here = self._holding(commit.tree)
        before = [self._active.get(parent, {}) for parent in commit.parents]
        if not here and not any(before):
            return
        if len(before) == 1 and before[0].keys() == here.keys():
            if here:
                self._active[commit.id] = before[0]
            return
        active = self._inherit(commit, here, before)
        if commit.id not in self._stashes:
            self._leave(commit, here, before)
        if active:
            self._active[commit.id] = active

    def _holding(self, tree: bytes) -> dict[tuple[bytes, int], bytes]:
        """(path, key) -> blob, of a commit's tree."""
        if tree not in self._trees:
            return {}
        if tree not in self._by_tree:
            presence = self._trees.presence(tree)
            self.seen.update(presence.values())
            self._by_tree[tree] = {
                (path, key): blob for path, blob in presence.items() for key in self._keys[blob]
            }
        return self._by_tree[tree]

    def _inherit(
        self,
        commit: Commit,
        here: dict[tuple[bytes, int], bytes],
        before: list[dict[tuple[bytes, int], frozenset[int]]],
    ) -> dict[tuple[bytes, int], frozenset[int]]:
        active: dict[tuple[bytes, int], frozenset[int]] = {}
        for place, blob in here.items():
            inherited: frozenset[int] = frozenset().union(
                *(parent.get(place, frozenset()) for parent in before)
            )
            if not inherited:
                origin = self._moved_from(place, here, before)
                self._stays.append(_Stay(place[1], place[0], blob, commit.id, origin))
                inherited = frozenset({len(self._stays) - 1})
            active[place] = inherited
        return active

    def _moved_from(
        self,
        place: tuple[bytes, int],
        here: dict[tuple[bytes, int], bytes],
        before: list[dict[tuple[bytes, int], frozenset[int]]],
    ) -> bytes:
        """The path at which the key stood in a parent, where it stands there no more."""
        gone = {
            path for parent in before for path, key in parent if key == place[1] and (path, key) not in here
        }
        return min(gone, default=b"")

    def _leave(
        self,
        commit: Commit,
        here: dict[tuple[bytes, int], bytes],
        before: list[dict[tuple[bytes, int], frozenset[int]]],
    ) -> None:
        for place in {place for parent in before for place in parent if place not in here}:
            everywhere = all(place in parent for parent in before)
            for parent in before:
                for stay in parent.get(place, ()):
                    notes = self._stays[stay].removed if everywhere else self._stays[stay].dropped
                    if commit.id not in notes:
                        notes.append(commit.id)

    def places(self, order: list[Commit], refs: list[tuple[bytes, bytes]]) -> list[Place]:
        """The stays, each with the refs that reach it."""
        found = []
        starts = {stay.commit for stay in self._stays}
        reach = reaching(order, sorted(starts), refs)
        for number, stay in enumerate(self._stays):
            tips = tuple(
                sorted(
                    name
                    for name, tip in refs
                    if number in self._active.get(tip, {}).get((stay.path, stay.key), ())
                )
            )
            removed = stay.removed or stay.dropped
            found.append(
                Place(
                    stay.key,
                    stay.path,
                    stay.blob,
                    stay.commit,
                    tuple(removed),
                    stay.moved_from,
                    reach[stay.commit],
                    tips,
                )
            )
        return found


def reaching(
    order: list[Commit], starts: list[bytes], refs: list[tuple[bytes, bytes]]
) -> dict[bytes, tuple[bytes, ...]]:
    """For each start, the refs from whose history it can be reached."""
    found: dict[bytes, list[bytes]] = {start: [] for start in starts}
    for first in range(0, len(starts), _BATCH):
        batch = starts[first : first + _BATCH]
        reached = descendants(order, {id: 1 << number for number, id in enumerate(batch)})
        for name, tip in refs:
            bits = reached.get(tip, 0)
            while bits:
                low = bits & -bits
                found[batch[low.bit_length() - 1]].append(name)
                bits ^= low
    return {start: tuple(sorted(set(names))) for start, names in found.items()}


def _outside(
    keys: Mapping[bytes, frozenset[int]],
    trees: Trees,
    seen: set[bytes],
    refs: list[tuple[bytes, bytes]],
    commits: Container[bytes],
) -> list[Place]:
    """What is held by no commit, or by a ref (a tag on a blob or a tree, say) whatever commits do."""
    places = []
    others: dict[bytes, set[bytes]] = {}
    for name, id in refs:
        if id not in commits:
            others.setdefault(id, set()).add(name)
    for root, found in sorted(others.items()):
        names = tuple(sorted(found))
        held = {b"": root} if root in keys else {}
        held.update(trees.presence(root))
        for path, blob in sorted(held.items()):
            seen.add(blob)
            places += [
                Place(key, path, blob, None, refs=names, tips=names) for key in sorted(keys.get(blob, ()))
            ]
    lost = set(keys) - seen
    paths: dict[bytes, bytes] = {}
    if lost:
        for tree in trees:
            for path, blob in trees.presence(tree).items():
                if blob in lost and len(path) > len(paths.get(blob, b"")):
                    paths[blob] = path
    return places + [
        Place(key, paths.get(blob, b""), blob, None) for blob in sorted(lost) for key in sorted(keys[blob])
    ]
