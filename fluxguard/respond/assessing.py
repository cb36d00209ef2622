"""Before anything is done: is the key alive, who could see it, who used it, and in which order it is dealt with."""

from __future__ import annotations

from fluxguard import wire
from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.errors import UsageError
from fluxguard.platform.errors import NotOffered, PlatformError
from fluxguard.respond import choose, narrowing, remotes
from fluxguard.respond.course import Data, Run, run_safe


def verify(run: Run) -> Data:
    """Is the key alive, whose, with which rights: asked without sending it."""
    try:
        known = run.api.liveness(run.old)
    except PlatformError as error:
        if not isinstance(error, NotOffered) and error.status not in (404, 405):
            raise
        who = "FluxLoop's public service" if run.api.address.public else "this platform"
        return {
            "status": "unknown", "guided": True, "public": True,
            "how": f"{who} offers no call that tells whether a key is alive",
        }  # fmt: skip
    if known is None:
        return {"status": "unknown", "how": "the platform does not know this key", "guided": True}
    more: Data = {}
    try:
        key = run.api.key(str(known["key_id"]))
        more = {
            "name": key.name,
            "scope": list(key.projects) if key.projects is not None else "all",
            "last_used": dict(key.last_used),
            "replaced": key.grace_until is not None,
        }
    except PlatformError as error:
        if error.status == 401 and known["status"] not in choose.DEAD:
            _must_be_asked_as_somebody(run)
            raise
        more = {"note": error.what}
    return {
        "status": known["status"], "key_id": known["key_id"], "environment": known["environment"],
        "permissions": list(known["permissions"]), "expires_at": known["expires_at"], "last_used_at": known["last_used_at"], **more,
    }  # fmt: skip


def _must_be_asked_as_somebody(run: Run) -> None:
    """Raises: UsageError where there is no key to ask with. The leaked one never asks: its last use is evidence."""
    if run.api.anonymous:
        raise UsageError(
            "There is no key to ask the platform with but the leaked one, which is not used.",
            "Log in with a key that may manage keys: fluxguard auth login   (or set FLUXLOOP_API_KEY). Then resume.",
        )


def assess(run: Run) -> Data:
    """Where it was, since when, who can see it, and what was done with it since."""
    run.say("auditing everything the repository holds")
    report = auditing.audit(str(run.repository), Config())
    found = next((one for one in report.findings if one.secret == run.old), None)
    places_ = list(found.locations) if found else []
    traced = [place for place in places_ if place.trace is not None and place.trace.commit]
    first = min(traced, key=lambda place: place.trace.date if place.trace else "", default=None)
    pushed = sorted(
        {
            run_safe(run, ref)
            for place in places_
            if place.trace
            for ref in place.trace.refs
            if ref.startswith(b"refs/remotes/")
        }
    )
    since = first.trace.date if first and first.trace else run.incident.opened_at
    use = _use_since(run, since)
    return {
        "places": len(places_), "kinds": sorted({place.kind for place in places_}), "complete": report.complete,
        "commit": first.trace.commit if first and first.trace else "", "since": since,
        "author": run_safe(run, first.trace.author) if first and first.trace else "",
        "path": run_safe(run, first.path) if first else "", "pushed": pushed,
        "remote": remotes.mark(run.repository, run.incident.wishes.remote),
        **use,
        "objects": sum(sum(one.objects.values()) for one in report.certificates), "digests": [one.digest for one in report.certificates],
    }  # fmt: skip


def _use_since(run: Run, since: str) -> Data:
    """The key's use since the leak, set against that before. Times are those of the commits, to the minute.

    unused: permissions that no use ever needed. foreign: requests from where it was never used before. untold: requests since the leak of a key that nobody used before it: whose they are
    can't be told. known: who used it before the leak. timeline: the uses since.
    """
    key_id = run.known("verify").get("key_id")
    nothing: Data = {"foreign": 0, "untold": 0, "known": [], "timeline": [], "unused": []}
    if not key_id:
        return {**nothing, "use": "not known: the platform can't be asked who used it"}
    try:
        events = run.api.timeline(str(key_id))
    except PlatformError as error:
        return {**nothing, "use": f"not known: {error.what}"}
    moment = wire.to_moment(since) or 0
    uses = [event for event in events if event.get("type") == "used"]
    known = {
        (one.get("address"), one.get("user_agent"))
        for one in uses
        if (wire.to_moment(one["t"]) or 0) < moment - 60_000
    }
    later = [one for one in uses if (wire.to_moment(one["t"]) or 0) >= moment - 60_000]
    new = [one for one in later if (one.get("address"), one.get("user_agent")) not in known]
    count = sum(int(one.get("count", 1)) for one in new)
    return {
        "foreign": count if known else 0, "untold": 0 if known else count, "timeline": later[-50:],
        "known": [{"address": address, "user_agent": agent} for address, agent in sorted(known)],
        "unused": narrowing.unused(run.known("verify").get("permissions", ()), uses),
    }  # fmt: skip


def choose_strategy(run: Run) -> Data:
    """By rules that a person can read; theirs to overrule."""
    known, exposure = run.known("verify"), run.known("assess")
    made = choose.choose(
        choose.Exposure(
            str(known.get("status", "unknown")), str(known.get("environment") or run.incident.environment),
            tuple(known.get("permissions", ())), bool(exposure.get("pushed")), None, int(exposure.get("foreign", 0)), bool(known.get("replaced")),
        ),
        run.incident.wishes.strategy, run.incident.wishes.overlap,
    )  # fmt: skip
    if known.get("guided") and made.strategy != "clean-only":
        return {
            "strategy": "guided",
            "reason": f"{known['how']}, so a person ends the key on its page, and it is tried here whether it is dead",
            "overlap": "0",
        }
    if made.strategy in ("contain", "revoke-first") and run.api.asks_with(run.old):
        return {
            "strategy": "overlap", "overlap": "0",
            "reason": f"{made.strategy} would be right ({made.reason}), but the leaked key is the only one here to ask with, and would shut "
            "itself out; so it dies as soon as its successor is delivered. For the other, log in with another key: fluxguard auth login",
        }  # fmt: skip
    return {"strategy": made.strategy, "reason": made.reason, "overlap": made.overlap}
