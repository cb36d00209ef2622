"""What the commands that ask the platform share: where it is, as whom, and how a key is shown and kept."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
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


def connect_beside(
    flag: str | None, leaked: Secret | None, successor: Secret | None, environment: Mapping[str, str]
) -> Api:
    """The platform, asked with a key that has no part in an incident and may handle keys, where there is one.

    The leaked one asks only where it is the very key that the person gave fluxguard (not one that lies in the workspace for their programs), and
    may handle keys, which no other may: its last use is evidence. Once it is dead, its successor asks. Where there is none of these, it is
    asked as nobody.
    """
    found = where(flag)
    known = credentials.every(found.url, workspace(), environment)
    others = [one.secret for one in known if one.secret not in (leaked, successor)]
    if len(others) > 1 and not found.public:
        others = sorted(others, key=lambda one: not _answers(found, one, "manage_keys"))
    given = [one.secret for one in known if one.place not in credentials.WORKSPACE]
    itself = leaked in given and not found.public
    if others and not (itself and not _answers(found, others[0], "manage_keys")):
        return Api(found, others[0])
    for one in (leaked, successor):
        if itself and one is not None and _answers(found, one, "manage_keys"):
            return Api(found, one)
    if others:
        return Api(found, others[0])
    return Api(found, None if found.public or not given else successor)


def _answers(found: Address, secret: Secret | None, permission: str = "") -> bool:
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
