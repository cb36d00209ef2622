"""The database: opened, brought up to date, and the transactions that everything goes through.

SQLite runs in WAL mode with `synchronous=FULL`: a change is on disk before it is acknowledged. PostgreSQL does the same by
default (`synchronous_commit=on`). https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from fluxguard.errors import FluxguardError, UsageError
from fluxguard.server import trouble
from fluxguard.server.settings import Settings
from fluxguard.server.tally import Count, Tally, Unwritable
from fluxguard.server.together import Together

if TYPE_CHECKING:
    import psycopg

    from fluxguard.server.line import Line  # imported where it is used, for it needs PostgreSQL's driver

BUSY = 15  # seconds that a writer waits for another one
PAUSE = 0.0005  # between two tries


class StoreError(FluxguardError):
    """The database can't be reached, or is not what it should be."""


class LineBroke(Exception):
    """PostgreSQL did not answer a question of the event loop, or not with rows. The text is its own first line, sqlstate its code, if any."""

    def __init__(self, text: str, sqlstate: str = "") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class LineLate(LineBroke):
    """It is silent."""


class Store:
    """One platform's database. `write()` and `read()` are the only ways in."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = _engine(settings)
        self._one_writer, self._quick_lock, self._one_tally = (threading.Lock() for _ in range(3))
        self._quick: sqlite3.Connection | None = None
        self._tally: Tally | None = None
        self._line: Line | None = None
        self._opening = Together(self._open_line)

    @property
    def embedded(self) -> bool:
        return self.settings.embedded

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that changes something: committed and on disk when the block ends, or nothing happened.

        SQLite knows one writer at a time; within a process they queue here, and not in its busy handler.
        """
        if not self.embedded:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._one_writer, self.engine.connect() as connection:
            _begin(connection)
            try:
                yield connection
            except BaseException:
                with suppress(sa.exc.OperationalError):  # on a full disk SQLite has undone it already
                    run(connection, "ROLLBACK")
                raise
            run(connection, "COMMIT")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A view of the database at one moment."""
        with self.engine.connect() as connection:
            if self.embedded:
                connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                if self.embedded:
                    connection.exec_driver_sql("ROLLBACK")

    def select(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement, for a thread, which may wait. sql: `:name` for a value."""
        if not self.embedded:
            with self.engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sa.text(sql), values)]
        pooled = self.engine.raw_connection()
        try:
            cursor = pooled.cursor()
            cursor.execute(sql, values)
            return list(cursor.fetchall())
        finally:
            pooled.close()  # back to the pool

    def _select_here(self, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._quick_lock:
            if self._quick is None:
                path = self.settings.path
                self._quick = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            return self._quick.execute(sql, values).fetchall()

    async def select_soon(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement, for the event loop: at once on the embedded database, where it takes microseconds; by a line where it travels.

        One statement sees the database at one moment. sql: `:name` for a value. On PostgreSQL also for a statement that counts.
        Raises: LineBroke, where the database does not answer.
        """
        if self.embedded:
            return self._select_here(sql, values)
        try:
            return await (await self._line_of_loop()).ask(sql, values)
        except LineLate:
            raise
        except LineBroke:
            # Cut since the last question, most likely. A request that counts twice for that errs on the strict side.
            return await (await self._line_of_loop()).ask(sql, values)

    async def _line_of_loop(self) -> Line:
        """The line of the running event loop: one that broke, or that was another loop's, is replaced."""
        line = self._line
        if line is not None and line.open and line.loop is asyncio.get_running_loop():
            return line
        return await self._opening.ask(None)

    async def _open_line(self, asked: Sequence[None]) -> list[Line]:
        """One new line for all who ask, unless those before have it already."""
        from fluxguard.server.line import Line

        line = self._line
        if line is None or not line.open or line.loop is not asyncio.get_running_loop():
            connection = await asyncio.to_thread(self._connect)
            if line is not None:
                line.close()
            line = self._line = Line(connection)
        return [line] * len(asked)

    def _connect(self) -> psycopg.Connection[Any]:
        """A connection of its own, made as the engine makes them; its counts don't wait for the disk. Raises: LineBroke."""
        import psycopg

        _, how = self.engine.dialect.create_connect_args(self.engine.url)
        try:
            connection = psycopg.connect(**how, autocommit=True)
            connection.execute("SET synchronous_commit = off")
            connection.execute("SET client_encoding = 'UTF8'")
        except psycopg.Error as error:
            raise LineBroke(str(error)) from None
        return connection

    @property
    def tally(self) -> Tally:
        """What keys have used of their quota, on the embedded database. Raises: StoreError where it can't be kept."""
        path = f"{self.settings.path}-tally"
        with self._one_tally:
            if self._tally is None:
                try:
                    self._tally = Tally(path, self._copied)
                except (OSError, Unwritable) as error:
                    raise StoreError(
                        f"Requests can't be counted in {path}: {error}",
                        "Check whose file it is, and the disk.",
                    ) from None
        return self._tally

    def _copied(self, key_id: str) -> Count | None:
        rows = self._select_here("SELECT n, start FROM windows WHERE key_id = :key", {"key": key_id})
        return (rows[0][0], rows[0][1]) if rows else None

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._tally is not None:
            self._tally.close()
        if self._quick is not None:
            self._quick.close()
        self.engine.dispose()


def run(connection: Connection, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """One statement in the transaction at hand, and its rows. sql: `:name` for a value.

    On the embedded database the driver alone does it: SQLAlchemy's part of a short statement costs ten times the statement.
    """
    if connection.dialect.name != "sqlite":
        result = connection.execute(sa.text(sql), values)
        return [tuple(row) for row in result] if result.returns_rows else []
    try:
        return _driver(connection).execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise _wrapped(error) from None


def insert(connection: Connection, table: sa.Table, row: Mapping[str, Any]) -> None:
    """One row, of which each column is named."""
    run(connection, _inserting(table.name, tuple(row)), **row)


@lru_cache(64)
def _inserting(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return driver


def _wrapped(error: sqlite3.Error) -> sa.exc.DBAPIError:
    """As SQLAlchemy would say it, without what was asked."""
    told = sa.exc.DBAPIError.instance(None, None, error, sqlite3.Error, hide_parameters=True)
    assert isinstance(told, sa.exc.DBAPIError)
    return told


def _begin(connection: Connection) -> None:
    """A transaction that writes, as soon as no other process does. SQLite's own waiting sleeps up to a tenth of a second at a time."""
    driver, end = _driver(connection), time.monotonic() + BUSY
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.Error as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise _wrapped(error) from None
            time.sleep(PAUSE)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY * 1000}")


def _engine(settings: Settings) -> Engine:
    if not settings.embedded:
        return sa.create_engine(
            settings.database, pool_size=10, max_overflow=20, pool_pre_ping=True, hide_parameters=True
        )
    _make_private(Path(settings.path))
    engine = sa.create_engine(
        settings.database, poolclass=sa.pool.QueuePool, pool_size=10, max_overflow=30, hide_parameters=True, pool_use_lifo=True,
        connect_args={"timeout": BUSY, "check_same_thread": False, "isolation_level": None},
    )  # fmt: skip
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """The folder and an empty file that nobody else may read, before SQLite opens it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise UsageError(
            f"The database can't be opened for writing at {path}: {error.strerror}.",
            "Check who owns it and the disk below it, or name another place with --database.",
        ) from None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def open_store(settings: Settings) -> Store:
    """Opens the database and brings it up to date; makes it where there is none.

    Raises: StoreError where it can't be reached, or was written by a newer fluxguard.
    """
    from fluxguard.server import migrate

    store = Store(settings)
    try:
        migrate.upgrade(store.engine)
    except sa.exc.DatabaseError as error:
        store.close()
        problem = trouble.of(error)
        if problem is not None and problem.slug.startswith("storage-") and not _no_database(error):
            raise StoreError(problem.detail) from None
        if isinstance(error, sa.exc.OperationalError):
            raise StoreError(_reason(error), "Check --database, and that the database server runs.") from None
        raise StoreError(
            "This file is no database of the platform.", "Name another one with --database."
        ) from None
    return store


def _no_database(error: sa.exc.DatabaseError) -> bool:
    """Whether SQLite finds another thing than a database there."""
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB


def _reason(error: sa.exc.OperationalError) -> str:
    """Why the database can't be reached, without the URL: it may hold a password."""
    words = str(error.orig).strip().splitlines()
    return f"The database can't be reached: {words[0] if words else 'no reason given'}"
