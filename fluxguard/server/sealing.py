"""Keys and answers that only their reader can open: libsodium's sealed box and secret box, by way of PyNaCl."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox
from nacl.secret import SecretBox

from fluxguard.server import problems

BLOCK = 1024  # bytes to which a liveness answer is filled up


def public_key(text: str) -> PublicKey:
    """The X25519 key of `reveal_to`, base64. Raises: Problem 422."""
    try:
        key = PublicKey(base64.b64decode(text, validate=True))
        SealedBox(key).encrypt(
            b""
        )  # a few points of the curve give everybody the same secret, and nothing is sealed to them
        return key
    except (binascii.Error, ValueError, TypeError, CryptoError):
        raise problems.invalid(
            "reveal_to is the base64 of an X25519 public key, 32 bytes.", "/reveal_to"
        ) from None


def sealed(secret: str, to: PublicKey) -> str:
    """The key, to be opened with the private half of `to` alone; base64."""
    return base64.b64encode(SealedBox(to).encrypt(secret.encode())).decode()


def locked(what: dict[str, Any], digest: bytes) -> str:
    """A liveness answer, to be opened by whoever can compute the seal's digest; base64.

    Filled up with blanks, which JSON allows behind its end: the length tells neither the name's nor the state's.
    """
    text = json.dumps(what, sort_keys=True).encode()
    return base64.b64encode(SecretBox(digest).encrypt(text.ljust(-(-len(text) // BLOCK) * BLOCK))).decode()
