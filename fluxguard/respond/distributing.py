"""The new key brought to where the old one stands: on this machine found by value, elsewhere to the places that were named."""

from __future__ import annotations

import os
from pathlib import Path

from fluxguard.model import Secret
from fluxguard.repo import gitdir
from fluxguard.respond import places, remote
from fluxguard.respond.course import Data, Run, run_safe


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
    return run_safe(run, os.fsencode(path))


def _saved_key(run: Run) -> list[Data]:
    """The key that `auth login` kept, where it is the one that leaked."""
    from fluxguard.platform import credentials

    for one in credentials.every(run.incident.url, None, {}):
        if one.secret == run.old:
            return [{"place": credentials.save(run.incident.url, run.new), "done": "written"}]
    return []
