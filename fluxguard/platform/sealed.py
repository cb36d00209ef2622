"""A sealed key: made for a key pair of ours, so that a lost answer can be asked for again and nobody between can read it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from nacl.secret import SecretBox

from fluxguard.model import Secret
from fluxguard.platform.errors import PlatformError


class Lock:
    """A key pair (X25519). `public` goes to the platform, `private` into the vault until the key has arrived."""

    def __init__(self, private: bytes | None = None) -> None:
        self._key = PrivateKey(private) if private else PrivateKey.generate()

    @property
    def public(self) -> str:
        """Base64, for `reveal_to`."""
        return base64.b64encode(bytes(self._key.public_key)).decode()

    @property
    def private(self) -> bytes:
        return bytes(self._key)

    def open(self, sealed: str) -> Secret:
        """The key. Raises: PlatformError where it was not sealed for us."""
        try:
            return Secret(SealedBox(self._key).decrypt(base64.b64decode(sealed, validate=True)))
        except (CryptoError, binascii.Error, ValueError, TypeError):
            raise PlatformError(
                "The platform's sealed key can't be opened.", "It was made for somebody else."
            ) from None

    def __repr__(self) -> str:
        return "Lock(***)"


def opened(payload: str, digest: bytes) -> dict[str, Any] | None:
    """A liveness answer, or None where it is about another key."""
    try:
        data = json.loads(SecretBox(digest).decrypt(base64.b64decode(payload, validate=True)))
    except (CryptoError, binascii.Error, ValueError, TypeError):
        return None
    return data if isinstance(data, dict) else None
