"""`/api/v1/audit`: the audit trail, and the proof that nobody touched it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fluxguard import wire
from fluxguard.server import problems, trail, watch
from fluxguard.server.asking import Platforms, Principal, Principals
from fluxguard.server.door import Door

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=Door)


@router.get("")
def records(
    platform: Platforms,
    who: Principals,
    key: str = "",
    actor: str = "",
    type: str = "",
    after: int = 0,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Records in their order, behind number `after`. `proved`: whether it is as it was written."""
    _must_see_all(who)
    if not 1 <= limit <= 1000:
        raise problems.invalid("limit lies between 1 and 1,000.", "/limit")
    with platform.store.read() as connection:
        found = trail.records(
            connection,
            platform.vault,
            who.actor.workspace,
            target=key,
            actor=actor,
            action=type,
            after=max(0, after),
            limit=limit,
        )
    return [{**record, "at": wire.to_text(record["at"])} for record in found]


@router.get("/verify")
def verify(platform: Platforms, who: Principals, full: bool = False) -> dict[str, Any]:
    """Whether the chain is as it was written. Its end is recomputed now, and the rest again and again: `whole` says when it last was.

    `full=true` recomputes all of it now. The head, kept elsewhere, shows later whether the end was cut off.
    """
    _must_see_all(who)
    with platform.store.read() as connection:
        look = watch.whole(connection, platform) if full else watch.look(connection, platform)
    return {
        "intact": look.broken_at is None, "records": look.verdict.place.seq, "broken_at": look.broken_at,
        "head": look.verdict.head, "checked_from": look.checked_from, "whole": wire.to_text(look.whole_at),
    }  # fmt: skip


def _must_see_all(who: Principal) -> None:
    if who.caller is not None:
        who.caller.must("manage_keys")
        if who.projects is not None:
            raise problems.forbidden("The audit trail is for keys of all projects.")
