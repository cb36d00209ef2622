"""`/api/v1/audit`: the audit trail, and the proof that nobody touched it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fluxguard import wire
from fluxguard.server import problems, trail
from fluxguard.server.asking import Platforms, Principal, Principals

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


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
    """Records in their order, behind number `after`."""
    _must_see_all(who)
    if not 1 <= limit <= 1000:
        raise problems.invalid("limit lies between 1 and 1,000.", "/limit")
    with platform.store.read() as connection:
        found = trail.records(
            connection,
            who.actor.workspace,
            target=key,
            actor=actor,
            action=type,
            after=max(0, after),
            limit=limit,
        )
        return [{**record, "at": wire.to_text(record["at"])} for record in found]


@router.get("/verify")
def verify(platform: Platforms, who: Principals) -> dict[str, Any]:
    """Recomputes the chain. The head, kept elsewhere, shows later whether the end was cut off."""
    _must_see_all(who)
    with platform.store.read() as connection:
        verdict = trail.verify(connection, platform.vault)
    return {
        "intact": verdict.broken_at is None, "records": verdict.records, "broken_at": verdict.broken_at, "head": verdict.head,
    }  # fmt: skip


def _must_see_all(who: Principal) -> None:
    if who.caller is not None:
        who.caller.must("manage_keys")
        if who.projects is not None:
            raise problems.forbidden("The audit trail is for keys of all projects.")
