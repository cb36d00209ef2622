"""Which objects the objects of a pack point at, and which of those are not there.

Only what a delta inserts is looked at: whatever else its result names stands in its base as well. What is looked at is
taken for an id where a NUL stands before it and the mode of a next entry, or the tree's end, behind it; what is missing
by that measure is then read properly, which also tells the commits of submodules, which are kept elsewhere.

Formats: gitformat-pack(5); a tree is a row of `mode SP name NUL id`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from fluxguard.repo.distinct import distinct

Prefixes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
_FLUSH = 4 << 20
_MOST_HELD = 1 << 20  # names, before those that stand there twice are taken out
_BITS = 20
SEAM = b"10"  # between stretches; looks like the mode of a next entry

SUBMODULE = b"160000"
_HEX = re.compile(rb"[0-9a-f]+")


def _known(head: bytes) -> Iterator[bytes]:
    for algorithm in (hashlib.sha1, hashlib.sha256):
        yield algorithm(head, usedforsecurity=False).digest()


# The empty blob and the empty tree: git knows them, so that they need not be in a store.
EMPTY = frozenset((*_known(b"blob 0\0"), *_known(b"tree 0\0")))


class Present:
    """The objects that are there, by the first eight bytes of their ids. ids: in groups, which are numbered from 0 on."""

    def __init__(self, ids: Iterable[npt.NDArray[np.uint8]]) -> None:
        parts = [np.ascontiguousarray(rows[:, :8]).view(">u8").ravel().astype(np.uint64) for rows in ids]
        whole = np.concatenate([np.zeros(0, np.uint64), *parts])
        self._group: npt.NDArray[np.uint32] | None = None
        if sum(len(part) > 0 for part in parts) > 1:
            order = np.argsort(whole, kind="stable")
            groups = np.repeat(np.arange(len(parts), dtype=np.uint32), [len(part) for part in parts])
            self._sorted, self._group = whole[order], groups[order]
        else:
            self._sorted = np.sort(whole)
            self._only = next((number for number, part in enumerate(parts) if len(part)), -1)
        # Where in the sorted list those with the same first bits begin: most look-ups end at the first or second there.
        self._shift = np.uint64(64 - _BITS)
        self._begin = np.searchsorted(self._sorted, np.arange(1 << _BITS, dtype=np.uint64) << self._shift)

    def lack(self, wanted: Prefixes) -> npt.NDArray[np.bool_]:
        """Which of `wanted` are not among them."""
        return self._find(wanted) < 0

    def groups(self, wanted: Prefixes) -> Ints:
        """A group in which each of `wanted` is, -1 where it is in none."""
        found = self._find(wanted)
        if self._group is None:
            return np.where(found < 0, -1, self._only)
        return np.where(found < 0, -1, self._group[found].astype(np.int64))

    def _find(self, wanted: Prefixes) -> Ints:
        """Where in the sorted list each stands, -1 where it does not."""
        answer = np.full(len(wanted), -1, dtype=np.int64)
        if not len(self._sorted):
            return answer
        last = len(self._sorted) - 1
        at = np.minimum(self._begin[wanted >> self._shift], last)
        going = np.arange(len(wanted))
        while len(going):
            here = self._sorted[at]
            same = here == wanted[going]
            answer[going[same]] = at[same]
            on = (here < wanted[going]) & (at < last)
            going, at = going[on], at[on] + 1
        return answer


class Links:
    """Collects what trees and commits point at.

    missing: (first eight bytes of an id, entry that names it), of ids that may not be there. group: where given, what is
    named and stands in any other group is kept too: its first bytes in `outside`, with `owned` also the entries, in `owners`.
    """

    def __init__(self, present: Present, width: int, group: int | None = None, owned: bool = False) -> None:
        self._present = present
        self._width = width
        self._group = group
        self._owned = owned
        self._away: list[tuple[Prefixes, Ints]] = []
        self._held = 0
        self._parts: list[bytes] = []
        self._owners: list[int] = []
        self._size = 0
        self._ids: list[bytes] = []
        self._from: list[int] = []
        self.missing: set[tuple[int, int]] = set()
        self.outside: Prefixes = np.zeros(0, np.uint64)
        self.owners: Ints = np.zeros(0, np.int64)

    def tree(self, entry: int, stretches: bytes) -> None:
        """Takes in what is new in a tree: all of it, or what its delta inserts, joined by SEAM, with CONTEXT around."""
        self._parts.append(stretches)
        self._owners.append(entry)
        self._size += len(stretches)
        if self._size > _FLUSH:
            self._flush_trees()

    def commit(self, entry: int, data: bytes) -> None:
        """Takes in a commit: its tree and its parents."""
        end = 5 + 2 * self._width
        self._named(entry, data[5:end])
        while data.startswith(b"parent ", end + 1):
            start = end + 8
            end = start + 2 * self._width
            self._named(entry, data[start:end])

    def tag(self, entry: int, data: bytes) -> None:
        """Takes in a tag: what it is on."""
        self._named(entry, data[7 : 7 + 2 * self._width])

    def _named(self, entry: int, id: bytes) -> None:
        self._ids.append(id[:16])
        self._from.append(entry)
        if len(self._ids) > 100_000:
            self._flush_names()

    def flush(self) -> None:
        """Brings `missing` and `outside` up to date."""
        self._flush_trees()
        self._flush_names()
        self._settle()

    def _flush_names(self) -> None:
        if self._ids:
            if not _HEX.fullmatch(b"".join(self._ids)) or any(len(id) != 16 for id in self._ids):
                self._drop_nonsense()
            wanted = np.frombuffer(bytes.fromhex(b"".join(self._ids).decode()), dtype=">u8").astype(np.uint64)
            each = np.arange(len(wanted))
            self._note(wanted, each, each, np.array(self._from))
        self._ids, self._from = [], []

    def _drop_nonsense(self) -> None:
        """What a damaged commit or tag has in the place of an id names nothing."""
        good = [number for number, id in enumerate(self._ids) if len(id) == 16 and _HEX.fullmatch(id)]
        self._ids = [self._ids[number] for number in good]
        self._from = [self._from[number] for number in good]

    def _flush_trees(self) -> None:
        if self._parts:
            # The end of a tree counts as the mode of a next entry.
            buffer = np.frombuffer(SEAM.join([*self._parts, b""]) + bytes(16), dtype=np.uint8)
            at = np.flatnonzero(buffer[: -self._width - 16] == 0) + 1
            words = np.lib.stride_tricks.as_strided(
                buffer[: len(buffer) // 8 * 8].view(">u8"), shape=(len(buffer) - 8,), strides=(1,)
            )
            after = words[at + self._width] >> np.uint64(48)
            at = at[_IS_MODE[after]]
            starts = np.cumsum([0] + [len(part) + 2 for part in self._parts[:-1]])
            self._note(words[at].astype(np.uint64), at, starts, np.array(self._owners))
        self._parts, self._owners, self._size = [], [], 0

    def _note(self, wanted: Prefixes, at: Ints, starts: Ints, owners: Ints) -> None:
        groups = self._present.groups(wanted)
        self._lacking(groups < 0, wanted, at, starts, owners)
        if self._group is not None:
            away = np.flatnonzero((groups >= 0) & (groups != self._group))
            if len(away):
                self._set_aside(wanted[away], owners[np.searchsorted(starts, at[away], side="right") - 1])

    def _lacking(
        self, lost: npt.NDArray[np.bool_], wanted: Prefixes, at: Ints, starts: Ints, owners: Ints
    ) -> None:
        where = np.flatnonzero(lost)
        if len(where):
            named_by = owners[np.searchsorted(starts, at[where], side="right") - 1]
            self.missing.update(zip(wanted[where].tolist(), named_by.tolist(), strict=True))

    def _set_aside(self, names: Prefixes, owners: Ints) -> None:
        self._away.append((names, owners))
        self._held += len(names)
        if self._held > _MOST_HELD:
            self._settle()

    def _settle(self) -> None:
        if not self._away:
            return
        names = np.concatenate([self.outside, *(each for each, _ in self._away)])
        if self._owned:
            self.outside = names
            self.owners = np.concatenate([self.owners, *(each for _, each in self._away)])
        else:
            self.outside = distinct(names)
        self._away, self._held = [], 0


def _modes() -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << 16, dtype=bool)
    table[[int.from_bytes(mode, "big") for mode in (b"10", b"12", b"16", b"40", b"04")]] = True
    return table


_IS_MODE = _modes()


_LONGEST_ENTRY = 4096
_ENTRY = re.compile(rb"(?:100644|100755|40000|120000|160000|1006[0-7]{2}|0?40000) [^\0/]+\0")


def entries(data: bytes, width: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The entries of a tree: (mode, name, id). A damaged tree ends where it can't be read on."""
    at = 0
    while at < len(data):
        nul = data.find(b"\0", at)
        id = data[nul + 1 : nul + 1 + width]
        if nul < 0 or len(id) < width:
            return
        mode, _, name = data[at:nul].partition(b" ")
        yield mode, name, id
        at = nul + 1 + width


def lost(
    missing: Iterable[tuple[int, int]], content: Callable[[int], tuple[str, bytes]], width: int
) -> Iterator[tuple[str, int]]:
    """What of `missing` is truly named, and not as a submodule's commit: (hex id, the entry that names it).

    content: the kind and the bytes of an entry.
    """
    by_owner: dict[int, set[int]] = {}
    for prefix, owner in missing:
        by_owner.setdefault(owner, set()).add(prefix)
    for owner, wanted in by_owner.items():
        kind, data = content(owner)
        if kind == "tree" and not any(_may_name(data, prefix, width) for prefix in wanted):
            continue
        for id in _named_by(kind, data, width):
            if int.from_bytes(id[:8], "big") in wanted and id not in EMPTY:
                yield id.hex(), owner


def _may_name(data: bytes, prefix: int, width: int) -> bool:
    """Whether a tree may have an entry with this id: at one of its places the bytes before it begin like an entry."""
    wanted = prefix.to_bytes(8, "big")
    at = data.find(wanted)
    while at >= 0:
        for match in _ENTRY.finditer(data, max(0, at - _LONGEST_ENTRY), at):
            if match.end() == at and (match.start() <= 0 or data[match.start() - width - 1] == 0):
                return True
        at = data.find(wanted, at + 1)
    return False


def _named_by(kind: str, data: bytes, width: int) -> Iterator[bytes]:
    if kind == "tree":
        for mode, _, id in entries(data, width):
            if mode != SUBMODULE:
                yield id
        return
    for line in data.split(b"\n\n", 1)[0].splitlines():
        word, _, id = line.partition(b" ")
        if word in (b"tree", b"parent", b"object") and len(id) == 2 * width:
            try:
                yield bytes.fromhex(id.decode("ascii"))
            except ValueError:
                continue
