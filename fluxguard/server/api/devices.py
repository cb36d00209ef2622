"""`/api/v1/devices`: what signed in for a person, seen and ended by that person, and by those who run the platform."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fluxguard.server import connected, problems
from fluxguard.server.asking import Platforms, Principal, Principals
from fluxguard.server.door import Door

router = APIRouter(prefix="/api/v1/devices", tags=["devices"], route_class=Door)


@router.get("")
def devices(platform: Platforms, who: Principals) -> list[dict[str, Any]]:
    """The devices that are connected, the newest first: one's own; owners, admins and auditors see all."""
    _must_be_a_person(who)
    with platform.store.read() as connection:
        return [device.to_json() for device in connected.listed(connection, platform, who)]


@router.delete("/{device_id}", status_code=204)
def end(device_id: str, platform: Platforms, who: Principals) -> None:
    """Ends a device: it has to sign in anew. One's own; owners and admins end any."""
    _must_be_a_person(who)
    with platform.store.write() as connection:
        connected.end(connection, platform, who, device_id)


def _must_be_a_person(who: Principal) -> None:
    if who.caller is not None:
        raise problems.forbidden("Devices sign in for people: ask with a login token, not with a key.")
