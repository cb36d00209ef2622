"""The way of every request that carries a key: recognised, judged, counted. A few statements of SQL, and no state of its own.

What decides (state, quota) is read from and written to the database at each request, so it holds for every worker. What is only
told later (how often, from where) is gathered in memory and written each second.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fluxguard import wire
from fluxguard.server import life, problems
from fluxguard.server.platform import Platform
from fluxguard.server.settings import HOUR
from fluxguard.server.tables import keys, refusals, uses
from fluxguard.server.trail import Actor

MINUTE = 60_000
FIRST_USE = frozenset({"pending", "active", "grace"})
COLUMNS = (
    "id", "workspace_id", "name", "state", "permissions", "scope", "hourly_limit", "expires_at", "confirmed_at",
    "pending_until", "ends_at", "ended_at", "quarantine",
)  # fmt: skip
FIND = f"SELECT {', '.join(COLUMNS)} FROM keys WHERE lookup = ?"  # noqa: S608
# One row a key: the hour (in milliseconds, as settings.HOUR) begins with its first request.
COUNT = """
    INSERT INTO windows (key_id, start, n) VALUES (?, ?, 1) ON CONFLICT (key_id) DO UPDATE SET
        n = CASE WHEN excluded.start - windows.start >= 3600000 THEN 1 ELSE windows.n + 1 END,
        start = CASE WHEN excluded.start - windows.start >= 3600000 THEN excluded.start ELSE windows.start END
    RETURNING n, start
"""


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


class Book(Protocol):
    """The two statements of the hot path on one kind of database."""

    def find(self, lookup: bytes) -> Mapping[str, Any] | None: ...

    def count(self, key_id: str, now: int) -> tuple[int, int]: ...

    def close(self) -> None: ...


class SqliteBook:
    """On the embedded database: one connection for all, straight to the driver.

    `synchronous=NORMAL` is enough for a counter: a crash of the machine may forget the last requests of an hour, never a change.
    """

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._lock = threading.Lock()

    def find(self, lookup: bytes) -> Mapping[str, Any] | None:
        with self._lock:
            row = self._connection.execute(FIND, (lookup,)).fetchone()
        return None if row is None else dict(zip(COLUMNS, row, strict=True))

    def count(self, key_id: str, now: int) -> tuple[int, int]:
        with self._lock:
            n, start = self._connection.execute(COUNT, (key_id, now)).fetchone()
        return n, start

    def close(self) -> None:
        self._connection.close()


class SharedBook:
    """On PostgreSQL, through the engine's pool."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._count = sa.text(COUNT.replace("(?, ?, 1)", "(:key, :now, 1)"))

    def find(self, lookup: bytes) -> Mapping[str, Any] | None:
        query = sa.select(*(keys.c[name] for name in COLUMNS)).where(keys.c.lookup == lookup)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else dict(row)

    def count(self, key_id: str, now: int) -> tuple[int, int]:
        with self._engine.begin() as connection:
            row = connection.execute(self._count, {"key": key_id, "now": now}).one()
        return row[0], row[1]

    def close(self) -> None:
        """The engine is not ours."""


class Gate:
    """Lets requests in, or raises a Problem."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        path = platform.settings.database.removeprefix("sqlite:///")
        self.book: Book = (
            SqliteBook(path) if platform.settings.embedded else SharedBook(platform.store.engine)
        )
        self._uses: Counter[tuple[str, int, str, str, str, str]] = Counter()
        self._last: dict[str, tuple[int, tuple[str, str, str, str]]] = {}
        self._refusals: Counter[tuple[int, str, str, str]] = Counter()
        self._lock = threading.Lock()

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

    def admit(self, key: str, visit: Visit, permission: str) -> Caller:
        """The whole way of a metered request: recognised, counted, allowed, noted down.

        Raises: Problem 401, 403, 404 for a project out of scope, 429.
        """
        caller = self.count(self.recognise(key, visit.address, visit.user_agent), visit)
        try:
            caller.must(permission, visit.project or None)
        except problems.Problem as problem:
            self._refuse(self.platform.now(), visit.address, caller.id, problem.slug)
            problem.headers.update(caller.headers)
            raise
        self.note(caller, visit)
        return caller

    def count(self, caller: Caller, visit: Visit) -> Caller:
        """Counts one request against the hour's quota. Raises: Problem 429 when it is used up."""
        now = self.platform.now()
        n, start = self.book.count(caller.id, now)
        reset = max(1, -(-(start + HOUR - now) // 1000))
        counted = replace(caller, used=n, reset=reset)
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
        """Writes what was gathered. Called each second, and at the end."""
        with self._lock:
            gathered, self._uses = self._uses, Counter()
            last, self._last = self._last, {}
            refused, self._refusals = self._refusals, Counter()
        if not (gathered or refused):
            return
        with self.platform.store.write() as connection:
            insert = sqlite.insert if self.platform.settings.embedded else postgresql.insert
            for table, names, counts in (
                (uses, ("key_id", "minute", "operation", "project_id", "address", "user_agent"), gathered),
                (refusals, ("minute", "address", "key_id", "reason"), refused),
            ):
                if not counts:
                    continue
                adding = insert(table)
                adding = adding.on_conflict_do_update(
                    index_elements=[table.c[name] for name in names],
                    set_={"n": table.c.n + adding.excluded.n},
                )
                connection.execute(
                    adding, [{**dict(zip(names, what, strict=True)), "n": n} for what, n in counts.items()]
                )
            if last:
                moving = (
                    keys.update()
                    .where(keys.c.id == sa.bindparam("the_key"))
                    .values(last_used_at=sa.bindparam("moment"), last_used=sa.bindparam("how"))
                )
                connection.execute(
                    moving,
                    [{"the_key": key, "moment": at, "how": _told(how)} for key, (at, how) in last.items()],
                )

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
        row["hourly_limit"],
    )  # fmt: skip


def _told(how: tuple[str, str, str, str]) -> str:
    operation, project, address, agent = how
    return json.dumps({"address": address, "user_agent": agent, "operation": operation, "project": project})
