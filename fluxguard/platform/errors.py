"""What the platform refused, in the words of FluxLoop's page, with its solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxguard.errors import ExitCode, FluxguardError


class PlatformError(FluxguardError):
    """The platform refused, or could not be reached. status: of HTTP, or 0. slug: of the problem, or ""."""

    exit_code = ExitCode.PLATFORM

    def __init__(
        self,
        what: str,
        hint: str = "",
        status: int = 0,
        slug: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what, hint)
        self.status = status
        self.slug = slug
        self.more = dict(more or {})


class Unreachable(PlatformError):
    """No answer: whether the request was carried out is not known."""


class NotOffered(PlatformError):
    """FluxLoop's public service has no such call; a person does it on its web page."""


PAGE = "https://app.fluxloop.ai/settings/api-keys"


def not_offered(what: str) -> NotOffered:
    return NotOffered(
        f"FluxLoop's public service offers no call to {what}.",
        f"Do it on its page: {PAGE}",
    )


def from_answer(status: int, body: Any, retry_after: str = "") -> PlatformError:
    """The error that an answer tells of. body: its JSON, or None."""
    data: Mapping[str, Any] = body if isinstance(body, dict) else {}
    slug = str(data.get("type") or "").rpartition("/")[2]
    what, hint = _words(status, slug, data, retry_after)
    return PlatformError(what, hint, status, slug, data)


def _words(status: int, slug: str, data: Mapping[str, Any], retry_after: str) -> tuple[str, str]:
    detail = _plain(data.get("detail"))
    if status == 401:
        how = {
            "expired": " It has expired.",
            "revoked": " It was revoked.",
            "regenerated": " It was regenerated.",
        }
        return "Invalid API key." + how.get(str(data.get("reason")), ""), _listed(
            "Possible causes", ("Key was regenerated or deleted", "Key expired", "Typo in key value")
        ) + _listed(
            "Solution", ("Check key in web platform", "Regenerate if needed", "Update environment variable")
        )
    if status == 403:
        return _denied(data, detail), _listed(
            "Solution",
            ("Update key permissions in web platform", "Or create a new key with required permissions"),
        )
    if status == 429:
        limit, used = data.get("limit"), data.get("used")
        what = "Rate limit exceeded."
        if isinstance(limit, int) and isinstance(used, int):
            what += f" Current rate: {limit:,} requests/hour. Your usage: {used:,} requests/hour."
        if retry_after.isdigit():
            what += f" Retry after: {-(-int(retry_after) // 60)} minutes."
        return what, _listed(
            "Solution", ("Wait for rate limit to reset", "Contact support for higher limits")
        )
    if status == 404:
        return "The platform knows nothing by that name.", "List what there is: fluxguard apikeys list"
    if status == 503 and slug.startswith("storage-") and detail:
        return detail, "Run the same command again when that is done."
    if status >= 500:
        return f"The platform is in trouble (HTTP {status}).", "Try again later."
    return detail or f"The platform refused (HTTP {status}).", ""


def _denied(data: Mapping[str, Any], detail: str) -> str:
    from fluxguard.wire import PERMISSIONS

    required = [str(name) for name in data.get("required") or ()]
    current = [str(name) for name in data.get("current") or ()]
    if not required:
        return detail or "Permission denied."
    have = [f"has: {PERMISSIONS.get(name, '?')}" for name in current]
    need = [f"lacks: {PERMISSIONS.get(name, '?')} (required)" for name in required if name not in current]
    return "Permission denied. This key " + "; ".join([*have, *need]) + "."


def _plain(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(str(one.get("msg", "")) for one in detail if isinstance(one, dict))
    return str(detail) if isinstance(detail, str) else ""


def _listed(title: str, lines: tuple[str, ...]) -> str:
    return f"{title}: " + "; ".join(lines) + ". "
