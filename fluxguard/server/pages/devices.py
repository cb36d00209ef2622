"""The devices that signed in for somebody, and the button that ends one."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from fluxguard.server import connected
from fluxguard.server.asking import Platforms
from fluxguard.server.pages.console import Acting, Visitors, go, render

router = APIRouter(include_in_schema=False)


@router.get("/devices")
def devices(platform: Platforms, session: Visitors, done: str = "") -> Response:
    with platform.store.read() as connection:
        found = connected.listed(connection, platform, session.who)
    return render(
        "devices.html", platform, session, here="devices", devices=found, all_of_them=session.role in connected.SEE_ALL,
        may_end={one.id for one in found if connected.may_end(session.who, one)},
        done="The device is no longer connected." if done else "",
    )  # fmt: skip


@router.post("/devices/{device_id}/end")
def end(device_id: str, platform: Platforms, session: Acting) -> Response:
    """Whoever only looks may end their own, as they may sign out."""
    with platform.store.write() as connection:
        connected.end(connection, platform, session.who, device_id)
    return go("/devices?done=1")
