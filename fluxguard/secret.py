"""A key, which shows itself masked wherever it is printed; its checksum; and texts with everything masked that looks like one."""

from __future__ import annotations

import re

FINGERPRINT = b"fluxguard/fp/v1\0"
_PREFIX = re.compile(rb"(?:flux|flx|fl)_(?:[a-z][a-z0-9]{0,11}_)?")
_LIKE_A_KEY = re.compile(r"(?:flux_[a-z0-9]{2,12}|flx_[a-z]{2,10}|fl_sk)_[A-Za-z0-9]{12,}")
SHORTEST_BODY = 16
_LONG_BODY = 28
DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Secret:
    """A key. Shows itself masked wherever it is printed; `reveal()` is the one way to its bytes."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The key in clear. Few places may ask: see `contract.md`."""
        return self._value

    @property
    def masked(self) -> str:
        """As FluxLoop's pages show a key: prefix, four characters, three dots, the last five (three of a short one)."""
        prefix = _PREFIX.match(self._value)
        body = self._value[prefix.end() :] if prefix else b""
        if len(body) < SHORTEST_BODY or prefix is None:
            return "***"
        tail = 5 if len(body) >= _LONG_BODY else 3
        shown = prefix[0] + body[:4] + b"..." + body[-tail:]
        return shown.decode("ascii", "replace")

    @property
    def fingerprint(self) -> str:
        """`fg1:` and the SHA-256 of the version string, a NUL and the key, in hex."""
        import hashlib  # takes 3 ms, and what is looked into seldom holds a key

        return "fg1:" + hashlib.sha256(FINGERPRINT + self._value).hexdigest()

    @property
    def guessable(self) -> bool:
        """Whether the fingerprint of this value could be turned back into it by trying: it may not be committed."""
        return self.masked == "***"

    def __repr__(self) -> str:
        return self.masked

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not to be pickled")


def veiled(text: str) -> str:
    """A text that somebody else wrote, with everything in it masked that looks like a key."""
    return _LIKE_A_KEY.sub(lambda match: Secret(match[0].encode()).masked, text)


def checksum(text: bytes) -> bytes:
    """CRC-32 (IEEE) of `text` in six base-62 digits, `0-9A-Za-z`, most significant first."""
    import binascii

    value = binascii.crc32(text)
    digits = bytearray()
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits.append(DIGITS[digit])
    return bytes(reversed(digits))
