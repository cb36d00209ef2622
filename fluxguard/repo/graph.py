"""The commit graph, and what a commit says: parsed from the objects themselves.

Ids are raw bytes here (20 of SHA-1, 32 of SHA-256).
"""

from __future__ import annotations

import datetime
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

_HEADER = re.compile(rb"tree ([0-9a-f]+)\n((?:parent [0-9a-f]+\n)*)")
_PERSON = re.compile(rb"(.*?) ?<(.*)> ?(-?\d{1,12})(?: ([+-]\d{4}))?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Commit:
    """Id, tree and parents of a commit; nothing of its words."""

    id: bytes
    tree: bytes
    parents: tuple[bytes, ...]


@dataclass(slots=True)
class Rows:
    """Commits side by side, as they are handed on and kept: ids and trees, how many parents each has, and all the parents."""

    width: int
    ids: bytes = b""
    trees: bytes = b""
    counts: Sequence[int] = ()
    parents: bytes = b""

    @classmethod
    def of(cls, commits: Iterable[Commit], width: int) -> Rows:
        """The rows of some commits, in their order."""
        listed = list(commits)
        return cls(
            width,
            b"".join([one.id for one in listed]),
            b"".join([one.tree for one in listed]),
            [len(one.parents) for one in listed],
            b"".join([parent for one in listed for parent in one.parents]),
        )


class Graph(Mapping[bytes, Commit]):
    """All the commits of a repository. A large one has hundreds of thousands: a Commit is made of one that is asked for."""

    def __init__(self, parts: Iterable[Rows]) -> None:
        self._trees: list[bytes] = []
        self._parents: list[bytes] = []
        self._ends = array(
            "q", [0]
        )  # where among the parents those of each commit end; those of the first begin at 0
        self._number: dict[bytes, int] = {}
        for rows in parts:
            self._add(rows)

    def _add(self, rows: Rows) -> None:
        first = len(self._trees)
        ids = _cut(rows.ids, rows.width)
        self._trees += _cut(rows.trees, rows.width)
        self._parents += _cut(rows.parents, rows.width)
        end = self._ends[-1]
        for count in rows.counts:
            end += count
            self._ends.append(end)
        self._number.update(zip(ids, range(first, first + len(ids)), strict=True))

    @classmethod
    def of(cls, commits: Iterable[Commit], width: int = 20) -> Graph:
        """The graph of some commits."""
        return cls([Rows.of(commits, width)])

    def __getitem__(self, id: bytes) -> Commit:
        row = self._number[id]
        parents = self._parents[self._ends[row] : self._ends[row + 1]]
        return Commit(id, self._trees[row], tuple(parents))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._number)

    def __len__(self) -> int:
        return len(self._number)

    def __contains__(self, id: object) -> bool:
        return id in self._number

    def holding(self, trees: Collection[bytes]) -> list[bytes]:
        """The commits whose tree is one of these."""
        if not trees:
            return []
        named = self._trees
        return [id for id, row in self._number.items() if named[row] in trees]

    def since(self, starts: Iterable[bytes]) -> dict[bytes, Commit]:
        """These commits and all that descend from them, by id."""
        pending = [id for id in starts if id in self._number]
        found = set(pending)
        if pending:
            children = self._children
            while pending:
                fresh = [child for child in children.get(pending.pop(), ()) if child not in found]
                found.update(fresh)
                pending += fresh
        return {id: self[id] for id in sorted(found)}

    @cached_property
    def _children(self) -> dict[bytes, list[bytes]]:
        children: dict[bytes, list[bytes]] = {}
        parents, ends = self._parents, self._ends
        for id, row in self._number.items():
            for parent in parents[ends[row] : ends[row + 1]]:
                if parent in children:
                    children[parent].append(id)
                else:
                    children[parent] = [id]
        return children


def _cut(row: bytes, width: int) -> list[bytes]:
    return [row[at : at + width] for at in range(0, len(row), width)]


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and when: name and mail as they stand there, seconds since 1970, minutes east of Greenwich."""

    person: bytes
    seconds: int
    offset: int


def parse_commit(id: bytes, data: bytes) -> Commit | None:
    """The links of a commit object; None where it is no commit that git would write.

    Format: gitformat, `tree ID`, then any number of `parent ID`.
    """
    match = _HEADER.match(data)
    size = len(id)
    if not match or len(match[1]) != 2 * size:
        return None
    parents = tuple(
        bytes.fromhex(line[7:].decode()) for line in match[2].splitlines() if len(line) == 7 + 2 * size
    )
    return Commit(id, bytes.fromhex(match[1].decode()), parents)


def parse_signature(data: bytes, header: bytes = b"author") -> Signature | None:
    """The `author` or `committer` of a commit, or the `tagger` of a tag; None where there is none."""
    head = b"\n" + data.partition(b"\n\n")[0] + b"\n"
    at = head.find(b"\n" + header + b" ")
    if at < 0:
        return None
    line = head[at + len(header) + 2 : head.index(b"\n", at + 1)]
    match = _PERSON.match(line)
    if not match:
        return Signature(line, 0, 0)
    zone = match[4] or b"+0000"
    offset = (int(zone[1:3]) * 60 + int(zone[3:5])) * (-1 if zone[:1] == b"-" else 1)
    return Signature(match[1] + b" <" + match[2] + b">", int(match[3]), offset)


def topological(commits: Mapping[bytes, Commit]) -> list[Commit]:
    """Every commit, parents before children; parents that are not there count as none.

    Commits in a cycle, which only a damaged store can hold, are left out.
    """
    missing = {id: sum(parent in commits for parent in set(commit.parents)) for id, commit in commits.items()}
    children: dict[bytes, list[bytes]] = {}
    for id, commit in commits.items():
        for parent in set(commit.parents):
            children.setdefault(parent, []).append(id)
    ready = [id for id, count in missing.items() if not count]
    order = []
    while ready:
        id = ready.pop()
        order.append(commits[id])
        for child in children.get(id, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return order


def descendants(order: Iterable[Commit], marks: Mapping[bytes, int]) -> dict[bytes, int]:
    """For each commit, the bits of all marked commits that it is or descends from. `order`: parents first."""
    reached: dict[bytes, int] = {}
    for commit in order:
        bits = marks.get(commit.id, 0)
        for parent in commit.parents:
            bits |= reached.get(parent, 0)
        if bits:
            reached[commit.id] = bits
    return reached


def rfc3339(signature: Signature | None) -> str:
    """A signature's time; "" where it has none that a calendar knows."""
    return stamp(signature.seconds, signature.offset) if signature else ""


def stamp(seconds: int, offset: int) -> str:
    """Seconds since 1970, and minutes east of Greenwich, as RFC 3339."""
    zone = datetime.timezone(datetime.timedelta(minutes=max(-1439, min(1439, offset))))
    try:
        return datetime.datetime.fromtimestamp(seconds, zone).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
