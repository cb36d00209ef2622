"""Text that was written as numbers: lists of decimal codes, and dumps in octal, in binary, or in words of the machine.

Plain hexadecimal is in `layers`. The literals that lead here are in `triggers`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluxguard.detect import triggers
from fluxguard.detect.layers import RUN, Layer, Splice

_BEFORE = 512  # bytes in front of a hit that are looked at for the begin of a list, or for rows
_ROWS = 8 << 10  # bytes of a dump that are read behind it


def decoded(layer: Layer) -> Iterator[Layer]:
    """The text behind every list and dump in which a trigger stands."""
    yield from _lists(layer)
    for form in _forms():
        yield from _dumps(layer, form)


# --- lists of decimal codes ----------------------------------------------------------------------------------------

# Also the end of a row and the offset of the next, as `od -tu1` writes them.
_BETWEEN = rb"(?:\r?\n[0-7]{7,8} {1,3}|[ ,;\t\r\n\\-]{1,40})"


@functools.cache
def _list_patterns() -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    """A hit; numbers that end where it begins; numbers from some place on."""
    return (
        re.compile(b"|".join(map(re.escape, triggers.DECIMALS))),
        re.compile(rb"(?<![0-9])(?:[0-9]{1,3}" + _BETWEEN + rb"){1,16}\Z"),
        re.compile(rb"[0-9]{1,3}(?:" + _BETWEEN + rb"[0-9]{1,3}(?![0-9]))*"),
    )


_NUMBER = re.compile(rb"(?<![0-9])[0-9]{1,3}(?![0-9])")


def _lists(layer: Layer) -> Iterator[Layer]:
    hits, before, run_pattern = _list_patterns()
    done = 0
    for hit in hits.finditer(layer.data):
        first = _NUMBER.search(layer.data, hit.start(), hit.end())
        if hit.start() < done or first is None:
            continue
        begin = first.start()
        if ahead := before.search(layer.data, max(done, begin - _BEFORE), begin):
            begin = ahead.start()
        run = run_pattern.match(layer.data, begin, begin + RUN)
        if run is None:
            continue
        done = run.end()
        splice = Splice()
        for number in _NUMBER.finditer(layer.data, begin, done):
            value = int(number[0])
            splice.put(bytes((value,)) if value < 256 else b" ", number.start())
        yield layer.inside(splice.data(), "decimal", splice.locate)


# --- dumps ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to write bytes in rows. cell: an expression for one number of `base`, which stands for `size` bytes, the
    lowest first. row: an expression for a whole row."""

    words: re.Pattern[bytes]
    cell: re.Pattern[bytes]
    row: re.Pattern[bytes]
    base: int
    size: int


@functools.cache
def _forms() -> Sequence[_Form]:
    octal, words, long, bits = triggers.OCTALS, triggers.WORDS, triggers.LONG_WORDS, triggers.BITS
    return (
        _form(octal, rb"[0-7]{3}", 8, 1),
        _form(words, rb"[0-7]{6}", 8, 2),
        _form(words, rb"[0-9a-f]{4}", 16, 2),
        _form(long, rb"[0-9a-f]{8}", 16, 4, rb" {7}[0-9a-f]{2}| {5}[0-9a-f]{4}| {3}[0-9a-f]{6}"),
        _form(bits, rb"[01]{8}", 2, 1),
    )


def _form(literals: Sequence[bytes], cell: bytes, base: int, size: int, last: bytes = b"") -> _Form:
    """last: how the last word of all may be written, where it is not whole."""
    # Words of eight digits could be taken for an offset, which has a colon behind it then.
    offset = (
        rb"(?:(?:0x)?[0-9a-fA-F]{7}:?|(?:0x)?[0-9a-fA-F]{8,16}:" + (b"" if size == 4 else b"?") + rb")[ \t]+"
    )
    row = (
        rb"^[ \t>#*/|]{0,12}(?:" + offset + rb")?(?P<cells>" + cell + rb"(?: {1,4}" + cell + rb"){0,63}(?:"
        + last + rb")?" + (last and rb"|[0-9a-f]{2,6}") + rb")(?:[ \t]{2,60}[^\r\n]{0,80})?[ \t]*\r?$"
    )  # fmt: skip
    cells = rb"(?<![0-9a-f])(?:" + (rb"[0-9a-f]{2,8}" if last else cell) + rb")(?![0-9a-f])"
    hits = b"|".join(map(re.escape, literals))
    return _Form(re.compile(hits), re.compile(cells), re.compile(row, re.MULTILINE), base, size)


def _dumps(layer: Layer, form: _Form) -> Iterator[Layer]:
    done = 0
    for hit in form.words.finditer(layer.data):
        if hit.start() < done:
            continue
        begin = max(0, hit.start() - _BEFORE)
        done = min(len(layer.data), hit.end() + _ROWS)
        splice = Splice()
        for row in form.row.finditer(layer.data, begin, done):
            for cell in form.cell.finditer(layer.data, *row.span("cells")):
                value = int(cell[0], form.base)
                size = min(form.size, len(cell[0]) // 2) if form.size == 4 else form.size
                splice.put(_bytes(value, size), cell.start())
        if splice.data():
            yield layer.inside(splice.data(), "dump", splice.locate)


def _bytes(value: int, size: int) -> bytes:
    """A number as bytes, the lowest first; blanks where it is none of so many bytes."""
    return value.to_bytes(size, "little") if value < 1 << 8 * size else b" " * size
