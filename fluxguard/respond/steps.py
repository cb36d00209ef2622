"""The steps of a response, in order. Each says whether it is needed, does its work, and can be done again after a kill.

A step gets the `Run`; what it returns stands in the journal as done. `Waiting` ends this run and not the incident: `resume` goes on.
"""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fluxguard
from fluxguard import wire
from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.errors import FluxguardError
from fluxguard.masks import Masks
from fluxguard.model import Secret
from fluxguard.platform.address import Address
from fluxguard.platform.api import Api
from fluxguard.platform.errors import NotOffered, PlatformError
from fluxguard.platform.sealed import Lock
from fluxguard.repo import gitdir
from fluxguard.respond import choose, cleanup, places, remote
from fluxguard.respond.incident import Incident
from fluxguard.respond.journal import Journal
from fluxguard.respond.vault import Vault

Data = dict[str, Any]


class Waiting(Exception):
    """Something has to happen first. reason: in words. until: RFC 3339, or ""."""

    def __init__(self, reason: str, until: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until


class Overtaken(FluxguardError):
    """What was done is no longer so: somebody pushed meanwhile, or a new key lapsed. steps: what has to be done again."""

    def __init__(self, what: str, hint: str, *steps: str) -> None:
        super().__init__(what, hint)
        self.steps = steps


@dataclass
class Run:
    """One run over an incident. say: tells the person. ask: their agreement to something that can't be taken back."""

    incident: Incident
    journal: Journal
    vault: Vault
    api: Api
    environment: Mapping[str, str]
    say: Callable[[str], None]
    agree: Callable[[str, str], bool]
    sleep: Callable[[float], None]
    home: Path = field(default_factory=Path.home)
    trial: Callable[[Address, Secret], Api] = Api

    @property
    def old(self) -> Secret:
        secret = self.vault.secret("old")
        if secret is None:
            raise FluxguardError("The incident's vault holds no key any more: it is closed.")
        return secret

    @property
    def new(self) -> Secret:
        secret = self.vault.secret("new")
        if secret is None:
            raise FluxguardError("There is no new key yet.", "fluxguard respond resume")
        return secret

    @property
    def repository(self) -> Path:
        return Path(self.incident.repository)

    def known(self, step: str) -> Data:
        """What a step that is done found out."""
        record = self.journal.outcome(step)
        return dict(record.data) if record else {}

    @property
    def banned(self) -> tuple[str, ...]:
        """The first changed commits of every rewrite: one that was overtaken was pushed in part, perhaps."""
        done = (one for one in self.journal.records if one.step == "rewrite" and one.phase == "done")
        return tuple(sorted({str(commit) for one in done for commit in one.data.get("banned", ())}))

    @property
    def strategy(self) -> str:
        return str(self.known("choose").get("strategy", ""))


@dataclass(frozen=True, slots=True)
class Step:
    """name: in the journal. title: for people. needed: whether this incident has it. do: the work."""

    name: str
    title: str
    do: Callable[[Run], Data]
    needed: Callable[[Run], bool] = lambda run: True


# Verify, assess, choose.


def verify(run: Run) -> Data:
    """Is the key alive, whose, with which rights: asked without sending it."""
    try:
        known = run.api.liveness(run.old)
    except NotOffered:
        return {
            "status": "unknown",
            "how": "FluxLoop's public service can't be asked",
            "guided": True,
            "public": True,
        }
    if known is None:
        return {"status": "unknown", "how": "the platform does not know this key", "guided": True}
    more: Data = {}
    try:
        key = run.api.key(str(known["key_id"]))
        more = {
            "name": key.name,
            "scope": list(key.projects) if key.projects is not None else "all",
            "last_used": dict(key.last_used),
        }
    except PlatformError as error:
        more = {"note": error.what}
    return {
        "status": known["status"], "key_id": known["key_id"], "environment": known["environment"],
        "permissions": list(known["permissions"]), "expires_at": known["expires_at"], "last_used_at": known["last_used_at"], **more,
    }  # fmt: skip


def assess(run: Run) -> Data:
    """Where it was, since when, who can see it, and what was done with it since."""
    run.say("auditing everything the repository holds")
    report = auditing.audit(str(run.repository), Config())
    found = next((one for one in report.findings if one.secret == run.old), None)
    places_ = list(found.locations) if found else []
    traced = [place for place in places_ if place.trace is not None and place.trace.commit]
    first = min(traced, key=lambda place: place.trace.date if place.trace else "", default=None)
    remotes = sorted(
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
        "path": run_safe(run, first.path) if first else "", "pushed": remotes,
        **use,
        "objects": sum(sum(one.objects.values()) for one in report.certificates), "digests": [one.digest for one in report.certificates],
    }  # fmt: skip


def run_safe(run: Run, text: bytes) -> str:
    from fluxguard import display

    return display.path(text, Masks({run.old.reveal(): run.old.masked}))


def _use_since(run: Run, since: str) -> Data:
    """The key's use since the leak, set against that before. Times are those of the commits, to the minute.

    foreign: requests from where it was never used before. untold: requests since the leak of a key that nobody used before it: whose they are
    can't be told. known: who used it before the leak. timeline: the uses since.
    """
    key_id = run.known("verify").get("key_id")
    nothing: Data = {"foreign": 0, "untold": 0, "known": [], "timeline": []}
    if not key_id:
        return nothing
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
    }  # fmt: skip


def choose_strategy(run: Run) -> Data:
    """By rules that a person can read; theirs to overrule."""
    known, exposure = run.known("verify"), run.known("assess")
    made = choose.choose(
        choose.Exposure(
            str(known.get("status", "unknown")), str(known.get("environment") or run.incident.environment),
            tuple(known.get("permissions", ())), bool(exposure.get("pushed")), None, int(exposure.get("foreign", 0)),
        ),
        run.incident.wishes.strategy, run.incident.wishes.overlap,
    )  # fmt: skip
    if known.get("guided") and made.strategy != "clean-only":
        return {
            "strategy": "guided",
            "reason": f"{known['how']}: what it can't do, a person does on its page",
            "overlap": "0",
        }
    if made.strategy in ("contain", "revoke-first") and run.api.asks_with(run.old):
        return {
            "strategy": "overlap", "overlap": "0",
            "reason": f"{made.strategy} would be right ({made.reason}), but the leaked key is the only one here to ask with, and would shut "
            "itself out; so it dies as soon as its successor is delivered. For the other, log in with another key: fluxguard auth login",
        }  # fmt: skip
    return {"strategy": made.strategy, "reason": made.reason, "overlap": made.overlap}


# Contain, reissue, distribute, revoke.


def contain(run: Run) -> Data:
    """Only those that used the key before the leak go on; where nobody did, those that use it now, for who is who can't be told."""
    terms: Data = {"drop_permissions": ["manage_keys", "delete_scenarios"]}
    known = run.known("assess").get("known")
    if known:
        terms["allow"] = known[:1000]
    key = run.api.quarantine(str(run.known("verify")["key_id"]), terms)
    return {"state": key.state, "known_clients": len((key.quarantine or {}).get("allow", ()))}


def revoke_first(run: Run) -> Data:
    """The old key dies before anything else."""
    return _revoked(run)


def reissue(run: Run) -> Data:
    """A new key with the same rights, safe on disk before anything else happens. A lost answer is asked for again."""
    if run.vault.get("new") is not None:
        return _reissued(run)
    again = run.vault.get("private") is not None
    if not again:
        _intend(run)
    try:
        answer = _asked_for(run)
    except PlatformError as error:
        if error.slug == "rotation-in-progress" and not again:
            run.vault.drop("private", "idempotency", "wish")  # that one is not ours, the next time either
            error.hint = "Finish that rotation, or revoke its new key (fluxguard apikeys list), then resume."
        if error.slug != "rotation-in-progress" or not again:
            raise
        _give_up(run, str(error.more.get("successor_id")))
        _intend(run)
        answer = _asked_for(run)
    private = run.vault.get("private")
    secret = Lock(private).open(str(answer["sealed_key"]))
    run.vault.put(new=secret.reveal(), new_id=str(answer["id"]).encode())
    return _reissued(run)


def _intend(run: Run) -> None:
    """What will be asked for, on disk before it is sent: sent again, it is the same request to the letter."""
    if run.strategy == "revoke-first":
        wish = _like_the_old(run)
    else:
        wish = {"overlap": str(run.known("choose")["overlap"]), "pending_ttl": "7d"}
    lock = Lock()
    run.vault.put(
        private=lock.private, idempotency=f"inc-{randomness.token_hex(16)}".encode(),
        wish=json.dumps({**wish, "reveal_to": lock.public}, sort_keys=True).encode(),
    )  # fmt: skip


def _like_the_old(run: Run) -> Data:
    """For a key that is dead already: the same rights, and as long a life as it was given."""
    old = run.api.key(str(run.known("verify")["key_id"]))
    expires = "never"
    if old.expires_at is not None:
        now = wire.to_moment(_now()) or 0
        expires = wire.to_text(now + max(old.expires_at - old.created_at, wire.DAY)) or "never"
    told = old.to_json()
    same = ("name", "environment", "scope", "permissions", "hourly_limit")
    return {
        **{name: told[name] for name in same},
        "description": f"{old.description[:800]}\n{_mark(run)}".strip(), "expires": expires,
    }  # fmt: skip


def _mark(run: Run) -> str:
    return f"In place of {run.known('verify')['key_id']}, {run.incident.id}."


def _asked_for(run: Run) -> Data:
    wish, idempotency = run.vault.get("wish"), run.vault.get("idempotency")
    assert wish is not None
    assert idempotency is not None
    if run.strategy != "revoke-first":
        return run.api.rotate(str(run.known("verify")["key_id"]), json.loads(wish), idempotency.decode())
    answer = run.api.create(json.loads(wish), idempotency.decode())
    issued = run.api.keys()
    for one in issued:  # the platform remembers a request for a day: one made before that is an orphan
        if one.alive and one.id != answer["id"] and one.description.endswith(_mark(run)):
            run.api.revoke(one.id, f"its answer was lost; {run.incident.id}")
    return answer


def _give_up(run: Run, successor: str) -> None:
    """A successor of ours whose answer was lost more than a day ago: nobody has it. The old key is still good."""
    other = run.api.key(successor)
    if other.confirmed_at is not None or other.alive:
        raise FluxguardError(
            f"Somebody else has rotated this key meanwhile: {successor} is in use.",
            "Look at it: fluxguard apikeys show. Then abort this incident, or revoke that key and resume.",
        )
    run.api.revoke(successor, f"its answer was lost; {run.incident.id}")


def _reissued(run: Run) -> Data:
    new_id = run.vault.get("new_id")
    return {
        "key_id": new_id.decode() if new_id else "",
        "masked": run.new.masked,
        "fingerprint": run.new.fingerprint,
    }


def distribute(run: Run) -> Data:
    """To each place on this machine where the old key stands, found by value, and to the places that were named."""
    trees = [Path(one.tree) for one in gitdir.family(gitdir.locate(str(run.repository))) if one.tree]
    results: list[Data] = []
    lapsed = run.vault.secret("lapsed")
    for leaving in (run.old, *([lapsed] if lapsed else [])):
        found, unread = places.find(trees, leaving, run.home)
        results += _replaced(run, found, leaving)
    if lapsed:
        run.vault.drop("lapsed")
    for text in run.incident.wishes.targets:
        target = remote.parse(text)
        run.journal.add("distribute", "note", target=str(target), doing="deliver")
        results.append(
            {
                "place": str(target),
                "done": "delivered",
                "seen": remote.deliver(target, run.new, run.environment),
            }
        )
    results += _saved_key(run)
    results += [
        {"place": f"environment ({name})", "done": "manual", "why": f"unset {name}, or start a new shell"}
        for name, value in run.environment.items() if value.encode() == run.old.reveal()
    ]  # fmt: skip
    return {"places": results, "unread": [_shown(run, Path(one)) for one in unread]}


def _replaced(run: Run, found: list[places.Place], leaving: Secret) -> list[Data]:
    """Each place on this machine. Read back, the file says the same but for the key; a kill between leaves the old one or the new one."""
    results: list[Data] = []
    for place in found:
        if place.tracked:
            why = "git has this file, or would commit it: take the key out of it, and read it from the environment"
            results.append({"place": _shown(run, place.path), "done": "manual", "why": why})
        else:
            done = places.replace(place.path, leaving, run.new)
            results.append({"place": _shown(run, place.path), "done": done})
    return results


def _shown(run: Run, path: Path) -> str:
    import os

    return run_safe(run, os.fsencode(path))


def _saved_key(run: Run) -> list[Data]:
    """The key that `auth login` kept, where it is the one that leaked."""
    from fluxguard.platform import credentials

    for one in credentials.every(run.incident.url, None, {}):
        if one.secret == run.old:
            return [{"place": credentials.save(run.incident.url, run.new), "done": "written"}]
    return []


def confirm(run: Run) -> Data:
    """The new key is where it is needed: it becomes active, and the old one gets its deadline, which the server holds."""
    if run.api.asks_with(run.old) and run.vault.get("new") is not None:
        run.api.close()
        run.api = run.trial(run.api.address, run.new)  # it has the same rights, and lives on
    try:
        answer = run.api.confirm(str(run.known("reissue")["key_id"]))
    except PlatformError as error:
        if error.slug != "confirmation-expired":
            raise
        if run.vault.get("new") is not None:
            run.vault.put(lapsed=run.new.reveal())
        run.vault.drop("new", "new_id", "private", "idempotency", "wish")
        raise Overtaken(
            "The new key lapsed before it was confirmed. The old one is as it was.",
            "Resume: it asks for another, and brings that where the lapsed one stands.", "reissue", "distribute",
        ) from None  # fmt: skip
    return {"state": answer.state, "at": wire.to_text(answer.confirmed_at)}


LAG = 1.5  # seconds: the platform writes each second what keys were used for
QUIET = 600_000  # milliseconds without a use after which the old key counts as silent


def drain(run: Run) -> Data:
    """Nobody uses the old key any more, or its deadline has come. Where nobody did for ten minutes, that is now."""
    key_id = str(run.known("verify")["key_id"])
    waited = 0
    run.sleep(LAG)
    while True:
        key = run.api.key(key_id)
        if not key.alive:
            return {"state": key.state, "why": "its deadline has come"}
        now = wire.to_moment(_now()) or 0
        quiet = now - (0 if _by_ourselves(run, key) else key.last_used_at or 0)
        if quiet >= QUIET:
            return {
                "state": key.state,
                "why": "nobody has used it"
                if key.last_used_at is None or _by_ourselves(run, key)
                else f"nobody has used it for {quiet // 60_000} minutes",
            }
        if waited >= run.incident.wishes.wait:
            used = ", ".join(str(key.last_used.get(one, "")) for one in ("address", "user_agent"))
            raise Waiting(
                f"the old key was used {quiet // 60_000} minutes ago ({used}); it ends by itself at",
                wire.to_text(key.grace_until) or "",
            )
        run.sleep(5)
        waited += 5


ITSELF = "with the leaked key itself"


def _by_ourselves(run: Run, key: wire.Key) -> bool:
    """Whether the last use was ours, where this incident was asked about with the leaked key itself."""
    asked = any(one.data.get("asks") == ITSELF for one in run.journal.records)
    return asked and str(key.last_used.get("user_agent", "")) == f"fluxguard/{fluxguard.__version__}"


def _now() -> str:
    from fluxguard.respond.incident import now

    return now()


def revoke(run: Run) -> Data:
    return _revoked(run)


def _revoked(run: Run) -> Data:
    key = run.api.revoke(str(run.known("verify")["key_id"]), f"leaked; {run.incident.id}")
    return {"state": key.state}


def guided(run: Run) -> Data:
    """Where the platform offers no call: a person does it on the page, and the trial tells whether it was done."""
    from fluxguard.platform.errors import PAGE

    opens = _opens(run)
    if not opens and not run.known("verify").get("public"):
        return {
            "state": "dead",
            "how": f"tried: {run.incident.url} answers 401. It does not know this key; if another platform does, "
            "the key may be alive there: abort, and start again with --api-url",
        }
    if opens:
        raise Waiting(
            f"open {PAGE}, create a new key, put it where {run.old.masked} is used, click Delete next to the old one, "
            "type its name, then run: fluxguard respond resume"
        )
    return {"state": "dead", "how": "tried"}


def dead_check(run: Run) -> Data:
    """Used once more, it opens nothing."""
    if _opens(run):
        raise FluxguardError(
            "The old key still opens the platform.",
            "Revoke it by hand: fluxguard apikeys revoke, then resume.",
        )
    return {"answer": 401}


def _opens(run: Run) -> bool:
    trial = run.trial(run.api.address, run.old)
    try:
        if run.api.address.public:
            trial.projects()
        else:
            trial.me()
    except PlatformError as error:
        if error.status == 401:
            return False
        if error.status in (403, 429):
            return True
        raise
    finally:
        trial.close()
    return True


# Clean, prove, prevent.


def rewrite(run: Run) -> Data:
    """A mirror of its own is rewritten and audited until the key stands nowhere in it."""
    folder = run.incident.folder / "mirror"
    source = cleanup.source_of(run.repository)
    run.say("fetching everything into a private mirror")
    cleanup.mirror(source, folder, run.repository)
    done = cleanup.rewrite(folder, run.old, run.say)
    if done.unexpected:
        raise FluxguardError(
            f"The rewrite changed {len(done.unexpected)} paths in which no key was: {', '.join(done.unexpected[:3])}.",
            "Nothing was pushed. This is a defect; report it.",
        )
    return {
        "changed": {run_safe(run, name.encode("utf-8", "surrogateescape")): pair for name, pair in done.changed.items()},
        "counts": dict(done.counts), "banned": list(done.banned), "left": list(done.left), "read": dict(done.read),
        "unread": list(done.unread), "notes": done.notes, "submodules": list(done.submodules),
        "signatures": done.signatures, "refs_before": len(done.before), "refs_after": len(done.after),
    }  # fmt: skip


def push(run: Run) -> Data:
    """Each changed ref, only if the remote still has what it had, and only after the person's word."""
    folder = run.incident.folder / "mirror"
    known = run.known("rewrite")
    if known.get("left"):
        raise FluxguardError(
            "The rewritten mirror still holds the key; nothing is pushed.", "; ".join(known["left"][:5])
        )
    name = run.repository.name
    if not run.agree(
        f"This rewrites {len(known['changed'])} refs of the remote for everybody. Type {name} to go on", name
    ):
        raise Waiting("the push was not agreed to; resume, and type the repository's name")
    changed = _changed_now(run, folder, known)
    try:
        outcome = cleanup.push(folder, changed, run.old, run.say)
    except cleanup.Moved as error:
        raise Overtaken(error.what, error.hint, "rewrite") from None
    return {
        "refs": {
            run_safe(run, name.encode("utf-8", "surrogateescape")): what for name, what in outcome.items()
        }
    }


def _changed_now(run: Run, folder: Path, known: Data) -> dict[str, tuple[str, str]]:
    """What is to be pushed, with real names: in the journal those that held the key are masked."""
    after, there = cleanup.refs(folder), cleanup.remote_refs(folder)
    shown = {run_safe(run, name.encode("utf-8", "surrogateescape")): name for name in {*after, *there}}
    pairs = {shown.get(name, name): (pair[0], pair[1]) for name, pair in known["changed"].items()}
    return {name: pair for name, pair in pairs.items() if name in after or name in there}


def prove(run: Run) -> Data:
    """A new mirror of the remote, audited: what is still there can't be cleaned from here, and is named."""
    source = cleanup.source_of(run.repository)
    left, unread, read = cleanup.still_there(source, run.incident.folder / "proof", run.repository, run.old)
    return {"left": left, "unread": unread, "read": read}


def own(run: Run) -> Data:
    """What the user's own clone still holds: nobody but its user cleans that."""
    report = auditing.audit(str(run.repository), Config())
    found = [one for one in report.findings if one.secret == run.old]
    return {
        "places": cleanup.places_of(found), "unread": cleanup.unread_of(report.skipped, run.old),
    }  # fmt: skip


def prevent(run: Run) -> Data:
    """So that it does not happen again."""
    from fluxguard.respond import preventing

    return preventing.prevent(run.repository, run.banned)


def close(run: Run) -> Data:
    """The report is written; the vault and the mirrors, which hold keys, go."""
    import shutil

    from fluxguard.respond import evidence

    shutil.rmtree(run.incident.folder / "proof", ignore_errors=True)
    shutil.rmtree(run.incident.folder / "mirror", ignore_errors=True)
    paths = evidence.write_all(run.incident, run.journal.records)
    run.vault.burn()  # before it is said to be done: nothing burns it after
    return {"reports": [str(path) for path in paths]}


def _alive(run: Run) -> bool:
    return run.strategy in ("overlap", "contain", "revoke-first")


STEPS = (
    Step("verify", "Verify: is the key alive?", verify),
    Step("assess", "Assess: who could see it, who used it?", assess),
    Step("choose", "Choose: in which order?", choose_strategy),
    Step("contain", "Contain: only known clients go on", contain, lambda run: run.strategy == "contain"),
    Step("revoke-first", "Revoke first", revoke_first, lambda run: run.strategy == "revoke-first"),
    Step("reissue", "Reissue: a new key, safe on disk", reissue, _alive),
    Step("distribute", "Distribute: the new key where the old one was", distribute, _alive),
    Step("confirm", "Confirm: the new key counts", confirm, _alive),
    Step(
        "drain", "Wait until the old key is silent", drain, lambda run: run.strategy in ("overlap", "contain")
    ),
    Step("revoke", "Revoke the old key", revoke, lambda run: run.strategy in ("overlap", "contain")),
    Step("guided", "Revoke it on FluxLoop's page", guided, lambda run: run.strategy == "guided"),
    Step("dead", "Prove: the old key opens nothing", dead_check, lambda run: run.strategy != "guided"),
    Step(
        "rewrite", "Clean: the history, in a private mirror", rewrite, lambda run: run.incident.wishes.clean
    ),
    Step(
        "push",
        "Push the cleaned history",
        push,
        lambda run: run.incident.wishes.clean and run.incident.wishes.push,
    ),
    Step(
        "prove",
        "Prove: the remote is clean",
        prove,
        lambda run: run.incident.wishes.clean and run.incident.wishes.push,
    ),
    Step("own", "Look: what your own clone still holds", own, lambda run: run.incident.wishes.clean),
    Step("prevent", "Prevent: hooks and .gitignore", prevent),
    Step("close", "Close: the report", close),
)
