"""For machines: `/healthz`, `/readyz`, and `/api/v1/self`, which tells a key about itself and is no use of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from fluxguard.server import life, migrate, problems
from fluxguard.server.asking import Gates, Platforms, address_of, bearer

router = APIRouter(tags=["machines"])


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def ready(platform: Platforms) -> dict[str, str]:
    """The database can be reached, and has the layout of this program."""
    try:
        with platform.store.read() as connection:
            fits = migrate.current(connection) == migrate.newest()
    except Exception:
        fits = False
    if not fits:
        raise problems.Problem(
            503, "not-ready", "Not ready", "The database is not ready.", headers={"Retry-After": "5"}
        )
    return {"status": "ready"}


@router.get("/api/v1/self")
def self(request: Request, platform: Platforms, gate: Gates) -> dict[str, Any]:
    """What the key is that asks."""
    caller = gate.recognise(bearer(request), address_of(request))
    with platform.store.read() as connection:
        row = life.find(connection, caller.workspace, caller.id)
    return life.view(row, platform.now()).to_json()
