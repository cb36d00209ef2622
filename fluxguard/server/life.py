"""A key's life: made, changed, used for the first time, rotated, regenerated, quarantined, ended.

Each function works in the transaction that it is given and writes its record of the audit trail there. What state a key is in
is computed from what is stored and the clock: expiry, a rotation's deadline and a lapse need nobody to do anything. A clock that is set
back brings back no key that somebody ended; a deadline follows the clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.secret import Secret, veiled
from fluxguard.server import mint, problems, trail
from fluxguard.server.platform import Platform
from fluxguard.server.settings import MINUTE
from fluxguard.server.store import insert, run
from fluxguard.server.tables import keys, projects, windows
from fluxguard.server.trail import Actor
from fluxguard.wire import ALIVE, Key

Row = Mapping[str, Any]
ENDED = frozenset({"revoked", "regenerated", "deleted", "lapsed"})
LONGEST_OVERLAP = 30 * wire.DAY
VIEWED = (
    "id", "workspace_id", "name", "description", "environment", "masked", "fingerprint", "permissions", "scope", "state",
    "hourly_limit", "version", "created_by", "created_at", "expires_at", "confirmed_at", "pending_until", "ends_at",
    "predecessor_id", "successor_id", "quarantine", "last_used_at", "last_used",
)  # fmt: skip
VIEW = f"SELECT {', '.join(VIEWED)} FROM keys WHERE id = :id AND workspace_id = :workspace"  # noqa: S608
COLUMNS = tuple(column.name for column in keys.columns)
FIND = f"SELECT {', '.join(COLUMNS)} FROM keys WHERE id = :id AND workspace_id = :workspace"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new key shall be. projects: ids, or None for all. expires_at: milliseconds, or None."""

    name: str
    environment: str
    permissions: tuple[str, ...]
    projects: tuple[str, ...] | None
    expires_at: int | None
    description: str = ""
    hourly_limit: int = 1000


def state_of(row: Row, now: int) -> str:
    """One of wire.STATES."""
    stored: str = row["state"]
    if stored in ENDED:
        return stored
    if row["ends_at"] is not None and now >= row["ends_at"]:
        return "revoked"
    if row["expires_at"] is not None and now >= row["expires_at"]:
        return "expired"
    if row["confirmed_at"] is None and row["pending_until"] is not None and now >= row["pending_until"]:
        return "lapsed"
    if stored == "pending":
        return "pending"
    if row["quarantine"] is not None:
        return "quarantined"
    return "grace" if row["ends_at"] is not None else "active"


def shown(row: Row, now: int) -> str:
    """A row as others may see it, as JSON. What a quarantine names may be long, and is not kept."""
    values, state = tuple(row[name] for name in VIEWED), state_of(row, now)
    return _rendered_before(values, state) if row["quarantine"] is None else _rendered(values, state)


def _rendered(values: tuple[Any, ...], state: str) -> str:
    key = _seen(dict(zip(VIEWED, values, strict=True)), state)
    return json.dumps(key.to_json(), ensure_ascii=False, separators=(",", ":"))


_rendered_before = lru_cache(2048)(_rendered)  # the same row is the same text


def view(row: Row, now: int) -> Key:
    """A row as others may see it."""
    return _seen(row, state_of(row, now))


def _seen(row: Row, state: str) -> Key:
    scope: str = row["scope"]
    return Key(
        id=row["id"], name=row["name"], masked=row["masked"], environment=row["environment"],
        permissions=tuple(row["permissions"].split()), projects=None if scope == "all" else tuple(scope.split()),
        state=state, created_at=row["created_at"], description=row["description"],
        created_by=row["created_by"], expires_at=row["expires_at"], last_used_at=row["last_used_at"],
        last_used=json.loads(row["last_used"] or "{}"), confirmed_at=row["confirmed_at"], grace_until=row["ends_at"],
        pending_until=row["pending_until"], predecessor_id=row["predecessor_id"], successor_id=row["successor_id"],
        quarantine=json.loads(row["quarantine"]) if row["quarantine"] else None, hourly_limit=row["hourly_limit"],
        fingerprint=row["fingerprint"], version=row["version"],
    )  # fmt: skip


def find(connection: Connection, workspace: str, key_id: str, lock: bool = False) -> Row:
    """A key of the workspace. Raises: Problem 404. lock: nobody else changes it until the transaction ends."""
    alone = (
        " FOR UPDATE" if lock and connection.dialect.name != "sqlite" else ""
    )  # SQLite has one writer anyway
    rows = run(connection, FIND + alone, id=key_id, workspace=workspace)
    if not rows:
        raise problems.not_found()
    return dict(zip(COLUMNS, rows[0], strict=True))


async def seen(platform: Platform, workspace: str, key_id: str) -> Row:
    """As much of a key of the workspace as `view` shows, on the event loop. Raises: Problem 404."""
    rows = await platform.store.select_soon(VIEW, id=key_id, workspace=workspace)
    if not rows:
        raise problems.not_found()
    return dict(zip(VIEWED, rows[0], strict=True))


def create(
    connection: Connection, platform: Platform, actor: Actor, wish: Wish, *, action: str = "key.created",
    pending_until: int | None = None, pending: bool = False, predecessor: str | None = None, overlap: int | None = None,
) -> tuple[Row, str]:  # fmt: skip
    """Makes a key. Returns its row, and the key in clear, which is kept nowhere.

    Raises: Problem 422 for a wish that can't be.
    """
    now = platform.now()
    _check(connection, actor.workspace, wish)
    secret = mint.key(wish.environment)
    shown = Secret(secret.encode())
    row: dict[str, Any] = {
        "id": mint.identifier("key"), "workspace_id": actor.workspace, "name": wish.name, "description": wish.description,
        "environment": wish.environment, "masked": shown.masked, "lookup": platform.vault.lookup(secret.encode()),
        "fingerprint": shown.fingerprint, "seal": wire.seal_digest(secret),
        "permissions": " ".join(name for name in wire.PERMISSIONS if name in wish.permissions),
        "scope": "all" if wish.projects is None else " ".join(wish.projects), "state": "pending" if pending else "active",
        "hourly_limit": wish.hourly_limit, "version": 1, "created_by": actor.name, "created_at": now,
        "expires_at": wish.expires_at, "confirmed_at": None, "pending_until": pending_until, "ends_at": None,
        "ended_at": None, "end_reason": None, "predecessor_id": predecessor, "successor_id": None, "overlap": overlap,
        "quarantine": None, "last_used_at": None, "last_used": None,
    }  # fmt: skip
    insert(connection, keys, row)
    if predecessor:
        _carry_over(connection, platform, predecessor, row["id"])
    detail = {
        "name": wish.name, "environment": wish.environment, "masked": row["masked"], "scope": row["scope"],
        "permissions": row["permissions"], "expires_at": wire.to_text(wish.expires_at),
    }  # fmt: skip
    if predecessor:
        detail["predecessor"] = predecessor
    trail.record(connection, platform.vault, now, actor, action, row["id"], detail)
    return row, secret


def _carry_over(connection: Connection, platform: Platform, old: str, new: str) -> None:
    """A successor begins with the quota that its predecessor has used: a new key is no fresh hour."""
    used = sa.select(windows.c.n, windows.c.start).where(windows.c.key_id == old)
    count = _tallied(connection, platform, old) or connection.execute(used).first()
    if count is not None:
        connection.execute(windows.insert().values(key_id=new, n=count[0], start=count[1]))


def _tallied(connection: Connection, platform: Platform, key_id: str) -> tuple[int, int] | None:
    if not platform.settings.embedded:
        return None
    number = connection.execute(sa.text("SELECT rowid FROM keys WHERE id = :id"), {"id": key_id}).scalar_one()
    return platform.store.tally.read(number, key_id)


def _check(connection: Connection, workspace: str, wish: Wish) -> None:
    if not wish.name.strip() or len(wish.name) > 100 or not wish.name.isprintable():
        raise problems.invalid("A name has 1 to 100 characters, on one line.", "/name")
    if len(wish.description) > 1000 or "\0" in wish.description:
        raise problems.invalid("A description has at most 1,000 characters, and no NUL.", "/description")
    for text, pointer in ((wish.name, "/name"), (wish.description, "/description")):
        problems.must_hold_no_key(text, pointer)
    if wish.environment not in wire.ENVIRONMENTS:
        raise problems.invalid("The environment is dev, stg, prod or ci.", "/environment")
    if not wish.permissions or not set(wish.permissions) <= set(wire.PERMISSIONS):
        raise problems.invalid(
            f"Permissions are one or more of: {', '.join(wire.PERMISSIONS)}.", "/permissions"
        )
    if not 1 <= wish.hourly_limit <= 1_000_000:
        raise problems.invalid("A limit lies between 1 and 1,000,000 requests an hour.", "/hourly_limit")
    if wish.projects is None:
        return
    if not wish.projects:
        raise problems.invalid('The scope is "all", or at least one project.', "/scope")
    known = sa.select(projects.c.id).where(
        projects.c.workspace_id == workspace, projects.c.id.in_(wish.projects)
    )
    if len(connection.execute(known).all()) != len(set(wish.projects)):
        raise problems.invalid("The scope names a project that does not exist.", "/scope")


def _changed(connection: Connection, row: Row, **values: Any) -> Row:
    changes = {**values, "version": row["version"] + 1}
    run(connection, _updating(tuple(changes)), id=row["id"], **changes)
    return {**row, **changes}


@lru_cache(64)
def _updating(names: tuple[str, ...]) -> str:
    return f"UPDATE keys SET {', '.join(f'{name} = :{name}' for name in names)} WHERE id = :id"  # noqa: S608


def _must_live(row: Row, now: int, doing: str) -> None:
    state = state_of(row, now)
    if state not in ALIVE:
        raise problems.conflict("key-not-active", f"This key is {state}; it can't be {doing}.", state=state)


def update(
    connection: Connection, platform: Platform, actor: Actor, row: Row, changes: Mapping[str, Any]
) -> Row:
    """Changes name, description, scope, permissions, expiry, hourly_limit. changes: as columns of the table have them."""
    now = platform.now()
    state = state_of(row, now)
    if state not in ALIVE and state != "pending":
        raise problems.conflict("key-not-active", f"This key is {state}; it can't be changed.", state=state)
    wanted = {**row, **changes}
    scope = wanted["scope"]
    _check(connection, actor.workspace, Wish(
        name=wanted["name"], environment=row["environment"], permissions=tuple(wanted["permissions"].split()),
        projects=None if scope == "all" else tuple(scope.split()), expires_at=wanted["expires_at"],
        description=wanted["description"], hourly_limit=wanted["hourly_limit"],
    ))  # fmt: skip
    differing = {name: value for name, value in changes.items() if row[name] != value}
    if not differing:
        return row
    shown = {name: [_shown(name, row[name]), _shown(name, value)] for name, value in differing.items()}
    trail.record(connection, platform.vault, now, actor, "key.updated", row["id"], shown)
    return _changed(connection, row, **differing)


def _shown(name: str, value: Any) -> Any:
    return wire.to_text(value) if name.endswith("_at") else value


def confirm(connection: Connection, platform: Platform, actor: Actor, row: Row, how: str) -> Row:
    """The key has arrived: a pending one becomes active, and its predecessor gets its deadline. how: `use`, `proof` or `said`.

    The predecessor ends after the overlap, and never later than its own expiry.
    """
    now = platform.now()
    state = state_of(row, now)
    if row["confirmed_at"] is not None:
        return row
    if state not in ALIVE and state != "pending":
        raise problems.conflict(
            "confirmation-expired", f"This key is {state}; it can't be confirmed any more.", state=state
        )
    trail.record(connection, platform.vault, now, actor, "key.confirmed", row["id"], {"how": how})
    if row["predecessor_id"] and row["state"] == "pending":
        old = find(connection, row["workspace_id"], row["predecessor_id"], lock=True)
        if state_of(old, now) in ALIVE:
            ends = now + (row["overlap"] or 0)
            ends = min(
                ends, *(moment for moment in (old["expires_at"], old["ends_at"]) if moment is not None), ends
            )
            _changed(connection, old, ends_at=ends)
            detail = {"successor": row["id"], "until": wire.to_text(ends)}
            trail.record(connection, platform.vault, now, actor, "key.grace", old["id"], detail)
    return _changed(connection, row, state="active", confirmed_at=now)


def rotate(
    connection: Connection, platform: Platform, actor: Actor, row: Row, *, overlap: int, pending_ttl: int,
    expires_at: int | None,
) -> tuple[Row, str, Row]:  # fmt: skip
    """Makes a successor, pending until first used or confirmed; the old key stays good until then, and for the overlap.

    Returns the successor's row, the key in clear, and the old key's row. Raises: Problem 409 where a rotation is under way.
    """
    now = platform.now()
    _must_live(row, now, "rotated")
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise problems.invalid("The overlap is at most 30 days.", "/overlap")
    if not 0 <= pending_ttl <= LONGEST_OVERLAP:
        raise problems.invalid("A successor waits for its first use at most 30 days.", "/pending_ttl")
    if row["successor_id"]:
        other = find(connection, row["workspace_id"], row["successor_id"])
        _must_have_no_other(other, ALIVE | {"pending"}, now)
    wish = _like(row, expires_at)
    fresh, secret = create(
        connection, platform, actor, wish, action="key.rotated", pending=True, pending_until=now + pending_ttl,
        predecessor=row["id"], overlap=overlap,
    )  # fmt: skip
    return fresh, secret, _changed(connection, row, successor_id=fresh["id"])


def _must_have_no_other(successor: Row, states: frozenset[str], now: int) -> None:
    """A key has one living successor at the most. Raises: Problem 409."""
    state = state_of(successor, now)
    if state in states:
        raise problems.conflict(
            "rotation-in-progress", "This key is being rotated already.", successor_id=successor["id"], successor_state=state,
        )  # fmt: skip


def _give_up_rotation(connection: Connection, platform: Platform, actor: Actor, row: Row) -> None:
    """A successor that nobody has confirmed lapses, for another one takes its place. Raises: Problem 409 where one lives.

    One that is being confirmed at this moment is not waited for: that waits for us.
    """
    if not row["successor_id"]:
        return
    free = " FOR UPDATE SKIP LOCKED" if connection.dialect.name != "sqlite" else ""
    rows = run(connection, FIND + free, id=row["successor_id"], workspace=row["workspace_id"])
    if not rows:
        raise problems.conflict(
            "at-the-same-time", "This key's successor is being confirmed. Look, and try again."
        )
    other = dict(zip(COLUMNS, rows[0], strict=True))
    _must_have_no_other(other, ALIVE, platform.now())
    if state_of(other, platform.now()) == "pending":
        lapse(connection, platform, actor, other, "its predecessor was regenerated")


def regenerate(connection: Connection, platform: Platform, actor: Actor, row: Row) -> tuple[Row, str]:
    """The page's Regenerate: a new key, and the old one dead in the same transaction. A rotation that is under way is given up."""
    now = platform.now()
    _must_live(row, now, "regenerated")
    _give_up_rotation(connection, platform, actor, row)
    fresh, secret = create(
        connection,
        platform,
        actor,
        _like(row, successor_expiry(row, now)),
        action="key.regenerated",
        predecessor=row["id"],
    )
    _end(
        connection,
        platform,
        actor,
        row,
        "regenerated",
        f"regenerated as {fresh['id']}",
        successor_id=fresh["id"],
    )
    return fresh, secret


def _like(row: Row, expires_at: int | None) -> Wish:
    scope = row["scope"]
    return Wish(
        name=row["name"], environment=row["environment"], permissions=tuple(row["permissions"].split()),
        projects=None if scope == "all" else tuple(scope.split()), expires_at=expires_at,
        description=row["description"], hourly_limit=row["hourly_limit"],
    )  # fmt: skip


def term(row: Row) -> int | None:
    """The time that a key was given when it was made, in whole minutes; None for one that never expires.

    Its end is reckoned from when it was asked for, which is a moment before it was made: what takes its place, and
    what it makes, would otherwise get shorter each time.
    """
    made, ends = row["created_at"], row["expires_at"]
    minutes: int | None = None if ends is None else -((made - ends) // MINUTE)
    return None if minutes is None else minutes * MINUTE


def successor_expiry(row: Row, now: int) -> int | None:
    """The expiry of a successor for which none was named: after as long a time as its predecessor was given."""
    given = term(row)
    return None if given is None else now + given


def quarantine(
    connection: Connection, platform: Platform, actor: Actor, row: Row, terms: Mapping[str, Any]
) -> Row:
    """Contains a key: only those that used it before go on, with what they did before. terms: allow, drop_permissions, until."""
    _must_live(row, platform.now(), "quarantined")
    text = json.dumps(terms, sort_keys=True)
    trail.record(connection, platform.vault, platform.now(), actor, "key.quarantined", row["id"], terms)
    return _changed(connection, row, quarantine=text)


def release(connection: Connection, platform: Platform, actor: Actor, row: Row) -> Row:
    """Ends a quarantine."""
    if row["quarantine"] is None:
        return row
    trail.record(connection, platform.vault, platform.now(), actor, "key.released", row["id"], {})
    return _changed(connection, row, quarantine=None)


def revoke(connection: Connection, platform: Platform, actor: Actor, row: Row, reason: str) -> Row:
    """Ends a key for good. Again is the same as once."""
    if row["state"] in ENDED:
        return row
    return _end(connection, platform, actor, row, "revoked", veiled(reason))


def lapse(connection: Connection, platform: Platform, actor: Actor, row: Row, reason: str) -> Row:
    """Ends a key that nobody has seen or used."""
    return _end(connection, platform, actor, row, "lapsed", reason)


def delete(connection: Connection, platform: Platform, actor: Actor, row: Row) -> Row:
    """Ends a key and takes it out of the list. Its row stays, so that a later use is recognised."""
    if row["state"] == "deleted":
        return row
    return _end(connection, platform, actor, row, "deleted", "deleted")


def _end(
    connection: Connection, platform: Platform, actor: Actor, row: Row, state: str, reason: str, **more: Any
) -> Row:  # fmt: skip
    now = platform.now()
    trail.record(
        connection,
        platform.vault,
        now,
        actor,
        f"key.{state}",
        row["id"],
        {"reason": reason, "masked": row["masked"]},
    )
    return _changed(connection, row, state=state, ended_at=row["ended_at"] or now, end_reason=reason, **more)
