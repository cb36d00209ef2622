"""The steps of a response, in order. Each says whether it is needed, does its work, and can be done again after a kill.

A step gets the `Run`; what it returns stands in the journal as done. `Waiting` ends this run and not the incident: `resume` goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from fluxguard.respond import (
    assessing,
    clearing,
    distributing,
    evidence,
    guiding,
    handing,
    preventing,
    reissuing,
    revoking,
)
from fluxguard.respond.choose import RENEWING
from fluxguard.respond.course import Data, Run
from fluxguard.respond.incident import load
from fluxguard.respond.ownclone import steps as ownclone


@dataclass(frozen=True, slots=True)
class Step:
    """name: in the journal. title: for people. needed: whether this incident has it. do: the work."""

    name: str
    title: str
    do: Callable[[Run], Data]
    needed: Callable[[Run], bool] = lambda run: True


def prevent(run: Run) -> Data:
    """So that it does not happen again."""
    return preventing.prevent(run.repository, run.banned)


def close(run: Run) -> Data:
    """The report is written; the vault and the mirrors, which hold keys, go."""
    for name in WORKING:
        shutil.rmtree(run.incident.folder / name, ignore_errors=True)
    ownclone.give_up_backups(run)
    paths = evidence.write_all(load(run.incident.id), run.journal.records)
    run.vault.burn()  # before it is said to be done: nothing burns it after
    return {"reports": [str(path) for path in paths]}


WORKING = (
    "proof",
    "mirror",
    "own",
    "scratch",
)  # private folders in which keys stand while an incident is open


def _alive(run: Run) -> bool:
    return run.strategy in RENEWING


def _renewed(run: Run) -> bool:
    return _alive(run) and run.renews


ENDED = ("overlap", "contain", "finish")  # the old key's end is waited for

STEPS = (
    Step("verify", "Verify: is the key alive?", assessing.verify),
    Step("assess", "Assess: who could see it, who used it?", assessing.assess),
    Step("choose", "Choose: in which order?", assessing.choose_strategy),
    Step(
        "contain",
        "Contain: only known clients go on",
        revoking.contain,
        lambda run: run.strategy == "contain",
    ),
    Step("revoke-first", "Revoke first", revoking.revoke_first, lambda run: run.strategy == "revoke-first"),
    Step("reissue", "Reissue: a new key, safe on disk", reissuing.reissue, _renewed),
    Step("distribute", "Distribute: the new key where the old one was", distributing.distribute, _alive),
    Step(
        "give-up",
        "Give up the new key, which nobody has",
        reissuing.give_up,
        lambda run: _alive(run) and not run.renews and bool(run.known("reissue")),
    ),
    Step(
        "hand-over",
        "Hand over: the new key, which went nowhere by itself",
        handing.hand_over,
        lambda run: _renewed(run) and handing.needed(run),
    ),
    Step("confirm", "Confirm: the new key counts", reissuing.confirm, _renewed),
    Step(
        "drain",
        "Wait until the old key is silent",
        revoking.drain,
        lambda run: run.strategy in ENDED,
    ),
    Step("revoke", "Revoke the old key", revoking.revoke, lambda run: run.strategy in ENDED),
    Step(
        "guided",
        "End the old key on the platform's page",
        guiding.guided,
        lambda run: run.strategy == "guided",
    ),
    Step(
        "dead", "Prove: the old key opens nothing", revoking.dead_check, lambda run: run.strategy != "guided"
    ),
    Step(
        "rewrite",
        "Clean: the history, in a private mirror",
        clearing.rewrite,
        lambda run: run.incident.wishes.clean,
    ),
    Step(
        "push",
        "Push the cleaned history",
        clearing.push,
        lambda run: run.incident.wishes.clean and run.incident.wishes.push,
    ),
    Step(
        "prove",
        "Prove: the remote is clean",
        clearing.prove,
        lambda run: run.incident.wishes.clean and run.incident.wishes.push,
    ),
    Step("own-backup", "Back up your own clone", ownclone.back_up, ownclone.wanted),
    Step("own-rewrite", "Clean your own clone, in a private copy", ownclone.rewrite, ownclone.wanted),
    Step("own-move", "Move your own clone over", ownclone.move, ownclone.wanted),
    Step(
        "own", "Look: what your own clone still holds", ownclone.look, lambda run: run.incident.wishes.clean
    ),
    Step("prevent", "Prevent: hooks and .gitignore", prevent),
    Step("close", "Close: the report", close),
)
