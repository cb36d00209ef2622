"""The new key: asked for so that no answer can be lost, safe on disk before anything else, and confirmed once it is where it is needed."""

from __future__ import annotations

import json
import secrets as randomness

from fluxguard import wire
from fluxguard.errors import FluxguardError
from fluxguard.platform.errors import PlatformError
from fluxguard.platform.sealed import Lock
from fluxguard.respond import narrowing
from fluxguard.respond.course import Data, Overtaken, Run
from fluxguard.respond.incident import now

HANDED_ON = {"latest": "expires", "most": "hourly_limit"}  # what a refusal says may be asked for, and as what


def reissue(run: Run) -> Data:
    """A new key with the same rights, safe on disk before anything else happens. A lost answer is asked for again."""
    if run.vault.get("new") is not None:
        return _narrowed(run)
    again = run.vault.get("private") is not None
    if not again:
        _intend(run)
    try:
        answer = _asked_for(run)
    except PlatformError as error:
        if error.slug == "rotation-in-progress" and not again:
            run.vault.drop("private", "idempotency", "wish")  # that one is not ours, the next time either
            other = error.more.get("successor_id")
            error.hint = (
                f"Its new key {other} waits for its first use. If somebody has it, let them use it, then resume. If nobody "
                f"has (a response that was aborted has burnt it): fluxguard apikeys revoke --key-id {other}, then resume."
            )
        if error.slug != "rotation-in-progress" or not again:
            raise
        _give_up(run, str(error.more.get("successor_id")))
        _intend(run)
        answer = _asked_for(run)
    private = run.vault.get("private")
    secret = Lock(private).open(str(answer["sealed_key"]))
    run.vault.put(new=secret.reveal(), new_id=str(answer["id"]).encode())
    return _narrowed(run)


def _narrowed(run: Run) -> Data:
    """What the new key is not to have is taken from it, while it lies in the vault alone."""
    new_id = run.vault.get("new_id")
    assert new_id is not None
    narrowing.narrow(run.api, new_id.decode(), run.incident.wishes)
    return _reissued(run)


def _intend(run: Run) -> None:
    """What will be asked for, on disk before it is sent: sent again, it is the same request to the letter."""
    if run.strategy == "revoke-first" or _came_to_its_end(run):
        wish = _like_the_old(run)
    else:
        wish = {"overlap": str(run.known("choose")["overlap"]), "pending_ttl": "7d"}
        if run.incident.wishes.expires:
            wish["expires"] = run.incident.wishes.expires
    lock = Lock()
    run.vault.put(
        private=lock.private, idempotency=f"inc-{randomness.token_hex(16)}".encode(),
        wish=json.dumps({**wish, "reveal_to": lock.public}, sort_keys=True).encode(),
    )  # fmt: skip


def _came_to_its_end(run: Run) -> bool:
    """Whether the old key died while a new one had to be made anew: it can't be rotated any more."""
    again = any(one.step == "reissue" and one.phase == "stale" for one in run.journal.records)
    return again and not run.api.key(str(run.known("verify")["key_id"])).alive


def _like_the_old(run: Run) -> Data:
    """For a key that is dead already: the same rights, and as long a life as it was given."""
    old = run.api.key(str(run.known("verify")["key_id"]))
    expires = "never"
    if old.expires_at is not None:
        moment = run.api.clock or wire.to_moment(now()) or 0
        expires = wire.to_text(moment + max(old.expires_at - old.created_at, wire.DAY)) or "never"
    told = old.to_json()
    same = ("name", "environment", "scope", "permissions", "hourly_limit")
    return {
        **{name: told[name] for name in same},
        "description": f"{old.description[:800]}\n{_mark(run)}".strip(), "expires": run.incident.wishes.expires or expires,
        **narrowing.terms(run.incident.wishes),
    }  # fmt: skip


def _mark(run: Run) -> str:
    return f"In place of {run.known('verify')['key_id']}, {run.incident.id}."


def _asked_for(run: Run) -> Data:
    wish, idempotency = run.vault.get("wish"), run.vault.get("idempotency")
    assert wish is not None
    assert idempotency is not None
    if "overlap" in json.loads(wish):
        return run.api.rotate(str(run.known("verify")["key_id"]), json.loads(wish), idempotency.decode())
    answer = _created(run, json.loads(wish), idempotency.decode())
    issued = run.api.keys()
    for one in issued:  # the platform remembers a request for a day: one made before that is an orphan
        if one.alive and one.id != answer["id"] and one.description.endswith(_mark(run)):
            run.api.revoke(one.id, f"its answer was lost; {run.incident.id}")
    return answer


def _created(run: Run, wish: Data, idempotency: str) -> Data:
    """Made anew. A key hands on no more time and no higher limit than it has: then the new one gets as much as that, and a person is told."""
    while True:
        try:
            return run.api.create(wish, idempotency)
        except PlatformError as error:
            less = {name: error.more[member] for member, name in HANDED_ON.items() if member in error.more}
            if not less or less.items() <= wish.items():
                raise
            wish |= less
            run.vault.put(wish=json.dumps(wish, sort_keys=True).encode(), less=b"1")


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
        "less": run.vault.get("less") is not None,
        "narrower": narrowing.in_words(run.incident.wishes),
    }


def give_up(run: Run) -> Data:
    """No new key after all: the one that was made, and that nobody has, is revoked. The old one is as it was."""
    new_id = str(run.known("reissue")["key_id"])
    state = run.api.revoke(new_id, f"not wanted; {run.incident.id}").state
    run.vault.drop("new", "new_id", "private", "idempotency", "wish")
    return {"key_id": new_id, "state": state}


def confirm(run: Run) -> Data:
    """The new key is where it is needed: it becomes active, and the old one gets its deadline, which the server holds."""
    if run.api.asks_with(run.old) and run.vault.get("new") is not None:
        run.api.close()
        run.api = run.trial(run.api.address, run.new)  # it has the same rights, and lives on
    try:
        answer = run.api.confirm(str(run.known("reissue")["key_id"]))
    except PlatformError as error:
        if error.slug != "confirmation-expired" and error.status != 404:
            raise
        raise _lost(run, "The new key lapsed before it was confirmed.") from None
    return {"state": answer.state, "at": wire.to_text(answer.confirmed_at)}


def must_live(run: Run) -> None:
    """The old key does not go while the new one is dead: somebody may have ended that meanwhile. Raises: Overtaken."""
    new_id = run.known("reissue").get("key_id")
    if not new_id or not run.renews:
        return
    try:
        key = run.api.key(str(new_id))
    except PlatformError as error:
        if error.status != 404:
            raise
    else:
        if key.alive:
            return
    raise _lost(run, f"The new key {new_id} opens nothing any more: somebody ended it meanwhile.")


def _lost(run: Run, what: str) -> Overtaken:
    """The new key is dead. Where it stands, another will take its place."""
    if run.vault.get("new") is not None:
        run.vault.put(lapsed=run.new.reveal())
    run.vault.drop("new", "new_id", "private", "idempotency", "wish")
    return Overtaken(
        f"{what} Nothing was done to the old one since.",
        "Resume: it asks for another, and brings that where the dead one stands.",
        "reissue", "distribute", "hand-over", "confirm",
    )  # fmt: skip
