"""Devices that signed in for a person: their tokens, made, renewed, seen and ended.

Everything that makes or ends tokens of a person first locks that person's row, so that a device that is being renewed is not missed
by whoever ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.server import mint, problems, trail
from fluxguard.server.asking import LOGIN, Principal
from fluxguard.server.platform import Platform
from fluxguard.server.settings import HOUR
from fluxguard.server.tables import tokens, users
from fluxguard.server.trail import Actor

ACCESS_TTL = HOUR
REFRESH_TTL = 30 * wire.DAY
SEE_ALL = frozenset({"owner", "admin", "auditor"})
END_ALL = frozenset({"owner", "admin"})


@dataclass(frozen=True, slots=True)
class Device:
    """A device that is connected. renewed_at: when it last got new tokens, which a client that is used does each hour. Times in milliseconds."""

    id: str
    name: str
    user_id: str
    email: str
    address: str
    connected_at: int
    renewed_at: int
    ends_at: int

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "name": self.name, "user_id": self.user_id, "email": self.email, "address": self.address,
            "connected_at": wire.to_text(self.connected_at), "renewed_at": wire.to_text(self.renewed_at),
            "ends_at": wire.to_text(self.ends_at),
        }  # fmt: skip


def listed(connection: Connection, platform: Platform, who: Principal) -> list[Device]:
    """The devices that a person may see, the newest first: their own; all, for those who run the platform or audit it."""
    query = (
        sa.select(tokens, users.c.email)
        .join(users, users.c.id == tokens.c.user_id)
        .where(_may(who, SEE_ALL), tokens.c.ended_at.is_(None), tokens.c.refresh_expires_at > platform.now())
        .order_by(tokens.c.connected_at.desc(), tokens.c.device_id)
    )
    return [_device(row) for row in connection.execute(query).mappings()]


def end(connection: Connection, platform: Platform, who: Principal, device_id: str) -> None:
    """Ends a device: its tokens are dead. Raises: Problem 404 for one that is not there, or not theirs to end."""
    mine = sa.and_(tokens.c.device_id == device_id, tokens.c.ended_at.is_(None))
    query = (
        sa.select(tokens.c.user_id, tokens.c.device)
        .join(users, users.c.id == tokens.c.user_id)
        .where(mine, _may(who, END_ALL), tokens.c.refresh_expires_at > platform.now())
    )
    row = connection.execute(query).first()
    if row is None:
        raise problems.not_found()
    locked(connection, row.user_id)
    if connection.execute(tokens.update().where(mine).values(ended_at=platform.now())).rowcount:
        trail.record(
            connection, platform.vault, platform.now(), who.actor, "device.ended", row.user_id,
            {"device": row.device, "id": device_id},
        )  # fmt: skip


def may_end(who: Principal, device: Device) -> bool:
    """Whether `end` would end it."""
    return who.role in END_ALL or device.user_id == who.user


def _may(who: Principal, all_of_them: frozenset[str]) -> sa.ColumnElement[bool]:
    if who.role in all_of_them:
        return users.c.workspace_id == who.actor.workspace
    return users.c.id == who.user


def _device(row: Mapping[Any, Any]) -> Device:
    return Device(
        row["device_id"], row["device"], row["user_id"], row["email"], row["address"] or "", row["connected_at"],
        row["created_at"], row["refresh_expires_at"],
    )  # fmt: skip


def locked(connection: Connection, user_id: str) -> Mapping[Any, Any]:
    """The person's row, which nobody else changes until the transaction ends."""
    query = sa.select(users).where(users.c.id == user_id).with_for_update()
    return connection.execute(query).mappings().one()


def connect(
    connection: Connection, platform: Platform, user: Mapping[Any, Any], name: str, actor: Actor
) -> dict[str, Any]:
    """A device gets its first tokens. user: as `locked` gives it. actor: that person, where the device is."""
    now, device = platform.now(), mint.identifier("dev")
    detail = {"device": name, "id": device}
    trail.record(connection, platform.vault, now, actor, "device.connected", user["id"], detail)
    fields = {"device_id": device, "device": name, "connected_at": now, "address": actor.address[:64]}
    return _tokens(connection, platform, user, fields)


def renew(connection: Connection, platform: Platform, refresh: str) -> dict[str, Any]:
    """New tokens for old ones, which then are dead. Raises: Problem 401."""
    now, digest = platform.now(), platform.vault.token(refresh.encode())
    row = connection.execute(sa.select(tokens).where(tokens.c.refresh == digest)).mappings().first()
    if row is None or now >= row["refresh_expires_at"]:
        raise problems.unauthenticated()
    user = locked(connection, row["user_id"])
    mine = sa.and_(tokens.c.refresh == digest, tokens.c.ended_at.is_(None))
    if (
        user["disabled_at"] is not None
        or not connection.execute(tokens.update().where(mine).values(ended_at=now)).rowcount
    ):
        raise problems.unauthenticated()
    kept = ("device_id", "device", "connected_at", "address")
    return _tokens(connection, platform, user, {name: row[name] for name in kept})


def _tokens(
    connection: Connection, platform: Platform, user: Mapping[Any, Any], device: Mapping[str, Any]
) -> dict[str, Any]:
    now, access, fresh = platform.now(), mint.token(LOGIN), mint.token("fluxrefresh_")
    connection.execute(tokens.insert(), {
        **device, "access": platform.vault.token(access.encode()), "refresh": platform.vault.token(fresh.encode()),
        "user_id": user["id"], "created_at": now, "expires_at": now + ACCESS_TTL, "refresh_expires_at": now + REFRESH_TTL,
        "ended_at": None,
    })  # fmt: skip
    return {
        "access_token": access, "refresh_token": fresh, "expires_at": wire.to_text(now + ACCESS_TTL), "user_id": user["id"],
        "user_email": user["email"],
    }  # fmt: skip
