"""The statements of a request that carries a key, on either kind of database: who that is, its quota, and what is told later.

What decides (state, quota) is looked at for each request where all processes have it; nothing of it is believed from before.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from fluxguard.server import problems
from fluxguard.server.store import Store
from fluxguard.server.tally import Busy, Count
from fluxguard.server.together import Together

T = TypeVar("T")
Row = Mapping[str, Any]
COLUMNS = (
    "id", "workspace_id", "name", "state", "permissions", "scope", "hourly_limit", "created_at", "expires_at", "confirmed_at",
    "pending_until", "ends_at", "ended_at", "quarantine",
)  # fmt: skip
FIND = f"SELECT {', '.join(COLUMNS)} FROM keys WHERE lookup = :lookup"  # noqa: S608
FIND_HERE = FIND.replace("SELECT ", "SELECT rowid, ")
# One row a key: the hour (in milliseconds, as settings.HOUR) begins with its first request. A clock that is set back neither
# gives a fresh hour nor makes the one that is running longer.
COUNT = """
    INSERT INTO windows (key_id, start, n) VALUES (:key, :now, :more) ON CONFLICT (key_id) DO UPDATE SET
        n = CASE WHEN excluded.start - windows.start >= 3600000 THEN excluded.n ELSE windows.n + excluded.n END,
        start = CASE WHEN excluded.start - windows.start >= 3600000 OR excluded.start < windows.start
            THEN excluded.start ELSE windows.start END
    RETURNING n, start
"""
# The copy of a tally's count; of two processes that write it the later number stays.
COPY = """
    INSERT INTO windows (key_id, start, n) VALUES (:key, :start, :n) ON CONFLICT (key_id) DO UPDATE SET
        n = CASE WHEN excluded.start = windows.start THEN max(excluded.n, windows.n) ELSE excluded.n END,
        start = excluded.start
"""
PATIENCE = 5.0  # seconds that a writer waits for another one
PAUSE = 0.0005  # between two tries; SQLite's own handler would sleep up to a tenth of a second
LONG_LOG = 20_000  # pages of the write-ahead log from which a checkpoint waits for its end
PORTION = 32  # rows of a kind in one transaction beside the requests: a millisecond or two
MOST_KNOWN = 10_000  # keys whose rows are kept in memory


def _adding(table: str, names: Sequence[str]) -> str:
    """SQL that adds to a count, whether it stands there yet or not."""
    return (
        f"INSERT INTO {table} ({', '.join(names)}, n) VALUES ({', '.join(f':{name}' for name in names)}, :n) "  # noqa: S608
        f"ON CONFLICT ({', '.join(names)}) DO UPDATE SET n = {table}.n + excluded.n"
    )


USED = _adding("uses", ("key_id", "minute", "operation", "project_id", "address", "user_agent"))
REFUSED = _adding("refusals", ("minute", "address", "key_id", "reason"))
LAST_USED = "UPDATE keys SET last_used_at = :moment, last_used = :how WHERE id = :key"
Notes = Sequence[tuple[str, Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is told later: how often keys were used and refused, and how each was used last."""

    uses: Counter[tuple[str, int, str, str, str, str]]
    last: dict[str, tuple[int, tuple[str, str, str, str]]]
    refusals: Counter[tuple[int, str, str, str]]

    def portions(self, size: int) -> list[Gathered]:
        """The same in pieces, each short enough to be written between two requests."""
        uses, refusals = list(self.uses.items()), list(self.refusals.items())
        last = list(self.last.items())
        longest = max(len(uses), len(refusals), len(last))
        return [
            Gathered(
                Counter(dict(uses[at : at + size])),
                dict(last[at : at + size]),
                Counter(dict(refusals[at : at + size])),
            )
            for at in range(0, longest, size)
        ]

    def notes(self) -> Notes:
        """As statements, their rows in one order everywhere: two processes would wait for each other otherwise."""
        used = ("key_id", "minute", "operation", "project_id", "address", "user_agent")
        refused = ("minute", "address", "key_id", "reason")
        return (
            (USED, [{**dict(zip(used, what, strict=True)), "n": n} for what, n in sorted(self.uses.items())]),
            (REFUSED, [{**dict(zip(refused, what, strict=True)), "n": n} for what, n in sorted(self.refusals.items())]),
            (LAST_USED, [
                {"key": key, "moment": at, "how": _told(how)} for key, (at, how) in sorted(self.last.items())
            ]),
        )  # fmt: skip


def _told(how: tuple[str, str, str, str]) -> str:
    operation, project, address, agent = how
    return json.dumps({"address": address, "user_agent": agent, "operation": operation, "project": project})


class Book(Protocol):
    """The hot path on one kind of database, on the event loop, which has other things to do meanwhile."""

    async def find(self, lookup: bytes) -> Row | None:
        """The key's row as it is now; never changed by whoever gets it."""

    async def count(self, row: Row, now: int) -> Count:
        """One request more. Returns its number, and when its hour began."""

    def write(self, notes: Notes) -> None:
        """Several statements, each for several rows, in one transaction."""

    async def write_soon(self, notes: Notes) -> None: ...

    def tidy(self) -> None: ...

    def close(self) -> None: ...


class SqliteBook:
    """On the embedded database: straight to the driver, one connection that reads and one that writes; counts go to the tally.

    A row that was read stays in memory until anything in the database changes: `PRAGMA data_version` says so at each request, whichever
    process wrote (https://www.sqlite.org/pragma.html#pragma_data_version). So a revocation is seen by the first request after it.
    What is written here is only told, and `synchronous=NORMAL` is enough for it. Checkpoints are no business of a request: `tidy` makes them.
    """

    def __init__(self, store: Store) -> None:
        path = store.settings.path
        self._tally = store.tally
        self._reading, self._writing, self._tidying = _raw(path, 5), _raw(path, 0), _raw(path, 5)
        self._read_lock, self._write_lock = threading.Lock(), threading.Lock()
        self._known: dict[bytes, Row] = {}
        self._version = -1
        self._counted: dict[str, int] = {}

    async def find(self, lookup: bytes) -> Row | None:
        with self._read_lock:
            version: int = self._reading.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version or len(self._known) >= MOST_KNOWN:
                self._known.clear()
                self._version = version
            known = self._known.get(lookup)
            if known is None:
                row = self._reading.execute(FIND_HERE, {"lookup": lookup}).fetchone()
                if row is None:
                    return None
                known = self._known[lookup] = dict(zip(("rowid", *COLUMNS), row, strict=True))
        return known

    async def count(self, row: Row, now: int) -> Count:
        try:
            return self._try_counting(row, now)
        except Busy:
            return await _patiently_soon(lambda: self._try_counting(row, now))

    def _try_counting(self, row: Row, now: int) -> Count:
        self._counted[row["id"]] = row["rowid"]
        return self._tally.count(row["rowid"], row["id"], now)

    def write(self, notes: Notes) -> None:
        notes = (*notes, (COPY, self._copies(len(self._counted))))
        _patiently(lambda: self._try_writing(notes))

    async def write_soon(self, notes: Notes) -> None:
        notes = (*notes, (COPY, self._copies(PORTION)))
        await _patiently_soon(lambda: self._try_writing(notes))

    def _copies(self, most: int) -> list[Mapping[str, Any]]:
        """What the tally has for keys that were counted since the last time, and their order the same everywhere."""
        rows = []
        for _ in range(min(most, len(self._counted))):
            key, number = self._counted.popitem()
            if (count := self._tally.read(number, key)) is not None:
                rows.append({"key": key, "n": count[0], "start": count[1]})
        return sorted(rows, key=lambda row: row["key"])

    def _try_writing(self, notes: Notes) -> None:
        if any(rows for _, rows in notes):
            with self._transaction() as connection:
                for sql, rows in notes:
                    connection.executemany(sql, rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises: Busy where another process writes."""
        with self._write_lock:
            try:
                self._writing.execute("BEGIN IMMEDIATE")
                yield self._writing
                self._writing.execute("COMMIT")
            except BaseException as error:
                if self._writing.in_transaction:
                    self._writing.execute("ROLLBACK")
                code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.OperationalError) else 0
                if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise Busy from None
                raise

    def tidy(self) -> None:
        """Carries the write-ahead log over into the database; where the log grew long under load, to its very end."""
        _, pages, _ = self._tidying.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages > LONG_LOG:
            self._tidying.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def close(self) -> None:
        for connection in (self._reading, self._writing, self._tidying):
            connection.close()


def _tries() -> Iterator[None]:
    """One turn for each try while another process writes. Raises: Problem 503 when that takes too long."""
    end = time.monotonic() + PATIENCE
    while True:
        yield
        if time.monotonic() > end:
            raise problems.busy()


def _patiently(work: Callable[[], T]) -> T:
    """Tries until no other process writes. Raises: Problem 503."""
    for _ in _tries():
        try:
            return work()
        except Busy:
            time.sleep(PAUSE)
    raise AssertionError("the tries end with a return or a problem")


async def _patiently_soon(work: Callable[[], T]) -> T:
    """As `_patiently`, on the event loop, which has other things to do meanwhile."""
    for _ in _tries():
        try:
            return work()
        except Busy:
            await asyncio.sleep(PAUSE)
    raise AssertionError("the tries end with a return or a problem")


def _raw(path: str, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=timeout)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def _numbered(key_ids: Sequence[str], totals: Mapping[str, Count]) -> list[Count]:
    """Each request's own number, where several of one key were counted at once: the first to come has the lowest."""
    left = Counter(key_ids)
    numbers = []
    for key in key_ids:
        left[key] -= 1
        n, start = totals[key]
        numbers.append((n - left[key], start))
    return numbers


class SharedBook:
    """On PostgreSQL: the event loop has a line of its own, whoever is in a thread the engine's pool."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts = Together(self._count_these)

    async def find(self, lookup: bytes) -> Row | None:
        return _found(await self._store.select_soon(FIND, lookup=lookup))

    async def count(self, row: Row, now: int) -> Count:
        return await self._counts.ask((row["id"], now))

    async def _count_these(self, asked: Sequence[tuple[str, int]]) -> list[Count]:
        """One statement for each key, however many of its requests are at hand; in one order everywhere, or two would wait for each other."""
        now = asked[-1][1]
        counts = dict(sorted(Counter(key for key, _ in asked).items()))
        answers = await asyncio.gather(*(
            self._store.select_soon(COUNT, key=key, now=now, more=more) for key, more in counts.items()
        ))  # fmt: skip
        totals = {key: (n, start) for key, [(n, start)] in zip(counts, answers, strict=True)}
        return _numbered([key for key, _ in asked], totals)

    def write(self, notes: Notes) -> None:
        if any(rows for _, rows in notes):
            with self._store.engine.begin() as connection:
                for sql, rows in notes:
                    if rows:
                        connection.execute(sa.text(sql), list(rows))

    async def write_soon(self, notes: Notes) -> None:
        await run_in_threadpool(self.write, notes)

    def tidy(self) -> None:
        """PostgreSQL does that by itself."""

    def close(self) -> None:
        """The store is not ours."""


def _found(rows: list[tuple[Any, ...]]) -> Row | None:
    return dict(zip(COLUMNS, rows[0], strict=True)) if rows else None


def open_book(store: Store) -> Book:
    """The book for the kind of database."""
    return SqliteBook(store) if store.embedded else SharedBook(store)
