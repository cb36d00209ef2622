"""The old key's end: contained, waited for, revoked, and tried once more."""

from __future__ import annotations

import fluxguard
from fluxguard import wire
from fluxguard.errors import FluxguardError
from fluxguard.respond import reissuing, trying
from fluxguard.respond.course import ITSELF, Data, Run, Waiting
from fluxguard.respond.incident import now
from fluxguard.words import count

LAG = 1.5  # seconds: the platform writes each second what keys were used for
QUIET = 600_000  # milliseconds without a use after which the old key counts as silent


def contain(run: Run) -> Data:
    """Only those that used the key before the leak go on; where nobody did, those that use it now, for who is who can't be told."""
    terms: Data = {"drop_permissions": ["manage_keys", "delete_scenarios"]}
    known = run.known("assess").get("known")
    if known:
        terms["allow"] = known[:1000]
    key = run.api.quarantine(str(run.known("verify")["key_id"]), terms)
    clients = len((key.quarantine or {}).get("allow", ()))
    return {"state": key.state, "known_clients": clients, "untold": bool(clients and not known)}


def revoke_first(run: Run) -> Data:
    """The old key dies before anything else."""
    return _revoked(run)


def drain(run: Run) -> Data:
    """Nobody uses the old key any more, or its deadline has come. Where nobody did for ten minutes, that is now."""
    key_id = str(run.known("verify")["key_id"])
    waited = 0
    run.sleep(LAG)
    while True:
        reissuing.must_live(run)
        key = run.api.key(key_id)
        if not key.alive:
            return {"state": key.state, "why": _ended(run, key)}
        quiet = _moment(run) - (0 if _by_ourselves(run, key) else key.last_used_at or 0)
        if quiet >= QUIET:
            return {
                "state": key.state,
                "why": "nobody has used it"
                if key.last_used_at is None or _by_ourselves(run, key)
                else f"nobody has used it for {quiet // 60_000} minutes",
            }
        if waited >= run.incident.wishes.wait:
            used = ", ".join(str(key.last_used.get(one, "")) for one in ("address", "user_agent"))
            until = wire.to_text(key.grace_until) or ""
            end = "it ends by itself at" if until else "it is revoked once nobody has used it for ten minutes"
            at_once = f"To end it at once: fluxguard apikeys revoke --key-id {key_id}, then resume"
            said = f"the old key was used {_ago(quiet)} ({used}){_clocks(run)}; {end}"
            raise Waiting(said, until, (at_once,))
        run.sleep(5)
        waited += 5


def _ended(run: Run, key: wire.Key) -> str:
    """What ended the old key while it was waited for."""
    events = run.api.timeline(key.id) if key.state == "revoked" else []
    if any(one.get("type") == "key.revoked" for one in events):
        return "somebody revoked it"
    at_once = run.journal.outcome("confirm") is not None and run.known("choose").get("overlap") == "0"
    return "it ended as soon as the new one counted" if at_once else "its deadline has come"


def _moment(run: Run) -> int:
    """The time, by the slower of two clocks: the platform's stamps the uses, and either may be wrong."""
    ours = wire.to_moment(now()) or 0
    return min(ours, run.api.clock or ours)


def _clocks(run: Run) -> str:
    """What is to be said of two clocks that differ: who waits for ten minutes waits for longer then."""
    ours = wire.to_moment(now()) or 0
    minutes = abs(ours - (run.api.clock or ours)) // 60_000
    return (
        f", while this machine's clock and the platform's are {count(minutes, 'minute')} apart"
        if minutes
        else ""
    )


def _ago(quiet: int) -> str:
    minutes = quiet // 60_000
    return f"{count(minutes, 'minute')} ago" if minutes > 0 else "just now"


def _by_ourselves(run: Run, key: wire.Key) -> bool:
    """Whether the last use was ours, where this incident was asked about with the leaked key itself."""
    asked = any(one.data.get("asks") == ITSELF for one in run.journal.records)
    return asked and str(key.last_used.get("user_agent", "")) == f"fluxguard/{fluxguard.__version__}"


def revoke(run: Run) -> Data:
    reissuing.must_live(run)
    return _revoked(run)


def _revoked(run: Run) -> Data:
    key = run.api.revoke(str(run.known("verify")["key_id"]), f"leaked; {run.incident.id}")
    return {"state": key.state}


def dead_check(run: Run) -> Data:
    """Used once more, it opens nothing."""
    if trying.opens(run):
        raise FluxguardError(
            "The old key still opens the platform.",
            "Revoke it by hand: fluxguard apikeys revoke, then resume.",
        )
    return {"answer": 401}
