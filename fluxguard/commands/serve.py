"""The self-hosted key platform: REST API and web console."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fluxguard.errors import ExitCode, UsageError

HELP = "run the key platform"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8400, help="port to listen on (default: 8400)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that answer (default: 1)"
    )
    parser.add_argument(
        "--public-url",
        metavar="URL",
        default="",
        help="what people call the platform by, for links (default: the address it listens on)",
    )
    parser.add_argument(
        "--trust-proxy",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="a proxy whose word on the client's address counts (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--keep-usage", metavar="TIME", default="",
        help="how long it is kept what keys were used for: 400d, 2y, forever (default: 400d)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-refusals", metavar="TIME", default="",
        help="how long it is kept what was turned away: 90d, 1y, forever (default: 90d)",
    )  # fmt: skip
    _database(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    init = actions.add_parser(
        "init", help="set a platform up: database, owner, a first key", allow_abbrev=False
    )
    init.add_argument("--owner", metavar="EMAIL", required=True, help="the owner's e-mail address")
    init.add_argument(
        "--password-stdin", action="store_true", help="read the owner's password from standard input"
    )
    init.add_argument("--format", choices=("text", "json"), default="text")
    _database(init)
    init.set_defaults(run=init_platform)
    people = actions.add_parser(
        "user",
        help="who may sign in to the console: add, list, disable, enable, password",
        allow_abbrev=False,
    )
    people.add_argument("what", choices=("add", "list", "disable", "enable", "password"))
    people.add_argument("--email", metavar="EMAIL", help="whom it is about")
    people.add_argument(
        "--role",
        choices=("owner", "admin", "member", "auditor"),
        default="member",
        help="auditors only look (default: member)",
    )
    people.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    people.add_argument("--format", choices=("text", "json"), default="text")
    _database(people)
    people.set_defaults(run=manage_users)


def _database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database", metavar="URL", default=None,
        help="sqlite:///PATH or postgresql://USER@HOST/NAME (default: a file of the user's own)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop."""
    _must_be_installed()
    from fluxguard.server import links, running
    from fluxguard.server.settings import KEEP_REFUSALS, KEEP_USAGE

    if not 0 <= args.port <= 65535 or not 1 <= args.workers <= 64:
        raise UsageError("--port lies between 0 and 65535, --workers between 1 and 64.")
    keep = {KEEP_USAGE: args.keep_usage, KEEP_REFUSALS: args.keep_refusals}
    public_url = links.checked(args.public_url)
    where = running.Where(args.host, args.port, args.workers, public_url, args.trust_proxy, keep)
    return running.serve(args.database, where, sys.stderr)


def init_platform(args: argparse.Namespace) -> int:
    """Makes the database, the owner and a first key with every permission, which is shown once."""
    _must_be_installed()
    from fluxguard.server import running

    made = running.init(args.database, args.owner, _password(args.password_stdin))
    if args.format == "json":
        print(json.dumps(made, indent=2))
    else:
        _tell(made)
    return ExitCode.CLEAN


def manage_users(args: argparse.Namespace) -> int:
    """Accounts, by whoever runs the machine."""
    _must_be_installed()
    from fluxguard.server import running

    if args.what != "list" and not args.email:
        raise UsageError("Whom is it about?", "Add --email EMAIL.")
    password = _password(args.password_stdin) if args.what in ("add", "password") else ""
    known = running.users(args.database, args.what, args.email or "", args.role, password)
    if args.format == "json":
        print(json.dumps(known, indent=2))
    else:
        for one in known:
            print(f"{one['email']:40} {one['role']:8} {'disabled' if one['disabled'] else ''}".rstrip())
    return ExitCode.CLEAN


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UsageError(
            "There is no terminal to ask for a password.",
            "Add --password-stdin, and send it on standard input.",
        )
    import getpass

    return getpass.getpass("Password (12 characters or more): ")


def _tell(made: dict[str, Any]) -> None:
    print("The platform is set up.")
    print(f"  Owner     {made['owner']}")
    print(f"  Database  {made['database']}")
    print(f"  Secret    {made['secret']}   (keep a copy apart from the database)")
    print(f"\n  First key, with every permission: {made['key']}\n")
    print("Save this key now: you won't be able to see it again.\nRun: fluxguard serve")


def _must_be_installed() -> None:
    import importlib.util

    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("sqlalchemy") is None:
        raise UsageError("The platform's parts are not installed.", "Run: pip install 'fluxguard[server]'")
    from fluxguard.server import door

    door.must_fit()
