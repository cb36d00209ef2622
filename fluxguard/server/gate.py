"""The way of every request that carries a key: recognised, judged, counted. No state of its own; see books.py for what is asked.

What is only told later (how often, from where) is gathered in memory and written each second.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from starlette.concurrency import run_in_threadpool

from fluxguard import wire
from fluxguard.server import life, mint, problems
from fluxguard.server.books import PORTION, Gathered, Row, open_book
from fluxguard.server.platform import Platform
from fluxguard.server.settings import HOUR, MINUTE
from fluxguard.server.trail import Actor

FIRST_USE = frozenset({"pending", "active", "grace"})
MOST_KEPT = 100_000  # counts that are kept in memory while the database can't be written
TIDYING = 10.0  # seconds between checkpoints


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: from where, with what, for which operation (wire.OPERATIONS) and project ("" for none)."""

    address: str
    user_agent: str
    operation: str
    project: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was let in. limit, used, reset: its hourly quota, what is used of it, seconds until it is fresh.

    term: the time that it was given when it was made. ends: when it ends, by its expiry or a rotation. None for no end.
    """

    id: str
    workspace: str
    name: str
    permissions: frozenset[str]
    projects: frozenset[str] | None
    limit: int = 0
    used: int = 0
    reset: int = 0
    quarantined: bool = False
    term: int | None = None
    ends: int | None = None

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """The RateLimit fields of an answer (draft-ietf-httpapi-ratelimit-headers-10)."""
        left = max(0, self.limit - self.used)
        return (
            (b"ratelimit-policy", b'"key-hour";q=%d;w=3600' % self.limit),
            (b"ratelimit", b'"key-hour";r=%d;t=%d' % (left, self.reset)),
        )

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.fields}

    def must(self, permission: str, project: str | None = None) -> None:
        """Raises: Problem 403 without the permission; 404 for a project outside of the scope, as for one that is not there."""
        if permission not in self.permissions:
            raise problems.denied(
                [permission], [name for name in wire.PERMISSIONS if name in self.permissions]
            )
        if project is not None and self.projects is not None and project not in self.projects:
            raise problems.not_found()


class Gate:
    """Lets requests in, or raises a Problem."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.book = open_book(platform.store)
        self._uses: Counter[tuple[str, int, str, str, str, str]] = Counter()
        self._last: dict[str, tuple[int, tuple[str, str, str, str]]] = {}
        self._refusals: Counter[tuple[int, str, str, str]] = Counter()
        self._lock = threading.Lock()
        self._tidied = time.monotonic()

    async def recognise(self, key: str, address: str) -> Caller:
        """The key behind a request that is no use of it, so nothing about the key changes.

        Raises: Problem 401, with how the key ended only for whoever holds all of it.
        """
        row = self._known(await self.book.find(self._lookup(key)), key, address)
        if life.state_of(row, self.platform.now()) != "pending":
            self._must_live(row, address)
        return _caller(row)

    async def admit(self, key: str, visit: Visit, permission: str = "") -> Caller:
        """The whole way of a request that counts: recognised, counted, allowed, noted down. permission: what it takes, where that is known here.

        Raises: Problem 401, 403, 404 for a project out of scope, 429.
        """
        row = self._known(await self.book.find(self._lookup(key)), key, visit.address)
        if self._is_new(row):
            row = await run_in_threadpool(self._used, row, visit)
        row = self._let_in(row, visit)
        caller = self._judged(row, visit, *await self.book.count(row, self.platform.now()))
        if permission:
            self._allowed(caller, visit, permission)
        self.note(caller, visit)
        return caller

    def _allowed(self, caller: Caller, visit: Visit, permission: str) -> None:
        """Raises: Problem 403, 404."""
        try:
            caller.must(permission, visit.project or None)
        except problems.Problem as problem:
            self._refuse(self.platform.now(), visit.address, caller.id, problem.slug)
            problem.headers.update(caller.headers)
            raise

    def _lookup(self, key: str) -> bytes:
        return self.platform.vault.lookup(key.encode())

    def _known(self, row: Row | None, key: str, address: str) -> Row:
        """Raises: Problem 401 for what is no key, or no key of ours."""
        if row is None:
            reason = "unknown" if wire.well_formed(key) else "malformed"
            self._refuse(self.platform.now(), address, "", reason)
            raise problems.invalid_key(reason)
        return row

    def _is_new(self, row: Row) -> bool:
        """Whether nobody has confirmed the key yet, and this use will."""
        return row["confirmed_at"] is None and life.state_of(row, self.platform.now()) in FIRST_USE

    def _used(self, row: Row, visit: Visit) -> Row:
        """The row of a key that nobody has confirmed yet, after its first use: whoever uses it, has it."""
        actor = Actor(f"key:{row['id']}", row["workspace_id"], visit.address, visit.user_agent)
        with self.platform.store.write() as connection:
            now = life.find(connection, row["workspace_id"], row["id"], lock=True)
            if life.state_of(now, self.platform.now()) in wire.ALIVE | {"pending"}:
                now = life.confirm(connection, self.platform, actor, now, "use")
            return {**row, **now}

    def _let_in(self, row: Row, visit: Visit) -> Row:
        """Raises: Problem 401 for a key that has ended, 403 for one in quarantine that somebody else uses."""
        now = self.platform.now()
        if self._must_live(row, visit.address) == "quarantined":
            self._contained(row, now, visit.address, visit.user_agent)
        return row

    def _must_live(self, row: Row, address: str) -> str:
        """The key's state. Raises: Problem 401."""
        now = self.platform.now()
        state = life.state_of(row, now)
        if state not in wire.ALIVE:
            self._refuse(now, address, row["id"], state)
            raise problems.invalid_key(state, row["ended_at"] or row["ends_at"] or row["expires_at"])
        return state

    def _judged(self, row: Row, visit: Visit, n: int, start: int) -> Caller:
        """The caller with its quota. Raises: Problem 429 when it is used up."""
        now = self.platform.now()
        reset = max(1, -(-(start + HOUR - now) // 1000))
        caller = _caller(row, n, reset)
        if n > caller.limit:
            self._refuse(now, visit.address, caller.id, "quota")
            problem = problems.limited(caller.limit, n, reset)
            problem.headers.update(caller.headers)
            raise problem
        return caller

    def note(self, caller: Caller, visit: Visit) -> None:
        """What the key was used for, to be written within a second."""
        now = self.platform.now()
        project = visit.project if mint.is_identifier(visit.project) else ""  # anything may stand in a query
        how = (visit.operation, project, visit.address[:64], visit.user_agent[:200])
        with self._lock:
            self._uses[(caller.id, now // MINUTE, *how)] += 1
            self._last[caller.id] = now, how

    def _contained(self, row: Row, now: int, address: str, user_agent: str) -> None:
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
            self.book.write(gathered.notes())
        except Exception:
            self._put_back(gathered)
            raise

    async def flush_soon(self) -> None:
        """As `flush`, each second, a portion at a time. On the embedded database in the loop: a thread would hold the write lock while it
        waits for its turn."""
        portions = self._taken().portions(PORTION)
        while portions:
            try:
                await self.book.write_soon(portions[0].notes())
            except Exception:
                for one in portions:
                    self._put_back(one)
                raise
            portions.pop(0)
            await asyncio.sleep(0)
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


def _caller(row: Row, used: int = 0, reset: int = 0) -> Caller:
    return Caller(
        row["id"], row["workspace_id"], row["name"], _permissions(row["permissions"], row["quarantine"]),
        _projects(row["scope"]), row["hourly_limit"], used, reset, row["quarantine"] is not None, *_time(row),
    )  # fmt: skip


def _time(row: Row) -> tuple[int | None, int | None]:
    expires, ends = row["expires_at"], row["ends_at"]
    if expires is None:
        return None, ends
    return life.term(row), expires if ends is None else min(expires, ends)


@lru_cache(4096)
def _permissions(text: str, quarantine: str | None) -> frozenset[str]:
    """What a key may: what it was given, without what its quarantine takes away."""
    dropped = json.loads(quarantine).get("drop_permissions", ()) if quarantine else ()
    return frozenset(text.split()) - frozenset(dropped)


@lru_cache(4096)
def _projects(scope: str) -> frozenset[str] | None:
    return None if scope == "all" else frozenset(scope.split())
