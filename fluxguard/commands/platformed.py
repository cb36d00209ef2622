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


def connect_beside(flag: str | None, *incident: Secret) -> Api:
    """The platform, asked with a key that has no part in an incident and may handle keys, where there is one.

    incident: the leaked key, then its successor. The leaked one dies on the way, and its successor stands in `.fluxloop/.env` before
    what was saved. Where there is no other key, the successor asks before the leaked one.
    """
    found = where(flag)
    known = [one.secret for one in credentials.every(found.url, workspace(), os.environ)]
    if not known:
        return connect(flag)
    others = [one for one in known if one not in incident]
    if len(others) > 1 and not found.public:
        others = sorted(others, key=lambda one: not _may_handle_keys(found, one))
    own = [one for one in reversed(incident) if one in known]
    return Api(found, [*others, *own][0])


def _may_handle_keys(found: Address, secret: Secret) -> bool:
    """Asked of the platform; no use of the key. One that can't be asked may, for all we know."""
    api = Api(found, secret, sleep=lambda seconds: None)
    try:
        return "manage_keys" in api.me().permissions
    except Unreachable:
        return True
    except PlatformError:
        return False
    finally:
        api.close()


def told(credential: Credential) -> str:
    """Where a key lies, in words."""
    return credential.place + (f" ({credential.name})" if credential.name else "")
