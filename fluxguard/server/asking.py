"""Who is asking: the key, the login token or the session behind a request, as FastAPI dependencies."""

from __future__ import annotations

import ipaddress
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import problems
from fluxguard.server.gate import Caller, Gate, Visit
from fluxguard.server.platform import Platform
from fluxguard.server.tables import tokens, users
from fluxguard.server.trail import Actor

T = TypeVar("T")
LOGIN = "fluxlogin_"  # what a login token begins with
SHORT = 64 << 10  # bytes of a body that cost nothing
MANAGERS = frozenset({"owner", "admin", "member"})


async def platform_of(
    request: Request,
) -> Platform:  # `async`, for FastAPI would send a plain function to a thread
    platform: Platform = request.app.state.platform
    return platform


async def gate_of(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


def address_of(request: Request) -> str:
    """Where a request comes from. Behind a proxy that the settings trust, uvicorn has put the client's address here."""
    return _address(request.client.host) if request.client else ""


@lru_cache(4096)
def _address(text: str) -> str:
    """An IP address, or nothing: what a proxy hands on may be anything that a stranger wrote."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def network_of(request: Request) -> str:
    """Whose tries are counted together: an IPv4 address, or the 64 bits of IPv6 that one household has as a whole."""
    return _network(address_of(request))


@lru_cache(4096)
def _network(address: str) -> str:
    if ":" not in address:
        return address
    six = ipaddress.IPv6Address(address)
    return str(six.ipv4_mapped or ipaddress.IPv6Network((int(six) >> 64 << 64, 64)))


def agent_of(request: Request) -> str:
    return _agent(request.headers.get("user-agent", "")[:1000])


@lru_cache(1024)
def _agent(text: str) -> str:
    return veiled(text)[:200]


def bearer(request: Request) -> str:
    """What stands behind `Authorization: Bearer`. Raises: Problem 401 where nothing does."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise problems.unauthenticated()
    return value.strip()


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever manages keys: a person (`role`), or a key with its permissions.

    may: names of permissions that it can hand on. projects: ids that it is confined to, or None.
    """

    actor: Actor
    role: str
    may: frozenset[str]
    projects: frozenset[str] | None = None
    caller: Caller | None = None
    user: str = ""

    def must_manage(self) -> None:
        """Raises: Problem 403 for whoever may only look, and for a key without `manage_keys`."""
        if self.caller is not None:
            self.caller.must("manage_keys")
        elif self.role not in MANAGERS:
            raise problems.forbidden("Your role lets you look, and change nothing.")

    def must_not_be_contained(self, key_id: str = "") -> None:
        """A key in quarantine makes nothing and decides about nothing but itself (key_id): it may be in the wrong hands.

        Raises: Problem 403.
        """
        if self.caller is not None and self.caller.quarantined and key_id != self.caller.id:
            raise problems.forbidden("This key is in quarantine; it can't do this.", "key-quarantined")


async def known(request: Request) -> None:
    """Nobody reads a long body of a stranger: it is taken apart before the handler asks who sends it. Raises: Problem 401."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) <= SHORT:
        return
    value = bearer(request)
    if value.startswith(LOGIN):
        platform: Platform = request.app.state.platform
        await off_loop(platform, lambda: _person(platform, value, request))
    else:
        gate: Gate = request.app.state.gate
        await gate.recognise(value, address_of(request))


Platforms = Annotated[Platform, Depends(platform_of)]
Gates = Annotated[Gate, Depends(gate_of)]


async def principal(request: Request) -> Principal:
    """The key or the login token that manages keys. A key's requests count towards its quota."""
    value = bearer(request)
    if value.startswith(LOGIN):
        platform: Platform = request.app.state.platform
        return await off_loop(platform, lambda: _person(platform, value, request))
    caller, actor = await _let_in(request, value, "manage_keys")
    return Principal(actor, "key", caller.permissions, caller.projects, caller)


async def _let_in(
    request: Request, key: str, operation: str, project: str = "", permission: str = ""
) -> tuple[Caller, Actor]:
    gate: Gate = request.app.state.gate
    visit = Visit(address_of(request), agent_of(request), operation, project)
    caller = await gate.admit(key, visit, permission)
    request.state.rate = caller.fields
    return caller, Actor(
        f"key:{caller.id}", caller.workspace, visit.address, visit.user_agent, request.state.request_id
    )


def _person(platform: Platform, value: str, request: Request) -> Principal:
    query = (
        sa.select(
            tokens.c.expires_at,
            tokens.c.ended_at,
            users.c.id,
            users.c.role,
            users.c.workspace_id,
            users.c.disabled_at,
        )
        .join(users, users.c.id == tokens.c.user_id)
        .where(tokens.c.access == platform.vault.token(value.encode()))
    )
    with platform.store.read() as connection:
        row = connection.execute(query).mappings().first()
    if row is None or row["ended_at"] or row["disabled_at"] or platform.now() >= row["expires_at"]:
        raise problems.unauthenticated()
    return person(request, row["id"], row["role"], row["workspace_id"])


def person(request: Request, user_id: str, role: str, workspace: str) -> Principal:
    """A signed-in person as a principal."""
    actor = Actor(
        f"user:{user_id}", workspace, address_of(request), agent_of(request), request.state.request_id
    )
    return Principal(actor, role, frozenset(wire.PERMISSIONS), None, None, user_id)


Principals = Annotated[Principal, Depends(principal)]


_NUMBERS = itertools.count()


def request_id() -> str:
    """A name for a request, which is no secret: random for the process, then counted."""
    return f"req_{_process()}{next(_NUMBERS):08x}"


@cache
def _process() -> str:
    return secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class Guest:
    """Whoever uses projects and scenarios: a key that was admitted, or a signed-in person. projects: ids, or None for all."""

    workspace: str
    actor: Actor
    projects: frozenset[str] | None


async def admitted(request: Request, permission: str, operation: str, project: str = "") -> Guest:
    """Lets a metered request in. A person's login token has no quota, and may what the person's role may. Raises: Problem."""
    value = bearer(request)
    if value.startswith(LOGIN):
        platform: Platform = request.app.state.platform
        who = await off_loop(platform, lambda: _person(platform, value, request))
        if permission != "read_scenarios":
            who.must_manage()
        return Guest(who.actor.workspace, who.actor, None)
    caller, actor = await _let_in(request, value, operation, project, permission)
    return Guest(caller.workspace, actor, caller.projects)


async def off_loop(platform: Platform, work: Callable[[], T], short: bool = True) -> T:
    """Work on the database: short one at once on the embedded one, where it takes microseconds; in a thread where it travels, or takes long."""
    return work() if short and platform.settings.embedded else await run_in_threadpool(work)
