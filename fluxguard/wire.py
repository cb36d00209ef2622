"""What client and server say to each other about keys: plain values, and their JSON.

Imported by both sides and by nothing of the hook. Times travel as RFC 3339 in UTC with a `Z`; inside they are whole
milliseconds since 1970.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from fluxguard.secret import checksum

ENVIRONMENTS = ("dev", "stg", "prod", "ci")

# The page's five in its order and its words, and the one that lets a key handle keys.
PERMISSIONS: Mapping[str, str] = {
    "read_scenarios": "Read scenarios",
    "upload_results": "Upload results",
    "create_scenarios": "Create scenarios",
    "delete_scenarios": "Delete scenarios",
    "manage_projects": "Manage projects",
    "manage_keys": "Manage API keys",
}

# What a metered request does, in the words of the page's usage screen.
OPERATIONS: Mapping[str, str] = {
    "pull_scenarios": "Pull scenarios",
    "upload_results": "Upload results",
    "create_scenarios": "Create scenarios",
    "delete_scenarios": "Delete scenarios",
    "manage_projects": "Manage projects",
}

EXPIRIES: Mapping[str, int] = {"30d": 30, "90d": 90, "1y": 365}  # days
DAY = 86_400_000  # milliseconds
STATES = (
    "pending",
    "active",
    "quarantined",
    "grace",
    "revoked",
    "regenerated",
    "expired",
    "lapsed",
    "deleted",
)
ALIVE = frozenset({"active", "quarantined", "grace"})

SEAL = b"fluxguard/seal/v1\0"
RANDOM = 30  # base-62 digits behind the prefix, before the checksum
FORMAT = re.compile(r"flux_(dev|stg|prod|ci)_[0-9A-Za-z]{36}\Z")
_SPAN = re.compile(r"(\d{1,5})([dwmyh])\Z")
_UNITS = {"h": DAY // 24, "d": DAY, "w": 7 * DAY, "m": 30 * DAY, "y": 365 * DAY}


class WireError(ValueError):
    """A value that does not say what it should. The text is a sentence that may be shown; it never repeats the value."""


def well_formed(key: str) -> bool:
    """Whether the key has the platform's format, and its checksum is right."""
    return FORMAT.match(key) is not None and checksum(key[:-6].encode()).decode() == key[-6:]


def seal_digest(key: str) -> bytes:
    """The 32 bytes that seal a liveness answer: known to the platform and to whoever holds the key."""
    return hashlib.sha256(SEAL + key.encode()).digest()


def to_text(moment: int | None) -> str | None:
    """Milliseconds since 1970 as RFC 3339, to the second."""
    return None if moment is None else _text(moment // 1000)


@lru_cache(4096)
def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_moment(text: str | None) -> int | None:
    """The other way. A date alone means its end in UTC: a key that expires on a day is good on that day."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) + DAY - 1000
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise WireError("this is no date; write it as 2026-12-31, or as 2026-12-31T12:00:00Z") from None
    return int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000)


def _identity(value: object) -> str:
    """Raises: ValueError where it names nothing."""
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise ValueError
    return str(value)


def to_span(text: str) -> int:
    """A length of time such as `24h`, `30d`, `2w`, `1y`, in milliseconds; `0` is none at all."""
    if text == "0":
        return 0
    match = _SPAN.match(text)
    if match is None:
        raise WireError("this is no length of time; write it as 24h, 30d, 2w or 1y")
    return int(match[1]) * _UNITS[match[2]]


def expiry(text: str, now: int) -> int | None:
    """When a key ends that is made now: `never`, `30d`, `90d`, `1y`, another length of time, or a date.

    Raises: WireError for anything else, and for a moment that has passed.
    """
    if text == "never":
        return None
    if text in EXPIRIES:
        return now + EXPIRIES[text] * DAY
    try:
        moment = now + to_span(text) if _SPAN.match(text) else to_moment(text)
    except (WireError, OverflowError):
        raise WireError(
            "expires is `never`, `30d`, `90d`, `1y`, another length such as `12h`, or a date"
        ) from None
    if moment is None or moment <= now:
        raise WireError("expires lies in the past")
    if moment > now + 100 * 365 * DAY:
        raise WireError("expires lies more than a hundred years ahead; write `never`")
    return moment


@dataclass(frozen=True, slots=True)
class Key:
    """A key as everybody may see it who may see keys at all. Times in milliseconds since 1970.

    projects: ids, or None for all projects. state: one of STATES. last_used: address, user_agent, operation, project.
    key: the secret itself, in the one answer that shows it.
    """

    id: str
    name: str
    masked: str
    environment: str
    permissions: tuple[str, ...]
    projects: tuple[str, ...] | None
    state: str
    created_at: int
    description: str = ""
    created_by: str = ""
    expires_at: int | None = None
    last_used_at: int | None = None
    last_used: Mapping[str, str] = field(default_factory=dict)
    confirmed_at: int | None = None
    grace_until: int | None = None
    pending_until: int | None = None
    predecessor_id: str | None = None
    successor_id: str | None = None
    quarantine: Mapping[str, Any] | None = None
    hourly_limit: int = 1000
    fingerprint: str = ""
    version: int = 1

    @property
    def alive(self) -> bool:
        """Whether the key opens anything."""
        return self.state in ALIVE

    def to_json(self) -> dict[str, Any]:
        """The object of the REST API."""
        return {
            "id": self.id, "name": self.name, "description": self.description, "environment": self.environment,
            "masked": self.masked, "fingerprint": self.fingerprint, "state": self.state,
            "scope": "all" if self.projects is None else {"projects": list(self.projects)},
            "permissions": list(self.permissions), "hourly_limit": self.hourly_limit,
            "created_at": to_text(self.created_at), "created_by": self.created_by,
            "expires_at": to_text(self.expires_at), "last_used_at": to_text(self.last_used_at),
            "last_used": dict(self.last_used), "confirmed_at": to_text(self.confirmed_at),
            "grace_until": to_text(self.grace_until), "pending_until": to_text(self.pending_until),
            "predecessor_id": self.predecessor_id, "successor_id": self.successor_id,
            "quarantine": None if self.quarantine is None else dict(self.quarantine), "version": self.version,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Key:
        """The value of an answer. What is missing takes its default, what is unknown is left out, for versions differ.

        Raises: WireError where it is no key at all.
        """
        try:
            scope = data.get("scope", "all")
            return cls(
                id=_identity(data["id"]),
                name=str(data.get("name") or ""),
                masked=str(data.get("masked") or "***"),
                environment=str(data.get("environment") or "unknown"),
                permissions=tuple(map(str, data.get("permissions") or ())),
                projects=None if scope == "all" else tuple(map(str, scope["projects"])),
                state=str(data.get("state") or "unknown"),
                created_at=to_moment(data.get("created_at")) or 0,
                description=str(data.get("description") or ""),
                created_by=str(data.get("created_by") or ""),
                expires_at=to_moment(data.get("expires_at")),
                last_used_at=to_moment(data.get("last_used_at")),
                last_used=dict(data.get("last_used") or {}),
                confirmed_at=to_moment(data.get("confirmed_at")),
                grace_until=to_moment(data.get("grace_until")),
                pending_until=to_moment(data.get("pending_until")),
                predecessor_id=data.get("predecessor_id"),
                successor_id=data.get("successor_id"),
                quarantine=data.get("quarantine"),
                hourly_limit=int(data.get("hourly_limit") or 1000),
                fingerprint=str(data.get("fingerprint") or ""),
                version=int(data.get("version") or 1),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise WireError("the platform's answer does not describe a key") from None
