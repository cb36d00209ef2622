"""The key that fluxguard itself uses: log in, see which one counts, log out."""

from __future__ import annotations

import argparse
import json
import os
import sys

from fluxguard import wire
from fluxguard.errors import ExitCode, UsageError
from fluxguard.model import Secret

HELP = "the key that fluxguard itself uses"


def arguments(parser: argparse.ArgumentParser) -> None:
    from fluxguard.commands.platformed import common

    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, run, text in (
        ("login", login, "ask for a key, try it, and keep it in your keyring or in a file of mode 0600"),
        ("status", status, "which key counts, which are shadowed, and what the platform says of it"),
        ("logout", logout, "forget the key that was kept"),
        ("trust", trust, "let this repository's .fluxloop/project.json say which platform is asked"),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
        common(action)
        action.set_defaults(run=run)
        if name == "login":
            action.add_argument(
                "--no-check", action="store_true", help="keep the key without asking the platform about it"
            )


def run(args: argparse.Namespace) -> int:
    raise UsageError("auth needs an action.", "fluxguard auth login|status|logout|trust")


def login(args: argparse.Namespace) -> int:
    """Takes a key from the terminal, without echo, or from standard input."""
    from fluxguard.commands.platformed import where
    from fluxguard.platform import credentials
    from fluxguard.platform.api import Api

    address = where(args.api_url)
    secret = _asked()
    if not args.no_check and not address.public:
        api = Api(address, secret)
        try:
            api.me()
        finally:
            api.close()
    place = credentials.save(address.url, secret)
    return _say(args, {"saved": True, "place": place, "masked": secret.masked, "url": address.url},
                f"Key {secret.masked} is kept for {address.url} ({place}).")  # fmt: skip


def _asked() -> Secret:
    if sys.stdin.isatty():
        import getpass

        text = getpass.getpass("FluxLoop API key: ")
    else:
        text = sys.stdin.readline()
    text = text.strip()
    if not text:
        raise UsageError(
            "No key came in.", "Type it, or send it on standard input: fluxguard auth login < FILE"
        )
    if not text.isascii() or not text.isprintable() or len(text) > 500 or " " in text:
        raise UsageError("This is no API key.", "It is one word, such as flux_dev_ and letters and digits.")
    return Secret(text.encode())


def status(args: argparse.Namespace) -> int:
    """Every key that lies about, the one that counts first."""
    from fluxguard.commands.platformed import told, where, workspace
    from fluxguard.platform import credentials
    from fluxguard.platform.api import Api
    from fluxguard.platform.errors import PlatformError

    address = where(args.api_url)
    known = credentials.every(address.url, workspace(), os.environ)
    says, failed = "", None
    if known and not address.public:
        api = Api(address, known[0].secret)
        try:
            mine = api.me()
            says = f"{mine.state}; {mine.name}; expires {_day(mine.expires_at)}"
        except PlatformError as error:
            failed = error
        finally:
            api.close()
    if args.format == "json":
        found = [{"masked": one.secret.masked, "place": one.place, "name": one.name, "counts": not number}
                 for number, one in enumerate(known)]  # fmt: skip
        print(
            json.dumps(
                {"url": address.url, "source": address.source, "keys": found, "platform": says or None},
                indent=2,
            )
        )
    else:
        print(f"Platform: {address.url} ({address.source})")
        if not known:
            print("No key. Run: fluxguard auth login")
        for number, one in enumerate(known):
            shadow = (
                ""
                if not number
                else "   shadowed: not used"
                if one.secret != known[0].secret
                else "   the same key"
            )
            print(
                f"{'Key in use' if not number else 'Also':10}  {one.secret.masked}  from {told(one)}{shadow}"
            )
        if says:
            print(f"The platform says: {says}")
        elif known and address.public:
            print("FluxLoop's public service can't be asked what it knows of a key.")
    if failed is not None:
        raise failed
    return ExitCode.CLEAN if known else ExitCode.FOUND


def _day(moment: int | None) -> str:
    return (wire.to_text(moment) or "never")[:10]


def logout(args: argparse.Namespace) -> int:
    """Takes the kept key away; those in the environment and in files stay."""
    from fluxguard.commands.platformed import told, where, workspace
    from fluxguard.platform import credentials

    address = where(args.api_url)
    gone = credentials.forget(address.url)
    left = credentials.every(address.url, workspace(), os.environ)
    text = f"Forgotten: {', '.join(gone)}." if gone else f"No key was kept for {address.url}."
    if left:
        text += f"\nStill there, and used: {left[0].secret.masked} from {told(left[0])}"
    text += "\nThe key itself is as alive as before: fluxguard apikeys revoke ends it." if gone else ""
    return _say(args, {"forgotten": gone, "left": [told(one) for one in left]}, text)


def trust(args: argparse.Namespace) -> int:
    """The user's word that this repository may name the platform."""
    from fluxguard.commands.platformed import workspace
    from fluxguard.platform import address

    folder = workspace()
    offered = address.offered_by(folder)
    if folder is None or not offered:
        raise UsageError("There is no .fluxloop/project.json here that names a platform.")
    url = address.checked(offered, "project.json")
    address.trust(folder, url)
    return _say(args, {"trusted": str(folder), "url": url}, f"Keys may be sent to {url} from {folder}.")


def _say(args: argparse.Namespace, data: dict[str, object], text: str) -> int:
    print(json.dumps(data, indent=2) if args.format == "json" else text)
    return ExitCode.CLEAN
