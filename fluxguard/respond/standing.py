"""How the key stands in a file: in clear in a text, where another can be put in its place to the byte; or otherwise, and then only by hand."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fluxguard import settings
from fluxguard.chunk import Chunk, Skipped
from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.model import Secret
from fluxguard.respond.forms import forms
from fluxguard.respond.veil import shown
from fluxguard.sources import worktree

LARGEST = 4 << 20  # bytes; a larger file is edited by hand
OTHERWISE = "another encoding"
# A text holds none of these: what does is a program's own format, with lengths and sums that a replacement would belie.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f"))
_ARCHIVES = (b"!<arch>\n", b"%PDF-")  # all letters, and full of offsets for all that
_FOREIGN = 10  # of so many bytes one may be no UTF-8, as in an old encoding of letters; more are no text


@dataclass(frozen=True, slots=True)
class Standing:
    """clear: whether the key stands there as it is. encoded: in which other ways. hindrance: why it can't be replaced, or ""."""

    clear: bool
    encoded: tuple[str, ...]
    hindrance: str


class Look:
    """Looks into files for one key, through every layer that detection knows."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._key = secret.reveal()
        self._forms = [form for form, _ in forms(self._key) if form != self._key]
        self._detector = Detector(built_in())

    def into(self, path: Path, unread: list[str]) -> Standing | None:
        """None where the key does not stand in it. unread: gets what could not be looked into, in words."""
        clear, encoded, hindrance = False, dict[str, None](), ""
        for item in worktree.contents([(os.fsencode(path), os.fsencode(path))], settings.LARGEST):
            if isinstance(item, Skipped):
                unread.append(f"{path}: {item.reason}")
                continue
            here = self._key in item.data
            if here:
                hindrance = hindrance or _hindrance(item, path)
            clear = clear or here
            encoded |= dict.fromkeys(self._encoded(item, path, unread))
        return Standing(clear, tuple(encoded), hindrance) if clear or encoded else None

    def _encoded(self, chunk: Chunk, path: Path, unread: list[str]) -> list[str]:
        ways: list[str] = []
        if self._detector.suspects(chunk.data):
            found = self._detector.detect(chunk.data, chunk.origin.path)
            unread += [f"{path}: {why}" for _, why in found.unread]
            ways = [", ".join(one.via) for one in found.matches if one.secret == self._secret and one.via]
        if not ways and any(form in chunk.data for form in self._forms):
            return [OTHERWISE]
        return ways


def _hindrance(chunk: Chunk, path: Path) -> str:
    if not chunk.last or chunk.start or len(chunk.data) > LARGEST:
        return "the file is too large to be edited here: put the new key there by hand"
    if not is_text(chunk.data):
        return (
            "it is no text file, and would be damaged: put the new key there with the program that wrote it"
        )
    if path.stat().st_nlink > 1:
        return (
            "several names lead to this file (hard links), and would be parted: put the new key there by hand"
        )
    return ""


def is_text(data: bytes) -> bool:
    """Whether bytes can be replaced in it without anything else having to change."""
    if data.startswith(_ARCHIVES) or data.translate(None, _CONTROLS) != data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return sum(byte > 127 for byte in data) * _FOREIGN <= len(data)
    return True


def is_file(path: Path) -> bool:
    """Whether there is an ordinary file, at the end of links too."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def holds(path: Path, secret: Secret) -> bool:
    """Whether the key stands in a file of ordinary size, as it is. One that can't be read holds nothing that we put there."""
    try:
        return path.stat().st_size <= LARGEST and secret.reveal() in path.read_bytes()
    except OSError:
        return False


def said(path: Path, secret: Secret) -> str:
    """A file's name for people."""
    return shown(os.fsencode(path), secret)
