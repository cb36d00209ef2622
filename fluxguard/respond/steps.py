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
from fluxguard.respond.telling import TITLES


@dataclass(frozen=True, slots=True)
class Step:
    """name: in the journal. needed: whether this incident has it. do: the work. title: for people."""

    name: str
    do: Callable[[Run], Data]
    needed: Callable[[Run], bool] = lambda run: True

    @property
    def title(self) -> str:
        return TITLES[self.name]


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
    Step("verify", assessing.verify),
    Step("assess", assessing.assess),
    Step("choose", assessing.choose_strategy),
    Step(
        "contain",
        revoking.contain,
        lambda run: run.strategy == "contain",
    ),
    Step("revoke-first", revoking.revoke_first, lambda run: run.strategy == "revoke-first"),
    Step("reissue", reissuing.reissue, _renewed),
    Step("distribute", distributing.distribute, _alive),
    Step(
        "give-up",
        reissuing.give_up,
        lambda run: _alive(run) and not run.renews and bool(run.known("reissue")),
    ),
    Step(
        "hand-over",
        handing.hand_over,
        lambda run: _renewed(run) and handing.needed(run),
    ),
    Step("confirm", reissuing.confirm, _renewed),
    Step(
        "drain",
        revoking.drain,
        lambda run: run.strategy in ENDED,
    ),
    Step("revoke", revoking.revoke, lambda run: run.strategy in ENDED),
    Step(
        "guided",
        guiding.guided,
        lambda run: run.strategy == "guided",
    ),
    Step("dead", revoking.dead_check, lambda run: run.strategy != "guided"),
    Step(
        "rewrite",
        clearing.rewrite,
        lambda run: run.incident.wishes.clean,
    ),
    Step(
        "push",
        clearing.push,
        lambda run: run.incident.wishes.clean and run.incident.wishes.push,
    ),
    Step(
        "prove",
        clearing.prove,
        lambda run: run.incident.wishes.clean and run.incident.wishes.push,
    ),
    Step("own-backup", ownclone.back_up, ownclone.wanted),
    Step("own-rewrite", ownclone.rewrite, ownclone.wanted),
    Step("own-move", ownclone.move, ownclone.wanted),
    Step("own", ownclone.look, lambda run: run.incident.wishes.clean),
    Step("prevent", prevent),
    Step("close", close),
)
