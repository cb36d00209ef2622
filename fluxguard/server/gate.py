"""The way of every request that carries a key: recognised, judged, counted. A few statements of SQL, and no state of its own.

What decides (state, quota) is read from and written to the database at each request, so it holds for every worker. What is only
told later (how often, from where) is gathered in memory and written each second.
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

from fluxguard import wire
from fluxguard.server import life, problems
from fluxguard.server.platform import Platform
from fluxguard.server.settings import HOUR
from fluxguard.server.together import Together
from fluxguard.server.trail import Actor

T = TypeVar("T")
MINUTE = 60_000
FIRST_USE = frozenset({"pending", "active", "grace"})
COLUMNS = (
    "id", "workspace_id", "name", "state", "permissions", "scope", "hourly_limit", "expires_at", "confirmed_at",
    "pending_until", "ends_at", "ended_at", "quarantine",
)  # fmt: skip
FIND = f"SELECT {', '.join(COLUMNS)} FROM keys WHERE lookup = :lookup"  # noqa: S608
# One row a key: the hour (in milliseconds, as settings.HOUR) begins with its first request. A clock that is set back neither
# gives a fresh hour nor makes the one that is running longer.
COUNT = """
    INSERT INTO windows (key_id, start, n) VALUES (:key, :now, :more) ON CONFLICT (key_id) DO UPDATE SET
        n = CASE WHEN excluded.start - windows.start >= 3600000 THEN excluded.n ELSE windows.n + excluded.n END,
        start = CASE WHEN excluded.start - windows.start >= 3600000 OR excluded.start < windows.start
            THEN excluded.start ELSE windows.start END
    RETURNING n, start
"""
PATIENCE = 5.0  # seconds that counting waits for another writer
PAUSE = 0.0005  # between two tries; SQLite's own handler would sleep up to a tenth of a second
MOST_KEPT = 100_000  # counts that are kept in memory while the database can't be written
TIDYING = 10.0  # seconds between checkpoints
LONG_LOG = 20_000  # pages of the write-ahead log from which a checkpoint waits for its end


def _adding(table: str, names: Sequence[str]) -> str:
    """SQL that adds to a count, whether it stands there yet or not."""
    return (
        f"INSERT INTO {table} ({', '.join(names)}, n) VALUES ({', '.join(f':{name}' for name in names)}, :n) "  # noqa: S608
        f"ON CONFLICT ({', '.join(names)}) DO UPDATE SET n = {table}.n + excluded.n"
    )


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: from where, with what, for which operation (wire.OPERATIONS) and project ("" for none)."""

    address: str
    user_agent: str
    operation: str
    project: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was let in. limit, used, reset: its hourly quota, what is used of it, seconds until it is fresh."""

    id: str
    workspace: str
    name: str
    permissions: frozenset[str]
    projects: frozenset[str] | None
    limit: int = 0
    used: int = 0
    reset: int = 0
    quarantined: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10)."""
        left = max(0, self.limit - self.used)
        return {
            "RateLimit-Policy": f'"key-hour";q={self.limit};w=3600',
            "RateLimit": f'"key-hour";r={left};t={self.reset}',
        }

    def must(self, permission: str, project: str | None = None) -> None:
        """Raises: Problem 403 without the permission; 404 for a project outside of the scope, as for one that is not there."""
        if permission not in self.permissions:
            raise problems.denied(
                [permission], [name for name in wire.PERMISSIONS if name in self.permissions]
            )
        if project is not None and self.projects is not None and project not in self.projects:
            raise problems.not_found()


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


def _notes(gathered: Gathered) -> Notes:
    """As statements, their rows in one order everywhere: two processes would wait for each other otherwise."""
    used = ("key_id", "minute", "operation", "project_id", "address", "user_agent")
    refused = ("minute", "address", "key_id", "reason")
    return (
        (USED, [{**dict(zip(used, what, strict=True)), "n": n} for what, n in sorted(gathered.uses.items())]),
        (REFUSED, [{**dict(zip(refused, what, strict=True)), "n": n} for what, n in sorted(gathered.refusals.items())]),
        (LAST_USED, [
            {"key": key, "moment": at, "how": _told(how)} for key, (at, how) in sorted(gathered.last.items())
        ]),
    )  # fmt: skip


class Book(Protocol):
    """The two statements of the hot path on one kind of database."""

    def find(self, lookup: bytes) -> Mapping[str, Any] | None: ...

    def count(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]:
        """One request more for each; a key may be named more than once. Returns for each the number, and when its hour began."""

    async def count_soon(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]: ...

    def write(self, notes: Notes) -> None:
        """Several statements, each for several rows, in one transaction."""

    async def write_soon(self, notes: Notes) -> None: ...

    def tidy(self) -> None: ...

    def close(self) -> None: ...


class Busy(Exception):
    """Another process writes."""


class SqliteBook:
    """On the embedded database: straight to the driver, one connection that reads and one that counts.

    `synchronous=NORMAL` is enough for a counter: a crash of the machine may forget the last requests of an hour, never a change.
    Checkpoints are no business of a request: `tidy` makes them.
    """

    def __init__(self, path: str) -> None:
        self._reading, self._counting = _raw(path, 5), _raw(path, 0)
        self._tidying = _raw(path, 5)
        self._read_lock, self._count_lock = threading.Lock(), threading.Lock()

    def find(self, lookup: bytes) -> Mapping[str, Any] | None:
        with self._read_lock:
            row = self._reading.execute(FIND, {"lookup": lookup}).fetchone()
        return None if row is None else dict(zip(COLUMNS, row, strict=True))

    def count(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]:
        return _patiently(lambda: self._try_counting(key_ids, now))

    async def count_soon(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]:
        return await _patiently_soon(lambda: self._try_counting(key_ids, now))

    def write(self, notes: Notes) -> None:
        _patiently(lambda: self._try_writing(notes))

    async def write_soon(self, notes: Notes) -> None:
        await _patiently_soon(lambda: self._try_writing(notes))

    def _try_writing(self, notes: Notes) -> None:
        if any(rows for _, rows in notes):
            with self._transaction() as connection:
                for sql, rows in notes:
                    connection.executemany(sql, rows)

    def _try_counting(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]:
        counts = Counter(key_ids)
        with self._transaction(len(counts) > 1) as connection:
            totals = {key: _row(connection.execute, key, now, more) for key, more in counts.items()}
        return _numbered(key_ids, totals)

    @contextmanager
    def _transaction(self, several: bool = True) -> Iterator[sqlite3.Connection]:
        """Raises: Busy where another process writes. several: False for one statement, which is a transaction by itself."""
        with self._count_lock:
            try:
                if several:
                    self._counting.execute("BEGIN IMMEDIATE")
                yield self._counting
                if several:
                    self._counting.execute("COMMIT")
            except BaseException as error:
                if self._counting.in_transaction:
                    self._counting.execute("ROLLBACK")
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
        for connection in (self._reading, self._counting, self._tidying):
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


def _row(run: Callable[..., sqlite3.Cursor], key: str, now: int, more: int) -> tuple[int, int]:
    n, start = run(COUNT, {"key": key, "now": now, "more": more}).fetchall()[0]
    return n, start


def _numbered(key_ids: Sequence[str], totals: Mapping[str, tuple[int, int]]) -> list[tuple[int, int]]:
    """Each request's own number, where several of one key were counted at once: the first to come has the lowest."""
    left = Counter(key_ids)
    numbers = []
    for key in key_ids:
        left[key] -= 1
        n, start = totals[key]
        numbers.append((n - left[key], start))
    return numbers


class SharedBook:
    """On PostgreSQL, through the engine's pool; in threads, for each statement travels."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._find, self._count = sa.text(FIND), sa.text(COUNT)

    def find(self, lookup: bytes) -> Mapping[str, Any] | None:
        with self._engine.connect() as connection:
            row = connection.execute(self._find, {"lookup": lookup}).mappings().first()
        return None if row is None else dict(row)

    def count(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]:
        totals = {}
        with self._engine.begin() as connection:
            for key, more in sorted(
                Counter(key_ids).items()
            ):  # in one order everywhere, or two would wait for each other
                n, start = connection.execute(self._count, {"key": key, "now": now, "more": more}).one()
                totals[key] = n, start
        return _numbered(key_ids, totals)

    async def count_soon(self, key_ids: Sequence[str], now: int) -> list[tuple[int, int]]:
        return await run_in_threadpool(self.count, key_ids, now)

    def write(self, notes: Notes) -> None:
        if any(rows for _, rows in notes):
            with self._engine.begin() as connection:
                for sql, rows in notes:
                    if rows:
                        connection.execute(sa.text(sql), list(rows))

    async def write_soon(self, notes: Notes) -> None:
        await run_in_threadpool(self.write, notes)

    def tidy(self) -> None:
        """PostgreSQL does that by itself."""

    def close(self) -> None:
        """The engine is not ours."""


class Gate:
    """Lets requests in, or raises a Problem."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.book: Book = (
            SqliteBook(platform.settings.path)
            if platform.settings.embedded
            else SharedBook(platform.store.engine)
        )
        self._uses: Counter[tuple[str, int, str, str, str, str]] = Counter()
        self._last: dict[str, tuple[int, tuple[str, str, str, str]]] = {}
        self._refusals: Counter[tuple[int, str, str, str]] = Counter()
        self._lock = threading.Lock()
        self._counts = Together(self._count_these)
        self._tidied = time.monotonic()

    def recognise(self, key: str, address: str, user_agent: str, *, peek: bool = False) -> Caller:
        """The key behind a request. peek: asking is no use, so nothing about the key changes.

        Raises: Problem 401, with how the key ended only for whoever holds all of it.
        """
        now = self.platform.now()
        if not wire.well_formed(key):
            self._refuse(now, address, "", "malformed")
            raise problems.invalid_key("malformed")
        row = self.book.find(self.platform.vault.lookup(key.encode()))
        if row is None:
            self._refuse(now, address, "", "unknown")
            raise problems.invalid_key("unknown")
        state = life.state_of(row, now)
        if (state == "pending" and not peek) or (
            state in ("active", "grace") and row["confirmed_at"] is None and not peek
        ):
            row = self._first_use(row["id"], row["workspace_id"], address, user_agent)
            state = life.state_of(row, now)
        if state == "pending":
            return _caller(row)
        if state not in wire.ALIVE:
            self._refuse(now, address, row["id"], state)
            raise problems.invalid_key(state, row["ended_at"] or row["ends_at"] or row["expires_at"])
        if state == "quarantined" and not peek:
            self._contained(row, now, address, user_agent)
        return _caller(row)

    async def admit(self, key: str, visit: Visit, permission: str) -> Caller:
        """The whole way of a metered request: recognised, counted, allowed, noted down.

        Raises: Problem 401, 403, 404 for a project out of scope, 429.
        """
        caller = await self._recognised(key, visit)
        caller = self._judged(caller, visit, *await self._counts.ask(caller.id))
        try:
            caller.must(permission, visit.project or None)
        except problems.Problem as problem:
            self._refuse(self.platform.now(), visit.address, caller.id, problem.slug)
            problem.headers.update(caller.headers)
            raise
        self.note(caller, visit)
        return caller

    async def _recognised(self, key: str, visit: Visit) -> Caller:
        if self.platform.settings.embedded:
            return self.recognise(key, visit.address, visit.user_agent)
        return await run_in_threadpool(self.recognise, key, visit.address, visit.user_agent)

    async def _count_these(self, key_ids: Sequence[str]) -> list[tuple[int, int]]:
        return await self.book.count_soon(key_ids, self.platform.now())

    def count(self, caller: Caller, visit: Visit) -> Caller:
        """Counts one request against the hour's quota. Raises: Problem 429 when it is used up."""
        return self._judged(caller, visit, *self.book.count([caller.id], self.platform.now())[0])

    def _judged(self, caller: Caller, visit: Visit, n: int, start: int) -> Caller:
        now = self.platform.now()
        reset = max(1, -(-(start + HOUR - now) // 1000))
        counted = Caller(
            caller.id, caller.workspace, caller.name, caller.permissions, caller.projects, caller.limit, n, reset,
            caller.quarantined,
        )  # fmt: skip
        if n > caller.limit:
            self._refuse(now, visit.address, caller.id, "quota")
            problem = problems.limited(caller.limit, n, reset)
            problem.headers.update(counted.headers)
            raise problem
        return counted

    def note(self, caller: Caller, visit: Visit) -> None:
        """What the key was used for, to be written within a second."""
        now = self.platform.now()
        how = (visit.operation, visit.project, visit.address[:64], visit.user_agent[:200])
        with self._lock:
            self._uses[(caller.id, now // MINUTE, *how)] += 1
            self._last[caller.id] = now, how

    def _first_use(self, key_id: str, workspace: str, address: str, user_agent: str) -> Mapping[str, Any]:
        actor = Actor(f"key:{key_id}", workspace, address, user_agent)
        with self.platform.store.write() as connection:
            row = life.find(connection, workspace, key_id, lock=True)
            if life.state_of(row, self.platform.now()) in wire.ALIVE | {"pending"}:
                return life.confirm(connection, self.platform, actor, row, "use")
            return row

    def _contained(self, row: Mapping[str, Any], now: int, address: str, user_agent: str) -> None:
        """A quarantined key goes on for those that it names, and for nobody else."""
        terms = json.loads(row["quarantine"])
        until = terms.get("until")
        if until is not None and now >= until:
            return
        for known in terms.get("allow", ()):
            if known["address"] == address and known["user_agent"] == user_agent[:200]:
                return
        self._refuse(now, address, row["id"], "quarantined")
        raise problems.forbidden(
            "This key is in quarantine: it may have leaked. Ask whoever owns it for its successor.",
            "key-quarantined",
        )

    def _refuse(self, now: int, address: str, key_id: str, reason: str) -> None:
        with self._lock:
            self._refusals[now // MINUTE, address[:64], key_id, reason] += 1

    def flush(self) -> None:
        """Writes what was gathered. What can't be written now is kept for the next time."""
        gathered = self._taken()
        try:
            self.book.write(_notes(gathered))
        except Exception:
            self._put_back(gathered)
            raise

    async def flush_soon(self) -> None:
        """As `flush`, each second. On the embedded database in the loop: a thread would hold the write lock while it waits for its turn."""
        gathered = self._taken()
        try:
            await self.book.write_soon(_notes(gathered))
        except Exception:
            self._put_back(gathered)
            raise
        if time.monotonic() - self._tidied > TIDYING:
            self._tidied = time.monotonic()
            await run_in_threadpool(self.book.tidy)

    def _taken(self) -> Gathered:
        with self._lock:
            gathered = Gathered(self._uses, self._last, self._refusals)
            self._uses, self._last, self._refusals = Counter(), {}, Counter()
        return gathered

    def _put_back(self, gathered: Gathered) -> None:
        with self._lock:
            if len(self._uses) + len(gathered.uses) + len(gathered.refusals) < MOST_KEPT:
                self._uses.update(gathered.uses)
                self._refusals.update(gathered.refusals)
                self._last = {**gathered.last, **self._last}

    def close(self) -> None:
        self.flush()
        self.book.close()


def _caller(row: Mapping[str, Any]) -> Caller:
    permissions = frozenset(row["permissions"].split())
    if row["quarantine"]:
        permissions -= frozenset(json.loads(row["quarantine"]).get("drop_permissions", ()))
    scope: str = row["scope"]
    return Caller(
        row["id"], row["workspace_id"], row["name"], permissions, None if scope == "all" else frozenset(scope.split()),
        row["hourly_limit"], quarantined=row["quarantine"] is not None,
    )  # fmt: skip


def _told(how: tuple[str, str, str, str]) -> str:
    operation, project, address, agent = how
    return json.dumps({"address": address, "user_agent": agent, "operation": operation, "project": project})
