"""What the commands that ask the platform share: where it is, as whom, and how a key is shown and kept."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fluxguard import settings
from fluxguard.errors import UsageError
from fluxguard.model import Secret
from fluxguard.platform import address, credentials
from fluxguard.platform.address import Address
from fluxguard.platform.api import Api
from fluxguard.platform.credentials import Credential
from fluxguard.platform.errors import PlatformError, Unreachable

FORMATS = ("text", "json")


def common(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that asks the platform."""
    parser.add_argument(
        "--api-url",
        metavar="URL",
        help="the platform's address (default: FLUXLOOP_API_URL, your configuration)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="output format (default: text)")


def workspace() -> Path | None:
    """The nearest folder with a `.fluxloop` in it."""
    return address.find_workspace(Path.cwd(), Path.home())


def where(flag: str | None) -> Address:
    """The platform's address. Says so where a repository offers one that the user has not trusted."""
    found = address.resolve(flag, os.environ, settings.platform_url(), workspace())
    offered = address.offered_by(workspace())
    if offered and found.source == "FluxLoop's public service" and offered.rstrip("/") != found.url:
        print(
            "fluxguard: this repository's .fluxloop/project.json names another platform. It is not asked until you say so:\n"
            "  fluxguard auth trust",
            file=sys.stderr,
        )
    return found


def connect(flag: str | None) -> Api:
    """The platform, asked with the key that counts. Raises: UsageError where there is none."""
    found = where(flag)
    known = credentials.every(found.url, workspace(), os.environ)
    if not known:
        raise UsageError(
            "There is no API key to ask with.",
            "Run: fluxguard auth login   (or set FLUXLOOP_API_KEY, or put it into .fluxloop/.env)",
        )
    return Api(found, known[0].secret)


def connect_beside(flag: str | None, leaked: Secret | None, successor: Secret | None = None) -> Api:
    """The platform, asked with a key that has no part in an incident and may handle keys, where there is one.

    The leaked one dies on the way, and its successor stands in `.fluxloop/.env` before what was saved. Where there is no other, the leaked one
    asks while it is good: a successor that asks counts as arrived.
    """
    found = where(flag)
    known = [one.secret for one in credentials.every(found.url, workspace(), os.environ)]
    others = [one for one in known if one not in (leaked, successor)]
    if len(others) > 1 and not found.public:
        others = sorted(others, key=lambda one: not _answers(found, one, "manage_keys"))
    if found.public and not others:
        return Api(found, None)  # it offers no call that would need a key: a person does it on its page
    if others or not known:
        return Api(found, others[0]) if others else connect(flag)
    if successor is not None and (leaked is None or not _answers(found, leaked)):
        return Api(found, successor)
    return Api(found, known[0])


def _answers(found: Address, secret: Secret, permission: str = "") -> bool:
    """Whether the platform lets the key in, and with that permission; no use of the key. Where it can't be asked: yes, for all we know."""
    api = Api(found, secret, sleep=lambda seconds: None)
    try:
        permissions = api.me().permissions
        return not permission or permission in permissions
    except Unreachable:
        return True
    except PlatformError:
        return False
    finally:
        api.close()


def told(credential: Credential) -> str:
    """Where a key lies, in words."""
    return credential.place + (f" ({credential.name})" if credential.name else "")
