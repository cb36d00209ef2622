"""Signing in and handling keys as FluxLoop's published client (fluxloop-cli 0.4.0) does: `/api/cli-connect`, `/api/api-keys`.

The client repeats a request whose answer was lost, without an idempotency key. What it asked for the first time then lapses when it asks
again, so that no key lives on which nobody has seen; and a key that nobody ever uses lapses after some days.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import connected, life, links, listing, mint, problems, trail
from fluxguard.server.api.keys import (
    SECRET,
    latest,
    limit_of_new,
    listed,
    must_not_exceed,
    wanted_by,
)
from fluxguard.server.api.resources import PROJECT, Lenient, project_of
from fluxguard.server.asking import Platforms, Principals, address_of, agent_of, network_of
from fluxguard.server.door import Door
from fluxguard.server.platform import Platform
from fluxguard.server.tables import devices, keys
from fluxguard.server.trail import Actor

router = APIRouter(prefix="/api", tags=["published client"], route_class=Door)
CODE_TTL = 600_000  # milliseconds to approve a sign-in
INTERVAL = 2  # seconds between a client's questions
REPEAT = 60_000  # milliseconds in which the same request again is a repetition
DEFAULT = ("read_scenarios", "upload_results")
MOST_PENDING = 20  # sign-ins that one address may have under way


class NewKey(Lenient):
    project_id: str
    name: str = Field(default="cli-generated", min_length=1, max_length=100)


class Start(Lenient):
    device_name: str = Field(default="a device", max_length=100)


class Device(Lenient):
    device_code: str = Field(max_length=200)


class Refresh(Lenient):
    refresh_token: str = Field(max_length=200)


@router.post("/api-keys", status_code=201)
def create_key(body: NewKey, platform: Platforms, who: Principals) -> JSONResponse:
    """Makes a key for one project, and shows it this once."""
    who.must_manage()
    who.must_not_be_contained()
    now = platform.now()
    ends = min(
        moment for moment in (wire.expiry("90d", now), latest(who, DEFAULT, now)) if moment is not None
    )
    wish = life.Wish(
        body.name, "dev", DEFAULT, (body.project_id,), ends, hourly_limit=limit_of_new(who, None)
    )
    with platform.store.write() as connection:
        project_of(connection, who.actor.workspace, body.project_id)
        must_not_exceed(who, frozenset(DEFAULT), wish.projects)
        for earlier in _repeated(connection, who.actor, wish, now):
            life.lapse(connection, platform, who.actor, earlier, "the same request came again")
        row, secret = life.create(
            connection, platform, who.actor, wish, pending_until=now + platform.settings.unused_ttl
        )
    return JSONResponse({**life.view(row, now).to_json(), "key": secret}, 201, SECRET)


def _repeated(connection: Connection, actor: Actor, wish: life.Wish, now: int) -> list[life.Row]:
    """Keys that the same request made a moment ago, and that nobody has used."""
    query = sa.select(keys).where(
        keys.c.created_by == actor.name, keys.c.name == wish.name, keys.c.scope == " ".join(wish.projects or ()),
        keys.c.created_at > now - REPEAT, keys.c.confirmed_at.is_(None), keys.c.state == "active",
        keys.c.pending_until.is_not(None),
    )  # fmt: skip
    return [dict(row) for row in connection.execute(query).mappings()]


@router.get("/api-keys", response_model=list[dict[str, Any]])
async def list_keys(
    request: Request,
    platform: Platforms,
    who: Principals,
    project_id: str = "",
    limit: int | None = None,
    cursor: str = "",
) -> Response:
    """The keys that open something. All of them, for the published client knows no pages; who names a `limit` gets those."""
    listing.must_be_sound(listing.MOST if limit is None else limit, text=project_id)
    wanted = wanted_by(who, project=project_id, states=wire.ALIVE)
    if project_id and not await platform.store.select_soon(
        PROJECT, workspace=wanted.workspace, id=project_id
    ):
        raise problems.not_found()
    return await listed(request, platform, who, wanted, limit, cursor)


@router.post("/cli-connect/start", response_model=dict[str, Any])
def start(request: Request, platform: Platforms, body: Start | None = None) -> JSONResponse:
    """A device wants to sign in: a code for it, and one for the person."""
    now, device, address = platform.now(), mint.token(), network_of(request)
    with platform.store.write() as connection:
        mine = sa.select(sa.func.count()).where(
            devices.c.address == address, devices.c.state == "pending", devices.c.expires_at > now
        )
        if (connection.execute(mine).scalar() or 0) >= MOST_PENDING:
            raise problems.Problem(
                429, "too-many-sign-ins", "Too many sign-ins", "Too many sign-ins are under way. Wait ten minutes.",
                headers={"Retry-After": "600"},
            )  # fmt: skip
        code = mint.user_code()
        connection.execute(devices.insert().values(
            device=platform.vault.token(device.encode()), user_code=code, name=veiled(body.device_name)[:100] if body else "a device",
            state="pending", user_id=None, address=address, created_at=now, expires_at=now + CODE_TTL,
        ))  # fmt: skip
    return JSONResponse({
        "device_code": device, "user_code": code, "verification_url": f"{links.base(platform, request)}/connect?code={code}",
        "expires_in": CODE_TTL // 1000, "expires_in_sec": CODE_TTL // 1000, "interval": INTERVAL, "interval_sec": INTERVAL,
    }, headers=SECRET)  # fmt: skip


@router.post("/cli-connect/complete", response_model=dict[str, Any])
def complete(body: Device, request: Request, platform: Platforms) -> JSONResponse:
    """Whether a person has approved; then, once, the tokens."""
    now, digest = platform.now(), platform.vault.token(body.device_code.encode())
    with platform.store.write() as connection:
        row = connection.execute(sa.select(devices).where(devices.c.device == digest)).mappings().first()
        if row is None or row["state"] == "used" or now >= row["expires_at"]:
            return _said("expired")
        if row["state"] != "approved":
            return _said(row["state"])
        mine = sa.and_(devices.c.device == digest, devices.c.state == "approved")
        if not connection.execute(devices.update().where(mine).values(state="used")).rowcount:
            return _said("expired")  # the same code came twice at once: the other one has the tokens
        user = connected.locked(connection, row["user_id"])
        if user["disabled_at"] is not None:
            return _said("denied")
        actor = Actor(
            f"user:{user['id']}",
            user["workspace_id"],
            address_of(request),
            agent_of(request),
            request.state.request_id,
        )
        credential = connected.connect(connection, platform, user, row["name"], actor)
        return _said("approved", credential=credential)


def _said(status: str, **more: Any) -> JSONResponse:
    return JSONResponse({"status": status, **more}, headers=SECRET)


@router.post("/cli-connect/refresh", response_model=dict[str, Any])
def refresh(body: Refresh, platform: Platforms) -> JSONResponse:
    """New tokens for old ones, which then are dead."""
    with platform.store.write() as connection:
        credential = connected.renew(connection, platform, body.refresh_token)
    return JSONResponse({"credential": credential}, headers=SECRET)


def approve(
    connection: Connection, platform: Platform, actor: Actor, user_id: str, code: str, allowed: bool
) -> bool:
    """A person's word on a sign-in. Returns whether there was one under way by this code."""
    now = platform.now()
    pending = sa.and_(
        devices.c.user_code == code.strip().upper(), devices.c.state == "pending", devices.c.expires_at > now
    )
    row = connection.execute(sa.select(devices).where(pending)).mappings().first()
    if row is None:
        return False
    state = "approved" if allowed else "denied"
    done = devices.update().where(pending).values(state=state, user_id=user_id if allowed else None)
    if not connection.execute(done).rowcount:
        return False
    trail.record(connection, platform.vault, now, actor, f"device.{state}", user_id, {"device": row["name"]})
    return True
