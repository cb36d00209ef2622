"""A pack and its index, taken apart all at once: where each entry lies, what it is, and what it is a delta of.

Formats: gitformat-pack(5), "pack-*.pack files" and "pack-*.idx files", versions 1 and 2. Nothing in them is trusted:
what does not fit is named in `Pack.broken`, and nothing outside the two files is ever touched.
"""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass, field

from fluxguard.errors import BrokenRepository
from fluxguard.repo.arrays import np, npt

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
OFS_DELTA, REF_DELTA = 6, 7
KINDS = {COMMIT: "commit", TREE: "tree", BLOB: "blob", TAG: "tag"}
DEEPEST = 8191  # steps of a chain of deltas; git itself writes 4,095 at the most
TOO_DEEP = (
    f"its chain of deltas is longer than {DEEPEST:,}, or a circle; "
    "if git can read it, have it write a shorter one: git repack -adf"
)
_OTHER_END = "its end is not the one that its index names: it was changed, or more stands behind it"
_HEADER = 12
_LONGEST = 9  # bytes of a size or a distance; longer ones are lies
_HEAD = 2 * _LONGEST + 2
_TURN = 1 << 16  # entries
_SMALLEST = 9  # bytes of an entry: its header, and a compressed nothing
_FEW_PAGES = 64 << 20  # bytes

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class DamagedPack(BrokenRepository):
    """A pack, or its index, that can't be read at all."""


@dataclass(slots=True)
class Pack:
    """The entries of a pack, in the order in which they lie in it. All arrays are as long as the pack has entries.

    ids: uint8, one row an entry. begin, end: where its compressed bytes lie in `map`. size: what it says to inflate to.
    base: the entry that it is a delta of, or -1. kind: COMMIT, TREE, BLOB or TAG, 0 where that can't be told.
    broken: entries that can't be read, each with the reason. complaint: what is wrong with the pack as a whole.
    rows: the row of each entry in the index. seen: what the two files, pack and index, were when they were opened.
    """

    path: str
    map: mmap.mmap
    ids: Bytes
    begin: Ints
    end: Ints
    size: Ints
    base: Ints
    kind: Bytes
    broken: dict[int, str] = field(default_factory=dict)
    complaint: str = ""
    rows: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    seen: tuple[os.stat_result, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, entry: int) -> str:
        """The hex id of an entry."""
        raw: bytes = self.ids[entry].tobytes()
        return raw.hex()


def read(path: str, width: int) -> Pack:
    """Opens the pack at `path` (`.../pack-X.pack`), whose index stands beside it.

    width: bytes of an object id, 20 or 32. Raises DamagedPack where no entry of it can be located.
    """
    whole, seen = _mapped(path)
    data = np.frombuffer(whole, dtype=np.uint8)
    ids, offsets, checksum, seen_index = _index(path[: -len(".pack")] + ".idx", width, len(data) // _SMALLEST)
    if len(data) < _HEADER + _HEAD or whole[:4] != b"PACK" or whole[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
        raise DamagedPack(f"{path} is no pack, or is cut off.", "Restore it, or fetch its objects again.")
    wrong = "" if whole[-width:] == checksum else _OTHER_END
    wrong = wrong or ("" if _is_sorted(ids) else "its index is out of order")
    order = np.argsort(offsets)
    ids, offsets = ids[order], offsets[order]
    pack = _Reader(path, whole, data, ids, offsets, width).pack()
    pack.rows, pack.seen = order, (seen, seen_index)
    pack.complaint = pack.complaint or wrong
    if len(offsets) and offsets[0] > _HEADER and not pack.complaint:
        pack.complaint = "something that is no object stands before its first one"
    return pack


def _is_sorted(ids: Bytes) -> bool:
    """Whether ids are in order, as git looks them up; one may be there twice. Mostly their first bytes tell."""
    first = np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)
    if (first[1:] > first[:-1]).all():
        return True
    rows = np.ascontiguousarray(ids).view(f"S{ids.shape[1]}").ravel()
    return bool((rows[1:] >= rows[:-1]).all())


def read_ids(path: str, width: int) -> Bytes:
    """The ids of the pack at `path`, in its index's order, without a look at the pack. Raises DamagedPack."""
    try:
        most = os.stat(path).st_size // _SMALLEST
    except OSError as error:
        raise DamagedPack(f"{path} can't be read: {error.strerror}.", "Restore it.") from None
    return _index(path[: -len(".pack")] + ".idx", width, most)[0]


def _index(path: str, width: int, most: int) -> tuple[Bytes, Ints, bytes, os.stat_result]:
    """The ids in a pack's index, the offset of each in the pack, and the pack's checksum.

    most: entries that the pack has room for.
    """
    damaged = DamagedPack(f"{path} is damaged.", "Make it anew: git index-pack PACK")
    content, seen = _small(path, 2048 + most * (width + 16), damaged)
    raw = np.frombuffer(content, dtype=np.uint8)
    second = raw[:8].tobytes() == b"\xfftOc\0\0\0\2"
    head = 8 if second else 0
    if len(raw) < head + 1024 + 2 * width:
        raise damaged
    fan = raw[head : head + 1024].view(">u4").astype(np.int64)
    count = int(fan[-1])
    if (np.diff(fan) < 0).any():
        raise damaged
    parse = _second if second else _first
    ids, offsets = parse(raw[head + 1024 : len(raw) - 2 * width], count, width, damaged)
    return ids, offsets, content[len(raw) - 2 * width : len(raw) - width], seen


def _first(raw: Bytes, count: int, width: int, damaged: DamagedPack) -> tuple[Bytes, Ints]:
    if len(raw) != count * (4 + width):
        raise damaged
    rows = raw.reshape(count, 4 + width)
    offsets = np.ascontiguousarray(rows[:, :4]).view(">u4").ravel().astype(np.int64)
    return np.ascontiguousarray(rows[:, 4:]), offsets


def _second(raw: Bytes, count: int, width: int, damaged: DamagedPack) -> tuple[Bytes, Ints]:
    small = count * (width + 8)
    if len(raw) < small:
        raise damaged
    ids = raw[: count * width].reshape(count, width)
    offsets = raw[count * (width + 4) : small].view(">u4").astype(np.int64)
    far = np.nonzero(offsets >= 1 << 31)[0]
    if len(raw) - small != 8 * len(far):
        raise damaged
    if len(far):
        table = raw[small:].view(">u8").astype(np.int64)
        rows = offsets[far] - (1 << 31)
        if (rows >= len(table)).any():
            raise damaged
        offsets[far] = table[rows]
    return ids, offsets


def _small(path: str, limit: int, damaged: DamagedPack) -> tuple[bytes, os.stat_result]:
    """A plain file of at most `limit` bytes; what is no plain file is not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(fd, "rb") as stream:
            seen = os.fstat(fd)
            if not stat.S_ISREG(seen.st_mode) or seen.st_size > limit:
                raise damaged
            return stream.read(), seen
    except OSError as error:
        raise DamagedPack(
            f"{path} can't be read: {error.strerror}.", "Make it anew: git index-pack PACK"
        ) from None


def _mapped(path: str) -> tuple[mmap.mmap, os.stat_result]:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            seen = os.fstat(fd)
            return mmap.mmap(fd, 0, access=mmap.ACCESS_READ), seen
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is empty"
        raise DamagedPack(
            f"{path} can't be read: {reason}.", "Restore it, or fetch its objects again."
        ) from None


def release(map: mmap.mmap) -> None:
    """Gives back the pages of a pack that were read, which count as this process's memory, unless they are few."""
    advise = getattr(map, "madvise", None)
    if advise is not None and _of_files() > _FEW_PAGES:
        advise(mmap.MADV_DONTNEED)


def _of_files() -> int:
    """Bytes of files that are mapped and in memory, as Linux tells it (proc(5), statm); elsewhere as if they were many."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _FEW_PAGES + 1
    try:
        return int(os.read(fd, 256).split()[2]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return _FEW_PAGES + 1
    finally:
        os.close(fd)


class _Reader:
    """Reads all the headers at once, column by column."""

    def __init__(
        self, path: str, whole: mmap.mmap, data: Bytes, ids: Bytes, offsets: Ints, width: int
    ) -> None:
        self._path, self._map, self._data, self._ids, self._offsets = path, whole, data, ids, offsets
        self._width = width
        self._limit = len(data) - width
        self._good = np.ones(len(offsets), dtype=bool)
        self._broken: dict[int, str] = {}

    def pack(self) -> Pack:
        end = np.append(self._offsets[1:], self._limit)[: len(self._offsets)]
        self._fail((self._offsets < _HEADER) | (self._offsets >= self._limit), "it lies outside the pack")
        self._fail(end == self._offsets, "two objects are said to lie at the same place")
        heads = self._heads()
        kinds, size, length = self._sizes(heads)
        base = self._bases(kinds, heads, length)
        self._fail(self._offsets + length >= end, "its header is cut off")
        kinds, base = self._roots(kinds, base)
        complaint = ""
        count = int.from_bytes(self._map[8:12], "big")
        if count != len(self._ids):
            complaint = f"the pack holds {count:,} objects, its index names {len(self._ids):,}"
        begin = self._offsets + length
        return Pack(self._path, self._map, self._ids, begin, end, size, base, kinds, self._broken, complaint)

    def _fail(self, wrong: npt.NDArray[np.bool_], reason: str) -> None:
        """Takes entries out, each with the first reason that was found."""
        wrong = wrong & self._good
        if wrong.any():
            self._good &= ~wrong
            for entry in np.nonzero(wrong)[0].tolist():
                self._broken[entry] = reason

    def _heads(self) -> Bytes:
        """The first bytes of each entry, a row an entry. Read in turns, so that the pack does not fill the memory."""
        heads = np.empty((len(self._offsets), _HEAD), dtype=np.uint8)
        rows = np.lib.stride_tricks.sliding_window_view(self._data, _HEAD)
        last = len(rows) - 1
        for start in range(0, len(heads), _TURN):
            offsets = self._offsets[start : start + _TURN]
            heads[start : start + _TURN] = rows[np.clip(offsets, 0, last)]
            release(self._map)
        late = np.flatnonzero((self._offsets > last) & self._good)
        for entry in late.tolist():
            tail = self._data[self._offsets[entry] :]
            heads[entry, : len(tail)] = tail
        return heads

    def _sizes(self, heads: Bytes) -> tuple[Bytes, Ints, Ints]:
        """Type, size and length of the two: a first byte with 3 bits of type and 4 of size, then 7 bits each."""
        kinds: Bytes = (heads[:, 0] >> np.uint8(4)) & np.uint8(7)
        size = (heads[:, 0] & 15).astype(np.int64)
        length = np.ones(len(heads), dtype=np.int64)
        going = np.nonzero(heads[:, 0] & 128)[0]
        column = 1
        while len(going) and column < _LONGEST:
            byte = heads[going, column]
            size[going] |= (byte & 127).astype(np.int64) << (4 + 7 * (column - 1))
            column += 1
            length[going] = column
            going = going[byte >= 128]
        endless = np.zeros(len(heads), dtype=bool)
        endless[going] = True
        self._fail(endless, "its size is a lie")
        self._fail((kinds == 0) | (kinds == 5), "its type is unknown")
        return kinds, size, length

    def _bases(self, kinds: Bytes, heads: Bytes, length: Ints) -> Ints:
        """The entry that each delta is made from; `length` grows by what names it."""
        base = np.full(len(kinds), -1, dtype=np.int64)
        near = np.nonzero((kinds == OFS_DELTA) & self._good)[0]
        if len(near):
            self._settle(
                base, near, self._at_offset(self._offsets[near] - self._distances(near, heads, length))
            )
        named = np.nonzero((kinds == REF_DELTA) & self._good)[0]
        if len(named):
            rows = (self._offsets + length)[named, None] + np.arange(self._width)
            self._settle(base, named, self._with_id(self._data[np.clip(rows, 0, len(self._data) - 1)]))
            length[named] += self._width
        return base

    def _settle(self, base: Ints, entries: Ints, found: Ints) -> None:
        base[entries] = found
        missing = np.zeros(len(base), dtype=bool)
        missing[entries[found < 0]] = True
        self._fail(missing, "the object that it is a delta of is not in the pack")

    def _distances(self, near: Ints, heads: Bytes, length: Ints) -> Ints:
        """How far back a base lies: 7 bits a byte, one more for each byte that follows."""
        byte = heads[near, length[near]]
        value = (byte & 127).astype(np.int64)
        length[near] += 1
        going = np.nonzero(byte & 128)[0]
        turns = 0
        while len(going) and turns < _LONGEST:
            byte = heads[near[going], length[near[going]]]
            value[going] = np.minimum((value[going] + 1) << 7 | (byte & 127), 1 << 54)
            length[near[going]] += 1
            turns += 1
            going = going[byte >= 128]
        value[going] = 1 << 54
        return value

    def _at_offset(self, wanted: Ints) -> Ints:
        found = np.minimum(np.searchsorted(self._offsets, wanted), len(self._offsets) - 1)
        return np.where((self._offsets[found] == wanted) & (wanted >= _HEADER), found, -1)

    def _with_id(self, wanted: Bytes) -> Ints:
        kind = f"S{self._width}"
        known = np.ascontiguousarray(self._ids).view(kind).ravel()
        order = np.argsort(known, kind="stable")
        names = np.ascontiguousarray(wanted).view(kind).ravel()
        found = order[np.minimum(np.searchsorted(known[order], names), len(known) - 1)]
        return np.where(known[found] == names, found, -1)

    def _roots(self, kinds: Bytes, base: Ints) -> tuple[Bytes, Ints]:
        """What each entry is in the end: the type at the start of its chain, found by doubling the steps."""
        base = np.where(self._good, base, -1)
        ahead = np.where(base >= 0, base, np.arange(len(base)))
        for _ in range(DEEPEST.bit_length()):
            further = ahead[ahead]
            if np.array_equal(further, ahead):
                break
            ahead = further
        self._fail(base[ahead] >= 0, TOO_DEEP)
        self._fail(~self._good[ahead], "the object that it is a delta of is damaged")
        return np.where(self._good, kinds[ahead], 0).astype(np.uint8), np.where(self._good, base, -1)
