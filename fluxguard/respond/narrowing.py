"""A new key that may less than the old one: only ever less, seen to before anything happens, and so before anybody has the new key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fluxguard import wire
from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Secret
from fluxguard.platform.api import Api
from fluxguard.platform.errors import NotOffered, PlatformError
from fluxguard.respond.choose import DEAD
from fluxguard.respond.incident import Wishes, now

MINUTE = 60_000  # milliseconds: an end is reckoned from when a key was asked for, a moment before it was made

# What a recorded use needed.
NEEDED: Mapping[str, str] = {"pull_scenarios": "read_scenarios"}


def asked_for(wishes: Wishes) -> bool:
    """Whether the new key is to have narrower rights."""
    return bool(wishes.permissions or wishes.projects or wishes.expires)


def check(api: Api, leaked: Secret, wishes: Wishes) -> None:
    """Before an incident is opened. What no platform tells of (a key that only a person can end) can't be checked.

    Raises: UsageError where more is asked for than the old key has; PlatformError where that can't be told now.
    """
    if not asked_for(wishes):
        return
    _end(wishes, api.clock)
    try:
        known = api.liveness(leaked)
    except PlatformError as error:
        if not isinstance(error, NotOffered) and error.status not in (404, 405):
            raise
        known = None
    if known is None or known["status"] in DEAD:
        return
    try:
        old = api.key(str(known["key_id"]))
    except PlatformError as error:
        if error.status == 401 and api.anonymous:
            raise UsageError(
                "There is no key to ask the platform what the leaked one may.",
                "Log in with a key that may manage keys: fluxguard auth login   (or set FLUXLOOP_API_KEY).",
            ) from None
        raise
    must_be_narrower(old, wishes, api.clock)
    if api.asks_with(leaked):
        _must_go_on(old, wishes)


def must_be_narrower(old: wire.Key, wishes: Wishes, clock: int | None) -> None:
    """Raises: UsageError where the new key would get what the old one has not."""
    if more := [name for name in wishes.permissions if name not in old.permissions]:
        raise UsageError(
            f"The leaked key may not {', '.join(more)}, and a response gives its successor no more rights.",
            f"It may: {', '.join(old.permissions)}",
        )
    if old.projects is not None and not set(wishes.projects) <= set(old.projects):
        raise UsageError(
            "The leaked key is not for all of these projects, and a response gives its successor no more of them.",
            "See: fluxguard apikeys show --key-id " + old.id,
        )
    if not wishes.expires or old.expires_at is None:
        return
    moment, ends = _now(clock), _end(wishes, clock)
    if ends is None or ends - moment > old.expires_at - old.created_at + MINUTE:
        days = max(1, round((old.expires_at - old.created_at) / wire.DAY))
        raise UsageError(
            "--expires gives the new key a longer life than the leaked one was given.",
            f"That was given {days} day{'' if days == 1 else 's'}; leave --expires out for the same again.",
        )


def _must_go_on(old: wire.Key, wishes: Wishes) -> None:
    """Where the leaked key itself asks, its successor asks on, about a key that it has to be able to see. Raises: UsageError."""
    if (wishes.permissions and "manage_keys" not in wishes.permissions) or (
        wishes.projects and set(wishes.projects) != set(old.projects or ())
    ):
        raise UsageError(
            "The leaked key is the only one here to ask the platform with, and its successor has to go on with that: it needs manage_keys, and the "
            "same projects.",
            "Log in with another key first: fluxguard auth login. Or narrow the new key afterwards: fluxguard apikeys update",
        )


def _now(clock: int | None) -> int:
    return clock or wire.to_moment(now()) or 0


def _end(wishes: Wishes, clock: int | None) -> int | None:
    """When a key ends that is made now, None for never. Raises: UsageError."""
    try:
        return wire.expiry(wishes.expires, _now(clock)) if wishes.expires else None
    except wire.WireError as error:
        raise UsageError(f"--expires: {error}.") from None


def terms(wishes: Wishes) -> dict[str, Any]:
    """What is other than the old key's, as the platform's API has it: permissions and scope."""
    found: dict[str, Any] = {}
    if wishes.permissions:
        found["permissions"] = list(wishes.permissions)
    if wishes.projects:
        found["scope"] = {"projects": list(wishes.projects)}
    return found


def narrow(api: Api, key_id: str, wishes: Wishes) -> None:
    """Takes from a new key, which nobody has yet, what it is not to have. A rotation carries everything over. Done again, it changes nothing."""
    changes = terms(wishes)
    if not changes:
        return
    key = api.update(key_id, changes)
    wide = wishes.permissions and not set(key.permissions) <= set(wishes.permissions)
    broad = wishes.projects and (key.projects is None or not set(key.projects) <= set(wishes.projects))
    if wide or broad:
        raise FluxguardError(
            "The platform did not take from the new key what it is not to have. Nobody has that key yet.",
            "Look at it: fluxguard apikeys show --key-id " + key_id,
        )


def in_words(wishes: Wishes) -> str:
    """`may only read_scenarios; for projects prj_1; ends 30d from then`, or ""."""
    parts = []
    if wishes.permissions:
        parts.append(f"may only {', '.join(wishes.permissions)}")
    if wishes.projects:
        parts.append(f"only for {', '.join(wishes.projects)}")
    if wishes.expires:
        parts.append(f"expires: {wishes.expires}")
    return "; ".join(parts)


def unused(permissions: Iterable[str], events: Iterable[Mapping[str, Any]]) -> list[str]:
    """The permissions that no recorded use needed; none where nothing was recorded, for that says nothing."""
    did = {str(one.get("operation", "")) for one in events if one.get("type") == "used"}
    return [name for name in permissions if name not in {NEEDED.get(one, one) for one in did}] if did else []


def advice(names: Iterable[str], permissions: Iterable[str]) -> str:
    """What a plan says of permissions that were never used."""
    idle = list(names)
    kept = [name for name in permissions if name not in idle]
    if not idle or not kept:
        return ""
    flags = " ".join(f"--permission {name}" for name in kept)
    return (
        f"never used, as far as the platform's record goes: {', '.join(idle)}; a new key without it: {flags}"
    )
