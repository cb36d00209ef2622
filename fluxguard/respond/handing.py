"""The new key that has gone nowhere: the old one stays good, and the vault whole, until a person has it or does without.

A key is made to be used. Where no file here may hold it and no other place was named, the run waits rather than end with a key that nobody can get.
"""

from __future__ import annotations

from collections.abc import Sequence

from fluxguard.respond.course import Data, Run, Waiting
from fluxguard.respond.distributing import GIVEN
from fluxguard.respond.journal import Record


def needed(run: Run) -> bool:
    """Whether the new key was brought to no place at all."""
    spread = run.journal.outcome("distribute")
    return spread is not None and not any(one["done"] in GIVEN for one in spread.data["places"])


def hand_over(run: Run) -> Data:
    """Somebody has seen the new key, and says by `resume` that it is where it is needed. Raises: Waiting until then."""
    key = str(run.known("reissue")["key_id"])
    times = [one.time for one in run.journal.records if _is_showing(one, key)]
    if times:
        return {"given": "shown to whoever asked for it", "at": times[-1]}
    command = f"fluxguard respond resume {run.incident.id}"
    raise Waiting(
        "the new key has gone nowhere: no file here can take it, and no other place was named. The old key stays as it is until you do one of these",
        todo=(
            f"See it, put it where the old one is used, then resume: {command} --show-key",
            f"Have it brought there: {command} --target github:OWNER/REPO:NAME (or gitlab:..., circleci:..., exec:COMMAND)",
            f"Do without a new key, and let the old one die: {command} --no-new-key",
        ),
    )


def _is_showing(one: Record, key_id: str) -> bool:
    """Whether somebody saw the key, for certain."""
    return _of_showing(one, key_id) and "shown" in one.data


def _of_showing(one: Record, key_id: str) -> bool:
    return one.step == "hand-over" and one.phase == "note" and one.data.get("key_id") == key_id


def whereabouts(records: Sequence[Record]) -> list[str]:
    """Where the new key is, as the journal has it: places that have it, those that may, and whom it was shown to."""
    made = next((one for one in reversed(records) if one.step == "reissue" and one.phase == "done"), None)
    if made is None:
        return []
    key, found = str(made.data["key_id"]), dict[str, str]()
    for one in records:
        if one.step == "distribute" and one.phase == "note" and one.data.get("key_id") == key:
            place = str(one.data["place"])
            if one.data.get("done") == "":  # it was not sent after all
                found.pop(place, None)
            else:
                found[place] = place if "done" in one.data else found.get(place, f"{place} (perhaps)")
        elif _is_showing(one, key):
            found["shown"] = f"shown to whoever asked for it, {one.time}"
        elif _of_showing(one, key):
            found.setdefault("shown", f"shown to whoever asked for it, {one.time} (perhaps)")
    return list(found.values())
