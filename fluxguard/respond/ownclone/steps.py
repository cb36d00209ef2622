"""The steps that clean the user's own clone. Until a ref of it moves, nothing of it is changed; from then on there is only the way forward."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.errors import BrokenRepository, FluxguardError
from fluxguard.respond import remaining
from fluxguard.respond.course import Data, Overtaken, Run, Waiting, run_safe
from fluxguard.respond.mirror import Moved
from fluxguard.respond.ownclone import backup, carrying, clone, moving
from fluxguard.words import count

LEFT = "left as it is"
OR_LEAVE = "or leave it as it is: fluxguard respond resume --leave-clone"


def wanted(run: Run) -> bool:
    """Whether the own clone is to be cleaned: asked for, and not given up since."""
    return run.incident.wishes.own_clone and not any(
        one.step == "own-clone" and one.data.get("clone") == LEFT for one in run.journal.records
    )


def back_up(run: Run) -> Data:
    """With the person's word: a copy of everything, proved, before anything is changed."""
    _may_start(run)
    own = clone.opened(run.repository)
    if found := clone.hindrances(own):
        raise Waiting(
            f"your own clone can't be cleaned as it stands: {'; '.join(found)}. Then resume, {OR_LEAVE}"
        )
    if not run.agree(
        f"This rewrites your own clone, {run_safe(run, os.fsencode(run.repository))}: {count(len(own.refs()), 'ref')}, logs, stashes, "
        f"{count(len(own.trees), 'working tree')}.\nA backup of all of it is made first. Type {run.word} to go on",
        run.word,
    ):
        raise Waiting(
            f"cleaning your own clone was not agreed to; resume, and type the repository's name, {OR_LEAVE}"
        )
    run.say("copying everything it holds")
    before = backup.kept(run.incident.folder)
    made = backup.make(own, backup.next_in(run.incident.folder))
    if run.journal.last("own-move") is None:
        for one in before:  # nothing was changed since: all that they hold is in the new one
            backup.remove(one)
    return made


def hindrances(run: Run) -> list[str]:
    """For a plan: why the clone could not be cleaned as it stands."""
    return [run_safe(run, os.fsencode(one)) for one in clone.hindrances(clone.opened(run.repository))]


def folder(run: Run) -> Path:
    return Path(str(run.known("own-backup")["folder"]))


def _may_start(run: Run) -> None:
    """Half moved, the clone is no longer what has to be kept."""
    if half_moved(run):
        raise FluxguardError(
            "Your own clone is half moved, and its backup is kept.", "This is a defect; report it."
        )


def give_up_backups(run: Run) -> None:
    """Where the clone was never touched, its backup is of no use, and the key stands in it."""
    if run.journal.last("own-move") is None:
        for one in backup.kept(run.incident.folder):
            backup.remove(one)
            run.journal.add("forget", "note", folder=str(one))


def half_moved(run: Run) -> bool:
    """Whether the clone has begun to move over, and has not arrived."""
    try:
        return run.vault.get("own") is not None and moving.begun(clone.opened(run.repository), _mark(run))
    except BrokenRepository:  # it is gone
        return False


def rewrite(run: Run) -> Data:
    """Everything that the clone leads to, rewritten and audited in a private copy."""
    own = clone.opened(run.repository)
    if own.refs() != clone.Clone(folder(run), ()).refs():
        raise Overtaken(
            "Your clone has changed since it was backed up. Nothing was changed by fluxguard.",
            "Resume: it begins with what is there now.", "own-backup",
        )  # fmt: skip
    names = json.loads(run.vault.get("names") or b"{}")
    known = {bytes.fromhex(old): bytes.fromhex(new) for old, new in names.items()}
    moves, done = carrying.carry(own, folder(run), _copy(run), run.old, run.say, known)
    if done.left or done.unexpected:
        raise FluxguardError(
            f"The copy of your clone still holds the key, or differs where no key was ({len(done.left) + len(done.unexpected)} places). "
            "Nothing was changed in your clone.",
            f"Look at the report; {OR_LEAVE}",
        )
    if other := carrying.differing(moves, run.known("rewrite").get("changed", {}).values()):
        raise FluxguardError(
            f"{other} refs of your clone come out otherwise than on the remote, so it would not fit it. Nothing was changed in your clone.",
            f"Carry over what is not pushed as patches (git format-patch), and clone anew; {OR_LEAVE}",
        )
    run.vault.put(own=json.dumps(moves.to_json()).encode())
    changed = sum(old != new for _, _, old, new in moves.refs)
    return {
        "refs": len(moves.refs),
        "changed": changed,
        "commits": len(moves.commits),
        "unread": list(done.unread),
        "whole": list(done.whole),
        "anew": dict(done.anew),
    }


def _copy(run: Run) -> Path:
    return run.incident.folder / "own"


def _mark(run: Run) -> str:
    return f"fluxguard {run.incident.id}"


def _move(run: Run) -> moving.Move:
    table = run.vault.get("own")
    if table is None:
        raise FluxguardError("The incident's vault does not say what becomes of your clone.")
    return moving.Move(
        clone.opened(run.repository), _copy(run), folder(run), carrying.Moves.from_json(json.loads(table)), run.old,
        _mark(run), run.incident.folder / "scratch",
    )  # fmt: skip


def move(run: Run) -> Data:
    """The clone itself: what was rewritten takes the place of what was there."""
    what = _move(run)
    begun = moving.begun(what.clone, what.mark)
    if not begun and (found := clone.hindrances(what.clone)):
        raise Waiting(
            f"your own clone can't be cleaned as it stands: {'; '.join(found)}. Then resume, {OR_LEAVE}"
        )
    try:
        figures = moving.move(what, run.say)
    except Moved as error:
        if moving.begun(what.clone, what.mark):
            raise FluxguardError(
                "A ref of your clone is locked, or moved while the clone was moved over.",
                "Let nothing else work in the clone (or, if no git runs, remove its .lock files), then resume.",
            ) from None
        raise Overtaken(error.what, error.hint, "own-backup", "own-rewrite") from None
    return dict(figures)


def look(run: Run) -> Data:
    """What the user's own clone still holds; and, where it was cleaned, that it is sound and lacks nothing."""
    proof: Data = {}
    if run.journal.outcome("own-move") is not None:
        own = clone.opened(run.repository)
        own.git("fsck", "--full", "--no-dangling", "--no-progress")
        there = own.refs()
        gone = [new for _, new, _, _ in _move(run).moves.refs if new not in there]
        others = [name for name in own.git("remote").split(b"\n") if name and name != b"origin"]
        proof = {
            "sound": True,
            "remotes": [run_safe(run, name) for name in others],
            "refs": len(there),
            "missing": [run_safe(run, os.fsencode(name)) for name in gone],
        }
    report = auditing.audit(str(run.repository), Config(), full=bool(proof))
    found = [one for one in report.findings if one.secret == run.old]
    return {
        "places": remaining.places_of(found), "unread": remaining.unread_of(report.skipped, run.old), **proof,
    }  # fmt: skip
