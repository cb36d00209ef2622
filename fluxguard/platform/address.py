"""Which platform is asked. An address decides where a key is sent, so a repository alone never gives one.

The flag, FLUXLOOP_API_URL, the user's own configuration (`[platform] url`), then FluxLoop's public service. The address in a
repository's `.fluxloop/project.json` counts only where the user trusted that repository with that address.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from fluxguard.errors import UsageError

PUBLIC = "https://api.fluxloop.ai"
VARIABLE = "FLUXLOOP_API_URL"


@dataclass(frozen=True, slots=True)
class Address:
    """url: without a slash at its end. source: where it was found, in words."""

    url: str
    source: str

    @property
    def public(self) -> bool:
        """Whether this is FluxLoop's own service, which offers less."""
        host = urlsplit(self.url).hostname or ""
        return host == "fluxloop.ai" or host.endswith(".fluxloop.ai")


def resolve(
    flag: str | None, environment: Mapping[str, str], configured: str | None, workspace: Path | None = None
) -> Address:
    """The address to ask. Raises: UsageError for one that a key must not be sent to."""
    for url, source in (
        (flag, "--api-url"),
        (environment.get(VARIABLE), VARIABLE),
        (configured, "your configuration"),
    ):
        if url:
            return Address(checked(url, source), source)
    offered = offered_by(workspace)
    if offered and is_trusted(workspace, offered):
        return Address(checked(offered, "project.json"), "the repository's project.json, which you trusted")
    return Address(PUBLIC, "FluxLoop's public service")


def checked(url: str, source: str) -> str:
    """The URL as it is used: HTTPS, or loopback; no user, no query. Raises: UsageError."""
    parts = _split(url.strip())
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
    ):
        raise UsageError(
            f"The platform's address ({source}) is no URL.", "Write it as https://HOST or https://HOST/PATH."
        )
    if parts.username or parts.password:
        raise UsageError(
            f"The platform's address ({source}) holds a user name.", "Leave it out: the key says who asks."
        )
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise UsageError(
            f"The platform's address ({source}) is not HTTPS: a key would travel in clear.",
            "Write it with https://.",
        )
    return url.strip().rstrip("/")


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, or nothing for what is none."""
    try:
        parts = urlsplit(url)
        fine = url.isprintable() and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if fine else None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_workspace(start: Path, home: Path) -> Path | None:
    """The nearest folder with a `.fluxloop` in it, upwards, as FluxLoop's client looks for it: not above the home folder."""
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if candidate == home:
            return None
        if (candidate / ".fluxloop").is_dir():
            return candidate
    return None


def offered_by(workspace: Path | None) -> str | None:
    """The address that `.fluxloop/project.json` would have."""
    if workspace is None:
        return None
    try:
        with (workspace / ".fluxloop" / "project.json").open("rb") as stream:
            data = json.loads(stream.read(1 << 20))
        url = data.get("api_url") if isinstance(data, dict) else None
    except (OSError, ValueError, RecursionError):
        return None
    return url if isinstance(url, str) and url else None


def _trust_file() -> Path:
    return state_folder() / "trusted.json"


def state_folder() -> Path:
    """FLUXGUARD_STATE_DIR, or the user's state directory."""
    named = os.environ.get("FLUXGUARD_STATE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "fluxguard"


def is_trusted(workspace: Path | None, url: str) -> bool:
    """Whether the user said that this repository may name this address. Another address needs another word."""
    if workspace is None:
        return False
    try:
        known = json.loads(_trust_file().read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(known, dict) and known.get(str(workspace.resolve())) == url


def trust(workspace: Path, url: str) -> None:
    """Remembers it. Raises: OSError."""
    from fluxguard.writing import whole

    path = _trust_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        known = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict):
        known = {}
    known[str(workspace.resolve())] = checked(url, "project.json")
    whole(str(path), lambda stream: stream.write(json.dumps(known, indent=2, sort_keys=True) + "\n"))
