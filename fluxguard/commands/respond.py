"""After a leak: verify, contain, reissue, distribute, revoke, clean the history, prove it clean, write it up."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxguard.errors import ExitCode, UsageError
from fluxguard.model import Secret

HELP = 'after a leak: from "a key is out" to "proved clean"'


def arguments(parser: argparse.ArgumentParser) -> None:
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
        "--overlap", metavar="TIME", default="", help="how long the old key lives on beside the new one"
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
    start.add_argument("--plan", action="store_true", help="look and say what would be done; change nothing")
    start.add_argument(
        "--wait",
        type=int,
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
            action.add_argument(
                "--leave-clone",
                action="store_true",
                help="leave your own clone as it is, though --own-clone was asked for",
            )
        if name == "report":
            action.add_argument("--format", choices=("markdown", "html", "json"), default="markdown")
            action.add_argument("--output", metavar="FILE")
            action.set_defaults(run=run)
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    raise UsageError("respond needs an action.", "fluxguard respond start|resume|status|report|forget|abort")


def _start(args: argparse.Namespace) -> int:
    from fluxguard.repo import gitdir
    from fluxguard.respond import incident as incidents
    from fluxguard.respond import remote, remotes

    if args.remote and not args.clean_history:
        raise UsageError("--remote says which remote is cleaned.", "Add --clean-history.")
    if args.push and not args.clean_history:
        raise UsageError("--push pushes a cleaned history.", "Add --clean-history.")
    if args.own_clone and not args.clean_history:
        raise UsageError("--own-clone moves this clone over to a cleaned history.", "Add --clean-history.")
    for text in args.target:
        remote.parse(text)
    located = gitdir.locate(args.repo)
    repository = os.path.abspath(located.tree or located.path)
    cleaned = remotes.chosen(Path(repository), args.remote, args.push) if args.clean_history else ""
    if args.own_clone and not args.push and cleaned:
        raise UsageError(
            "The next fetch would bring the old commits back into the cleaned clone.",
            "Add --push: the remote is cleaned first.",
        )
    secret = _from_stdin() if args.key_stdin else _from_audit(repository, args.finding)
    api = _api(args, secret)
    wishes = incidents.Wishes(
        args.strategy,
        args.overlap,
        tuple(args.target),
        args.clean_history,
        args.push,
        args.own_clone,
        args.wait,
        cleaned,
    )
    about = (repository, secret.fingerprint, secret.masked, _environment_of(secret), api.address.url)
    made = incidents.described(*about, wishes)
    if args.plan:
        return _plan(args, made, api, secret)
    with incidents.opening():
        _must_be_new(secret.fingerprint)
        incidents.open_incident(made, secret.reveal())
    return _go(args, made, api)


def _must_be_new(fingerprint: str) -> None:
    """One key, one incident: two would each make a new key."""
    from fluxguard.respond import incident as incidents

    for one in incidents.every():
        if one.fingerprint == fingerprint and _state(one) not in ("closed", "aborted"):
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
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError("There is no key on standard input.", "Send it as one line.")
    return Secret(text.encode())


def _from_audit(repository: str, asked: str) -> Secret:
    from fluxguard.audit.run import audit
    from fluxguard.commands.audit import fingerprint
    from fluxguard.config import Config

    wanted = fingerprint(asked)
    fitting = [
        one for one in audit(repository, Config()).findings if one.secret.fingerprint.startswith(wanted)
    ]
    if len(fitting) != 1:
        what = "No key" if not fitting else f"{len(fitting)} keys"
        raise UsageError(f"{what} of this repository has that fingerprint.", "See: fluxguard audit")
    return fitting[0].secret


def _environment_of(secret: Secret) -> str:
    word = secret.masked.split("_")[1] if secret.masked.count("_") >= 2 else ""
    return word if word in ("dev", "stg", "prod", "ci") else "unknown"


def _api(args: argparse.Namespace, leaked: Secret | None, successor: Secret | None = None) -> Any:
    from fluxguard.commands.platformed import connect_beside

    return connect_beside(args.api_url, leaked, successor)


def _chosen(args: argparse.Namespace) -> Any:
    """The incident that is named, or the one that is open."""
    from fluxguard.respond import incident as incidents

    if args.incident:
        return incidents.load(args.incident)
    open_ = [one for one in incidents.every() if _state(one) not in ("closed", "aborted")]
    if len(open_) == 1:
        return open_[0]
    what = "No incident is open." if not open_ else "Several incidents are open."
    raise UsageError(what, "Name one: fluxguard respond status")


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


def _resume(args: argparse.Namespace) -> int:
    from fluxguard.respond.incident import vault_of

    incident = _chosen(args)
    args.api_url = args.api_url or incident.url
    if _state(incident) in ("closed", "aborted"):
        raise UsageError(
            f"This incident is {_state(incident)}.", f"Its report: fluxguard respond report {incident.id}"
        )
    vault = vault_of(incident)
    if args.leave_clone:
        _leave_clone(incident)
    return _go(args, incident, _api(args, vault.secret("old"), vault.secret("new")))


def _leave_clone(incident: Any) -> None:
    """The person's own clone stays as it is. Not where it is half moved: then it has to go on."""
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import steps

    journal = incidents.journal_of(incident)
    try:
        run = _run(incident, journal, incidents.vault_of(incident), None, lambda question, word: False)
        if steps.half_moved(run):
            raise UsageError("Your own clone is half moved.", f"fluxguard respond resume {incident.id}")
        journal.add("own-clone", "note", clone=steps.LEFT)
    finally:
        journal.close()


def _go(args: argparse.Namespace, incident: Any, api: Any) -> int:
    from fluxguard.respond import incident as incidents
    from fluxguard.respond import runner

    journal = incidents.journal_of(incident)
    screen = _Screen(args)
    try:
        if any(one.step == "abort" for one in journal.records):
            raise UsageError("This incident was aborted.", "Open a new one: fluxguard respond start")
        run = _run(incident, journal, incidents.vault_of(incident), api, _agreement(args))
        screen.heading(incident)
        state = runner.go_on(run, screen.show, incidents.now)
        screen.ending(incident, state)
        if state == "closed" and any(run.known(name).get("left") for name in ("rewrite", "prove")):
            return ExitCode.FOUND
        unread = any(run.known(name).get("unread") for name in ("distribute", "rewrite", "prove"))
        return ExitCode.CLEAN if state == "closed" and not unread else ExitCode.INCOMPLETE
    finally:
        screen.close()
        journal.close()
        api.close()


def _run(incident: Any, journal: Any, vault: Any, api: Any, agree: Any) -> Any:
    """A run over an incident, by this process: its environment, its clock. Nobody is told of anything yet."""
    from fluxguard.respond.course import Run

    return Run(incident, journal, vault, api, dict(os.environ), lambda text: None, agree, time.sleep)


def _agreement(args: argparse.Namespace) -> Any:
    def agree(question: str, word: str) -> bool:
        if args.yes:
            return True
        if not sys.stdin.isatty():
            return False
        return input(f"{question}: ").strip() == word

    return agree


def _plan(args: argparse.Namespace, incident: Any, api: Any, leaked: Secret) -> int:
    """Looks, chooses, and says what would be done. All in memory: killed on the way, it leaves no incident."""
    from fluxguard.respond import assessing, clearing, runner
    from fluxguard.respond.incident import now
    from fluxguard.respond.journal import Notes
    from fluxguard.respond.vault import Held

    journal = Notes(now)
    try:
        run = _run(incident, journal, Held(old=leaked.reveal()), api, lambda question, word: False)
        for name, work in (
            ("verify", assessing.verify),
            ("assess", assessing.assess),
            ("choose", assessing.choose_strategy),
        ):
            journal.add(name, "done", **work(run))
        planned = [{"step": step.name, "title": step.title} for step in runner.plan(run)]
        found = {name: run.known(name) for name in ("verify", "assess", "choose")}
        holding, _ = _holding(run)
        cleaning = clearing.foreseen(run) if incident.wishes.clean else {}
    finally:
        api.close()
    if args.format == "json":
        print(
            json.dumps(
                {
                    "schema": "fluxguard.plan/1",
                    **found,
                    "places": holding,
                    "steps": planned,
                    **({"cleaning": cleaning} if cleaning else {}),
                },
                indent=2,
            )
        )
        return ExitCode.CLEAN
    print(f"Key {incident.masked}: {found['verify']['status']}")
    print(f"Strategy: {found['choose']['strategy']}, for {found['choose']['reason']}.")
    for one in holding:
        print(
            f"  the new key goes to {one['place']}"
            if not one["tracked"]
            else f"  by hand: {one['place']} (git has it)"
        )
    for line in _foreseen(cleaning):
        print(f"  {line}")
    for number, step in enumerate(planned, 1):
        print(f"{number:2}. {step['title']}")
    print("\nNothing was changed. Run the same without --plan to do it.")
    return ExitCode.CLEAN


def _foreseen(cleaning: Mapping[str, Any]) -> list[str]:
    """What a plan says of the clean-up, in lines."""
    lines = [
        f"replaced whole, for the key can't be cut out of it: {one}" for one in cleaning.get("whole", ())
    ]
    return lines + [
        f"remote {one} would be neither cleaned nor looked at" for one in cleaning.get("others", ())
    ]


def _holding(run: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from fluxguard.repo import gitdir
    from fluxguard.respond import course, places

    trees = [Path(one.tree) for one in gitdir.family(gitdir.locate(str(run.repository))) if one.tree]
    found, unread = places.find(trees, run.old, run.home)
    return [
        {"place": course.run_safe(run, os.fsencode(one.path)), "tracked": one.tracked} for one in found
    ], unread


def _status(args: argparse.Namespace) -> int:
    from fluxguard.respond import incident as incidents

    wanted = [incidents.load(args.incident)] if args.incident else list(incidents.every())
    rows = []
    for one in wanted:
        records = _records(one)
        last = next((record for record in reversed(records) if record.phase != "note"), None)
        rows.append({
            "incident": one.id, "state": _state(one), "masked": one.masked, "repository": one.repository,
            "opened_at": one.opened_at, "step": last.step if last else "", "phase": last.phase if last else "",
            "waits_for": last.data.get("reason", last.data.get("what", "")) if last and last.phase in ("waiting", "failed") else "",
            "until": last.data.get("until", "") if last else "",
        })  # fmt: skip
    if args.format == "json":
        print(json.dumps(rows, indent=2))
        return ExitCode.CLEAN
    if not rows:
        print("There are no incidents.")
    for row in rows:
        print(f"{row['incident']}  {row['state']:8} {row['masked']}  {row['repository']}")
        if row["waits_for"]:
            print(f"    {row['step']}: {row['waits_for']} {row['until']}".rstrip())
        if row["state"] not in ("closed", "aborted"):
            print(f"    fluxguard respond resume {row['incident']}")
    return ExitCode.CLEAN


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
    from fluxguard.respond.ownclone import backup, steps
    from fluxguard.respond.steps import WORKING

    incident = _chosen(args)
    if _state(incident) == "closed":
        raise UsageError("This incident is closed.", f"Its report: fluxguard respond report {incident.id}")
    journal = incidents.journal_of(incident)
    try:
        done = [one.step for one in journal.records if one.phase == "done"]
        if "reissue" in done and "distribute" not in done and not args.yes:
            raise UsageError(
                "A new key was made, and is nowhere but in the incident's vault.",
                "Resume, or add --yes to give it up.",
            )
        vault = incidents.vault_of(incident)
        if steps.half_moved(_run(incident, journal, vault, None, lambda question, word: False)):
            raise UsageError("Your own clone is half moved.", f"fluxguard respond resume {incident.id}")
        journal.add("abort", "done", after=done[-1] if done else "")
        for name in WORKING:
            shutil.rmtree(incident.folder / name, ignore_errors=True)
        for one in backup.originals(incident.folder):
            if journal.last("push") is None:
                backup.remove(one)
            else:
                print(
                    f"The originals of files that were replaced whole are kept: {one}   (remove them: fluxguard respond forget {incident.id})"
                )
        moved = journal.last("own-move") is not None
        for one in backup.kept(incident.folder):
            if moved:
                print(
                    f"The backup of your clone is kept: {one}   (remove it: fluxguard respond forget {incident.id})"
                )
            else:
                backup.remove(one)
        vault.burn()
    finally:
        journal.close()
    print(f"Aborted: {incident.id}. What was done stays done.")
    return ExitCode.CLEAN


def _forget(args: argparse.Namespace) -> int:
    """The backup of the person's clone goes, with the key in it, once they say so."""
    from fluxguard.respond import evidence
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import backup

    incident = incidents.load(args.incident) if args.incident else _keeping()
    if _state(incident) not in ("closed", "aborted"):
        raise UsageError(f"Incident {incident.id} is open.", f"fluxguard respond resume {incident.id}")
    kept = backup.kept(incident.folder)
    kept += backup.originals(incident.folder)
    if not kept:
        raise UsageError("This incident keeps no backup.", "See: fluxguard respond status")
    journal = incidents.journal_of(incident)
    try:
        word = Path(incident.repository).name
        where = ", ".join(map(str, kept))
        if not _agreement(args)(f"This removes {where}. Type {word} to go on", word):
            raise UsageError("It was not agreed to.", "Type the repository's name, or add --yes.")
        for one in kept:
            backup.remove(one)
            journal.add("forget", "note", folder=str(one))
        if _state(incident) == "closed":
            evidence.write_all(incident, journal.records)
    finally:
        journal.close()
    print("The backup is gone.")
    return ExitCode.CLEAN


def _keeping() -> Any:
    """The one incident that keeps a backup."""
    from fluxguard.respond import incident as incidents
    from fluxguard.respond.ownclone import backup

    found = [one for one in incidents.every() if backup.kept(one.folder) + backup.originals(one.folder)]
    if len(found) != 1:
        what = "No incident keeps a backup." if not found else "Several incidents keep a backup."
        raise UsageError(what, "Name one: fluxguard respond status")
    return found[0]


class _Screen:
    """What a person watches: on a terminal each step with its live state, in a pipe plain lines; or one JSON object a line."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.json = args.format == "json"
        self.console: Any = None
        self._live: Any = None
        if not self.json:
            from rich.console import Console

            self.console = Console(
                no_color=args.no_color or bool(os.environ.get("NO_COLOR")), highlight=False, soft_wrap=True
            )

    def heading(self, incident: Any) -> None:
        if not self.json:
            self.console.print(
                f"[bold]Incident {incident.id}[/]: key {incident.masked} in {_plain(incident.repository)}"
            )

    def show(self, event: Any) -> None:
        if self.json:
            print(json.dumps(event.to_json(), sort_keys=True), flush=True)
        elif event.state == "started":
            self._begin(event.title)
        elif event.state == "said":
            self._say(event.title, event.data["text"])
        else:
            self._end(event)

    def _begin(self, title: str) -> None:
        if self.console.is_terminal:
            self._live = self.console.status(f"[bold]{title}[/]", spinner="dots")
            self._live.start()
        else:
            self.console.print(title)

    def _say(self, title: str, text: str) -> None:
        if self._live is not None:
            self._live.update(f"[bold]{title}[/] [dim]{_plain(text)}[/]")
        else:
            self.console.print(f"    {_plain(text)}")

    def _end(self, event: Any) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            sign = {"done": "[green]✓[/]", "waiting": "[yellow]⧗[/]"}.get(event.state, "[red]✗[/]")
            self.console.print(f"{sign} [bold]{event.title}[/]")
        if event.state == "done":
            lines = _told(event.step, event.data)
        elif event.state == "waiting":
            lines = [f"waiting: {event.data['reason']} {event.data['until']}".rstrip()]
        else:
            lines = [f"failed: {event.data['what']}"]
        for line in lines:
            self.console.print(f"    {_plain(line)}")

    def ending(self, incident: Any, state: str) -> None:
        if self.json:
            return
        if state == "closed":
            self.console.print(
                f"\n[bold green]Closed.[/] The report: {_plain(str(incident.folder / 'report.md'))}"
            )
        else:
            self.console.print(f"\nNot finished. Go on with: fluxguard respond resume {incident.id}")

    def close(self) -> None:
        """The cursor comes back, whatever happened."""
        if self._live is not None:
            self._live.stop()


def _plain(text: str) -> str:
    from rich.markup import escape

    from fluxguard.display import safe

    return escape(safe(text))


def _told(step: str, data: Mapping[str, Any]) -> list[str]:
    """One step's outcome in a line or two."""
    lines = _TOLD.get(
        step, lambda data: [", ".join(f"{k} {v}" for k, v in data.items() if isinstance(v, str | int))]
    )(data)
    return [line for line in lines if line] or ["done"]


_PLURAL = ("blobs", "messages", "names", "paths")


def _count(number: int, noun: str) -> str:
    from fluxguard.words import count

    return count(number, noun)


def _pushed(refs: Mapping[str, str]) -> list[str]:
    """What became of the remote's refs, in lines."""
    gone = [name for name, what in refs.items() if what == "deleted"]
    told = f"{_count(sum(what in ('pushed', 'there') for what in refs.values()), 'ref')} pushed"
    other = {name: what for name, what in refs.items() if what not in ("pushed", "there", "deleted")}
    return [
        told + (f", {_count(len(gone), 'ref')} deleted: {', '.join(gone[:4])}" if gone else ""),
        *(f"{name}: {what}" for name, what in other.items()),
    ]


def _proved(data: Mapping[str, Any]) -> list[str]:
    """What a new mirror of the remote shows, in lines."""
    nowhere = f"a new mirror of the remote: the key stands nowhere; {'; '.join(data['read'].values())}"
    lines = [f"still there: {one}" for one in data["left"][:8]] or [nowhere]
    return lines + [f"remote {one} was neither cleaned nor looked at" for one in data.get("others", ())]


_TOLD: Mapping[str, Any] = {
    "verify": lambda d: [f"{d['status']}" + (f": {d.get('name', d['key_id'])}; may {', '.join(d['permissions'])}; last used {d.get('last_used_at') or 'never'}" if d.get("key_id") else f": {d.get('how', '')}")],
    "assess": lambda d: [f"in {_count(d['places'], 'place')} since {d['since']}" if d["places"] else "found nowhere in this repository",
                         f"pushed: {', '.join(d['pushed'])}" if d["pushed"] else "no remote is known to have it",
                         f"{d['foreign']} requests since then from where it was never used before"],
    "choose": lambda d: [f"{d['strategy']}: {d['reason']}"],
    "contain": lambda d: [f"{d['known_clients']} known clients go on, everybody else is turned away"],
    "revoke-first": lambda d: ["the old key is revoked"],
    "reissue": lambda d: [f"{d['masked']}, sealed in the incident's vault"],
    "distribute": lambda d: [f"{one['place']}: {one['done']}" + (f" ({one.get('why') or one.get('seen')})" if one.get("why") or one.get("seen") else "") for one in d["places"]] or ["the old key stands in no file that may hold the new one"],
    "confirm": lambda d: ["the new key is active; the old one has its deadline"],
    "drain": lambda d: [d["why"]],
    "revoke": lambda d: ["the old key is revoked"],
    "dead": lambda d: ["tried once more: the platform answers 401"],
    "rewrite": lambda d: [f"replaced {', '.join(_count(n, what.removesuffix('s')) if what in _PLURAL else f'{n} {what}' for what, n in d['counts'].items()) or 'nothing'}; {d.get('refs_changed', len(d['changed']))} of {_count(d['refs_before'], 'ref')} changed",
                          *(f"replaced whole, for the key could not be cut out of it: {one}" for one in d.get("whole", ())), f"the originals are kept: {d['originals']}" if d.get("originals") else "",
                          "proved: " + "; ".join(d["read"].values()) if not d["left"] else f"{_count(len(d['left']), 'place')} still hold it: {'; '.join(d['left'][:3])}"],
    "push": lambda d: _pushed(d["refs"]),
    "prove": _proved,
    "own": lambda d: [f"{_count(len(d['places']), 'place')}: see the report" if d["places"] else "the key stands nowhere in it"],
    "own-backup": lambda d: [f"{d['objects']:,} objects and {_count(d['refs'], 'ref')}, proved: {d['folder']}"],
    "own-rewrite": lambda d: [f"{d['commits']:,} commits and {d['changed']} of {d['refs']} refs become others"],
    "own-move": lambda d: [f"{d['refs']} refs, {d['log_entries']} log entries, {d['files']} files; {d['objects']:,} old objects are gone"],
    "prevent": lambda d: [f"{name}: {what}" for name, what in d.items()],
    "close": lambda d: ["the vault is burnt, the mirrors are gone"],
}  # fmt: skip
