"""The report of an incident, from its journal: what was exposed, what was done and when, what is left. Markdown, HTML, JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fluxguard.respond import pages, pushing
from fluxguard.respond.choose import RENEWING
from fluxguard.respond.incident import Incident, platform_of
from fluxguard.respond.journal import Record
from fluxguard.respond.places import IN_GIT
from fluxguard.respond.telling import waits_for
from fluxguard.words import count
from fluxguard.writing import whole

FORMATS = ("markdown", "html", "json")


def document(incident: Incident, records: Sequence[Record], closing: bool = False) -> dict[str, Any]:
    """The report as JSON. closing: as in `state_of`."""
    done: dict[str, dict[str, Any]] = {}
    for one in records:
        if one.phase == "done":
            done[one.step] = dict(one.data)
        elif one.phase == "stale":
            done.pop(one.step, None)
    state = state_of(records, closing)
    return {
        "schema": "fluxguard.incident/1", "incident": incident.id, "opened_at": incident.opened_at, "by": incident.by,
        "repository": incident.repository, "platform": platform_of(incident, records),
        "key": {"masked": incident.masked, "fingerprint": incident.fingerprint, "environment": incident.environment},
        "state": state, "waits_for": _waits_for(state, records), "strategy": done.get("choose", {}), "steps": done,
        "timeline": [
            {"time": one.time, "step": one.step, "phase": one.phase, "data": dict(one.data)} for one in records
        ],
        "left": [
            *_at_the_platform(done, incident, state), *left(done, incident, state), *_originals(records), *_backups(records),
        ],
    }  # fmt: skip


def state_of(records: Sequence[Record], closing: bool = False) -> str:
    """`open`, `waiting`, `failed`, `closed`, `aborting` (that was killed: it is gone on with) or `aborted`.

    closing: what is being closed counts as closed.
    """
    if any(one.step == "close" and one.phase == "done" for one in records):
        return "closed"
    if closing and records and (records[-1].step, records[-1].phase) == ("close", "intent"):
        return "closed"
    if ended := [one.phase for one in records if one.step == "abort"]:
        return "aborted" if "done" in ended else "aborting"
    last = next((one for one in reversed(records) if one.phase != "note"), None)
    return last.phase if last is not None and last.phase in ("waiting", "failed") else "open"


ENDED = ("closed", "aborted")


def _waits_for(state: str, records: Sequence[Record]) -> dict[str, Any]:
    """What the incident stands still for: the step, the reason, and what a person does."""
    last = next((one for one in reversed(records) if one.phase in ("waiting", "failed")), None)
    if state not in ("waiting", "failed") or last is None:
        return {}
    todo = list(last.data.get("todo", ())) or [one for one in (last.data.get("hint"),) if one]
    return {"step": last.step, "reason": waits_for(last.data), "todo": todo}


def is_dead(done: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it was proved that the old key opens nothing."""
    return "dead" in done or done.get("guided", {}).get("state") == "dead"


def _at_the_platform(done: Mapping[str, Mapping[str, Any]], incident: Incident, state: str) -> list[str]:
    """What stands there and was not brought to its end."""
    if is_dead(done):
        return []
    key_id = done.get("verify", {}).get("key_id")
    ended = done.get("guided", {}).get("how")
    found = [
        f"The old key: {ended}."
        if ended
        else "The old key was not proved dead: whoever has it may be able to use it."
    ]
    if key_id and not ended:
        at_once = "" if state in ENDED else f" at once (then: fluxguard respond resume {incident.id})"
        found[0] += f" To end it{at_once}: fluxguard apikeys revoke --key-id {key_id}"
    if "contain" in done:
        found.append(f"The old key {key_id} is quarantined: only clients that are known to use it go on.")
    new = done.get("reissue", {})
    if new and "confirm" not in done:
        held = (
            "; nobody has it, and it lapses by itself"
            if state == "aborted" and "distribute" not in done
            else ""
        )
        found.append(f"The new key {new.get('masked')} ({new.get('key_id')}) waits to be confirmed{held}.")
    elif new:
        found.append(
            f"The new key {new.get('masked')} counts already; the old one ends by itself when its time is over."
        )
    return found


def left(done: Mapping[str, Mapping[str, Any]], incident: Incident, state: str = "closed") -> list[str]:
    """What is still to be done, in words. state: as `state_of` says it."""
    open_ = _by_hand(done)
    open_ += [
        f"On this machine: {one}"
        for step in ("distribute", "guided") for one in done.get(step, {}).get("unread", ())
    ]  # fmt: skip
    if done.get("reissue", {}).get("less"):
        open_.append(
            f"The new key {done['reissue'].get('masked')} ends sooner, or may be used less often, than the old one: the key that asked for it "
            "can hand on no more. A person can change that in the console."
        )
    if "choose" in done and done["choose"].get("strategy") not in RENEWING:
        open_ += [f"{one}: no new key was made, so none was brought there" for one in incident.wishes.targets]
    if "rewrite" not in done:
        open_.append(_not_cleaned(done, incident, state))
    elif "prove" not in done and incident.wishes.remote and done["rewrite"].get("changed"):
        open_.append(_not_proved(done, incident))
    open_ += [f"Still on the remote: {one}" for one in done.get("prove", {}).get("left", ())]
    unread = [one for step in ("rewrite", "prove") for one in done.get(step, {}).get("unread", ())]
    open_ += [f"Not looked at: {one}" for one in dict.fromkeys(unread)]
    open_ += [
        f"Your own clone lacks {one} since it was cleaned" for one in done.get("own", {}).get("missing", ())
    ]
    open_ += [
        f"Remote {one} of your own clone was not cleaned: the next fetch from it brings the old commits back"
        for one in done.get("own", {}).get("remotes", ())
    ]
    if "rewrite" in done and "own" not in done:
        open_.append(
            "Your own clone was not looked at since, and may hold the key still: fluxguard audit there"
        )
    open_ += [f"In your own clone: {one}" for one in done.get("own", {}).get("places", ())]
    open_ += [f"In your own clone, not looked at: {one}" for one in done.get("own", {}).get("unread", ())]
    open_ += [
        f"{name} was not rewritten: {pushing.in_words(what)}"
        for name, what in done.get("push", {}).get("refs", {}).items()
        if what not in pushing.ARRIVED
    ]
    open_ += [
        f"In your own clone, replaced whole (its backup holds the original): {one}"
        for one in done.get("own-rewrite", {}).get("whole", ())
    ]
    known = {_id(one) for one in done.get("rewrite", {}).get("anew", {})}
    open_ += [
        f"In your own clone: {_to_be_signed(one, what)}"
        for one, what in done.get("own-rewrite", {}).get("anew", {}).items()
        if what and _id(one) not in known
    ]
    open_ += _lost(done.get("rewrite", {}), done.get("push", {}).get("refs", {}))
    for name in ("hooks", "gitignore"):
        if str(done.get("prevent", {}).get(name, "")).startswith(("run:", "not done")):
            open_.append(f"{name}: {done['prevent'][name]}")
    return open_


def _by_hand(done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Places that a person has to mend; not files of git's that were cleaned with the clone since."""
    rows = [one for step in ("distribute", "guided") for one in done.get(step, {}).get("places", ())]
    own = done.get("own", {})
    cleaned = "own-move" in done and bool(own) and not own.get("places") and not own.get("unread")
    return [
        f"{one['place']}: {one['why']}"
        for one in rows
        if one.get("done") == "manual" and not (cleaned and one["why"].startswith(IN_GIT))
    ]


def _not_cleaned(done: Mapping[str, Mapping[str, Any]], incident: Incident, state: str) -> str:
    """Of a history that is as it was."""
    held = "which is dead" if is_dead(done) else "which may be alive"
    if state in ENDED:
        return f"The history still holds the key, {held}. To clean it: {_cleaning(incident)}"
    if incident.wishes.clean:
        return f"The history still holds the key, {held}. This incident cleans it later: fluxguard respond resume {incident.id}"
    return f"The history still holds the key, {held}. To clean it, once this incident is closed: {_cleaning(incident)}"


def _cleaning(incident: Incident) -> str:
    """The command that cleans the history on the remote."""
    return f"fluxguard respond start --repo {shlex.quote(incident.repository)} --finding {incident.fingerprint} --clean-history --push"


def _not_proved(done: Mapping[str, Mapping[str, Any]], incident: Incident) -> str:
    """Of a history that was rewritten in the mirror, and is not proved clean on the remote."""
    pushed = [name for name, what in done.get("push", {}).get("refs", {}).items() if what in pushing.ARRIVED]
    if pushed:
        return f"Remote {incident.wishes.remote} was not looked at since {count(len(pushed), 'ref')} arrived there: whether the key is gone is not proved."
    again = _cleaning(incident)
    if incident.wishes.push:
        return f"The history on remote {incident.wishes.remote} still holds the key: the cleaned one was not pushed whole. Go on: fluxguard respond resume; or, once this incident is ended: {again}"
    return f"The history on remote {incident.wishes.remote} still holds the key: it was cleaned in a private mirror, which is gone, to see that it can be. To clean the remote: {again}"


def _lost(rewrite: Mapping[str, Any], pushed: Mapping[str, Any]) -> list[str]:
    """What the rewrite could not keep."""
    found = [
        f"Replaced whole, for the key could not be cut out of it: {one}" for one in rewrite.get("whole", ())
    ]
    found += [_to_be_signed(one, what) for one, what in rewrite.get("anew", {}).items() if what]
    found += [
        f"{name} is deleted on the remote: git-filter-repo carries no replaced objects over"
        for name, what in pushed.items() if what == "deleted" and name.startswith("refs/replace/")
    ]  # fmt: skip
    if signed := rewrite.get("signatures", 0):
        had = f"{count(signed, 'signature')} of commits and tags {'was' if signed == 1 else 'were'} stripped"
        found.append(f"{had} by the rewrite: sign anew what has to be signed.")
    found += [
        f"Header {name} of {count(number, 'commit')} was dropped by the rewrite."
        for name, number in rewrite.get("headers", {}).items()
    ]
    return found


def _id(archive: str) -> str:
    """The blob's, at the end of what is said of it."""
    return archive.rpartition(" ")[2]


def _to_be_signed(archive: str, broken: str) -> str:
    """An archive out of which the key was cut, and what vouched for it."""
    return f"To be signed or built anew, for {broken} no longer fits since the key was cut out: {archive}"


def _forgotten(records: Sequence[Record]) -> set[Any]:
    """The folders that were kept and are gone, by the person's word."""
    return {one.data.get("folder") for one in records if one.step == "forget"}


def _originals(records: Sequence[Record]) -> list[str]:
    """Files that were replaced whole or lost their signature, and are kept: the key stands in them."""
    made = {
        str(one.data["originals"]) for one in records
        if one.step == "rewrite" and one.phase == "done" and one.data.get("originals")
    }  # fmt: skip
    gone = _forgotten(records)
    return [
        f"The originals of these files, in which the key still stands: {one}. When you need them no more: fluxguard respond forget"
        for one in sorted(made - gone)
        if Path(one).is_dir()
    ]


def _backups(records: Sequence[Record]) -> list[str]:
    """Copies of the own clone that are kept: the key stands in them."""
    made = [str(one.data["folder"]) for one in records if one.step == "own-backup" and one.phase == "done"]
    if not any(one.step == "own-move" for one in records):
        made = made[-1:]
    gone = _forgotten(records)
    return [
        f"The backup of your own clone, in which the key still stands: {one}. When you need it no more: fluxguard respond forget"
        for one in made if one not in gone and Path(one).is_dir()
    ]  # fmt: skip


def write_all(incident: Incident, records: Sequence[Record]) -> list[Path]:
    """All three, in the incident's folder."""
    paths = []
    for name, ending in (("markdown", "md"), ("html", "html"), ("json", "json")):
        path = incident.folder / f"report.{ending}"
        text = written(incident, records, name, closing=True)
        whole(str(path), lambda stream, text=text: stream.write(text))  # type: ignore[misc]
        paths.append(path)
    return paths


def written(incident: Incident, records: Sequence[Record], form: str, closing: bool = False) -> str:
    """The report in one of FORMATS. closing: as in `state_of`."""
    told = document(incident, records, closing)
    ways: Mapping[str, Callable[[], str]] = {
        "markdown": lambda: pages.markdown(told), "html": lambda: pages.page(told),
        "json": lambda: json.dumps(told, indent=2, sort_keys=True) + "\n",
    }  # fmt: skip
    return ways[form]()
