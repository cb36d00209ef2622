"""The address that links in answers begin with.

It never comes from the request's Host header: a stranger chooses that, and whoever follows the link types a password there. Without
`--public-url` it is the address of this machine's own end of the connection, which is one that the platform listens on.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from fluxguard.errors import UsageError
from fluxguard.server.platform import Platform


def base(platform: Platform, request: Request) -> str:
    """`https://keys.example.org`, without a slash at its end."""
    if platform.settings.public_url:
        return platform.settings.public_url
    host, port = request.scope.get("server") or ("", None)
    return address(host, port) if host and port else address(platform.settings.host, platform.settings.port)


def address(host: str, port: int) -> str:
    """The URL of a platform that listens here itself, so without TLS."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def checked(text: str) -> str:
    """What `--public-url` names, without a slash at its end. Raises: UsageError for what is no address of a site."""
    url = text.rstrip("/")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if url and (
        not fine or parts.username or parts.query or parts.fragment or not url.isprintable() or " " in url
    ):
        raise UsageError(
            "--public-url is no address that people could open.", "Write it as https://keys.example.org."
        )
    return url
