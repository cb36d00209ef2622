"""What commits and trees say of one another: the graph of the commits, and the trees that name given objects.

Of a pack that an earlier audit knows, neither is read twice: its commits are kept, and so is which of its trees name what
was asked for once. For anything else it is enough to know that no object of the pack names it, which is told by its record
(`Known.may_name`); so a key that came with a new commit is traced by the new objects alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fluxguard.audit import edges
from fluxguard.audit.cache import Record
from fluxguard.audit.crew import DONE, Crew, Died, hands
from fluxguard.audit.depot import Depots, Opened
from fluxguard.audit.known import Known, Table, unpacked
from fluxguard.audit.whole import Clear
from fluxguard.repo.arrays import np
from fluxguard.repo.graph import Graph, Rows, parse_commit
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import COMMIT, TREE
from fluxguard.repo.store import Store, TooLarge, read_loose
from fluxguard.repo.trace import naming

_SHARES = 96
_ALONE = 24 << 20  # bytes of what is read; for less, another process costs more than it brings
_MOST_KEPT = 400_000  # ids that were asked for, of one pack; beyond them what is kept begins anew
Named = tuple[bytes, list[tuple[bytes, bytes]]]  # a tree, and its entries that name what is wanted
Take = Callable[[bytes, bytes], Any]


class TooLong(Exception):
    """There was no time to read all of it."""


class Lineage:
    """The commits and trees of all stores. loose: the kind of each loose object, per store. clear: whether a text holds no key.

    unread: whether some of the work could not be done. until: by `time.monotonic`, after which TooLong is raised: what
    is traced by part of the history may be wrong. tick: told that it goes on.
    """

    def __init__(
        self,
        depots: Depots,
        loose: Sequence[dict[str, str]],
        known: Known,
        clear: Clear,
        until: float = float("inf"),
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._until = until
        self._tick = tick
        self._depots = depots
        self._loose = loose
        self._known = known
        self._clear = clear
        self._kept: dict[str, _Kept] = {}
        self._grown: dict[str, Opened] = {}  # packs of which more is known than is kept
        self._edges: dict[str, edges.Edges] = {}
        self._filter: edges.Filter | None = None
        self.unread = False

    # --- commits -------------------------------------------------------------------------------------------------

    def graph(self) -> Graph:
        """All commits."""
        return Graph(self._rows())

    def _rows(self) -> Iterator[Rows]:
        unknown = []
        for opened in self._packs():
            record = self._known.aside(opened, "commits")
            if record is None:
                unknown.append(opened)
            else:
                yield _rows_of(record, opened.width)
        yield from self._read_rows(unknown)
        for depot, kinds in zip(self._depots.each, self._loose, strict=True):
            found = (parse_commit(id, data) for id, data in self._loosely(depot.store, kinds, "commit"))
            yield Rows.of(filter(None, found), depot.store.width)

    def _packs(self) -> Iterator[Opened]:
        for depot in self._depots.each:
            yield from depot.packs

    def _read_rows(self, packs: Sequence[Opened]) -> Iterator[Rows]:
        parts: dict[str, list[Rows]] = {opened.path: [] for opened in packs}
        whole = self._each(packs, COMMIT, _walked, lambda opened, steps: [_packed_rows(opened, steps)])
        for opened, values in whole:
            parts[opened.path].append(Rows(opened.width, *values))
        for opened in packs:
            rows = _joined(parts[opened.path], opened.width)
            if not self.unread:
                self._known.keep_aside(opened, "commits", _record_of(rows), (), self._clear)
            yield rows

    # --- trees ---------------------------------------------------------------------------------------------------

    def naming(self, wanted: frozenset[bytes]) -> Iterator[Named]:
        """The trees that name any of the wanted ids, each with the entries that do."""
        asked: dict[str, frozenset[bytes]] = {}
        for opened in self._packs():
            may = self._known.may_name(opened, wanted)
            if may:
                kept = self._kept_of(opened)
                yield from kept.named(may)
                asked[opened.path] = may - kept.asked
        yield from self._search({path: ids for path, ids in asked.items() if ids})
        look = None
        for depot, kinds in zip(self._depots.each, self._loose, strict=True):
            for id, data in self._loosely(depot.store, kinds, "tree"):
                look = look or _looker(wanted)
                if look(data) and (found := list(naming(data, wanted))):
                    yield id, found

    def _kept_of(self, opened: Opened) -> _Kept:
        if opened.path not in self._kept:
            self._kept[opened.path] = _Kept(self._known.aside(opened, "trees"), opened.width)
        return self._kept[opened.path]

    def _search(self, asked: dict[str, frozenset[bytes]]) -> Iterator[Named]:
        packs = [opened for opened in self._packs() if opened.path in asked]
        self._collect(packs, frozenset().union(*asked.values()))
        for opened in packs:
            found: list[Named] = []
            try:
                for entry, entries in self._edges[opened.path].naming(asked[opened.path]):
                    self._in_time()
                    found.append((_id(opened, entry), entries))
                    yield found[-1]
            except edges.TooMuch:
                self.unread = True
            if not self.unread:
                self._kept[opened.path].add(asked[opened.path], found)
                self._grown[opened.path] = opened

    def keep(self) -> None:
        """Keeps what is known now of trees, once nobody asks for more: a deep path asks many times."""
        for opened in () if self.unread else self._grown.values():
            record, texts = self._kept[opened.path].record()
            self._known.keep_aside(opened, "trees", record, texts, self._clear)
        self._grown.clear()

    def _collect(self, packs: Sequence[Opened], wanted: frozenset[bytes]) -> None:
        """Goes through the trees of packs, unless that is done: for what is wanted, and for any tree, which will be next."""
        if self._filter is None:
            self._filter = edges.Filter()
            for opened in self._packs():
                trees = np.ascontiguousarray(opened.ids[opened.kinds == TREE][:, :8])
                self._filter.add(trees.view(">u8").ravel().astype(np.uint64))
            for kinds in self._loose:
                trees_of = (bytes.fromhex(id) for id, kind in kinds.items() if kind == "tree")
                self._filter.add(edges.prefixes(trees_of))
        names = edges.prefixes(wanted)
        if not self._filter.passes(names).all():
            self._edges.clear()
            self._filter.add(names)
        look = self._filter
        lacking = [opened for opened in packs if opened.path not in self._edges]
        parts: dict[str, list[tuple[bytes, bytes]]] = {opened.path: [] for opened in lacking}
        most = {opened.path: edges.most_names(opened.forest) for opened in lacking}
        whole = self._each(
            lacking,
            TREE,
            _roots,
            lambda opened, roots: [edges.collected(opened.forest, roots, look, most[opened.path])],
        )
        for opened, part in whole:
            if part is not None:
                most[opened.path] -= len(part[0]) // edges.WORD
            if part is None or most[opened.path] < 0:
                self.unread = True
            else:
                parts[opened.path].append(part)
        for opened in lacking:
            self._edges[opened.path] = edges.Edges(opened.forest, parts[opened.path])

    # --- reading -------------------------------------------------------------------------------------------------

    def _each(
        self,
        packs: Iterable[Opened],
        kind: int,
        steps: Callable[[Opened, list[int]], Any],
        take: Callable[[Opened, Any], list[Any]],
    ) -> Iterator[tuple[Opened, Any]]:
        """What `take` makes of the steps through the objects of a kind, with the pack that they are in."""
        shares = [(opened, roots) for opened in packs for roots in opened.forest.shares(_SHARES, (kind,))]
        size = sum(int(opened.pack.size[opened.pack.kind == kind].sum()) for opened in packs)

        def work(task: int) -> Iterator[Any]:
            opened, roots = shares[task]
            yield take(opened, steps(opened, roots))

        crew = Crew(len(shares), work, hands() if size > _ALONE else 1)
        try:
            for task, value in crew.answers():
                self._in_time()
                if value is Died:
                    self.unread = True
                elif value is not DONE:
                    for one in value:
                        yield shares[task][0], one
        finally:
            crew.stop()

    def _loosely(self, store: Store, kinds: dict[str, str], wanted: str) -> Iterator[tuple[bytes, bytes]]:
        """The loose objects of a kind that can be read."""
        for id, kind in kinds.items():
            if kind == wanted:
                self._in_time()
                try:
                    yield bytes.fromhex(id), read_loose(store, id)[1]
                except (Damaged, TooLarge):
                    continue

    def _in_time(self) -> None:
        self._tick()
        if time.monotonic() > self._until:
            raise TooLong


class _Kept:
    """Which trees of a pack name what was asked for."""

    def __init__(self, record: Record | None, width: int) -> None:
        self._width = width
        self.asked: set[bytes] = set()
        self._naming: dict[
            bytes, list[tuple[bytes, bytes]]
        ] = {}  # id -> the trees that name it, each with the name
        if record is not None:
            self._take(record)

    def _take(self, record: Record) -> None:
        of = record.arrays
        names = [unpacked(name) for name in record.value]
        self.asked = set(_ids(of["asked"], self._width))
        each = zip(
            _ids(of["trees"], self._width), of["names"].tolist(), _ids(of["ids"], self._width), strict=True
        )
        for tree, name, id in each:
            self._naming.setdefault(id, []).append((tree, names[name]))

    def named(self, wanted: frozenset[bytes]) -> Iterator[Named]:
        """What is kept of that."""
        for id in sorted(wanted & self._naming.keys()):
            for tree, name in self._naming[id]:
                yield tree, [(name, id)]

    def add(self, asked: Iterable[bytes], named: Iterable[Named]) -> None:
        """Takes in what was found for more."""
        if len(self.asked) > _MOST_KEPT:
            self.asked, self._naming = set(), {}
        self.asked.update(asked)
        for tree, entries in named:
            for name, id in entries:
                self._naming.setdefault(id, []).append((tree, name))

    def record(self) -> tuple[Record, set[str]]:
        """All of it, and the texts in it."""
        table = Table()
        rows = [(tree, table.number(name), id) for id, held in self._naming.items() for tree, name in held]
        arrays: dict[str, Any] = {
            "asked": _bytes(sorted(self.asked)),
            "trees": _bytes(tree for tree, _, _ in rows),
            "names": np.array([name for _, name, _ in rows], np.int64),
            "ids": _bytes(id for _, _, id in rows),
        }
        return Record(table.values, arrays), table.texts


def _roots(opened: Opened, roots: list[int]) -> list[int]:
    return roots


def _walked(opened: Opened, roots: list[int]) -> Iterator[tuple[int, bytes]]:
    return ((entry, data) for entry, data, _ in opened.forest.walk(roots))


def _id(opened: Opened, entry: int) -> bytes:
    return bytes(opened.pack.ids[entry])


def _packed_rows(opened: Opened, steps: Iterable[tuple[int, bytes]]) -> tuple[bytes, bytes, list[int], bytes]:
    commits = (parse_commit(_id(opened, entry), data) for entry, data in steps)
    rows = Rows.of(filter(None, commits), opened.width)
    return rows.ids, rows.trees, list(rows.counts), rows.parents


def _joined(parts: Iterable[Rows], width: int) -> Rows:
    listed = list(parts)
    return Rows(
        width,
        b"".join(rows.ids for rows in listed),
        b"".join(rows.trees for rows in listed),
        [count for rows in listed for count in rows.counts],
        b"".join(rows.parents for rows in listed),
    )


def _record_of(rows: Rows) -> Record:
    return Record(
        None,
        {
            "ids": np.frombuffer(rows.ids, np.uint8),
            "trees": np.frombuffer(rows.trees, np.uint8),
            "counts": np.array(rows.counts, np.int64),
            "parents": np.frombuffer(rows.parents, np.uint8),
        },
    )


def _rows_of(record: Record, width: int) -> Rows:
    of = record.arrays
    return Rows(
        width, of["ids"].tobytes(), of["trees"].tobytes(), of["counts"].tolist(), of["parents"].tobytes()
    )


def _bytes(ids: Iterable[bytes]) -> Any:
    return np.frombuffer(b"".join(ids), np.uint8)


def _ids(array: Any, width: int) -> list[bytes]:
    data = array.tobytes()
    return [data[at : at + width] for at in range(0, len(data), width)]


def _looker(wanted: frozenset[bytes]) -> Callable[[bytes], int]:
    """A function that says whether any of the wanted ids stands in bytes."""
    try:
        from fluxguard.detect import bulk
    except ImportError:
        pattern = re.compile(b"|".join(map(re.escape, wanted)), re.DOTALL)
        return lambda data: pattern.search(data) is not None
    look = bulk.literals(dict.fromkeys(wanted, 1), ())
    return lambda data: look(data)[0]
