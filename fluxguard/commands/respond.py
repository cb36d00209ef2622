"""After a leak: verify, contain, reissue, distribute, revoke, clean the history, prove it clean, write it up."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from fluxguard.commands import handover
from fluxguard.commands.alone import alone, keep_back
from fluxguard.commands.watching import Screen, said_as_asked
from fluxguard.errors import ExitCode, FluxguardError, UsageError
from fluxguard.model import Secret

HELP = 'after a leak: from "a key is out" to "proved clean"'


def arguments(parser: argparse.ArgumentParser) -> None:
    from fluxguard import wire

    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    start = actions.add_parser("start", help="open an incident, and respond", allow_abbrev=False)
    start.add_argument(
        "--repo",
        metavar="PATH",
        default=".",
        help="the repository (default: the one around the current folder)",
    )
    which = start.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--finding",
        metavar="FINGERPRINT",
        help="the key, by its fingerprint from a report; the first 8 digits suffice",
    )
    which.add_argument("--key-stdin", action="store_true", help="the key, on standard input")
    start.add_argument("--strategy", choices=("auto", "overlap", "contain", "revoke-first"), default="auto")
    start.add_argument(
        "--overlap",
        metavar="TIME",
        type=_span,
        help="how long the old key lives on beside the new one: 0, 24h, 7d",
    )
    start.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="TARGET",
        help="a further place for the new key: github:OWNER/REPO:NAME, gitlab:PROJECT:NAME, circleci:SLUG:NAME, exec:COMMAND",
    )
    start.add_argument(
        "--clean-history",
        action="store_true",
        help="rewrite the history in a private mirror, and prove it clean",
    )
    start.add_argument(
        "--push", action="store_true", help="push the cleaned history, ref by ref, after your typed word"
    )
    start.add_argument(
        "--remote",
        metavar="NAME",
        default="",
        help="the remote that is cleaned (default: origin, or the only one)",
    )
    start.add_argument(
        "--own-clone",
        action="store_true",
        help="clean this clone, too, after your typed word: logs, stashes, working trees; a backup is made first",
    )
    start.add_argument(
        "--no-new-key", action="store_true", help="only end the old key; nothing takes its place"
    )
    start.add_argument(
        "--permission",
        action="append",
        default=[],
        metavar="NAME",
        choices=tuple(wire.PERMISSIONS),
        help="what the new key may, where that is less than the old one; several times for several",
    )
    start.add_argument(
        "--scope",
        action="append",
        default=[],
        metavar="PROJECT",
        help="a project that the new key is for, by name or id, where that is less than the old one; several times for several",
    )
    start.add_argument(
        "--expires",
        metavar="WHEN",
        default="",
        help="when the new key ends, where that is sooner than as long as the old one was given: 30d, 12h, or a date",
    )
    start.add_argument("--plan", action="store_true", help="look and say what would be done; change nothing")
    start.add_argument(
        "--wait",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="how long to wait for the old key to fall silent",
    )
    _common(start, _start)
    for name, run, text in (
        ("resume", _resume, "go on with an incident"), ("status", _status, "what is done, and what is waited for"),
        ("report", _report, "the report of an incident"), ("forget", _forget, "remove the backup of your own clone that an incident keeps"), ("abort", _abort, "end an incident as it is; nothing is un-revoked"),
    ):  # fmt: skip
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
        action.add_argument("incident", nargs="?", metavar="INCIDENT", help="default: the one that is open")
        if name == "resume":
            handover.arguments(action)
            action.add_argument(
                "--leave-clone",
                action="store_true",
                help="leave your own clone as it is, though --own-clone was asked for",
            )
            action.add_argument(
                "--ended",
                action="store_true",
                help="you ended the key at the platform that issued it, which can't be asked from here",
            )
        if name == "report":
            action.add_argument("--format", choices=("markdown", "html", "json"), default="markdown")
            action.add_argument("--output", metavar="FILE")
            action.set_defaults(run=alone(run))
        else:
            _common(action, run)


def _common(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--api-url", metavar="URL", help="the platform's address")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="don't ask; what can't be taken back needs its own flag all the same",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one event a line")
    parser.add_argument("--no-color", action="store_true")
    parser.set_defaults(run=alone(said_as_asked(run)))


def _seconds(text: str) -> int:
    """Raises: ValueError, of which argparse makes a sentence."""
    number = int(text)
    if not 0 <= number <= 86_400:
        raise ValueError
    return number


_seconds.__name__ = "number of seconds (0 to 86400)"


def _span(text: str) -> str:
    from fluxguard import wire

    if wire.to_span(text) > 30 * wire.DAY:
        raise ValueError
    return text


_span.__name__ = "length of time (such as 0, 24h or 7d; 30d at the most)"


def run(args: argparse.Namespace) -> int:
    raise UsageError("respond needs an action.", "fluxguard respond start|resume|status|report|forget|abort")


def _start(args: argparse.Namespace) -> int:
    from fluxguard.respond import incident as incidents
    from fluxguard.respond import narrowing, outside, remote, remotes

    if args.no_new_key and args.target:
        raise UsageError("--target is a place for a new key, and --no-new-key makes none.", "Leave out one.")
    if args.no_new_key and (args.permission or args.scope or args.expires):
        raise UsageError("These are rights of a new key, and --no-new-key makes none.", "Leave out one.")
    if args.remote and not args.clean_history:
        raise UsageError("--remote says which remote is cleaned.", "Add --clean-history.")
    if args.push and not args.clean_history:
        raise UsageError("--push pushes a cleaned history.", "Add --clean-history.")
    if args.own_clone and not args.clean_history:
        raise UsageError("--own-clone moves this clone over to a cleaned history.", "Add --clean-history.")
    for text in args.target:
        remote.runnable(text)
    located = _located(args)
    outside.must_lie_outside(located)
    repository = os.path.abspath(located.tree or located.path)
    cleaned = remotes.chosen(Path(repository), args.remote, args.push) if args.clean_history else ""
    if args.own_clone and not args.push and cleaned:
        raise UsageError(
            "The next fetch would bring the old commits back into the cleaned clone.",
            "Add --push: the remote is cleaned first.",
        )
    secret = _from_stdin() if args.key_stdin else _from_audit(repository, args.finding, cleaned)
    api = _api(args, secret)
    wishes = incidents.Wishes(
        args.strategy,
        args.overlap or "",
        tuple(args.target),
        args.clean_history,
        args.push,
        args.own_clone,
        args.wait,
        new_key=not args.no_new_key,
        remote=cleaned,
        permissions=tuple(dict.fromkeys(args.permission)),
        projects=_projects(args, api),
        expires=args.expires,
    )
    narrowing.check(api, secret, wishes)
    about = (repository, secret.fingerprint, secret.masked, _environment_of(secret), api.address.url)
    made = incidents.described(*about, wishes)
    if args.plan:
        return _plan(args, made, api, secret)
    with incidents.opening():
        _must_be_new(secret.fingerprint)
        incidents.open_incident(made, secret)
    return _go(args, made, api)


def _located(args: argparse.Namespace) -> Any:
    """The repository. Raises: UsageError where there is none: a key that leaked elsewhere still has its files looked for in one."""
    from fluxguard.errors import BrokenRepository
    from fluxguard.repo import gitdir

    try:
        return gitdir.locate(args.repo)
    except BrokenRepository as error:
        where = "the one whose .env has the key, or an empty one (git init), where the key is in none"
        raise UsageError(error.what, f"Name a repository with --repo PATH: {where}.") from None


def _projects(args: argparse.Namespace, api: Any) -> tuple[str, ...]:
    """The ids of the projects that were named; as they were named where only a person can make the key. Raises: UsageError."""
    from fluxguard.commands.apikeys import scope_of

    if not args.scope or api.address.public or api.anonymous:
        return tuple(args.scope)
    scope = scope_of(args.scope, api)
    if scope == "all":
        raise UsageError(
            "--scope names fewer projects than the leaked key is for.", "Leave it out for the same ones."
        )
    return tuple(dict.fromkeys(scope["projects"]))


def _must_be_new(fingerprint: str) -> None:
    """One key, one incident: two would each make a new key."""
    from fluxguard.respond import incident as incidents

    for one in filter(_is_open, incidents.every()):
        if one.fingerprint == fingerprint:
            raise UsageError(
                f"Incident {one.id} is about this key, and is open.",
                f"Go on with it: fluxguard respond resume {one.id}   (or end it: fluxguard respond abort {one.id})",
            )


def _from_stdin() -> Secret:
    if sys.stdin.isatty():
        import getpass

        text = getpass.getpass("The leaked key: ")
    else:
        text = sys.stdin.readline()
    from fluxguard.detect.engine import Detector
    from fluxguard.detect.ruleset import built_in

    data = text.strip().encode("utf-8", "surrogateescape")
    whole = [one for one in Detector(built_in()).detect(data).matches if one.secret.reveal() == data]
    if not whole:
        raise UsageError(
            "What came on standard input is no FluxLoop key. It was sent nowhere.",
            "Send the key alone, as one line: flux_dev_..., without a name or quotes.",
        )
    return whole[0].secret


def _from_audit(repository: str, asked: str, cleaned: str) -> Secret:
    """The key of that fingerprint. cleaned: the remote that is looked into where the clone itself holds it no more, or ""."""
    from fluxguard.audit.run import audit
    from fluxguard.commands.audit import fingerprint
    from fluxguard.config import Config

    wanted = fingerprint(asked, "--finding")
    fitting = _fitting(audit(repository, Config()), wanted)
    if not fitting and cleaned:
        fitting = _fitting(_audit_of_remote(repository, cleaned), wanted)
    if len(fitting) != 1:
        what = "No key" if not fitting else f"{len(fitting)} keys"
        raise UsageError(
            f"{what} of this repository{' and its remote' if cleaned and not fitting else ''} has that fingerprint.",
            f"Its keys: fluxguard audit {shlex.quote(repository)}   (one that only a remote holds: --clean-history --remote NAME; any other: --key-stdin)",
        )
    return fitting[0]


def _fitting(report: Any, wanted: str) -> list[Secret]:
    if report.interrupted:
        raise KeyboardInterrupt
    return [one.secret for one in report.findings if one.secret.fingerprint.startswith(wanted)]


def _audit_of_remote(repository: str, name: str) -> Any:
    from fluxguard.respond import incident as incidents
    from fluxguard.respond import remaining, remotes

    with incidents.looking() as folder:
        return remaining.audited(remotes.source(Path(repository), name), folder, Path(repository))


def _environment_of(secret: Secret) -> str:
    word = secret.masked.split("_")[1] if secret.masked.count("_") >= 2 else ""
    return word if word in ("dev", "stg", "prod", "ci") else "unknown"


def _api(args: argparse.Namespace, leaked: Secret | None, successor: Secret | None = None) -> Any:
    from fluxguard.commands.platformed import connect_beside

    keep_back(leaked, successor)
    return connect_beside(args.api_url, leaked, successor, args.environment)


def _api_of(args: argparse.Namespace, incident: Any, records: Any, vault: Any) -> Any:
    """The platform of an incident, which is that of start until another is given."""
    from fluxguard.platform.address import Address
    from fluxguard.respond.incident import platform_of

    given, args.api_url = args.api_url, args.api_url or platform_of(incident, records)
    api = _api(args, vault.secret("old"), vault.secret("new"))
    if not given:
        api.address = Address(api.address.url, "the incident; another one: --api-url")
    return api


def _chosen(args: argparse.Namespace) -> Any:
    """The incident that is named, or the one that is open."""
    from fluxguard.respond import incident as incidents

    if args.incident:
        return incidents.load(args.incident)
    open_ = [one for one in incidents.every() if _is_open(one)]
    if len(open_) == 1:
        return open_[0]
    if not open_:
        raise UsageError("No incident is open.", "Open one: fluxguard respond start")
    raise UsageError("Several incidents are open.", "Name one: fluxguard respond status")


def _records(incident: Any) -> Any:
    """The journal's records, for looking: without holding it."""
    from fluxguard.respond.journal import NAME, Record

    found = []
    try:
        lines = (incident.folder / NAME).read_text("utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            data = json.loads(line)
            found.append(Record(data["seq"], data["time"], data["step"], data["phase"], data["data"]))
        except (ValueError, KeyError, TypeError):
            break
    return found


def _state(incident: Any) -> str:
    from fluxguard.respond.evidence import state_of

    return state_of(_records(incident))


def _is_open(incident: Any) -> bool:
    return _state(incident) not in ("closed", "aborted")


def _must_be_open(incident: Any) -> None:
    """Raises: UsageError."""
    if not _is_open(incident):
        raise UsageError(
            f"This incident is {_state(incident)}.", f"Its report: fluxguard respond report {incident.id}"
        )


def _resume(args: argparse.Namespace) -> int:
    from fluxguard.respond.incident import journal_of, unveiled, vault_of

    incident = _chosen(args)
    _must_be_open(incident)
    vault = vault_of(incident)
    incident = unveiled(incident, vault)
    if args.show_key:
        return handover.show(args, incident)
    if args.leave_clone:
        _leave_clone(incident)
    if args.ended:
        with closing(journal_of(incident)) as journal:
            journal.add("guided", "note", ended=True)
    handover.change(args, incident)
    return _go(args, incident, _api_of(args, incident, _records(incident), vault))


def _leave_clone(incident: Any) -> None:
    """The person's own clone stays as it is. Not where it is half moved: then it has to go on."""
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import steps

    with closing(incidents.journal_of(incident)) as journal:
        run = _run(incident, journal, incidents.vault_of(incident), None, lambda question, word: False)
        if steps.half_moved(run):
            raise UsageError("Your own clone is half moved.", f"fluxguard respond resume {incident.id}")
        journal.add("own-clone", "note", clone=steps.LEFT)


def _go(args: argparse.Namespace, incident: Any, api: Any) -> int:
    from fluxguard.respond import evidence, runner
    from fluxguard.respond import incident as incidents

    journal = incidents.journal_of(incident)
    screen = Screen(args)
    try:
        if any(one.step == "abort" for one in journal.records):
            raise UsageError("This incident is being aborted.", f"fluxguard respond abort {incident.id}")
        run = _run(incident, journal, incidents.vault_of(incident), api, screen.agree)
        run.pause = screen.pause
        run.environment = args.environment
        if api.address.url != incidents.platform_of(incident, journal.records):
            journal.add("run", "note", url=api.address.url)
        screen.heading(incidents.load(incident.id))
        state = runner.go_on(run, screen.show, incidents.now)
        screen.ending(incident, state, evidence.document(incident, journal.records)["left"])
        if state == "closed" and any(run.known(name).get("left") for name in ("rewrite", "prove")):
            return ExitCode.FOUND
        unread = any(run.known(name).get("unread") for name in ("distribute", "guided", "rewrite", "prove"))
        return ExitCode.CLEAN if state == "closed" and not unread else ExitCode.INCOMPLETE
    except FluxguardError as error:
        if "resume" not in error.hint and not isinstance(error, UsageError):
            hint = error.hint
            for again in (", then run the same command again", "   If it is, run the same command again."):
                hint = hint.replace(again, "")  # it is not `start` that goes on
            error.hint = f"{hint} Then go on with: fluxguard respond resume {incident.id}".strip()
        raise
    finally:
        screen.close()
        journal.close()
        api.close()


def _run(incident: Any, journal: Any, vault: Any, api: Any, agree: Any) -> Any:
    """A run over an incident, by this process: its environment, its clock. Nobody is told of anything yet."""
    from fluxguard.respond.course import Run

    return Run(incident, journal, vault, api, dict(os.environ), lambda text: None, agree, time.sleep)


def _plan(args: argparse.Namespace, incident: Any, api: Any, leaked: Secret) -> int:
    """Looks, chooses, and says what would be done. All in memory: killed on the way, it leaves no incident."""
    from fluxguard.commands import planning
    from fluxguard.respond.incident import now
    from fluxguard.respond.journal import Notes
    from fluxguard.respond.vault import Held

    try:
        run = _run(incident, Notes(now), Held(old=leaked.reveal()), api, lambda question, word: False)
        run.environment = args.environment
        plan = planning.look(run)
    finally:
        api.close()
    if args.format == "json":
        print(json.dumps(planning.document(plan), indent=2))
        return ExitCode.CLEAN
    screen = Screen(args)
    for indent, line in planning.lines(plan):
        screen.lines([line], indent)
    for number, (_, title) in enumerate(plan.steps, 1):
        print(f"{number:2}. {title}")
    print("\nNothing was changed. Run the same without --plan to do it.")
    return ExitCode.CLEAN


def _status(args: argparse.Namespace) -> int:
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.telling import waits_for

    wanted = [incidents.load(args.incident)] if args.incident else list(incidents.every())
    rows: list[dict[str, Any]] = []
    for one in wanted:
        records = _records(one)
        last = next((record for record in reversed(records) if record.phase != "note"), None)
        rows.append({
            "incident": one.id, "state": _state(one), "masked": one.masked, "repository": one.repository,
            "opened_at": one.opened_at, "step": last.step if last else "", "phase": last.phase if last else "",
            "hint": str(last.data.get("hint", "")) if last and last.phase == "failed" else "",
            "waits_for": waits_for(last.data) if last and last.phase in ("waiting", "failed") else "",
            "until": last.data.get("until", "") if last else "", "todo": last.data.get("todo", []) if last else [],
        })  # fmt: skip
    broken = [] if args.incident else [str(one) for one in incidents.damaged()]
    code = ExitCode.INCOMPLETE if broken else ExitCode.CLEAN
    if args.format == "json":
        rows += [{"incident": os.path.basename(one), "state": "damaged", "folder": one} for one in broken]
        print(json.dumps(rows, indent=2))
        return code
    screen = Screen(args)
    if not rows and not broken:
        print("There are no incidents.")
    for folder in broken:
        screen.lines([f"{os.path.basename(folder)}  damaged: {folder}/incident.json can't be read"], "")
        screen.lines(["its key may be alive: open a new incident for it: fluxguard respond start"])
    for row in rows:
        screen.lines([f"{row['incident']}  {row['state']:8} {row['masked']}  {row['repository']}"], "")
        if row["waits_for"]:
            screen.lines([f"{row['step']}: {row['waits_for']}"])
            screen.lines([row["hint"]] if row["hint"] else [])
            screen.steps(row["todo"])
        if row["state"] not in ("closed", "aborted"):
            action = "abort" if row["state"] == "aborting" else "resume"
            screen.lines([f"fluxguard respond {action} {row['incident']}"])
    return code


def _report(args: argparse.Namespace) -> int:
    from fluxguard.respond import evidence
    from fluxguard.respond import incident as incidents
    from fluxguard.writing import whole

    if args.incident:
        incident = incidents.load(args.incident)
    else:
        known = list(incidents.every())
        if not known:
            raise UsageError("There are no incidents.")
        incident = known[-1]
    text = evidence.written(incident, _records(incident), args.format)
    if args.output:
        whole(args.output, lambda stream: stream.write(text))
    else:
        sys.stdout.write(text)
    return ExitCode.CLEAN


def _abort(args: argparse.Namespace) -> int:
    import shutil

    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import steps
    from fluxguard.respond.steps import WORKING

    incident = _chosen(args)
    _must_be_open(incident)
    journal = incidents.journal_of(incident)
    try:
        done = [one.step for one in journal.records if one.phase == "done"]
        begun = journal.last("abort")
        vault = _vault_if_whole(incident)
        whole = incidents.unveiled(incident, vault)
        if steps.half_moved(_run(whole, journal, vault, None, lambda question, word: False)):
            raise UsageError("Your own clone is half moved.", f"fluxguard respond resume {incident.id}")
        new_key = (
            str(begun.data["new_key"])
            if begun
            else handover.before_abort(
                args, incident, journal, vault, lambda: _api_of(args, incident, journal.records, vault)
            )
        )
        if not Screen(args).agree(f"Type abort to end {incident.id} as it is", "abort"):
            raise UsageError("It was not agreed to: the incident stays open.", "Type abort, or add --yes.")
        journal.add("abort", "intent", new_key=new_key)
        for name in WORKING:
            shutil.rmtree(incident.folder / name, ignore_errors=True)
        kept = _kept_after(incident, journal)
        vault.burn()  # before it is said to be done: nothing burns it after
        (incident.folder / "vault").unlink(missing_ok=True)  # one that could not be opened
        journal.add("abort", "done", after=done[-1] if done else "", new_key=new_key)
    finally:
        journal.close()
    words = [f"Aborted: {incident.id}. What was done stays done. {new_key}".rstrip()]
    words += [
        f"Kept, with the key in it: {one}   (remove it: fluxguard respond forget {incident.id})"
        for one in kept
    ]
    Screen(args).over(incident, "abort", words, new_key=new_key, kept=kept)
    return ExitCode.CLEAN


def _vault_if_whole(incident: Any) -> Any:
    """The vault; where it can't be opened any more, one that holds nothing: the incident can be ended all the same."""
    from fluxguard.respond.incident import vault_of
    from fluxguard.respond.vault import Held

    try:
        return vault_of(incident)
    except FluxguardError:
        return Held()


def _kept_after(incident: Any, journal: Any) -> list[str]:
    """What an incident that is aborted leaves for the person: of what was pushed or moved, the originals. All else that was kept goes."""
    from fluxguard.respond.ownclone import backup

    kept = []
    for step, found in (
        ("push", backup.originals(incident.folder)),
        ("own-move", backup.kept(incident.folder)),
    ):
        for one in found:
            if journal.last(step) is None:
                backup.remove(one)
            else:
                kept.append(str(one))
    return kept


def _forget(args: argparse.Namespace) -> int:
    """The backup of the person's clone goes, with the key in it, once they say so."""
    from fluxguard.respond import evidence
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import backup

    incident = incidents.load(args.incident) if args.incident else _keeping()
    if _is_open(incident):
        raise UsageError(f"Incident {incident.id} is open.", f"fluxguard respond resume {incident.id}")
    kept = backup.kept(incident.folder)
    kept += backup.originals(incident.folder)
    if not kept:
        if _state(incident) == "closed":  # one that was killed here removed it, and did not say so
            evidence.write_all(incident, _records(incident))
        raise UsageError("This incident keeps no backup.", "See: fluxguard respond status")
    journal = incidents.journal_of(incident)
    try:
        word = Path(incident.repository).name
        where = ", ".join(map(str, kept))
        if not Screen(args).agree(f"This removes {where}. Type {word} to go on", word):
            raise UsageError("It was not agreed to.", "Type the repository's name, or add --yes.")
        for one in kept:
            backup.remove(one)
            journal.add("forget", "note", folder=str(one))
        if _state(incident) == "closed":
            evidence.write_all(incident, journal.records)
    finally:
        journal.close()
    Screen(args).over(incident, "forget", ["The backup is gone."], gone=[str(one) for one in kept])
    return ExitCode.CLEAN


def _keeping() -> Any:
    """The one incident that keeps a backup."""
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import backup

    found = [one for one in incidents.every() if backup.kept(one.folder) + backup.originals(one.folder)]
    if len(found) != 1:
        if not found:
            raise UsageError("No incident keeps a backup: there is nothing to remove.")
        raise UsageError("Several incidents keep a backup.", "Name one: fluxguard respond status")
    return found[0]
