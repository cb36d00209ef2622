"""API keys on the platform: create, list, show, usage, regenerate, rotate, revoke, delete."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from fluxguard import wire
from fluxguard.errors import ExitCode, FluxguardError, UsageError
from fluxguard.secret import veiled
from fluxguard.words import ago, date, short_date

HELP = "create, list, rotate and revoke API keys"
Action = Callable[[argparse.Namespace], int]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
ARRIVED = "The key that was asked for has arrived."


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = _action(actions, "create", _create, "make a key, and show it once")
    create.add_argument("--name", required=True, help='what the key is called, such as "CI/CD Pipeline"')
    create.add_argument("--description", default="", help="what it is for")
    create.add_argument("--environment", choices=wire.ENVIRONMENTS, default="dev", help="default: dev")
    _rights(create, "a project it is for, by name or id; several times for several; `all` for all")
    create.add_argument(
        "--expires",
        metavar="WHEN",
        help="never, 30d, 90d, 1y, or a date (default: 90d, or as much of them as your key may give)",
    )
    create.add_argument(
        "--limit", type=int, metavar="N", help="requests an hour (default: 1000, or your own key's limit)"
    )
    _saving(create)

    update = _action(actions, "update", _update, "change a key's name, scope, permissions, expiry or limit")
    _key(update)
    update.add_argument("--name", help="a new name")
    update.add_argument("--description", help="a new description")
    _rights(update, "the projects it is for from now on, or `all`")
    update.add_argument("--expires", metavar="WHEN", help="never, 30d, 90d, 1y from now, or a date")
    update.add_argument("--limit", type=int, metavar="N", help="requests an hour")

    listing = _action(actions, "list", _list, "the keys there are")
    listing.add_argument("--scope", metavar="PROJECT", help="only those that are good for a project")
    listing.add_argument("--state", choices=wire.STATES, help="only those in this state")
    listing.add_argument("--unused", action="store_true", help="only those that were issued and never used")
    listing.add_argument("--limit", type=int, metavar="N", help="at most so many, the newest (default: all)")
    listing.add_argument("--after", default="", metavar="PLACE", help="go on where a list with --limit ended")
    _key(_action(actions, "show", _show, "all that is known of a key"))
    usage = _action(actions, "usage", _usage, "how often a key was used, by day, operation and project")
    _key(usage)
    usage.add_argument("--days", type=int, default=7, metavar="N", help="how many days back (default: 7)")

    regenerate = _action(
        actions, "regenerate", _regenerate, "a new key in place of an old one, which is dead at once"
    )
    _key(regenerate)
    regenerate.add_argument("--yes", action="store_true", help="don't ask")
    _saving(regenerate)
    rotate = _action(
        actions,
        "rotate",
        _rotate,
        "a successor; the old key stays good until that is in use, and a while longer",
    )
    _key(rotate)
    rotate.add_argument(
        "--overlap", default="24h", metavar="TIME", help="how long the old key lives on (default: 24h)"
    )
    rotate.add_argument(
        "--expires", metavar="WHEN", help="expiry of the new key (default: as long as the old one had)"
    )
    rotate.add_argument(
        "--every", metavar="TIME", help="print the crontab line that rotates each 90d, 30d, 1w ..."
    )
    rotate.add_argument(
        "--install", action="store_true", help="with --every: put that line into your crontab"
    )
    _saving(rotate)
    _key(
        _action(
            actions, "confirm", _confirm, "say that a new key has arrived: the old one then gets its deadline"
        )
    )

    revoke = _action(actions, "revoke", _revoke, "end a key at once")
    _key(revoke)
    revoke.add_argument("--reason", default="", help="why, for the audit trail")
    revoke.add_argument("--yes", action="store_true", help="don't ask")
    delete = _action(actions, "delete", _delete, "end a key and take it out of the list, for good")
    _key(delete)
    delete.add_argument(
        "--yes-delete", metavar="NAME", help="the key's name, for scripts; otherwise it is asked for"
    )
    resume = _action(actions, "resume", _resume, "fetch keys that were asked for and whose answer was lost")
    _saving(resume)


def _action(actions: Any, name: str, run: Action, text: str) -> argparse.ArgumentParser:
    from fluxguard.commands.platformed import common

    action: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
    )
    common(action)
    action.set_defaults(run=_with_text(run))
    return action


def _with_text(run: Action) -> Action:
    """Arguments are texts. A system hands over any bytes; those that are none can't be sent. Raises: UsageError."""

    def checked(args: argparse.Namespace) -> int:
        for value in vars(args).values():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not _is_text(text):
                    raise UsageError("An argument holds bytes that are no text.", "Write it in UTF-8.")
        return run(args)

    return checked


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key-id", required=True, type=_id, metavar="ID", help="the key's id (fluxguard apikeys list)"
    )


def _id(text: str) -> str:
    """A key's id. What is none is refused before it becomes part of an address or a crontab; it is not repeated, for it may be a key."""
    if veiled(text) != text:
        raise argparse.ArgumentTypeError("that is a key; its id is in: fluxguard apikeys list")
    if not _ID.fullmatch(text):
        raise argparse.ArgumentTypeError("that is no key's id; see: fluxguard apikeys list")
    return text


def _rights(parser: argparse.ArgumentParser, scope: str) -> None:
    parser.add_argument("--scope", action="append", metavar="PROJECT", help=scope)
    parser.add_argument(
        "--permission", action="append", metavar="NAME", choices=tuple(wire.PERMISSIONS),
        help=f"what it may do, several times for several: {', '.join(wire.PERMISSIONS)}",
    )  # fmt: skip


def _saving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--save-env", action="store_true", help="write the key into .fluxloop/.env, and do not show it"
    )


def _asking(work: Callable[[argparse.Namespace, Any], int]) -> Action:
    """An action that asks the platform, which it is handed and which is let go of in the end."""

    def run(args: argparse.Namespace) -> int:
        from fluxguard.commands.platformed import connect

        api = connect(args.api_url)
        try:
            return work(args, api)
        finally:
            api.close()

    return run


def run(args: argparse.Namespace) -> int:
    raise UsageError(
        "apikeys needs an action.", "fluxguard apikeys create|list|show|usage|regenerate|rotate|revoke|delete"
    )


# What makes keys.


@_asking
def _create(args: argparse.Namespace, api: Any) -> int:
    wish = _wish(args, api)
    return _minted(args, api, "create", "", wish, "API key created successfully")


def _wish(args: argparse.Namespace, api: Any) -> dict[str, Any]:
    if not args.scope:
        raise UsageError(
            "A key is for projects: say which.",
            "Add --scope PROJECT, several times for several, or --scope all.",
        )
    scope = scope_of(args.scope, api)
    permissions = args.permission or ["read_scenarios", "upload_results"]
    if scope == "all" and set(permissions) >= set(wire.PERMISSIONS) - {"manage_keys"}:
        print(
            "fluxguard: a key for all projects with all permissions opens everything to whoever finds it.",
            file=sys.stderr,
        )
    chosen = {"expires": args.expires, "hourly_limit": args.limit}
    return {
        "name": args.name, "description": args.description, "environment": args.environment, "scope": scope,
        "permissions": permissions, **{name: value for name, value in chosen.items() if value is not None},
    }  # fmt: skip


def scope_of(named: list[str], api: Any) -> Any:
    """`all`, or ids of projects. Names are looked up. Raises: UsageError for one that is not there."""
    if named == ["all"]:
        return "all"
    if "all" in named:
        raise UsageError("The scope is `all`, or names of projects.", "Give --scope all alone.")
    known = api.projects()
    ids = []
    for name in named:
        fitting = [one["id"] for one in known if name in (one.get("id"), one.get("name"))]
        if len(fitting) != 1:
            there = ", ".join(str(one.get("name")) for one in known[:20]) or "none"
            raise UsageError("The scope names a project that is not there.", f"Projects: {_safe(there)}")
        ids.append(fitting[0])
    return {"projects": ids}


@_asking
def _regenerate(args: argparse.Namespace, api: Any) -> int:
    old = api.key(args.key_id)
    if not _agreed(args, f"{old.masked} ({_safe(old.name)}) will be dead at once. Regenerate it?"):
        return _undone()
    return _minted(args, api, "regenerate", args.key_id, {}, "API key regenerated. The old one is dead.")


def _rotate(args: argparse.Namespace) -> int:
    return _schedule(args) if args.every else _rotated(args)


@_asking
def _rotated(args: argparse.Namespace, api: Any) -> int:
    _span("--overlap", args.overlap)
    wish = {"overlap": args.overlap, **({"expires": args.expires} if args.expires else {})}
    return _minted(args, api, "rotate", args.key_id, wish, "API key rotated")


def _span(flag: str, text: str) -> int:
    try:
        return wire.to_span(text)
    except wire.WireError as error:
        raise UsageError(f"{flag}: {error}.") from None


def _minted(
    args: argparse.Namespace, api: Any, action: str, key_id: str, wish: Mapping[str, Any], title: str
) -> int:
    """Asks for a key, keeps or shows it, confirms it where it is safely kept, and says what comes next."""
    from fluxguard.platform import minting

    minted = minting.mint(api, action, key_id, wish, lambda minted: _keep(args, minted, title))
    return _arrived(args, api, minted, title)


def _keep(args: argparse.Namespace, minted: Any, title: str) -> None:
    """The one place where a new key goes: into the file, or onto the screen, once."""
    if args.save_env:
        _save_env(minted.secret)
        return
    clear = minted.secret.reveal().decode("ascii", "replace")
    if args.format == "json":
        print(json.dumps({**minted.answer, "key": clear}, indent=2))
    else:
        print(f"✅ {title}\n\nName: {_safe(minted.key.name)}\nKey: {clear}")
    sys.stdout.flush()


def _arrived(args: argparse.Namespace, api: Any, minted: Any, title: str) -> int:
    key, action = minted.key, minted.intent.action
    if args.save_env and not api.address.public:
        key = api.confirm(key.id)
    if args.format == "json":
        if args.save_env:
            print(json.dumps({**key.to_json(), "saved": ".fluxloop/.env"}, indent=2))
        return ExitCode.CLEAN
    if args.save_env:
        print(f"✅ {title}\n\nName: {_safe(key.name)}\nKey: {key.masked}, saved in .fluxloop/.env")
    if not api.address.public:
        print(f"Scope: {_scope_text(key, _names(api))}\nExpires: {_day(key.expires_at)}")
    print(f"Id: {key.id}")
    if not args.save_env:
        print("\n⚠️ Save this key securely. You won't see it again.")
    if action == "rotate":
        _tell_overlap(args, key)
    return ExitCode.CLEAN


def _tell_overlap(args: argparse.Namespace, key: wire.Key) -> None:
    if args.save_env:
        print(f"\nThe old key ends in {args.overlap}. Bring the new one wherever else the old one is used.")
        return
    print(
        f"\nThe old key stays good until the new one is used for the first time, and {args.overlap} longer."
        f"\nIf the new one got lost, do nothing: it lapses at {wire.to_text(key.pending_until)}, and the old one stays."
    )


def _save_env(secret: Any) -> None:
    """Writes the key into the workspace's `.fluxloop/.env`, and makes sure first that .gitignore covers it."""
    from pathlib import Path

    from fluxguard.commands.platformed import workspace
    from fluxguard.platform.credentials import NAMES
    from fluxguard.platform.envfile import save

    folder = workspace() or Path.cwd()
    path = folder / ".fluxloop" / ".env"
    _cover(path)
    save(path, NAMES, secret.reveal(), "FLUXLOOP_API_KEY")


def _cover(path: Any) -> None:
    """Before a key is written there, git must be told to leave it alone. Raises: FluxguardError where it would not."""
    from fluxguard.gitignore.ensure import ensure

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = ensure(str(path))
    if done.state == "added":
        files = ", ".join(_safe(name.decode("utf-8", "replace")) for name in done.files)
        print(f"fluxguard: {files} now covers {_safe(str(path))}; commit it.", file=sys.stderr)
    if not done.safe:
        raise FluxguardError(
            f"{path} would be committed: {done.why}.",
            "Mend that; the key was not lost: fluxguard apikeys resume --save-env",
        )


def _resume(args: argparse.Namespace) -> int:
    """Keys that were asked for before a kill, a full disk or a lost connection."""
    from fluxguard.commands.platformed import connect
    from fluxguard.platform import minting
    from fluxguard.platform.errors import PlatformError

    left = minting.unsettled()
    if not left:
        print("Nothing is outstanding.")
        return ExitCode.CLEAN
    failed: list[FluxguardError] = []
    for intent in left:
        api = connect(intent.address.url)
        try:
            minted = minting.ask(api, intent)
            _keep(args, minted, ARRIVED)
            minting.settle(intent)
            _arrived(args, api, minted, ARRIVED)
        except PlatformError as error:  # one platform that is gone keeps no other one's keys back
            failed.append(error)
        finally:
            api.close()
    for one in failed[:-1]:
        print(f"fluxguard: {one}", file=sys.stderr)
    if failed:
        raise failed[-1]
    return ExitCode.CLEAN


def _schedule(args: argparse.Namespace) -> int:
    """A crontab line that rotates the key. cron knows days of the month, so the line asks each day whether it is time."""
    import shlex
    import subprocess

    days = _span("--every", args.every) // wire.DAY
    if days < 1:
        raise UsageError("--every: a day is the least; write it as 1d, 30d, 2w or 1y.")
    _span("--overlap", args.overlap)
    if "\n" in _cwd():
        raise UsageError("This folder's name holds a line break, which a crontab can't.")
    command = f"cd {shlex.quote(_cwd())} && fluxguard apikeys rotate --key-id {shlex.quote(args.key_id)} --overlap {shlex.quote(args.overlap)} --save-env"
    command = command.replace("%", r"\%")  # which cron would take for a line break
    line = f"17 4 * * * [ $(( $(date +\\%s) / 86400 \\% {days} )) -eq 0 ] && {command}"
    if not args.install:
        print(line)
        print(
            "\nAdd this line to your crontab (crontab -e), or let it be done: add --install", file=sys.stderr
        )
        return ExitCode.CLEAN
    there = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    kept = [old for old in there.stdout.splitlines() if f"--key-id {shlex.quote(args.key_id)} " not in old]
    done = subprocess.run(["crontab", "-"], input="\n".join([*kept, line, ""]), text=True, check=False)
    if done.returncode:
        raise FluxguardError("crontab refused the line.", "Add it yourself: leave --install out to see it.")
    print(f"Each {days} days at 4:17 the key is rotated. See: crontab -l")
    return ExitCode.CLEAN


def _cwd() -> str:
    import os

    return os.getcwd()


# What looks, changes and ends.


@_asking
def _update(args: argparse.Namespace, api: Any) -> int:
    changes: dict[str, Any] = {
        name: value
        for name, value in (
            ("name", args.name), ("description", args.description), ("expires", args.expires),
            ("permissions", args.permission), ("hourly_limit", args.limit),
        )
        if value is not None
    }  # fmt: skip
    if args.scope:
        changes["scope"] = scope_of(args.scope, api)
    if not changes:
        raise UsageError(
            "Nothing is to be changed.", "Add --name, --scope, --permission, --expires or --limit."
        )
    return _one(args, api, api.update(args.key_id, changes), "Changed.")


@_asking
def _list(args: argparse.Namespace, api: Any) -> int:
    """Prints keys as they come, a page at a time."""
    if args.limit is not None and args.limit < 1:
        raise UsageError("--limit is the number of keys to show, 1 or more.")
    project = scope_of([args.scope], api)["projects"][0] if args.scope else ""
    as_json = args.format == "json"
    names = {} if api.address.public or as_json else _names(api)
    shown, further = 0, ""
    for page, after in api.pages(
        project=project, state=args.state or "", unused=args.unused, limit=args.limit, after=args.after
    ):
        for key in page:
            _between(as_json, shown)
            sys.stdout.write(json.dumps(key.to_json(), indent=2) if as_json else _listed(key, names))
            shown += 1
        further = after
    _end_of_list(args, shown, further)
    return ExitCode.CLEAN


def _between(as_json: bool, shown: int) -> None:
    if as_json:
        sys.stdout.write(",\n" if shown else "[\n")
    elif shown:
        sys.stdout.write("\n\n")


def _end_of_list(args: argparse.Namespace, shown: int, further: str) -> None:
    if args.format == "json":
        print("\n]" if shown else "[]")
    elif shown:
        print()
    else:
        chosen = args.state or args.scope or args.after
        print("Every key was used." if args.unused else "No key fits." if chosen else "There are no keys.")
    if further:
        print(f"fluxguard: there are more keys; they follow with --after {_safe(further)}", file=sys.stderr)


@_asking
def _show(args: argparse.Namespace, api: Any) -> int:
    return _one(args, api, api.key(args.key_id), "")


def _one(args: argparse.Namespace, api: Any, key: wire.Key, said: str) -> int:
    if args.format == "json":
        print(json.dumps(key.to_json(), indent=2))
        return ExitCode.CLEAN
    if said:
        print(f"✅ {said}\n")
    print(_listed(key, _names(api)))
    print(f"Permissions: {', '.join(wire.PERMISSIONS.get(name, name) for name in key.permissions)}")
    print(f"Limit: {key.hourly_limit:,} requests/hour")
    for title, value in (
        ("Description", _safe(key.description)), ("Used from", _safe(" ".join(key.last_used.get(part, "") for part in ("address", "user_agent")).strip())),
        ("Follows", key.predecessor_id), ("Followed by", key.successor_id),
        ("Fingerprint", key.fingerprint),
    ):  # fmt: skip
        if value:
            print(f"{title}: {value}")
    return ExitCode.CLEAN


def _listed(key: wire.Key, names: Mapping[str, str]) -> str:
    """A key as the page's list shows it."""
    used = (
        f"last used: {ago(key.last_used_at, time.time_ns() // 1_000_000)}"
        if key.last_used_at
        else "never used"
    )
    state = "" if key.state in ("active", "unknown") else f"  [{key.state}{_until(key)}]"
    return "\n".join((
        f"Name: {_safe(key.name)}{state}", f"Key: {key.masked} ({used})", f"Id: {key.id}",
        f"Created: {date(key.created_at)}", f"Expires: {date(key.expires_at)}", f"Scope: {_scope_text(key, names)}",
    ))  # fmt: skip


def _until(key: wire.Key) -> str:
    moment = (
        key.grace_until if key.state == "grace" else key.pending_until if key.state == "pending" else None
    )
    return f" until {wire.to_text(moment)}" if moment else ""


@_asking
def _usage(args: argparse.Namespace, api: Any) -> int:
    data = api.usage(args.key_id, args.days)
    key = None if args.format == "json" else api.key(args.key_id)
    if key is None:
        print(json.dumps(data, indent=2))
    else:
        print(_figures(key, data))
    return ExitCode.CLEAN


def _figures(key: wire.Key, data: Mapping[str, Any]) -> str:
    """The page's usage screen."""
    lines = [f"API Key Usage: {_safe(key.name)}", "", f"Last {data['days']} Days:", ""]
    most = max((day["requests"] for day in data["by_day"]), default=0) or 1
    for day in data["by_day"]:
        bar = "█" * -(-20 * day["requests"] // most)
        lines.append(f"{short_date(day['date']):>6}: {bar} {day['requests']:,} requests".replace(":  ", ": "))
    lines += ["", f"Total Requests: {data['total']:,}", f"Avg per Day: {data['avg_per_day']:,}"]
    for title, name in (("By Operation:", "by_operation"), ("By Project:", "by_project")):
        if data[name]:
            lines += ["", title]
            lines += [
                f"• {_safe(str(one['title']))}: {one['requests']:,} ({one['percent']}%)" for one in data[name]
            ]
    return "\n".join(lines)


@_asking
def _confirm(args: argparse.Namespace, api: Any) -> int:
    return _one(args, api, api.confirm(args.key_id), "Confirmed.")


@_asking
def _revoke(args: argparse.Namespace, api: Any) -> int:
    key = api.key(args.key_id)
    if not _agreed(args, f"{key.masked} ({_safe(key.name)}) will be dead at once, for good. Revoke it?"):
        return _undone()
    return _one(args, api, api.revoke(args.key_id, args.reason), "Revoked.")


@_asking
def _delete(args: argparse.Namespace, api: Any) -> int:
    key = api.key(args.key_id)
    name = args.yes_delete
    if name is None:
        if not sys.stdin.isatty():
            raise UsageError("There is nobody to ask for the key's name.", "Add --yes-delete NAME.")
        print(
            f"⚠️ This action cannot be undone.\n\nKey: {key.masked}\nName: {_safe(key.name)}\n",
            file=sys.stderr,
        )
        name = input("Type the key name to confirm: ")
    if name != key.name:
        raise UsageError("That is not the key's name: nothing was deleted.", "See: fluxguard apikeys list")
    api.delete(args.key_id, name)
    print(
        json.dumps({"id": key.id, "state": "deleted"})
        if args.format == "json"
        else f"✅ Deleted: {_safe(key.name)}"
    )
    return ExitCode.CLEAN


def _agreed(args: argparse.Namespace, question: str) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("There is nobody to ask whether that is meant.", "Add --yes.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _undone() -> int:
    print("Nothing was changed.")
    return ExitCode.CLEAN


def _names(api: Any) -> dict[str, str]:
    """Projects' names by id; none where this key may not see them."""
    from fluxguard.platform.errors import PlatformError

    try:
        return {str(one.get("id")): str(one.get("name")) for one in api.projects()}
    except PlatformError:
        return {}


def _scope_text(key: wire.Key, names: Mapping[str, str]) -> str:
    if key.projects is None:
        return "All Projects"
    return ", ".join(_safe(names.get(one, one)) for one in key.projects)


def _safe(text: str) -> str:
    from fluxguard.display import safe

    return safe(text)


def _day(moment: int | None) -> str:
    return (wire.to_text(moment) or "Never")[:10]
