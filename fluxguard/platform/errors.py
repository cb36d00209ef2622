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
CAUSES = ("Key was regenerated or deleted", "Key expired", "Typo in key value")
INVALID = ("Check key in web platform", "Regenerate if needed", "Update environment variable")
DENIED = ("Update key permissions in web platform", "Or create a new key with required permissions")
LIMITED = ("Wait for rate limit to reset", "Contact support for higher limits")


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
    error = PlatformError(what, hint, status, slug, data)
    error.page = _page(status, data, retry_after)
    return error


def _page(status: int, data: Mapping[str, Any], retry_after: str) -> tuple[str, ...]:
    """The page's own words and shape, for a terminal; nothing where it has none."""
    if status == 401:
        return (
            "❌ Error: Invalid API key" + _ended(data), "", "Possible causes:",
            *(f"{number}. {cause}" for number, cause in enumerate(CAUSES, 1)), *_solution(INVALID),
        )  # fmt: skip
    if status == 403 and data.get("required"):
        return (
            "❌ Error: Permission denied", "", "You don't have permission to access this resource.", "", "Current permissions:",
            *_permissions(data), *_solution(DENIED),
        )  # fmt: skip
    if status == 429 and "limit" in data:
        lines = ["⚠️ Warning: Rate limit exceeded", "", *_rate(data, retry_after)]
        return (*lines, *_solution(LIMITED))
    return ()


def _solution(lines: tuple[str, ...]) -> list[str]:
    return ["", "Solution:", *(f"- {line}" for line in lines)]


def _permissions(data: Mapping[str, Any]) -> list[str]:
    current, required = _named(data, "current"), _named(data, "required")
    lacking = [name for name in required if name not in current]
    return [f"✅ {_title(name)}" for name in current] + [f"❌ {_title(name)} (required)" for name in lacking]


def _named(data: Mapping[str, Any], member: str) -> list[str]:
    value = data.get(member)
    return [str(name) for name in value] if isinstance(value, list) else []


def _title(name: str) -> str:
    from fluxguard.wire import PERMISSIONS

    return PERMISSIONS.get(name, "?")


def _rate(data: Mapping[str, Any], retry_after: str) -> list[str]:
    limit, used, lines = data.get("limit"), data.get("used"), []
    if isinstance(limit, int) and isinstance(used, int):
        lines += [f"Current rate: {limit} requests/hour", f"Your usage: {used:,} requests/hour"]
    if retry_after.isdigit():
        minutes = -(-int(retry_after[:9]) // 60)
        lines.append(f"Retry after: {minutes} minute{'' if minutes == 1 else 's'}")
    return lines


def _ended(data: Mapping[str, Any]) -> str:
    how = {
        "expired": ". It has expired.",
        "revoked": ". It was revoked.",
        "regenerated": ". It was regenerated.",
    }
    return how.get(str(data.get("reason")), "")


def _words(status: int, slug: str, data: Mapping[str, Any], retry_after: str) -> tuple[str, str]:
    detail = _plain(data.get("detail"))
    if status == 401:
        what = "Invalid API key" + (_ended(data) or ".")
        return what, _listed("Possible causes", CAUSES) + _listed("Solution", INVALID)
    if status == 403:
        says_all = slug == "privilege-escalation" and not data.get("required")
        return _denied(data, detail), "" if says_all else _listed("Solution", DENIED)
    if status == 429:
        return ". ".join(["Rate limit exceeded", *_rate(data, retry_after)]) + ".", _listed(
            "Solution", LIMITED
        )
    if status == 404:
        return "The platform knows nothing by that name.", "List what there is: fluxguard apikeys list"
    if status == 503 and slug.startswith("storage-") and detail:
        return detail, "Run the same command again when that is done."
    if status >= 500:
        return f"The platform is in trouble (HTTP {status}).", "Try again later."
    return detail or f"The platform refused (HTTP {status}).", ""


def _denied(data: Mapping[str, Any], detail: str) -> str:
    current, required = _named(data, "current"), _named(data, "required")
    if not required:
        return detail or "Permission denied."
    have = [f"has: {_title(name)}" for name in current]
    need = [f"lacks: {_title(name)} (required)" for name in required if name not in current]
    return "Permission denied. This key " + "; ".join([*have, *need]) + "."


def _plain(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(str(one.get("msg", "")) for one in detail if isinstance(one, dict))
    return str(detail) if isinstance(detail, str) else ""


def _listed(title: str, lines: tuple[str, ...]) -> str:
    return f"{title}: " + "; ".join(lines) + ". "
