"""`respond resume` where the new key has gone nowhere: shown to whoever asks, brought to further places, or done without."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxguard.errors import ExitCode, UsageError
from fluxguard.secret import veiled

if TYPE_CHECKING:
    from fluxguard.respond.course import Run


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `resume`."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--show-key",
        action="store_true",
        help="print the new key, which went to no place by itself, and do nothing else; the next resume says that it is in place",
    )
    how.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="TARGET",
        help="a further place for the new key, as of start",
    )
    parser.add_argument(
        "--without-target",
        action="append",
        default=[],
        metavar="TARGET",
        help="a place that was named and is not wanted after all, word for word as it was given",
    )
    how.add_argument(
        "--no-new-key", action="store_true", help="do without a new key: one that nobody has yet is revoked"
    )


def show(args: argparse.Namespace, incident: Any) -> int:
    """The one display of the new key, which somebody asked for. It is noted before: somebody may have it; and after: somebody has."""
    if args.without_target:
        raise UsageError("--show-key does nothing else.", "Leave out --without-target.")
    with _held(incident) as run:
        new, key_id = run.vault.secret("new"), run.vault.get("new_id")
        if new is None or key_id is None:
            raise UsageError("There is no new key to show.", f"See: fluxguard respond status {incident.id}")
        if not run.renews:
            raise UsageError(
                "The new key is given up, as it was asked for: nobody is to use it.",
                f"Go on: fluxguard respond resume {incident.id}",
            )
        run.journal.add("hand-over", "note", key_id=key_id.decode(), showing=new.masked)
        key = new.reveal().decode("ascii", "replace")
        print(json.dumps({"incident": incident.id, "key": key}) if args.format == "json" else key, flush=True)
        run.journal.add("hand-over", "note", key_id=key_id.decode(), shown=new.masked)
    print(
        f"Put it where the old key is used. Then the old one can go: fluxguard respond resume {incident.id}",
        file=sys.stderr,
    )
    return ExitCode.CLEAN


@contextmanager
def _held(incident: Any) -> Iterator[Run]:
    """The incident as a run has it, with nobody to ask and nothing to do: for what is written down between two runs."""
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.course import Run

    with closing(incidents.journal_of(incident)) as journal:
        api: Any = None
        vault = incidents.vault_of(incident)
        yield Run(incident, journal, vault, api, {}, print, lambda question, word: False, lambda time: None)


def change(args: argparse.Namespace, incident: Any) -> None:
    """Notes further places, places that are taken back, or that no new key is wanted after all."""
    if not args.target and not args.without_target and not args.no_new_key:
        return
    from fluxguard.respond import remote

    for text in args.target:
        remote.runnable(text)
    with _held(incident) as run:
        if args.no_new_key and not run.renews:
            return  # it was said before
        _must_be_in_time(run)
        if args.no_new_key:
            _without(run)
        else:
            _elsewhere(run, args.target, args.without_target)


def _must_be_in_time(run: Run) -> None:
    """Raises: UsageError where there is no new key that could go elsewhere, or nowhere."""
    from fluxguard.respond.choose import RENEWING

    id_, strategy = run.incident.id, run.strategy
    if (strategy and strategy not in RENEWING) or not run.renews:
        why = strategy if run.renews else "--no-new-key"
        raise UsageError(
            f"This response makes no new key ({why}), so there is none to bring anywhere or to do without.",
            f"Go on: fluxguard respond resume {id_}",
        )
    made, kept = run.journal.outcome("reissue") is not None, run.vault.get("new") is not None
    if run.journal.outcome("confirm") is not None or (made and not kept):
        raise UsageError("It is too late for that.", f"See: fluxguard respond status {id_}")


def _elsewhere(run: Run, targets: list[str], without: list[str]) -> None:
    """Further places, and those that are taken back."""
    if unknown := [text for text in without if text not in run.targets]:
        raise UsageError(
            f"{unknown[0]} is none of the places that were named.",
            f"They are: {', '.join(run.targets) or 'none'}",
        )
    run.journal.add("wishes", "note", targets=list(targets), without=list(without))
    if targets and run.journal.outcome("distribute") is not None:
        run.journal.add("distribute", "stale", what="further places were named")


def _without(run: Run) -> None:
    """No new key after all: only where nobody can have it."""
    from fluxguard.respond import handing

    if where := handing.whereabouts(run.journal.records):
        raise UsageError(f"The new key is in use, perhaps: {', '.join(where)}", "Go on without --no-new-key.")
    if run.journal.outcome("reissue") is None and run.vault.get("private") is not None:
        raise UsageError("A new key was asked for already.", "Resume without --no-new-key first.")
    run.journal.add("wishes", "note", new_key=False)


def before_abort(args: argparse.Namespace, incident: Any, journal: Any, vault: Any, api: Any) -> str:
    """What becomes of the new key, in words for the person. One that nobody has is revoked; nobody could ever do that by its value.

    Raises: UsageError where it is nowhere and nobody said that it may go; PlatformError where it can't be revoked now.
    """
    from fluxguard.respond import handing

    where = handing.whereabouts(journal.records)
    if where and journal.outcome("reissue") is None:
        return f"The new key is dead, and was to be made anew. What uses it is broken: {', '.join(where)}."
    if where:
        return f"The new key stays. It is here: {', '.join(where)}."
    key_id = _made(journal, vault)
    if not key_id:
        return ""
    if found := _standing(incident, vault.secret("new")):
        return f"The new key stays. It is here: {', '.join(found)}."
    if not args.yes:
        raise UsageError(
            "A new key was made, and is nowhere but in the incident's vault.",
            f"See it: fluxguard respond resume {incident.id} --show-key. Or add --yes: it is revoked then.",
        )
    asked = api()
    try:
        asked.revoke(key_id, f"given up; {incident.id}")
    finally:
        asked.close()
    return "The new key, which nobody had, is revoked."


def _made(journal: Any, vault: Any) -> str:
    """The new key's id: from the vault, or, where that can't be opened any more, from the journal; "" where there is none."""
    kept = vault.get("new_id")
    if kept is not None:
        return str(kept.decode())
    made = journal.outcome("reissue")
    lost = vault.get("old") is None  # an open incident's vault has that
    given_up = journal.outcome("give-up") is not None
    return str(made.data.get("key_id", "")) if made is not None and lost and not given_up else ""


def _standing(incident: Any, new: Any) -> list[str]:
    """Files of this machine that have the new key, whatever the journal knows of them."""
    from fluxguard.errors import BrokenRepository
    from fluxguard.repo import gitdir
    from fluxguard.respond import places

    if new is None:
        return []
    try:
        family = gitdir.family(gitdir.locate(incident.repository))
    except BrokenRepository:
        family = []
    trees = [Path(one.tree) for one in family if one.tree]
    return [veiled(os.fsdecode(one.path)) for one in places.holding(trees, new, Path.home())]
