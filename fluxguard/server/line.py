"""A line to PostgreSQL for the event loop: statements are prepared once and sent one behind the other, answers come in their order.

libpq's pipeline mode, straight on its socket: a question costs some twenty microseconds of the process and one way there and back, which the
questions beside it share. No thread, no pool. What it writes are counts, which a crash of the machine may forget: its commits don't wait for the
disk. https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import pq

from fluxguard.server.store import LineBroke, LineLate

LONGEST = 15.0  # seconds that an answer is waited for
TEXT, BYTES = pq.Format.TEXT, pq.Format.BINARY
Rows = list[tuple[Any, ...]]
Answer = asyncio.Future[pq.abc.PGresult]
# By the type's number in PostgreSQL's own catalogue (pg_type): int8, int2, int4, text, varchar.
READERS: Mapping[int, Callable[[bytes], Any]] = {
    20: int,
    21: int,
    23: int,
    25: bytes.decode,
    1043: bytes.decode,
}


class Line:
    """One connection, of one event loop. What is asked in one turn of the loop travels together, and is one transaction.

    It is closed by the first error and by an answer that is too late, and told apart by `open`.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        """connection: in autocommit mode, of UTF-8; this line's own from now on."""
        self.open = True
        self.loop = asyncio.get_running_loop()
        self._connection, self._pg = connection, connection.pgconn
        self._pg.enter_pipeline_mode()
        self._pg.nonblocking = 1
        self._socket = self._pg.socket
        self._prepared: dict[str, bytes] = {}
        self._asked: deque[Answer | None] = deque()  # in the order of the results; None for a preparation
        self._turns: deque[float] = deque()  # when each was sent
        self._sending = False
        self._done: list[tuple[Answer, pq.abc.PGresult]] = []  # what waits for the end of its transaction
        self.loop.add_reader(self._socket, self._read)
        self._watch = self.loop.call_later(LONGEST, self._look)

    async def ask(self, sql: str, values: Mapping[str, Any]) -> Rows:
        """The rows of one statement. sql: `:name` for a value. Raises: LineBroke."""
        numbered, names = _numbered(sql)
        sent = [_sent(values[name]) for name in names]
        formats = [BYTES if isinstance(values[name], bytes) else TEXT for name in names]
        try:
            self._prepare(sql, numbered)
            self._pg.send_query_prepared(self._prepared[sql], sent, formats, TEXT)
        except psycopg.Error as error:
            self._end(LineBroke(str(error)))
            raise LineBroke(str(error)) from None
        answer: Answer = self.loop.create_future()
        self._asked.append(answer)
        if not self._sending:
            self._sending = True
            self.loop.call_soon(self._send)
        return _rows(await answer)

    def _prepare(self, sql: str, numbered: bytes) -> None:
        if sql not in self._prepared:
            self._prepared[sql] = b"s%d" % len(self._prepared)
            self._pg.send_prepare(self._prepared[sql], numbered)
            self._asked.append(None)

    def _send(self) -> None:
        """What was asked in this turn. What the system does not take at once, goes out when it does."""
        self._sending = False
        if not self.open:
            return
        try:
            self._pg.pipeline_sync()
            self._turns.append(time.monotonic())
            if self._pg.flush():
                self.loop.add_writer(self._socket, self._send_rest)
        except psycopg.Error as error:
            self._end(LineBroke(str(error)))

    def _send_rest(self) -> None:
        try:
            if not self._pg.flush():
                self.loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._end(LineBroke(str(error)))

    def _read(self) -> None:
        try:
            self._pg.consume_input()
            while self._turns and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is not None:
                    self._take(result)
        except psycopg.Error as error:
            self._end(LineBroke(str(error)))

    def _take(self, result: pq.abc.PGresult) -> None:
        """A statement's result, or the mark that the turn's transaction is through."""
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self._turns.popleft()
            done, self._done = self._done, []
            for answer, rows in done:
                if not answer.done():  # whoever asked may have gone
                    answer.set_result(rows)
        elif result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            asked = self._asked.popleft()
            if asked is not None:
                self._done.append((asked, result))
        else:
            state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
            self._end(LineBroke(result.get_error_message(), state.decode()))

    def _look(self) -> None:
        """An answer that never comes, from a server that is gone without a word, is not waited for."""
        if self._turns and time.monotonic() - self._turns[0] > LONGEST:
            self._end(LineLate("no answer from the database"))
        elif self.open:
            self._watch = self.loop.call_later(LONGEST / 3, self._look)

    def _end(self, error: LineBroke) -> None:
        """Everybody who waits is told. Again is the same as once."""
        waiting = [*(answer for answer, _ in self._done), *(answer for answer in self._asked if answer)]
        self._done, self._asked, self._turns = [], deque(), deque()
        self.close()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(error)

    def close(self) -> None:
        """For a loop that has ended, or one whose questions were answered."""
        if not self.open:
            return
        self.open = False
        self._watch.cancel()
        if not self.loop.is_closed():
            self.loop.remove_reader(self._socket)
            self.loop.remove_writer(self._socket)
        self._connection.close()


@lru_cache(64)
def _numbered(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement with `$1` for `:name`, and the names in their order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return re.sub(r"(?<!:):([a-z]+)", number, sql).encode(), tuple(names)


def _sent(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _rows(result: pq.abc.PGresult) -> Rows:
    readers = [READERS[result.ftype(column)] for column in range(result.nfields)]
    return [
        tuple(_value(result.get_value(row, column), reader) for column, reader in enumerate(readers))
        for row in range(result.ntuples)
    ]


def _value(raw: bytes | None, reader: Callable[[bytes], Any]) -> Any:
    return None if raw is None else reader(raw)
