"""New keys, and new names for everything else. Randomness is the system's."""

from __future__ import annotations

import re
import secrets

from fluxguard.secret import DIGITS, checksum
from fluxguard.wire import RANDOM

_IDENTIFIER = re.compile(r"[a-z]{3}_[0-9a-f]{20}", re.ASCII)


def key(environment: str) -> str:
    """A new key: typed prefix, 30 base-62 digits (178 bits), six digits of CRC-32 over all before them."""
    text = f"flux_{environment}_" + bytes(secrets.choice(DIGITS) for _ in range(RANDOM)).decode()
    return text + checksum(text.encode()).decode()


def identifier(kind: str) -> str:
    """`key_…`, `usr_…`: 80 random bits behind the kind."""
    return f"{kind}_{secrets.token_hex(10)}"


def is_identifier(text: str) -> bool:
    """Whether a name looks like one of `identifier`'s."""
    return _IDENTIFIER.fullmatch(text) is not None


def token(prefix: str = "") -> str:
    """A session, a device code or a login token: 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


_SPEAKABLE = "BCDFGHJKLMNPQRSTVWXZ23456789"  # no vowels, so no words; nothing that looks like another


def user_code() -> str:
    """What a person compares and types when a device signs in: eight characters, a dash in the middle."""
    word = "".join(secrets.choice(_SPEAKABLE) for _ in range(8))
    return f"{word[:4]}-{word[4:]}"
