"""Which objects the objects of a pack point at, and which of those are not there.

Only what a delta inserts is looked at: whatever else its result names stands in its base as well. What is looked at is
taken for an id where a NUL stands before it and the mode of a next entry, or the tree's end, behind it; what is missing
by that measure is then read properly, which also tells the commits of submodules, which are kept elsewhere.

Formats: gitformat-pack(5); a tree is a row of `mode SP name NUL id`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fluxguard.repo.arrays import np, npt
from fluxguard.repo.distinct import distinct

Prefixes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
_FLUSH = 1 << 20
_MOST_HELD = 1 << 20  # names, before those that stand there twice are taken out
_PARENTS = 8  # ids of a commit that are read together with those of others
_BITS = 20
_SETTLED = np.uint64((1 << 16) - 1)
# Stands between stretches. It looks like the mode of a next entry, for an id may end there; it ends like one, too (see
# _is_settled); and it is longer than an id, so that none is taken to begin before it and to end behind it.
SEAM = b"10 " + b"-" * 30

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
        self._settled: dict[int | None, Prefixes] = {}
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
        counts = np.bincount((self._sorted >> self._shift).astype(np.int64), minlength=1 << _BITS)
        self._begin = np.cumsum(counts) - counts

    def settled(self, group: int | None) -> Prefixes:
        """Room for names of which nothing is to be noted in that group, each at the place that its last bits say."""
        if group not in self._settled:
            self._settled[group] = np.zeros(int(_SETTLED) + 1, np.uint64)
            self._settled[group][0] = 1  # is at no place of its own, so that nothing is there
        return self._settled[group]

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
        self._commits: list[bytes] = []
        self._committers: list[int] = []
        self._committed = 0
        self._ids: list[bytes] = []
        self._from: list[int] = []
        self._settled = present.settled(group)
        self.missing: set[tuple[int, int]] = set()
        self.outside: Prefixes = np.zeros(0, np.uint64)
        self.owners: Ints = np.zeros(0, np.int64)

    def tree(self, entry: int, stretches: bytes) -> None:
        """Takes in what is new in a tree: all of it, or what its delta inserts, joined by SEAM, with CONTEXT around."""
        self.trees([entry], [stretches])

    def trees(self, entries: Sequence[int], stretches: Sequence[bytes]) -> None:
        """Takes in several trees, as `tree` takes one."""
        self._parts += stretches
        self._owners += entries
        self._size += sum(map(len, stretches))
        if self._size > _FLUSH:
            self._flush_trees()

    def commit(self, entry: int, data: bytes) -> None:
        """Takes in a commit: its tree and its parents."""
        self._commits.append(data)
        self._committers.append(entry)
        self._committed += len(data)
        if self._committed > _FLUSH:
            self._flush_commits()

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
        self._flush_commits()
        self._flush_names()
        self._settle()

    def _flush_commits(self) -> None:
        """The ids behind `tree ` and `parent `, of all commits at once: the first of each, then the second of each."""
        commits, owners = self._commits, np.array(self._committers, np.int64)
        self._commits, self._committers, self._committed = [], [], 0
        ends = np.cumsum(np.array([len(data) for data in commits], np.int64))
        text = np.frombuffer(b"".join([*commits, bytes(32)]), dtype=np.uint8)
        words = _overlapping(text, np.uint64)
        at = np.append(0, ends[:-1])[: len(commits)] + len(b"tree ")
        going = np.arange(len(commits))
        for _ in range(_PARENTS):
            if not len(at):
                return
            digits = _DIGITS[text[at[:, None] + np.arange(16)]]
            named = np.flatnonzero((digits < 16).all(axis=1) & (at + 16 <= ends[going]))
            digits = digits[named]
            wanted = (digits[:, ::2] << 4 | digits[:, 1::2]).view(">u8").ravel().astype(np.uint64)
            each = np.arange(len(wanted))
            self._note(wanted, each, each, owners[going[named]])
            at = at + 2 * self._width + 1
            on = np.flatnonzero(at + 8 <= ends[going])
            on = on[words[at[on]] & _SEVEN == _PARENT]
            at, going = at[on] + 7, going[on]
        for number in going.tolist():
            self._many_parents(int(owners[number]), commits[number])

    def _many_parents(self, entry: int, data: bytes) -> None:
        end = 5 + 2 * self._width
        while data.startswith(b"parent ", end + 1):
            start = end + 8
            end = start + 2 * self._width
            self._named(entry, data[start:end])

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
            joined = SEAM.join([b"", *self._parts, b""]) + bytes(16)
            buffer = np.frombuffer(joined, dtype=np.uint8)
            at = np.flatnonzero(buffer[: -self._width - 16] == 0) + 1
            words, pairs = _overlapping(buffer, np.uint64), _overlapping(buffer, np.uint16)
            names = words[at]
            fresh = np.flatnonzero(self._settled[names & _SETTLED] != names)
            at, names = at[fresh], names[fresh]
            # The end of a tree counts as the mode of a next entry.
            named = _IS_MODE[pairs[at + self._width]]
            at, names = at[named], names[named]
            starts = np.cumsum([len(SEAM)] + [len(part) + len(SEAM) for part in self._parts[:-1]])
            wanted = names if sys.byteorder == "big" else names.byteswap()
            settled = names[self._note(wanted, at, starts, np.array(self._owners), joined)]
            self._settled[settled & _SETTLED] = settled
        self._parts, self._owners, self._size = [], [], 0

    def _note(
        self, wanted: Prefixes, at: Ints, starts: Ints, owners: Ints, trees: bytes = b""
    ) -> npt.NDArray[np.bool_]:
        """Notes what is to be noted; of which names that is nothing, whoever names them."""
        groups = self._present.groups(wanted)
        lost = np.flatnonzero(groups < 0)
        if trees and len(lost):
            named = [not _is_settled(trees, place, self._width) for place in at[lost].tolist()]
            lost = lost[np.array(named)]
        self._lacking(lost, wanted, at, starts, owners)
        if self._group is not None:
            away = np.flatnonzero((groups >= 0) & (groups != self._group))
            if len(away):
                self._set_aside(wanted[away], owners[np.searchsorted(starts, at[away], side="right") - 1])
            settled: npt.NDArray[np.bool_] = groups == self._group
            return settled
        return groups >= 0

    def _lacking(self, where: Ints, wanted: Prefixes, at: Ints, starts: Ints, owners: Ints) -> None:
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


def _overlapping(buffer: npt.NDArray[np.uint8], kind: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    """The numbers that begin at each byte, as this machine reads them; those of the last bytes are left out."""
    size = np.dtype(kind).itemsize
    return np.lib.stride_tricks.as_strided(
        buffer[: len(buffer) // size * size].view(kind), shape=(len(buffer) - size,), strides=(1,)
    )


_DIGITS = np.full(256, 255, np.uint8)  # what a hex digit stands for
_DIGITS[[*b"0123456789abcdef"]] = np.arange(16)
_SEVEN = np.frombuffer(b"\xff" * 7 + b"\0", np.uint64)[0]
_PARENT = np.frombuffer(b"parent \0", np.uint64)[0]
_MODE_ENDS = re.compile(rb"[0-7] ")
_MODULE = SUBMODULE + b" "


def _is_settled(trees: bytes, at: int, width: int) -> bool:
    """Whether what stands at `at`, behind a NUL, is for certain no id, or a submodule's.

    An entry holds no other NUL than the one before its id, and its mode ends in a digit and a blank, as does each SEAM.
    So it is none if there are no such two between that NUL and the one before. And it is a submodule's if its mode
    stands right behind an id: exactly so far behind a NUL, with nothing between that could be (the end of) a mode.
    """
    start = trees.rfind(b"\0", 0, at - 1) + 1
    if not _MODE_ENDS.search(trees, start, at - 1):
        return True
    mode = trees.find(_MODULE, start, at - 1)
    id = mode - width
    return (
        mode >= 0
        and trees[id - 1 : id] == b"\0"
        and not trees[mode - 1 : mode].isdigit()
        and not _MODE_ENDS.search(trees, id, mode)
        and SEAM not in trees[mode:at]
    )


def _modes() -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << 16, dtype=bool)
    table[[int.from_bytes(mode, sys.byteorder) for mode in (b"10", b"12", b"16", b"40", b"04")]] = True
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
