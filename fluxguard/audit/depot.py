"""An object store, opened: every object in it by number and by id, with what can't be read of it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from fluxguard.errors import GitError
from fluxguard.repo import objects, plain, store
from fluxguard.repo.arrays import np, npt
from fluxguard.repo.forest import IN_MEMORY, TOO_LARGE, TOO_MUCH, Forest, allowed
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.links import EMPTY, Present
from fluxguard.repo.pack import KINDS, DamagedPack, Pack, read_ids
from fluxguard.repo.pack import read as read_pack
from fluxguard.repo.single import Single
from fluxguard.repo.store import Store, TooLarge

ALL = tuple(KINDS)
Bytes = npt.NDArray[np.uint8]
_SLOWER = 4  # how much longer git takes over a large object than we do over as many bytes of small ones
_PREFIX = 8  # bytes of an id, by which two objects are told apart here


def _unknown(path: str, width: int) -> Bytes | None:
    """Nothing is known of any pack."""
    return None


class Opened:
    """A pack, with the forest of all that is in it. What is known of it from an earlier time is not read again.

    known: the kind of each object, in the order of the index, from that time; None where there was none.
    """

    def __init__(self, name: str, path: str, width: int, known: Bytes | None = None) -> None:
        self.name = name
        self.path = path
        self.width = width
        self.known = known

    def __len__(self) -> int:
        return len(self.pack) if self.known is None else len(self.known)

    @cached_property
    def pack(self) -> Pack:
        """The pack, read. Raises DamagedPack."""
        return read_pack(self.path, self.width)

    @cached_property
    def forest(self) -> Forest:
        """All of its objects, as trees of deltas. Raises DamagedPack."""
        return Forest(self.pack, ALL)

    @cached_property
    def ids(self) -> Bytes:
        """The ids in the order of the index, which git sorts. Raises DamagedPack."""
        if "pack" in self.__dict__:
            ids = np.empty_like(self.pack.ids)
            ids[self.pack.rows] = self.pack.ids
            return ids
        return read_ids(self.path, self.width)

    @property
    def kinds(self) -> Bytes:
        """The kind of each of `ids`. Raises DamagedPack."""
        if self.known is not None:
            return self.known
        kinds = np.empty_like(self.pack.kind)
        kinds[self.pack.rows] = self.pack.kind
        return kinds

    def content(self, id: bytes) -> tuple[str, bytes]:
        """Kind and content. Raises KeyError where it is not here, Damaged, and TooLarge."""
        try:
            if self.known is not None and "pack" not in self.__dict__:
                return self._single.content(id)
            entry = self.entry(id)
            kind = KINDS.get(int(self.pack.kind[entry]), "unknown")
            return kind, self.forest.content(entry)
        except Damaged as error:
            if str(error) == TOO_LARGE:
                kind = KINDS.get(int(self.pack.kind[self.entry(id)]), "unknown")
                raise TooLarge(kind, IN_MEMORY + 1) from None
            raise
        except (OSError, ValueError):
            raise Damaged("its pack can't be read") from None

    @cached_property
    def _single(self) -> Single:
        return Single(self.path, self.width)

    def holds(self, id: bytes) -> bool:
        """Whether an object is here."""
        try:
            if self.known is not None and "pack" not in self.__dict__:
                return self._single.holds(id)
            self.entry(id)
        except (KeyError, OSError, ValueError):
            return False
        return True

    def entry(self, id: bytes) -> int:
        """The number of an object in the pack. Raises KeyError."""
        order, rows = self._sorted
        at = int(np.searchsorted(rows, np.array([id], dtype=rows.dtype)[0], sorter=order))
        if at < len(order) and self.pack.ids[order[at]].tobytes() == id:
            return int(order[at])
        raise KeyError(id.hex())

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bytes_]]:
        rows = np.ascontiguousarray(self.pack.ids).view(f"S{self.width}").ravel()
        return np.argsort(rows, kind="stable"), rows


class Depot:
    """A store's packs and loose objects. problems: what can't be opened at all, (where, why).

    recall: the kinds of a pack's objects, where the pack is known.
    """

    def __init__(self, store: Store, recall: Callable[[str, int], Bytes | None] = _unknown) -> None:
        self.store = store
        self.packs: list[Opened] = []
        self.problems = list(store.problems)
        self._made: dict[str, dict[str, int]] = {}  # of each pack, the sizes of what git was asked to make
        for path in store.packs:
            name = f"{self.store.name}/pack/{os.path.basename(path)}"
            opened = Opened(name, path, store.width, recall(path, store.width))
            if opened.known is not None or self.open(opened):
                self.packs.append(opened)

    def open(self, opened: Opened) -> bool:
        """Reads a pack, whatever is known of it; False where that can't be done."""
        opened.known = None
        try:
            complaint = opened.pack.complaint
        except DamagedPack as error:
            reason = f"{error.what.removeprefix(opened.path).strip()} {error.hint}".strip()
            self.problems.append((opened.name, reason))
            return False
        if complaint:
            self.problems.append((opened.name, complaint))
        return True

    def ids(self) -> list[Bytes]:
        """The ids of all objects, packed and loose; one that is there twice is twice among them."""
        loose = np.frombuffer(bytes.fromhex("".join(self.store.loose)), dtype=np.uint8)
        return [*(opened.ids for opened in self.packs), loose.reshape(-1, self.store.width)]

    def __len__(self) -> int:
        return sum(map(len, self.packs)) + len(self.store.loose)

    def holds(self, id: str) -> bool:
        """Whether an object is here, readable or not."""
        raw = bytes.fromhex(id)
        return any(one.holds(raw) for one in self.packs) or os.path.lexists(store.loose_path(self.store, id))

    def content(self, id: str) -> tuple[str, bytes]:
        """Kind and content. Raises KeyError where it is not here, Damaged, and TooLarge."""
        damage: Damaged | None = None
        raw = bytes.fromhex(id)
        for opened in self.packs:
            try:
                return opened.content(raw)
            except KeyError:
                continue
            except Damaged as error:
                damage = error
        if os.path.lexists(store.loose_path(self.store, id)):
            return store.read_loose(self.store, id)
        raise damage or KeyError(id)

    def copies(self, id: str) -> Iterator[str]:
        """Where an object is: the paths of the packs that hold it, and "" for a loose one."""
        raw = bytes.fromhex(id)
        yield from (one.path for one in self.packs if one.holds(raw))
        if os.path.lexists(store.loose_path(self.store, id)):
            yield ""

    def copy(self, id: str, path: str) -> tuple[str, bytes]:
        """Kind and content of one of its copies. Raises KeyError, Damaged, and TooLarge."""
        if not path:
            return store.read_loose(self.store, id)
        return next(one for one in self.packs if one.path == path).content(bytes.fromhex(id))

    def pieces(self, id: str, path: str) -> tuple[str, int, Iterator[bytes]]:
        """Kind, size and content, in pieces, of one copy of an object that is too large for the memory. Raises Damaged."""
        for opened in (one for one in self.packs if one.path == path):
            entry = opened.entry(bytes.fromhex(id))
            if opened.pack.base[entry] < 0:
                size = int(opened.pack.size[entry])
                return KINDS[int(opened.pack.kind[entry])], size, _inflated(opened.pack, entry)
            made = self._made.setdefault(opened.path, {})
            if id not in made and sum(made.values()) > allowed(len(opened.pack.map)) // _SLOWER:
                raise Damaged(TOO_MUCH)
            kind, made[id], pieces = self._by_git(id)
            return kind, made[id], pieces
        return store.open_loose(self.store, id)

    def _by_git(self, id: str) -> tuple[str, int, Iterator[bytes]]:
        """A large object that is kept as a delta: git makes it from its base, in its own memory."""
        folder = os.path.dirname(self.store.path)
        for name, wrong in plain.obstacles(folder, folder):
            raise Damaged(f"git would have to make it, and was not started here: {name}: {wrong}")
        reader = objects.read([id], folder)
        try:
            found = next(reader)
        except GitError as error:
            raise Damaged(error.what) from None
        if found.kind == "missing":
            raise Damaged("git can't read it")
        return found.kind, found.size, _to_the_end(found, reader)


def _to_the_end(found: objects.Opened, reader: Iterator[objects.Opened]) -> Iterator[bytes]:
    """The pieces of an object; then git is let go of, which would else be left behind."""
    yield from found.pieces()
    for _ in reader:
        pass


def _inflated(pack: Pack, entry: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    at, end = int(pack.begin[entry]), int(pack.end[entry])
    size = 0
    try:
        while not inflater.eof and (at < end or inflater.unconsumed_tail):
            packed = inflater.unconsumed_tail
            if not packed:
                packed = pack.map[at : min(end, at + (1 << 20))]
                at += len(packed)
            piece = inflater.decompress(packed, objects.PIECE)
            size += len(piece)
            if size > pack.size[entry]:
                break
            yield piece
    except zlib.error:
        raise Damaged("its compressed data are damaged") from None
    if size != pack.size[entry]:
        raise Damaged("it is not of the size that it should have")


class Depots:
    """All the stores of a repository together. recall: as for a Depot."""

    def __init__(self, found: Iterable[Store], recall: Callable[[str, int], Bytes | None] = _unknown) -> None:
        self.each: Sequence[Depot] = [Depot(one, recall) for one in found]

    def content(self, id: str) -> tuple[str, bytes]:
        """Kind and content of an object, wherever it is. Raises KeyError where it is nowhere, Damaged, TooLarge."""
        damage: Damaged | None = None
        for depot in self.each:
            try:
                return depot.content(id)
            except KeyError:
                continue
            except Damaged as error:
                damage = error
        raise damage or KeyError(id)

    def absent(self, wanted: Iterable[str], present: Present) -> list[str]:
        """Which of these ids, in hex, are not among what is `present`; but for the empty blob and tree, which git knows."""
        listed = sorted(id for id in wanted if bytes.fromhex(id) not in EMPTY)
        asked = np.frombuffer(b"".join(bytes.fromhex(id)[:_PREFIX] for id in listed), dtype=">u8")
        return [listed[number] for number in np.flatnonzero(present.lack(asked.astype(np.uint64)))]
