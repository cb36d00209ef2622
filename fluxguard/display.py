"""What may be shown: no key, no control character, whatever a hostile name or message holds."""

from __future__ import annotations

from fluxguard.masks import Masks
from fluxguard.secret import veiled


def safe(text: str, masks: Masks | None = None) -> str:
    """`text` for a terminal or a log: keys masked, control characters and surrogates escaped.

    masks: further values to replace, each with what is shown in its place.
    """
    if masks:
        text = masks.hide(text)
    text = veiled(text)
    return text if text.isprintable() else "".join(_visible(character) for character in text)


def path(name: bytes, masks: Masks | None = None) -> str:
    """A path for people: UTF-8 where it is, each other byte as \\xNN."""
    return safe(name.decode("utf-8", "surrogateescape"), masks)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
