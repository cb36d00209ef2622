"""Accounts: who may sign in, with which password, and the sessions that come of it.

Passwords are kept as argon2id with the library's parameters (RFC 9106, low memory). Who is unknown costs as long as who is known.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.engine import Connection

from fluxguard.errors import UsageError
from fluxguard.server import mint, trail
from fluxguard.server.limits import COUNT
from fluxguard.server.platform import Platform
from fluxguard.server.tables import attempts, sessions, tokens, users, workspaces
from fluxguard.server.trail import Actor

ROLES = ("owner", "admin", "member", "auditor")
SHORTEST = 12  # characters of a password
TRIES = 10  # wrong passwords for one name, or from one address, in
TRY_WINDOW = 15 * 60_000  # milliseconds
_EMAIL = re.compile(r"[^@\s<>\"]{1,64}@[^@\s<>\"]{1,255}\Z")


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobody() -> str:
    return _hasher().hash(secrets.token_hex(16))


def check_email(text: str) -> str:
    """The address as it is kept. Raises: UsageError."""
    email = text.strip().lower()
    if not _EMAIL.match(email):
        raise UsageError("This is no e-mail address.", "Write it as name@example.org.")
    return email


def check_password(text: str) -> str:
    if len(text) < SHORTEST:
        raise UsageError(f"The password is too short: it takes {SHORTEST} characters or more.")
    if len(text) > 1000:
        raise UsageError("The password is too long: it takes at most 1,000 characters.")
    return text


def has_owner(connection: Connection) -> bool:
    return connection.execute(sa.select(users.c.id).limit(1)).first() is not None


def found(
    connection: Connection, platform: Platform, email: str, password: str, workspace: str = "Workspace"
) -> Actor:
    """The first account, with its workspace. Raises: UsageError where there is an owner already."""
    email, password = check_email(email), check_password(password)
    if has_owner(connection):
        raise UsageError("This platform has an owner already.", "Sign in, or name another database.")
    workspace_id = mint.identifier("wsp")
    connection.execute(workspaces.insert().values(id=workspace_id, name=workspace, created_at=platform.now()))
    system = Actor("system", workspace_id)
    user_id = add(connection, platform, system, email, password, "owner")
    return Actor(f"user:{user_id}", workspace_id)


def add(
    connection: Connection, platform: Platform, actor: Actor, email: str, password: str, role: str
) -> str:
    """A further account in the actor's workspace; returns its id."""
    user_id = mint.identifier("usr")
    connection.execute(users.insert().values(
        id=user_id, workspace_id=actor.workspace, email=check_email(email), password=_hasher().hash(check_password(password)),
        role=role, created_at=platform.now(),
    ))  # fmt: skip
    trail.record(connection, platform.vault, platform.now(), actor, "user.created", user_id, {"role": role})
    return user_id


def names(connection: Connection, workspace: str) -> dict[str, str]:
    """E-mail addresses by the names that actors have in the audit trail."""
    query = sa.select(users.c.id, users.c.email).where(users.c.workspace_id == workspace)
    return {f"user:{row.id}": row.email for row in connection.execute(query)}


def workspace_of_owner(connection: Connection) -> str:
    """The workspace. Raises: UsageError on a platform that has no owner."""
    found = connection.execute(
        sa.select(users.c.workspace_id).where(users.c.role == "owner").limit(1)
    ).scalar()
    if found is None:
        raise UsageError(
            "This platform has no owner yet.", "Run: fluxguard serve init --owner you@example.org"
        )
    return str(found)


def listed(connection: Connection, workspace: str) -> list[dict[str, object]]:
    query = sa.select(users).where(users.c.workspace_id == workspace).order_by(users.c.email)
    return [
        {"id": row.id, "email": row.email, "role": row.role, "disabled": row.disabled_at is not None}
        for row in connection.execute(query)
    ]


def change(
    connection: Connection, platform: Platform, actor: Actor, email: str, what: str, password: str
) -> None:
    """`disable`, `enable` or `password`. Sessions and login tokens of the account end with it. Raises: UsageError."""
    user = by_email(connection, email)
    if user is None:
        raise UsageError("There is no account of that e-mail address.", "See: fluxguard serve user list")
    now = platform.now()
    owners = sa.select(sa.func.count()).where(users.c.role == "owner", users.c.disabled_at.is_(None))
    if what == "disable" and user["role"] == "owner" and (connection.execute(owners).scalar() or 0) < 2:
        raise UsageError(
            "This is the last owner.", "Add another one first: fluxguard serve user add --role owner"
        )
    ways: dict[str, dict[str, Any]] = {
        "disable": {"disabled_at": now}, "enable": {"disabled_at": None},
        "password": {"password": _hasher().hash(check_password(password)) if what == "password" else ""},
    }  # fmt: skip
    connection.execute(users.update().where(users.c.id == user["id"]).values(**ways[what]))
    connection.execute(sessions.delete().where(sessions.c.user_id == user["id"]))
    connection.execute(
        tokens.update()
        .where(tokens.c.user_id == user["id"], tokens.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    forget_tries(connection, platform, (f"email:{user['email']}",))
    trail.record(connection, platform.vault, now, actor, f"user.{what}", user["id"])


def password_fits(row: Mapping[str, Any] | None, password: str) -> bool:
    """Whether the password is this account's. Takes as long for no account at all."""
    nobody = _nobody()  # made at the first try, whoever's that is
    try:
        fits = _hasher().verify(row["password"] if row else nobody, password)
    except (VerificationError, InvalidHashError):
        return False
    return fits and row is not None and row["disabled_at"] is None


def is_as_it_was(connection: Connection, user: Mapping[str, Any]) -> bool:
    """Whether nobody disabled the account or gave it another password while one was looked at. Nobody does until the transaction ends."""
    query = sa.select(users.c.password, users.c.disabled_at).where(users.c.id == user["id"]).with_for_update()
    now = connection.execute(query).one()
    return bool(now.password == user["password"] and now.disabled_at is None)


def by_email(connection: Connection, email: str) -> Mapping[str, Any] | None:
    row = (
        connection.execute(sa.select(users).where(users.c.email == email.strip().lower())).mappings().first()
    )
    return dict(row) if row else None


def may_try(connection: Connection, platform: Platform, names: tuple[str, ...]) -> bool:
    """Counts one try for each name (`browser:…`, `email:…`, `address:…`), and says whether all of them have tries left."""
    now, allowed = platform.now(), True
    for what in sorted(_counted(platform, name) for name in names):
        n, _ = connection.execute(COUNT, {"what": what, "now": now, "window": TRY_WINDOW}).one()
        allowed = allowed and n <= TRIES
    return allowed


def forget_tries(connection: Connection, platform: Platform, names: tuple[str, ...]) -> None:
    """After a sign-in that worked: all tries of the browser or for the account, and one, this one, for where it came from.

    Whoever has an account gets no fresh tries for other people's by it.
    """
    for name in names:
        mine = attempts.c.what == _counted(platform, name)
        if name.startswith("address:"):
            connection.execute(attempts.update().where(mine).values(n=attempts.c.n - 1))
        else:
            connection.execute(attempts.delete().where(mine))


def _counted(platform: Platform, name: str) -> str:
    """As it is kept: what was typed for an e-mail address may be anything, even a key."""
    kind, _, what = name.partition(":")
    return f"{kind}:{platform.vault.token(what.encode('utf-8', 'surrogatepass')).hex()}"


def open_session(
    connection: Connection, platform: Platform, user: Mapping[str, Any], actor: Actor
) -> tuple[str, str]:
    """A new session; returns the cookie's value, which is kept nowhere, and the CSRF token."""
    now, cookie, csrf = platform.now(), mint.token(), secrets.token_hex(16)
    connection.execute(sessions.insert().values(
        token=platform.vault.token(cookie.encode()), user_id=user["id"], csrf=csrf, created_at=now, seen_at=now,
        expires_at=now + platform.settings.session_ttl, address=actor.address[:64], user_agent=actor.user_agent[:200],
    ))  # fmt: skip
    trail.record(connection, platform.vault, now, actor, "session.opened", user["id"])
    return cookie, csrf


def session_of(connection: Connection, platform: Platform, cookie: str) -> Mapping[str, Any] | None:
    """The session of a cookie with its user (`user_id`, `email`, `role`, `workspace_id`), or None where it has ended."""
    now = platform.now()
    query = (
        sa.select(sessions, users.c.email, users.c.role, users.c.workspace_id)
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.token == platform.vault.token(cookie.encode()), users.c.disabled_at.is_(None))
    )
    row = connection.execute(query).mappings().first()
    if row is None or now >= row["expires_at"] or now - row["seen_at"] >= platform.settings.session_idle:
        return None
    return dict(row)


def end_session(connection: Connection, platform: Platform, cookie: str) -> None:
    connection.execute(sessions.delete().where(sessions.c.token == platform.vault.token(cookie.encode())))
