"""The new key brought to where the old one stands: on this machine found by value, elsewhere to the places that were named.

Each place is in the journal before it gets the key, and after: wherever the run ends, it is known where the new key is.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.repo import gitdir
from fluxguard.respond import places, remote
from fluxguard.respond.course import Data, Run, run_safe

GIVEN = frozenset({"written", "there", "delivered"})  # outcomes with which the new key is somewhere
NO_NEW_KEY = "the key dies, and no new one was asked for: what reads it here stops working"


def distribute(run: Run) -> Data:
    """To each place on this machine where the old key stands, found by value, and to the places that were named."""
    trees = trees_of(run)
    results: list[Data] = _from_before(run, trees) if run.renews else []
    lapsed = run.vault.secret("lapsed")
    unread: list[str] = []
    for leaving in (run.old, *([lapsed] if lapsed else [])):
        found, skipped = places.find(trees, leaving, run.home)
        results += [_row(run, place, leaving) for place in found]
        unread += skipped
    if lapsed:
        run.vault.drop("lapsed")
    results += _elsewhere(run) if run.renews else []
    results += [
        {"place": f"environment ({name})", "done": "manual", "why": f"unset {name}, or start a new shell"}
        for name, value in run.environment.items() if value.encode("utf-8", "surrogateescape") == run.old.reveal()
    ]  # fmt: skip
    return {"places": results, "unread": [run_safe(run, os.fsencode(one)) for one in dict.fromkeys(unread)]}


def trees_of(run: Run) -> list[Path]:
    """The working trees of the repository."""
    return [Path(one.tree) for one in gitdir.family(gitdir.locate(str(run.repository))) if one.tree]


def _from_before(run: Run, trees: list[Path]) -> list[Data]:
    """Where the new key stands since an earlier run, which did not come to its end."""
    if sum(one.step == "distribute" and one.phase == "intent" for one in run.journal.records) < 2:
        return []
    rows: list[Data] = []
    for place in places.holding(trees, run.new, run.home):
        row: Data = {"place": _shown(run, place.path), "done": "there"}
        if place.tracked:
            row = {**row, "done": "manual", "why": f"the new key stands there: {places.IN_GIT}"}
        rows.append(row)
    return rows


def _row(run: Run, place: places.Place, leaving: Secret) -> Data:
    """One place on this machine. Read back, the file says the same but for the key; a kill between leaves the old one or the new one."""
    name = _shown(run, place.path)
    if place.why or not run.renews:
        return {"place": name, "done": "manual", "why": run_safe(run, os.fsencode(place.why or NO_NEW_KEY))}
    return _noted(run, name, lambda: {"done": places.replace(place.path, leaving, run.new)})


def _elsewhere(run: Run) -> list[Data]:
    """The places that were named, and what `auth login` kept where it is the key that leaked."""
    from fluxguard.platform import credentials

    rows = []
    for text in run.targets:
        target = remote.parse(text)

        def deliver(target: remote.Target = target) -> Data:
            return {"done": "delivered", "seen": remote.deliver(target, run.new, run.environment)}

        try:
            rows.append(_noted(run, str(target), deliver))
        except FluxguardError as error:
            again = f"fluxguard respond resume {run.incident.id}"
            error.hint = f"{error.hint} Go on: {again}   (without this place: {again} --without-target {shlex.quote(text)})"
            raise
    for one in credentials.every(run.api.address.url, None, {}):
        if one.secret == run.old:
            rows.append(_noted(run, one.place, lambda: _saved(run)))
        elif one.secret == run.new:
            rows.append({"place": one.place, "done": "there"})
    return rows


def _saved(run: Run) -> Data:
    from fluxguard.platform import credentials

    credentials.save(run.api.address.url, run.new)
    return {"done": "written"}


def _noted(run: Run, place: str, work: Callable[[], Data]) -> Data:
    """Does it, with a line in the journal before and after."""
    key = str(run.known("reissue").get("key_id", ""))
    run.journal.add("distribute", "note", place=place, key_id=key)
    try:
        row = {"place": place, **work()}
    except remote.NotSent:
        run.journal.add("distribute", "note", place=place, key_id=key, done="")
        raise
    run.journal.add("distribute", "note", place=place, key_id=key, done=row["done"])
    return row


def _shown(run: Run, path: Path) -> str:
    return run_safe(run, os.fsencode(path))
