"""For machines: `/healthz`, `/readyz`, and `/api/v1/self`, which tells a key about itself and is no use of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from fluxguard.server import chores, life, migrate, problems, trouble
from fluxguard.server.asking import Gates, Platforms, address_of, bearer
from fluxguard.server.door import Door
from fluxguard.server.platform import Platform

router = APIRouter(tags=["machines"], route_class=Door)
FRESH = 2.0  # seconds for which an answer holds: whoever asks more often makes nobody write more often


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def ready(request: Request, platform: Platforms) -> dict[str, str]:
    """The database can be read and written, and has the layout of this program."""
    known: Readiness | None = getattr(request.app.state, "readiness", None)
    if known is None or time.monotonic() - known.at > FRESH:
        known = request.app.state.readiness = Readiness(time.monotonic(), _why_not(platform))
    if known.why:
        raise problems.Problem(503, "not-ready", "Not ready", known.why, headers={"Retry-After": "5"})
    return {"status": "ready"}


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found, and when (`time.monotonic`). why: a sentence where the platform is not ready."""

    at: float
    why: str


def _why_not(platform: Platform) -> str:
    """A row is really written: a full disk and a read-only one let themselves be read."""
    try:
        with platform.store.read() as connection:
            fits = migrate.current(connection) == migrate.newest()
        if fits:
            chores.touch(platform, "ready")
    except Exception as error:
        problem = trouble.told(error)
        return problem.detail if problem else "The database is not ready."
    return "" if fits else "The database has another layout than this program needs."


@router.get("/api/v1/self")
async def self(request: Request, platform: Platforms, gate: Gates) -> dict[str, Any]:
    """What the key is that asks."""
    caller = await gate.recognise(bearer(request), address_of(request))
    row = await life.seen(platform, caller.workspace, caller.id)
    return life.view(row, platform.now()).to_json()
