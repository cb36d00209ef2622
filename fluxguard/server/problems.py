"""Errors as problem details (RFC 9457), in the words of FluxLoop's page.

`detail` is one string, for the vendor's client prints it. Nothing of a request is ever repeated in one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fluxguard.secret import veiled
from fluxguard.wire import PERMISSIONS, to_text

MEDIA = "application/problem+json"


class Problem(Exception):
    """A refusal. slug: the last word of the problem's type. more: further members. headers: of the answer."""

    def __init__(
        self, status: int, slug: str, title: str, detail: str = "", *,
        headers: Mapping[str, str] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(slug)
        self.status = status
        self.slug = slug
        self.title = title
        self.detail = detail or title
        self.headers = dict(headers or {})
        self.more = more

    def to_json(self) -> dict[str, Any]:
        return {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }


CAUSES = ["Key was regenerated or deleted", "Key expired", "Typo in key value"]
INVALID_ADVICE = ["Check key in web platform", "Regenerate if needed", "Update environment variable"]
DENIED_ADVICE = ["Update key permissions in web platform", "Or create a new key with required permissions"]
LIMIT_ADVICE = ["Wait for rate limit to reset", "Contact support for higher limits"]


def unauthenticated() -> Problem:
    return Problem(
        401, "authentication-required", "Authentication required",
        "Send an API key or a login token: Authorization: Bearer ...", headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip


def invalid_key(reason: str, at: int | None = None) -> Problem:
    """reason: `malformed`, `unknown`, or, for whoever holds the whole key, how it ended; at: when, in milliseconds."""
    more: dict[str, Any] = {"reason": reason, "causes": CAUSES, "solution": INVALID_ADVICE}
    if at is not None:
        more["at"] = to_text(at)
    return Problem(
        401, "invalid-api-key", "Invalid API key", "Invalid API key",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}, **more,
    )  # fmt: skip


def denied(required: Sequence[str], current: Sequence[str], **more: Any) -> Problem:
    """A permission that the key lacks. required, current: names of permissions."""
    words = ", ".join(PERMISSIONS.get(name, name) for name in required if name not in current)
    return Problem(
        403, "permission-denied", "Permission denied",
        "You don't have permission to access this resource." + (f" Required: {words}." if words else ""),
        required=list(required), current=list(current), solution=DENIED_ADVICE, **more,
    )  # fmt: skip


def forbidden(detail: str, slug: str = "permission-denied") -> Problem:
    return Problem(403, slug, "Permission denied", detail)


def not_found() -> Problem:
    """The same for what does not exist and for what is somebody else's."""
    return Problem(404, "not-found", "Not found", "There is nothing here by this name that you may see.")


def conflict(slug: str, detail: str, **more: Any) -> Problem:
    return Problem(409, slug, "Conflict", detail, **more)


def invalid(detail: str, pointer: str = "", status: int = 422) -> Problem:
    """What was sent does not say what it should. pointer: JSON pointer to the member."""
    errors = [{"pointer": pointer, "detail": detail}]
    return Problem(status, "validation-error", "Validation error", detail, errors=errors)


def unfit(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What pydantic has to say about a request (`loc`, `msg`), without what was sent: it may be a key."""
    told = [
        {"pointer": "".join(f"/{part}" for part in one["loc"][1:]), "detail": str(one["msg"])}
        for one in errors
    ]
    first = told[0] if told else {"pointer": "", "detail": "The request can't be read."}
    detail = f"{first['pointer']}: {first['detail']}" if first["pointer"] else first["detail"]
    return Problem(422, "validation-error", "Validation error", detail, errors=told)


def must_hold_no_key(text: str, pointer: str) -> None:
    """For a name that is kept, shown and written into the audit trail. Raises: Problem 422."""
    if veiled(text) != text:
        raise invalid("This text holds a key; a key stands nowhere but where it is used.", pointer)


# Control characters, ends of lines, and what turns the direction of a text around: nobody sees them, or they show another name.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def must_be_a_name(text: str, pointer: str = "/name") -> None:
    """Raises: Problem 422 for one that can't be seen on one line, and for one that holds a key."""
    if _UNSEEN.search(text) or not any(one.isprintable() and not one.isspace() for one in text):
        raise invalid("A name is on one line, and can be seen.", pointer)
    must_hold_no_key(text, pointer)


LONG = 300  # seconds: a disk that is full or read-only is mended by a person


def busy() -> Problem:
    """The database can't be written or read just now: it is locked, or out of reach."""
    return _unusable(
        "not-now", "Not now", "The platform's database can't be used just now. Try again in a moment.", 5
    )


def full() -> Problem:
    """No room is left for a change. Whatever was under way was undone."""
    return _unusable(
        "storage-full", "No room left",
        "The disk that holds the platform's database is full. Nothing was changed. Whoever runs the platform has to make room.", LONG,
    )  # fmt: skip


def read_only() -> Problem:
    """The database takes no change: its file or its server is read-only."""
    return _unusable(
        "storage-read-only", "Read-only",
        "The platform's database can only be read. Nothing was changed. Whoever runs the platform has to make it writable.", LONG,
    )  # fmt: skip


def broken() -> Problem:
    """The disk below the database fails. Whether the change under way is kept shows when it can be read again."""
    return _unusable(
        "storage-failed", "The disk fails",
        "The disk that holds the platform's database can't be written or read. Whoever runs the platform has to look at it.", LONG,
    )  # fmt: skip


def _unusable(slug: str, title: str, detail: str, seconds: int) -> Problem:
    return Problem(503, slug, title, detail, headers={"Retry-After": str(seconds)})


def limited(limit: int, used: int, seconds: int) -> Problem:
    """The quota of an hour is used up. seconds: until the next request may come."""
    minutes = -(-seconds // 60)
    return Problem(
        429, "quota-exceeded", "Rate limit exceeded",
        f"Rate limit exceeded. Current rate: {limit} requests/hour. Your usage: {used:,} requests/hour. Retry after: {minutes} minutes.",
        headers={"Retry-After": str(seconds)}, limit=limit, window=3600, used=used, retry_after=seconds,
        solution=LIMIT_ADVICE,
    )  # fmt: skip
