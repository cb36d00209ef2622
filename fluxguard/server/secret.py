"""The platform's secret: kept in a file outside of the database, and what is derived from it.

Whoever reads the database alone can neither look a key up nor forge the audit trail. Each use has a key of its own, derived
as HMAC-SHA256(secret, label).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from fluxguard.errors import UsageError
from fluxguard.writing import once

LENGTH = 32  # bytes
VERSION = 1


class Vault:
    """What the secret is used for. Shows nothing of it."""

    __slots__ = ("_audit", "_browser", "_lookup", "_note", "_request", "_token")

    def __init__(self, secret: bytes) -> None:
        self._lookup = _derived(secret, b"lookup")
        self._audit = _derived(secret, b"audit")
        self._request = _derived(secret, b"request")
        self._token = _derived(secret, b"token")
        self._note = _derived(secret, b"note")
        self._browser = _derived(secret, b"browser")

    def lookup(self, key: bytes) -> bytes:
        """What stands in the database for a key: 32 bytes, no use without the secret."""
        return hmac.digest(self._lookup, key, "sha256")

    def audit(self, record: bytes) -> bytes:
        """The proof of a record of the audit trail, which covers the proof before it."""
        return hmac.digest(self._audit, record, "sha256")

    def request(self, body: bytes) -> bytes:
        """What tells two requests under one idempotency key apart."""
        return hmac.digest(self._request, body, "sha256")

    def token(self, value: bytes) -> bytes:
        """What stands in the database for a session, a device code or a login token."""
        return hmac.digest(self._token, value, "sha256")

    def note(self, text: bytes) -> bytes:
        """The seal of what the platform remembers for itself, such as how far the audit trail was checked."""
        return hmac.digest(self._note, text, "sha256")

    def browser(self, text: bytes) -> bytes:
        """What proves that a browser's cookie is one of ours."""
        return hmac.digest(self._browser, text, "sha256")

    def __repr__(self) -> str:
        return "Vault(***)"


def _derived(secret: bytes, label: bytes) -> bytes:
    return hmac.new(secret, b"fluxguard/server/v1/" + label, hashlib.sha256).digest()


def open_vault(path: Path) -> Vault:
    """Reads the secret, or makes it where there is none: 32 random bytes in hex, mode 0600, on disk before it is used.

    Two processes that start at once end up with the same one. Raises: UsageError where it can't be read, is no secret, or
    may be read by others.
    """
    if not path.exists():
        _make(path)
    try:
        facts = path.stat()
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(
            f"The platform's secret can't be read: {path}", "Check who owns the file and its mode."
        ) from None
    if facts.st_mode & 0o077:
        raise UsageError(f"Others may read the platform's secret: {path}", f"Run: chmod 600 {path}")
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) < LENGTH:
        raise UsageError(
            f"This file holds no platform secret: {path}",
            "It holds 64 hex digits. If it was lost, restore it: without it no key that was issued can be recognised.",
        )
    return Vault(secret)


def _make(path: Path) -> None:
    try:
        once(path, secrets.token_hex(LENGTH).encode() + b"\n")
    except OSError as error:
        raise UsageError(
            f"The platform's secret can't be written at {path}: {error.strerror}.",
            "Check who owns the folder and the disk below it, or name another file with FLUXGUARD_SERVER_SECRET_FILE.",
        ) from None
