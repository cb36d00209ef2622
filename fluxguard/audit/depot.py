"""An object store, opened: every object in it by number and by id, with what can't be read of it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluxguard.errors import GitError
from fluxguard.repo import objects, store
from fluxguard.repo.forest import IN_MEMORY, TOO_LARGE, Forest
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.links import EMPTY
from fluxguard.repo.pack import KINDS, DamagedPack, Pack
from fluxguard.repo.pack import read as read_pack
from fluxguard.repo.store import Store, TooLarge

ALL = tuple(KINDS)
_PREFIX = 8  # bytes of an id, by which two objects are told apart here


@dataclass(slots=True)
class Opened:
    """A pack with the forest of all that is in it."""

    name: str
    pack: Pack
    forest: Forest


class Depot:
    """A store's packs and loose objects. problems: what can't be opened at all, (where, why)."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.packs: list[Opened] = []
        self.problems = list(store.problems)
        self._order: list[npt.NDArray[np.int64]] = []
        for path in store.packs:
            self._open(path)

    def _open(self, path: str) -> None:
        name = f"{self.store.name}/pack/{os.path.basename(path)}"
        try:
            pack = read_pack(path, self.store.width)
        except DamagedPack as error:
            self.problems.append((name, f"{error.what.removeprefix(path).strip()} {error.hint}".strip()))
            return
        if pack.complaint:
            self.problems.append((name, pack.complaint))
        self.packs.append(Opened(name, pack, Forest(pack, ALL)))

    def broken(self) -> dict[str, str]:
        """The packed objects that can't even be begun to be read, each with the reason."""
        return {
            opened.pack.id(entry): reason
            for opened in self.packs
            for entry, reason in opened.pack.broken.items()
        }

    def ids(self) -> list[npt.NDArray[np.uint8]]:
        """The ids of all objects, packed and loose; one that is there twice is twice among them."""
        loose = np.frombuffer(bytes.fromhex("".join(self.store.loose)), dtype=np.uint8)
        return [*(opened.pack.ids for opened in self.packs), loose.reshape(-1, self.store.width)]

    def content(self, id: str) -> tuple[str, bytes]:
        """Kind and content. Raises KeyError where it is not here, Damaged, and TooLarge."""
        damage: Damaged | None = None
        for opened, entry in self._entries(id):
            try:
                return KINDS.get(int(opened.pack.kind[entry]), "unknown"), opened.forest.content(entry)
            except Damaged as error:
                if str(error) == TOO_LARGE:
                    raise TooLarge(
                        KINDS.get(int(opened.pack.kind[entry]), "unknown"), IN_MEMORY + 1
                    ) from None
                damage = error
        if os.path.lexists(store.loose_path(self.store, id)):
            return store.read_loose(self.store, id)
        raise damage or KeyError(id)

    def _entries(self, id: str) -> Iterator[tuple[Opened, int]]:
        raw = bytes.fromhex(id)
        while len(self._order) < len(self.packs):
            rows = self._rows(self.packs[len(self._order)].pack)
            self._order.append(np.argsort(rows, kind="stable"))
        for opened, order in zip(self.packs, self._order, strict=True):
            rows = self._rows(opened.pack)
            at = int(np.searchsorted(rows, np.array([raw], dtype=rows.dtype)[0], sorter=order))
            if at < len(order) and opened.pack.ids[order[at]].tobytes() == raw:
                yield opened, int(order[at])

    def _rows(self, pack: Pack) -> npt.NDArray[np.bytes_]:
        rows: npt.NDArray[np.bytes_] = np.ascontiguousarray(pack.ids).view(f"S{self.store.width}").ravel()
        return rows

    def pieces(self, id: str) -> tuple[str, int, Iterator[bytes]]:
        """Kind, size and content, in pieces, of an object that is too large for the memory. Raises Damaged."""
        for opened, entry in self._entries(id):
            if opened.pack.base[entry] < 0:
                size = int(opened.pack.size[entry])
                return KINDS[int(opened.pack.kind[entry])], size, _inflated(opened.pack, entry)
            return self._by_git(id)
        return store.open_loose(self.store, id)

    def _by_git(self, id: str) -> tuple[str, int, Iterator[bytes]]:
        """A large object that is kept as a delta: git makes it from its base, in its own memory."""
        try:
            found = next(objects.read([id], os.path.dirname(self.store.path)))
        except GitError as error:
            raise Damaged(error.what) from None
        if found.kind == "missing":
            raise Damaged("git can't read it")
        return found.kind, found.size, found.pieces()


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
    """All the stores of a repository together."""

    def __init__(self, found: Iterable[Store]) -> None:
        self.each: Sequence[Depot] = [Depot(one) for one in found]

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

    def absent(self, wanted: Iterable[str]) -> list[str]:
        """Which of these ids, in hex, are in none of the stores; but for the empty blob and tree, which git knows."""
        listed = sorted(id for id in wanted if bytes.fromhex(id) not in EMPTY)
        rows = [rows[:, :_PREFIX] for depot in self.each for rows in depot.ids()]
        if not listed or not rows:
            return listed
        there = np.ascontiguousarray(np.concatenate(rows)).view(">u8").ravel()
        asked = np.frombuffer(b"".join(bytes.fromhex(id)[:_PREFIX] for id in listed), dtype=">u8")
        return [listed[number] for number in np.flatnonzero(~np.isin(asked, there))]
