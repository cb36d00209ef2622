"""A key cut out of a file: its pieces alone, in whatever form they stand; all else of the file stays, byte for byte.

What detection finds is taken out where it says that each byte comes from; then detection is asked again. An archive, of which other bytes
(lengths, sums) depend on those of the key, is made anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fluxguard.config import Config
from fluxguard.detect.engine import Detection, Detector, Match
from fluxguard.detect.ruleset import built_in
from fluxguard.respond.forms import NOTICE, REMOVED, forms, replaced
from fluxguard.respond.repacking import Change, repacked, vouchers

_PASSES = 8
_LONGEST_ESCAPE = (
    24  # bytes from one escaped letter to the next; where more lies between them, it is no part of either
)
_IN_BASE64 = 4  # characters of base64 of base64 from one byte to the next
_ESCAPE = re.compile(
    rb"\\+u\{?[0-9a-fA-F]{1,8}\}?|\\+x\{?[0-9a-fA-F]{2}\}?|\\+U[0-9a-fA-F]{8}|\\+[0-7]{3,4}|\\+'[0-9a-fA-F]{2}|\\+_"
    rb"|%(?:25)*(?:u00)?[0-9a-fA-F]{2}|&(?:amp;)*#[xX]?[0-9a-fA-F]{1,8};?|&(?:amp;)*[A-Za-z]{3,16};|=[0-9A-F]{2}"
)
_PAIR = re.compile(rb"(?:0x)?([0-9a-fA-F]{2})")
_SEAM = re.compile(rb"[\s\"'`<>,]")
_BASE64 = re.compile(rb"[A-Za-z0-9_/-]|(?<=[A-Za-z0-9/])\+(?=[A-Za-z0-9/])")

Edit = tuple[int, int, bytes]  # from, to, what takes its place


@dataclass(frozen=True, slots=True)
class Cut:
    """A content without the key. anew: it is an archive that was made anew. broken: what in it vouched for its members as they were."""

    data: bytes
    anew: bool = False
    broken: tuple[str, ...] = ()


def cut(data: bytes, key: bytes, path: bytes | None = None) -> bytes | None:
    """The content without the key; None where that is impossible, or would leave something that can't be read any more.

    path: where it stands, for rules that look at certain files alone.
    """
    made = cut_out(data, key, path)
    return None if made is None else made.data


def cut_out(data: bytes, key: bytes, path: bytes | None = None) -> Cut | None:
    """The same, and what it took."""
    before = _detected(data, path)
    if _packed(before, key):
        return _out_of_archive(data, key, path, before)
    cleaned = plainly(data, key)
    for _ in range(_PASSES):
        found = _detected(cleaned, path)
        held = _held(found, key)
        if not held:
            return Cut(cleaned) if not set(found.unread) - set(before.unread) else None
        fresh = _without(cleaned, held)
        if fresh == cleaned:
            return None
        cleaned = fresh
    return None


# What of an archive may stay unread: it is copied as it lies there.
_COPIED = ("encrypted archive", "a format that fluxguard does not open")


def _out_of_archive(data: bytes, key: bytes, path: bytes | None, before: Detection) -> Cut | None:
    """An archive made anew, and looked at again: the key is gone, and all can be read that could be before."""
    if any(not reason.endswith(_COPIED) for _, reason in before.unread):
        return None
    broken = list(vouchers(data))

    def clean(content: bytes) -> bytes | None:
        inner = cut_out(content, key, path)
        if inner is not None:
            broken.extend(inner.broken)
        return None if inner is None else inner.data

    touched = frozenset(one.text.via[0] for one in _held(before, key) if one.text.via)
    made = repacked(data, Change(key, touched, clean))
    if made is None:
        return None
    after = _detected(made, path)
    if _held(after, key) or set(after.unread) != set(before.unread):
        return None
    return Cut(made, True, tuple(dict.fromkeys(broken)))


def _detected(data: bytes, path: bytes | None) -> Detection:
    """With a detector of its own: the limits on what is unpacked are those of one content, not of all."""
    return Detector(built_in(), limits=Config().limits).detect(data, path, placed=True)


def _held(found: Detection, key: bytes) -> list[Match]:
    return [one for one in found.matches if one.secret.reveal() == key]


def plainly(data: bytes, key: bytes) -> bytes:
    """The content without the key where it stands in one piece."""
    return replaced(_same_length(data, key), forms(key))


def _same_length(data: bytes, key: bytes) -> bytes:
    """In what is not text, offsets count: what takes the key's place there is as long as the key."""
    return data.replace(key, REMOVED.ljust(len(key), b"X")[: len(key)]) if b"\0" in data else data


def _packed(found: Detection, key: bytes) -> bool:
    """Whether the key stands in an archive."""
    vias = [one.text.via for one in _held(found, key)]
    return any(via and not _is_wide(via) for via in vias)


def _is_wide(via: tuple[str, ...]) -> bool:
    return len(via) == 1 and via[0].startswith(("utf-16", "utf-32"))


def _without(data: bytes, held: list[Match]) -> bytes:
    """One pass: in the bytes as they are; or else, where another text is decoded from all of them, in that."""
    plain = [one for one in held if not one.text.via]
    if plain:
        return _applied(data, [edit for one in plain for edit in _edits(one)])
    wide = next((one for one in held if _is_wide(one.text.via)), None)
    if wide is None:
        return data
    name, text = wide.text.via[0], wide.text.data
    mark = data[: _mark(data, name)]
    same = [one for one in held if one.text.via == wide.text.via]
    if mark + text.decode("utf-8", "replace").encode(name, "replace") != data:
        return data  # some of it is not text: it would become something else
    changed = _applied(text, [edit for one in same for edit in _edits(one)])
    return mark + changed.decode("utf-8", "replace").encode(name, "replace")


def _mark(data: bytes, name: str) -> int:
    """The length of that encoding's byte-order mark, where the content begins with it."""
    mark = "\ufeff".encode(name)
    return len(mark) if data.startswith(mark) else 0


def _applied(data: bytes, edits: list[Edit]) -> bytes:
    """With the edits made; of two that overlap, the first."""
    parts, at = [], 0
    for start, end, instead in sorted(edits):
        if start < at:
            continue
        parts += [data[at:start], instead]
        at = end
    return b"".join([*parts, data[at:]])


def _edits(match: Match) -> list[Edit]:
    """What is to be done to the text so that this key stands there no more."""
    inner = match.via[len(match.text.via) :]
    if 2 * len(set(match.places)) < len(match.places):
        return []  # out of something packed: where each byte comes from can't be said
    if "base64" in inner:
        return list(_in_base64(match))
    data = match.text.data
    units = list(_units(match))
    keeps_length = any(one.startswith("utf-") for one in inner) or "dump" in inner or b"\0" in data
    if "hex" in inner or keeps_length:
        return [(start, end, _blank(data[start:end])) for start, end in units] + list(_beside(match))
    return [(start, end, b"" if number else REMOVED) for number, (start, end) in enumerate(_runs(units))]


def _blank(unit: bytes) -> bytes:
    """As long as it was, and still what it was: two digits of hex, or letters."""
    pair = _PAIR.fullmatch(unit)
    return unit[:-2] + b"00" if pair else b"X" * len(unit)


def _units(match: Match) -> Iterator[tuple[int, int]]:
    """Where each letter of the key stands, in clear or in an escape. What stands for several at once, as the first word of a
    template does, is left: it is no secret."""
    data, places, key = match.text.data, match.places, match.secret.reveal()
    for number, (at, letter) in enumerate(zip(places, key, strict=True)):
        after = places[number + 1] if number + 1 < len(places) else -1
        if after == at or (number and places[number - 1] == at):
            continue
        if "hex" in match.via and (pair := _PAIR.match(data, at)) and int(pair[1], 16) == letter:
            yield at, pair.end()
        elif data[at] == letter:
            yield at, at + 1
        elif 0 < after - at <= _LONGEST_ESCAPE and not _SEAM.search(data, at, after):
            yield at, after
        else:
            escape = _ESCAPE.match(data, at)
            yield at, escape.end() if escape else at + 1


def _beside(match: Match) -> Iterator[Edit]:
    """Pieces of the key in the text that a dump shows beside the digits."""
    data, key = match.text.data, match.secret.reveal()
    secret = key.rfind(b"_") + 1
    begin, stop = match.text.line_span(match.start, match.end)
    for start in range(max(begin, match.start - _ROW), min(stop, match.end + _ROW)):
        for at in range(len(key) - _PIECE + 1):
            if at + _PIECE > secret and data.startswith(key[at : at + _PIECE], start):
                yield from ((place, place + 1, b"X") for place in range(start, start + _PIECE))


_ROW = 256  # bytes of a row of a dump, at the most
_PIECE = 6  # letters of the key that are no chance


def _runs(units: list[tuple[int, int]]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for start, end in units:
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _in_base64(match: Match) -> Iterator[Edit]:
    """The characters that stand for the key, all but the outermost, which its neighbours share: what is left still decodes."""
    data, places = match.text.data, match.places
    for number, at in enumerate(places):
        after = places[number + 1] if number + 1 < len(places) else at + 1
        end = after if 0 < after - at <= _IN_BASE64 else at + 1
        for place in range(at + (number == 0), end):
            if _BASE64.match(data, place):
                yield place, place + 1, b"A"


class Cleaner:
    """What is done to contents and texts of a history. whole: ids of files that can't be cleaned. cuts: of those whose key stands in pieces or
    escapes, each with its path. deep: a message holds it so, too."""

    def __init__(self, key: bytes, whole: frozenset[str], cuts: Mapping[str, bytes], deep: bool) -> None:
        self.forms = forms(key)
        self._key, self._whole, self._cuts, self._deep = key, whole, cuts, deep

    def is_whole(self, id: str) -> bool:
        """Whether the file is replaced whole."""
        return id in self._whole

    def blob(self, id: str, data: bytes) -> bytes:
        """A file's content without the key."""
        if id in self._whole:
            return NOTICE
        cleaned = cut(data, self._key, self._cuts[id]) if id in self._cuts else None
        return plainly(data, self._key) if cleaned is None else cleaned

    def text(self, data: bytes) -> bytes:
        """A message, a name or an address without the key."""
        cleaned = cut(data, self._key) if self._deep else None
        return replaced(data, self.forms) if cleaned is None else cleaned

    def wish(self) -> dict[str, object]:
        """For another process."""
        cuts = {id: path.hex() for id, path in self._cuts.items()}
        return {"key": self._key.hex(), "blobs": sorted(self._whole), "cuts": cuts, "deep": self._deep}

    @classmethod
    def of_wish(cls, wish: Mapping[str, Any]) -> Cleaner:
        """The same, there."""
        cuts = {id: bytes.fromhex(path) for id, path in wish["cuts"].items()}
        return cls(bytes.fromhex(wish["key"]), frozenset(wish["blobs"]), cuts, bool(wish["deep"]))
