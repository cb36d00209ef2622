"""`respond resume` where the new key has gone nowhere: shown to whoever asks, brought to further places, or done without."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fluxguard.errors import ExitCode, UsageError


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
    how.add_argument(
        "--no-new-key", action="store_true", help="do without a new key: one that nobody has yet is revoked"
    )


def show(args: argparse.Namespace, incident: Any) -> int:
    """The one display of the new key, which somebody asked for. It is noted once it has happened."""
    from fluxguard.respond import incident as incidents

    journal = incidents.journal_of(incident)
    try:
        vault = incidents.vault_of(incident)
        new, key_id = vault.secret("new"), vault.get("new_id")
        if new is None or key_id is None:
            raise UsageError("There is no new key to show.", f"See: fluxguard respond status {incident.id}")
        key = new.reveal().decode("ascii", "replace")
        print(json.dumps({"incident": incident.id, "key": key}) if args.format == "json" else key, flush=True)
        journal.add("hand-over", "note", key_id=key_id.decode(), shown=new.masked)
    finally:
        journal.close()
    print(
        f"Put it where the old key is used. Then the old one can go: fluxguard respond resume {incident.id}",
        file=sys.stderr,
    )
    return ExitCode.CLEAN


def change(args: argparse.Namespace, incident: Any) -> None:
    """Notes further places, or that no new key is wanted after all."""
    if not args.target and not args.no_new_key:
        return
    from fluxguard.respond import handing, remote
    from fluxguard.respond import incident as incidents

    for text in args.target:
        remote.parse(text)
    journal = incidents.journal_of(incident)
    try:
        has_new = incidents.vault_of(incident).get("new") is not None
        if journal.outcome("confirm") is not None or (journal.outcome("reissue") is not None and not has_new):
            raise UsageError("It is too late for that.", f"See: fluxguard respond status {incident.id}")
        if args.target:
            journal.add("wishes", "note", targets=list(args.target))
            if journal.outcome("distribute") is not None:
                journal.add("distribute", "stale", what="further places were named")
            return
        where = handing.whereabouts(journal.records)
        if where:
            raise UsageError(
                f"The new key is in use, perhaps: {', '.join(where)}", "Go on without --no-new-key."
            )
        if journal.outcome("reissue") is None and incidents.vault_of(incident).get("private") is not None:
            raise UsageError("A new key was asked for already.", "Resume without --no-new-key first.")
        journal.add("wishes", "note", new_key=False)
    finally:
        journal.close()


def before_abort(args: argparse.Namespace, incident: Any, journal: Any, vault: Any, api: Any) -> str:
    """What becomes of the new key, in words for the person. One that nobody has is revoked; nobody could ever do that by its value.

    Raises: UsageError where it is nowhere and nobody said that it may go; PlatformError where it can't be revoked now.
    """
    from fluxguard.respond import handing

    where = handing.whereabouts(journal.records)
    if where:
        return f"The new key stays. It is here: {', '.join(where)}."
    key_id = vault.get("new_id")
    if key_id is None:
        return ""
    if not args.yes:
        raise UsageError(
            "A new key was made, and is nowhere but in the incident's vault.",
            f"See it: fluxguard respond resume {incident.id} --show-key. Or add --yes: it is revoked then.",
        )
    asked = api()
    try:
        asked.revoke(key_id.decode(), f"given up; {incident.id}")
    finally:
        asked.close()
    return "The new key, which nobody had, is revoked."
