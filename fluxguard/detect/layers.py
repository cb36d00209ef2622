"""The layers that text is wrapped in: escapes, base64, hex, UTF-16, literals joined in source.

A `Layer` is decoded text together with the way back: where in the outermost text each of its bytes comes from.
Each decoder takes a layer and yields the layers inside it; none raises on any input.
"""

from __future__ import annotations

import binascii
import codecs
import functools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fluxguard.detect.grade import looks_random
from fluxguard.detect.triggers import (
    BASE64_WORDS,
    DUMPED,
    HEX_WORDS,
    HINTS,
    INVISIBLE,
    JOINED,
    PARTED,
    SPREAD,
    around,
    escaped_word,
)

WINDOW = 4096  # how far behind its first word a key in escapes, or in pieces, is read
RUN = 8 << 20  # the longest run of base64 or hex that is decoded in one piece


@dataclass(frozen=True, slots=True)
class Text:
    """Text in which a person can look: the content itself, or what came out of a container.

    via: the containers on the way to it, outermost first.
    """

    data: bytes
    via: tuple[str, ...] = ()

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a byte offset, both from 1; the column counts characters. LF, CRLF and CR end lines."""
        head = self.data[:offset]
        line = 1 + head.count(b"\n") + head.count(b"\r") - head.count(b"\r\n")
        if self.data[offset - 1 : offset + 1] == b"\r\n" and offset:
            line -= 1
        begin = max(head.rfind(b"\n"), head.rfind(b"\r")) + 1
        return line, len(head[begin:].decode("utf-8", "replace")) + 1

    def line_span(self, start: int, end: int) -> tuple[int, int]:
        """The byte offsets of the whole lines that [start, end) touches, line ends left out."""
        begin = max(self.data.rfind(b"\n", 0, start), self.data.rfind(b"\r", 0, start)) + 1
        stops = [at for at in (self.data.find(b"\n", end), self.data.find(b"\r", end)) if at >= 0]
        return begin, min(stops, default=len(self.data))


@dataclass(frozen=True, slots=True)
class Layer:
    """Decoded bytes and the way back.

    locate: offset in `data` -> offset in `text`. fresh: whether [start, end) of `data` differs from what stands
    in the layer around it, so that a match there is new. depth: how many layers it lies deep.
    """

    data: bytes
    text: Text
    via: tuple[str, ...]
    depth: int
    locate: Callable[[int], int]
    fresh: Callable[[int, int], bool]

    @classmethod
    def of(cls, text: Text, depth: int = 0) -> Layer:
        """The outermost layer of a text."""
        return cls(text.data, text, text.via, depth, lambda offset: offset, lambda start, end: True)

    def inside(self, data: bytes, via: str, locate: Callable[[int], int]) -> Layer:
        """A layer decoded from this one; `locate` leads from it to offsets of this one."""
        outer = self.locate
        return Layer(
            data,
            self.text,
            (*self.via, via),
            self.depth + 1,
            lambda offset: outer(locate(offset)),
            lambda start, end: True,
        )


class Places:
    """Lines and columns of many places in a text. Asked in ascending order, all answers together take one pass."""

    def __init__(self, text: Text) -> None:
        self._data = text.data
        self._restart()

    def _restart(self) -> None:
        self._at = self._begin = 0
        self._line = 1
        self._columns = 0  # characters between the line's begin and `_at`
        self._decoder = _utf8()
        self._breaks = {b"\n": -1, b"\r": -1}  # the next of each behind the place that was asked for last

    def position(self, offset: int) -> tuple[int, int]:
        """As Text.position."""
        if offset < self._at:
            self._restart()
        data, at = self._data, self._at
        self._line += data.count(b"\n", at, offset) + data.count(b"\r", at, offset)
        self._line -= data.count(b"\r\n", max(at - 1, 0), offset)
        begin = max(data.rfind(b"\n", at, offset), data.rfind(b"\r", at, offset)) + 1
        if begin > 0:
            self._begin, self._columns, self._decoder = begin, 0, _utf8()
            at = begin
        self._columns += len(self._decoder.decode(data[at:offset]))
        self._at = offset
        rest = len(self._decoder.getstate()[0].decode("utf-8", "replace"))
        splits = offset > 0 and data[offset - 1 : offset + 1] == b"\r\n"
        return self._line - splits, self._columns + rest + 1

    def line_span(self, start: int, end: int) -> tuple[int, int]:
        """As Text.line_span."""
        if start != self._at:
            self.position(start)
        return self._begin, min(self._break(b"\n", end), self._break(b"\r", end))

    def _break(self, mark: bytes, end: int) -> int:
        last = self._breaks[mark]
        if last < end:
            found = self._data.find(mark, end)
            last = self._breaks[mark] = found if found >= 0 else len(self._data)
        return last


_utf8 = functools.partial(codecs.getincrementaldecoder("utf-8"), errors="replace")


class Splice:
    """Text put together from pieces of other text, some of them replaced; knows where each byte comes from."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._starts: list[int] = []
        self._sources: list[int] = []
        self._copied: list[bool] = []

    def copy(self, data: bytes, start: int, end: int) -> None:
        """Takes over data[start:end] as it is."""
        if end > start:
            self._add(data[start:end], start, True)

    def put(self, data: bytes, start: int) -> None:
        """Puts `data` in the place of what begins at `start`."""
        if data:
            self._add(data, start, False)

    def _add(self, data: bytes, source: int, copied: bool) -> None:
        self._starts.append(self._size)
        self._sources.append(source)
        self._copied.append(copied)
        self._parts.append(data)
        self._size += len(data)

    def data(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)

    def locate(self, offset: int) -> int:
        """Where the byte at `offset` comes from."""
        if not self._starts:
            return 0
        at = bisect_right(self._starts, offset) - 1
        return self._sources[at] + (offset - self._starts[at] if self._copied[at] else 0)

    def fresh(self, start: int, end: int) -> bool:
        """Whether [start, end) is anything but one piece copied as it was."""
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, max(start, end - 1)) - 1
        return first != last or not self._copied[first]


def _windows(layer: Layer, anchor: re.Pattern[bytes], hints: list[bytes]) -> Iterator[tuple[int, int]]:
    """The stretches of a layer around each match of `anchor`, merged where they overlap.

    hints: literals, one of which lies in each match or right beside it. They are found much faster.
    """
    begin = end = -1
    for match in _matches(layer.data, anchor, hints):
        start, stop = max(0, match.start() - 64), min(len(layer.data), match.end() + WINDOW)
        if start > end:
            if end >= 0:
                yield begin, end
            begin = start
        end = stop
    if end >= 0:
        yield begin, end


def _matches(data: bytes, anchor: re.Pattern[bytes], hints: list[bytes]) -> Iterator[re.Match[bytes]]:
    for start, end in around(data, hints):
        for match in anchor.finditer(data, start, end + WINDOW):
            if match.start() >= end:
                break
            yield match


# --- escapes -------------------------------------------------------------------------------------------------------

_ESCAPE = re.compile(
    rb"\\{1,4}u(?P<u>[0-9a-fA-F]{4})|\\{1,4}[ux]\{(?P<brace>[0-9a-fA-F]{1,8})\}|\\{1,4}U(?P<long>[0-9a-fA-F]{8})"
    rb"|\\{1,4}x(?P<x>[0-9a-fA-F]{2})|\\{1,4}(?P<octal>0?[0-7]{3})"
    rb"|%(?:25)*(?:u00)?(?P<percent>[0-9a-fA-F]{2})"
    rb"|&(?:amp;)*\#(?P<decimal>[0-9]{1,8});?|&(?:amp;)*\#[xX](?P<hex>[0-9a-fA-F]{1,8});?|&(?:amp;)?(?P<bar>lowbar|UnderBar);"
    rb"|\\{1,4}'(?P<rtf>[0-9a-fA-F]{2})|&(?:amp;)?(?P<named>ZeroWidthSpace|shy|NoBreak);"
    rb"|=(?P<quoted>[0-9A-F]{2})|=(?P<soft>\r?\n)|\\{1,2}(?P<under>_)"
    rb"|(?P<invisible>" + INVISIBLE + rb"{1,8})"
)
_ZERO_WIDTH = frozenset(
    (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF)
)
_ESCAPE_NAMES = {
    "u": "escape", "brace": "escape", "long": "escape", "x": "escape", "octal": "escape", "under": "escape",
    "rtf": "escape", "invisible": "invisible", "named": "html",
    "percent": "percent", "decimal": "html", "hex": "html", "bar": "html",
    "quoted": "quoted-printable", "soft": "quoted-printable",
}  # fmt: skip
_BROKEN_OFF = rb"flux(?:_[a-z0-9]{0,12}(?:_[A-Za-z0-9]*)?)?[\\%&=\x1b\xe2\xc2\xef]"
_ESCAPED_EARLY = escaped_word() + rb"|" + PARTED + rb"|" + _BROKEN_OFF


def escapes(layer: Layer, early: bool = True) -> Iterator[Layer]:
    """Percent, backslash, HTML and quoted-printable escapes, of whatever is near a key's first word.

    early: whether the first word itself may be in escapes, which is slower to look for.
    """
    anchor, hints = (_ESCAPED_EARLY, list(HINTS)) if early else (_BROKEN_OFF, [b"flux"])
    for start, end in _windows(layer, re.compile(anchor), hints):
        splice = Splice()
        names: set[str] = set()
        at = start
        left = b""  # the end of what is decoded already
        for match in _ESCAPE.finditer(layer.data, start, end):
            character = _character(match)
            left = (left + layer.data[max(at, match.start() - _LONGEST_WORD) : match.start()])[
                -_LONGEST_WORD:
            ]
            if not character and _ends_a_key(left, layer.data, match):
                character = b" "
            left += character
            splice.copy(layer.data, at, match.start())
            splice.put(character, match.start())
            names.add(_ESCAPE_NAMES[match.lastgroup or "u"])
            at = match.end()
        splice.copy(layer.data, at, end)
        if names:
            yield _spliced(layer, splice, min(names) if len(names) == 1 else _main(names))


def _main(names: set[str]) -> str:
    return next(
        name for name in ("percent", "html", "quoted-printable", "escape", "invisible") if name in names
    )


def _spliced(layer: Layer, splice: Splice, via: str) -> Layer:
    outer = layer.locate
    return Layer(
        splice.data(),
        layer.text,
        (*layer.via, via),
        layer.depth + 1,
        lambda offset: outer(splice.locate(offset)),
        splice.fresh,
    )


def _ends_a_key(before: bytes, data: bytes, match: re.Match[bytes]) -> bool:
    """Whether what is invisible here stands behind a whole key, and what follows it is a word of its own."""
    if match.lastgroup == "soft" or not _ALONE.search(before):
        return False
    piece = _PIECE_BEHIND.match(data, match.end())
    return piece is None or not looks_random(piece[0])


def _character(match: re.Match[bytes]) -> bytes:
    """What an escape stands for: a letter, a digit or the like, nothing where it shows nothing, else a space."""
    group = match.lastgroup
    value = match[group or 0]
    if group in ("under", "bar"):
        return b"_"
    if group in ("soft", "invisible", "named"):
        return b""
    base = {"octal": 8, "decimal": 10}.get(group or "", 16)
    code = int(value, base)
    if code in _ZERO_WIDTH:
        return b""
    # What is not ASCII, or ends a word, is kept apart by a space: its exact value finds nothing.
    return bytes([code]) if 0x20 < code < 0x7F else b" "


# --- literals joined in source -------------------------------------------------------------------------------------

_OPERATOR = rb"(?:[+.&~*]|\.\.|\+\+|<>|<<|\|\||\.concat\()"
_LONGEST_WORD = 256
_QUOTE = rb"""\\{0,3}["'`]"""
# Also as it stands in JSON: escaped, and in a notebook with the next line as a string of its own.
_LINE_END = rb"""(?:\r?\n|(?:\\{1,3}r)?\\{1,3}n(?:",\s{0,40}")?)"""
_JOIN = re.compile(
    # a closing quote, perhaps an operator and a line end, an opening quote: the two literals are one
    rb"(?<=[A-Za-z0-9_])(?P<quote>" + _QUOTE + rb")(?P<between>[ \t]*+(?:,|" + _OPERATOR + rb")?[ \t]*+"
    rb"(?:(?:[\\`^_]|\#[^\n\r]{0,80}|//[^\n\r]{0,80})?"
    + _LINE_END
    + rb"[ \t]*+"
    + _OPERATOR
    + rb"?[ \t]*+)?)"
    rb"[fFrRbBuU@$]{0,2}" + _QUOTE +
    # markup between the letters, as a word processor leaves it
    rb"|(?<=[A-Za-z0-9_])(?P<markup>(?:</?[A-Za-z](?:(?!flux)[^<>]){0,200}>){1,16})(?=[A-Za-z0-9_])"
    # a line continued inside a literal, a YAML scalar or a shell word
    rb"|(?P<continued>\\\r?\n[ \t]*\\?)"
    rb"|(?P<escaped>\\\\\r?\\?n[ \t]*)"
)
_CUT = re.compile(rb"fl(?:ux(?:_[a-z0-9]{0,12}(?:_[A-Za-z0-9]*)?)?|(?:x|_sk)_[A-Za-z0-9_]{0,40})[\"'`\\<]")
_CUT_EARLY = re.compile(_CUT.pattern + rb"|[\"'`>\s](?:lu|u)?x_(?:dev|stg|prod|ci)_")
_PIECE_BEHIND = re.compile(rb"[A-Za-z0-9]{4,}")
_PIECE = re.compile(rb"[A-Za-z0-9_]+(?=[\"'`\\])")
_OPERATORS = re.compile(_OPERATOR)
_COMMENT = re.compile(rb"(?:\#|//)[^\r\n]*")
_BLOCK = re.compile(rb"</?(?:w:)?(?:t[cdhr]|li|p|div|br|d[dt]|h\d|option)\b", re.IGNORECASE)
_ALONE = re.compile(rb"flux_[a-z0-9]{2,12}_[A-Za-z0-9]{16,}\Z")


_SEAMS = [*(hint for hint, bits in HINTS.items() if bits & JOINED), b"flx_", b"fl_sk_"]


def joined(layer: Layer, early: bool = True) -> Iterator[Layer]:
    """String literals that source code puts together: `"flux_dev_" + "..."`, adjacent strings, continued lines.

    early: whether the seam may lie within the first word, which is slower to look for.
    """
    for start, end in _windows(layer, _CUT_EARLY if early else _CUT, _SEAMS):
        splice = Splice()
        at = start
        left = b""  # the end of what is put together already
        for match in _JOIN.finditer(layer.data, start, end):
            before = (left + layer.data[at : match.start()])[-_LONGEST_WORD:]
            if _belongs_together(before, layer.data, match):
                splice.copy(layer.data, at, match.start())
                at, left = match.end(), before
        if at != start:
            splice.copy(layer.data, at, end)
            yield _spliced(layer, splice, "concat")


def _belongs_together(before: bytes, data: bytes, match: re.Match[bytes]) -> bool:
    """Whether the text on both sides of a seam is one word.

    Markup, a comma or nothing at all also stands between separate values: there, what is put together so far must not
    be a key by itself, unless a line end follows and what comes then looks like the rest of one.
    """
    if match["markup"] is not None:
        return not _BLOCK.search(match["markup"]) and not _ALONE.search(before)
    if match["quote"] is None:
        return True
    piece = _PIECE.match(data, match.end())
    if not piece:
        return False
    between = _COMMENT.sub(b"", match["between"]).strip(b" \t")
    if _OPERATORS.search(between) or not _ALONE.search(before):
        return True
    return bool(between) and b"," not in between and looks_random(piece[0])


_ENVIRONMENT = rb"(?:dev|stg|prod|ci)"
_Q = rb"\\{0,3}[\"'`]{1,3}"
_NAME = rb"[A-Za-z_$][A-Za-z0-9_.]{0,40}"
_NEXT = rb"(?:" + _Q + rb")?[ \t]{0,8}+;?(?:\r?\n|\\{1,3}n|[ \t])[ \t]{0,40}+(?:export[ \t])?" + _NAME
# What stands between `flux_prod_` and its body in source.
_SEAM = (
    # shell: a word that is quoted in part, an empty variable, `^` at the end of a line
    rb"(?:" + _Q + rb"|\$[({][A-Za-z_]{1,40}[)}]|[`^]\r?\n[ \t]{0,40}+)"
    # a comment between two strings, or none
    rb"|"
    + _Q
    + rb"[ \t]{0,8}+[+.&^*]?[ \t]{0,8}+(?:/\*[^*\r\n]{0,80}\*/)?[ \t]{0,8}+[+.&^*]?[ \t]{0,8}+"
    + _Q
    +
    # put into a template
    rb"|(?:%s|\{[0-9]?\})"
    + _Q
    + rb"[ \t]{0,4}+(?:%|\.format)[ \t]{0,4}+\(?"
    + _Q
    + rb"|[$\#]\{"
    + _Q
    +
    # added to a variable, or a variable put before it
    rb"|"
    + _NEXT
    + rb"[ \t]{0,8}+(?:[+.]=|<<)[ \t]{0,8}+(?:"
    + _Q
    + rb")?"
    rb"|" + _NEXT + rb"=" + rb"(?:" + _Q + rb")?\$\{?" + _NAME + rb"\}?"
    # the next entry of a list in YAML
    rb"|(?:" + _Q + rb")?\r?\n[ \t]{0,40}+-[ \t]{1,8}(?:" + _Q + rb")?"
    # over the end of a line, and in a notebook over two strings that hold a line each
    rb"|"
    + _Q
    + rb"[ \t]{0,8}+[+.&^*]?[ \t]{0,8}+[\\`_]{0,4}(?:\\{1,2}n[\"'],)?\s{0,80}+[\"']?[ \t]{0,40}+"
    + _Q
)
_ARGUMENT = rb"(?:" + _Q + rb")?[ \t]{0,8}+(?:[%,]|\.format)?[ \t]{0,8}+\(?\s{0,40}+(?:" + _Q + rb")?"
_HOLE = rb"(?:%s|\{[a-z0-9]{0,12}\})"
_ASSEMBLED = re.compile(
    rb"flux(?:_(?P<whole>" + _ENVIRONMENT + rb")_(?:" + _SEAM + rb")"
    # a list of three words, to be joined by `_`
    rb"|"
    + _Q
    + rb",\s{0,40}+"
    + _Q
    + rb"(?P<listed>"
    + _ENVIRONMENT
    + rb")"
    + _Q
    + rb",\s{0,40}+"
    + _Q
    +
    # a template with two holes, and what goes in
    rb"|_"
    + _HOLE
    + rb"_"
    + _HOLE
    + _ARGUMENT
    + rb"(?P<filled>"
    + _ENVIRONMENT
    + rb")"
    + _ARGUMENT
    + rb")(?P<body>[A-Za-z0-9]{16,256})(?![A-Za-z0-9_])"
)


def assembled(layer: Layer) -> Iterator[Layer]:
    """Keys that source code makes of a prefix and a body: in a template, a list, two assignments, a shell word."""
    splice = Splice()
    for match in _ASSEMBLED.finditer(layer.data):
        if not looks_random(match["body"]):
            continue
        environment = match["whole"] or match["listed"] or match["filled"]
        splice.put(b" ", match.start())
        splice.put(b"flux_" + environment + b"_", match.start())
        splice.copy(layer.data, match.start("body"), match.end("body"))
    if splice.data():
        yield _spliced(layer, splice, "concat")


# Formats in which a line that is too long goes on behind a line end and one blank: RFC 5545 and 6350, 2849, a jar's manifest.
_FOLDING = re.compile(
    rb"^(?:BEGIN:V(?:CALENDAR|CARD)\b|dn::? |version: 1[ \t]*\r?$|Manifest-Version: )", re.MULTILINE
)
_FOLDING_WORDS = (b"BEGIN:V", b"dn:", b"version: 1", b"Manifest-Version: ")
_FOLD = re.compile(rb"\r?\n[ \t]")
_CUT_BY_FOLD = re.compile(
    rb"fl(?:ux(?:_[a-z0-9]{0,12}(?:_[A-Za-z0-9]*)?)?|(?:x|_sk)_[A-Za-z0-9_]{0,40})\r?\n[ \t]|\n[ \t](?:lu|u)?x_(?:dev|stg|prod|ci)_"
)


def folded(layer: Layer) -> Iterator[Layer]:
    """The folded lines of calendars, address books, directories and manifests. Elsewhere a blank at a line's begin ends a word."""
    if not any(word in layer.data for word in _FOLDING_WORDS) or not _FOLDING.search(layer.data):
        return
    for start, end in _windows(layer, _CUT_BY_FOLD, _SEAMS):
        splice = Splice()
        at = start
        for fold in _FOLD.finditer(layer.data, start, end):
            splice.copy(layer.data, at, fold.start())
            at = fold.end()
        splice.copy(layer.data, at, end)
        yield _spliced(layer, splice, "folded")


# --- base64 --------------------------------------------------------------------------------------------------------

_B64 = rb"A-Za-z0-9+/_\-"
_B64_RIGHT = re.compile(rb"[%s]*={0,2}" % _B64)
_B64_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
# What parts two pieces of one run: a line end, also as an escape or between quotes; a seam of two strings; a blank.
_WRAP = re.compile(
    rb"(?:\\{1,4}[nr]|\\?\r?\n)+[ \t>#*|\"'+]{0,80}(?:-[ \t]{1,8}[\"']?)?"
    rb"|\\{0,3}[\"'`][ \t]{0,40}[+,.&~]?[ \t]{0,40}\\{0,3}[\"'`]"
    rb"|[ \t]{1,8}"
)
_WRAP_END = re.compile(rb"[ \t\"',+\\]{0,80}(?=\r?\n|\\{1,4}[rn]|\Z|<|[\"'`]|\\{1,3}[\"'`])")
_SEPARATES = re.compile(rb"[^\r\n+.&~]*,|(?:(?!\\{1,4}[nr])[^\r\n+.&~])*\Z|[^+.&~]*(?:\\n|\n)[ \t]*-[ \t]")
_WIDTHS = frozenset(
    (40, 48, 60, 64, 72, 76, 80)
)  # in which encoders wrap; none is that of a usual key in base64
_URL = bytes.maketrans(b"-_", b"+/")
_NARROWEST = 16  # a wrapped line shorter than this is taken for a last line


def base64(layer: Layer) -> Iterator[Layer]:
    """Base64 around each hit: both alphabets, with or without padding, wrapped lines, whatever it begins with."""
    done = 0
    for start, end in around(layer.data, BASE64_WORDS):
        for hit in _base64_hits().finditer(layer.data, start, end):
            if hit.start() < done:
                continue
            run = _base64_run(layer.data, hit.start(), done)
            done = run[-1][1]
            yield from _base64_layers(layer, run)


@functools.cache
def _base64_hits() -> re.Pattern[bytes]:
    """What is looked for in base64. Made when it is needed, as it takes a while."""
    return re.compile(b"|".join(map(re.escape, BASE64_WORDS)))


def _base64_run(data: bytes, hit: int, floor: int) -> list[tuple[int, int]]:
    """The stretches of base64 characters, one a line, that belong to the one at `hit`; what lies before `floor` was seen."""
    left = _left(data, hit)
    right = _B64_RIGHT.match(data, hit)
    run = [(left, right.end() if right else hit)]
    while run[-1][0] > floor and hit - run[-1][0] < RUN:
        before = _line_before(data, run[-1][0])
        if before is None or before[1] - before[0] < _NARROWEST:
            break
        run.append(before)
    run.reverse()
    width = max(end - start for start, end in run) if len(run) > 1 else run[0][1] - run[0][0]
    while (
        run[-1][1] - hit < RUN
        and run[-1][1] - run[-1][0] >= _NARROWEST
        and data[run[-1][1] - 1 : run[-1][1]] != b"="
    ):
        after = _line_after(data, run[-1])
        if (
            after is None
            or (len(run) > 1 and run[-1][1] - run[-1][0] != width)
            or after[1] - after[0] > max(width, _NARROWEST)
        ):
            break
        width = max(width, after[1] - after[0]) if len(run) == 1 else width
        run.append(after)
    return run


def _left(data: bytes, hit: int) -> int:
    begin = hit
    while begin > 0 and hit - begin < RUN:
        before = data[max(0, begin - 1024) : begin]
        size = len(before) - len(before.rstrip(_B64_BYTES))
        begin -= size
        if size < 1024:
            break
    # The letter of an escaped line end is none of the base64 behind it.
    escaped = (
        begin < hit and data[begin : begin + 1] in (b"n", b"r", b"t") and data[begin - 1 : begin] == b"\\"
    )
    return begin + escaped


def _line_before(data: bytes, start: int) -> tuple[int, int] | None:
    """The base64 that ends the line or the string before, where only a seam lies between."""
    floor = max(0, start - 96)
    for match in _WRAP.finditer(data, floor, start):
        if match.end() == start:
            end = match.start()
            while end > floor and data[end - 1 : end] in (b'"', b"'", b" ", b"+", b"\\", b",", b".", b"&"):
                end -= 1
            begin = _left(data, end)
            together = begin < end and _goes_on(data, (begin, end), start)
            return (begin, end) if together else None
    return None


def _line_after(data: bytes, last: tuple[int, int]) -> tuple[int, int] | None:
    """The base64 that makes up the next line or string, where only a seam lies between."""
    end = last[1]
    start = _behind_seam(data, end)
    right = _B64_RIGHT.match(data, start) if start > end else None
    if not right or right.end() == start:
        return None
    blank = not data[end:start].strip(b" \t")
    if not blank and not _WRAP_END.match(data, right.end()):
        return None
    return (start, right.end()) if _goes_on(data, last, start) else None


def _behind_seam(data: bytes, end: int) -> int:
    """Where the seam at `end` ends; `end` where there is none."""
    seam = _WRAP.match(data, end)
    closing = _WRAP_END.match(data, end)
    wrap = _WRAP.match(data, closing.end()) if closing and b"\n" not in (seam[0] if seam else b"") else None
    return max(seam.end() if seam else end, wrap.end() if wrap else end)


def _goes_on(data: bytes, piece: tuple[int, int], start: int) -> bool:
    """Whether base64 goes on at `start`. A comma, a list's dash or a blank also stands between separate values: there,
    the piece has to be as long as encoders make them, and what follows has to be text."""
    if not _SEPARATES.match(data[piece[1] : start]):
        return True
    if piece[1] - piece[0] not in _WIDTHS:
        return False
    quad = data[start : start + 4].translate(_URL).rstrip(b"=")
    try:
        text = binascii.a2b_base64(quad + b"=" * (-len(quad) % 4))
    except binascii.Error:
        return False
    return all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in text)


def _base64_layers(layer: Layer, run: list[tuple[int, int]]) -> Iterator[Layer]:
    splice = Splice()
    for start, end in run:
        splice.copy(layer.data, start, end)
    text = splice.data().translate(_URL).rstrip(b"=")[:RUN]
    for phase in range(4):
        size = (len(text) - phase) // 4 * 4
        rest = len(text) - phase - size
        body = text[phase : phase + size + (rest if rest > 1 else 0)]
        if len(body) < 4:
            continue
        try:
            decoded = binascii.a2b_base64(body + b"=" * (-len(body) % 4))
        except binascii.Error:
            continue
        yield layer.inside(decoded, "base64", _base64_way(splice, phase))


def _base64_way(splice: Splice, phase: int) -> Callable[[int], int]:
    return lambda offset: splice.locate(phase + offset * 4 // 3)


# --- hex -----------------------------------------------------------------------------------------------------------

_HEX_WRAP = rb"(?<=[0-9a-fA-F]{16})(?:(?:\\{1,4}r)?\\{1,4}n|\\?\r?\n)[ \t]*"
_HEX_PLAIN = re.compile(rb"(?:[0-9a-fA-F]|" + _HEX_WRAP + rb"(?=[0-9a-fA-F]{2}))+")
_HEX_SPACED = re.compile(
    rb"(?:0x)?[0-9a-fA-F]{2}(?:[ :,;\t\r\n\\-]{1,24}(?:0x)?[0-9a-fA-F]{2}(?![0-9a-fA-F]))+"
)
_SPACED_BEFORE = re.compile(rb"(?<![0-9a-fA-F])(?:(?:0x)?[0-9a-fA-F]{2}[ :,;\t\r\n\\-]{1,24}){1,8}\Z")
_HEX_PAIR = re.compile(rb"(?:0x)?([0-9a-fA-F]{2})")
_HEX_HIT = b"|".join(map(re.escape, HEX_WORDS)) + rb"|0x66, ?0x6c"


def hexadecimal(layer: Layer) -> Iterator[Layer]:
    """Hex digits around each hit, in one run or in pairs with something between, and hex dumps."""
    done = -1
    for hit in re.finditer(_HEX_HIT, layer.data, re.IGNORECASE):
        if hit.start() < done:
            continue
        pattern = _HEX_PLAIN if hit[0].isalnum() and hit[0][1:2] != b"x" else _HEX_SPACED
        begin = hit.start()
        if pattern is _HEX_PLAIN:
            begin = _hex_begin(layer.data, begin)
        elif before := _SPACED_BEFORE.search(layer.data, max(done, begin - 64, 0), begin):
            begin = before.start()
        run = pattern.match(layer.data, begin)
        if not run:
            continue
        done = run.end()
        yield from _hex_layer(layer, run)
    yield from _dumps(layer)
    yield from _spread(layer)


_HEX_BEFORE = re.compile(_HEX_WRAP + rb"\Z")


def _hex_begin(data: bytes, hit: int) -> int:
    """Where the pairs of digits around `hit` begin, over the ends of whole lines."""
    begin = hit
    while begin >= 2 and hit - begin < RUN:
        if _is_hex(data[begin - 2 : begin]):
            begin -= 2
        elif data[begin - 1 : begin] in (b"\n", b"n", b" ", b"\t") and (
            wrap := _HEX_BEFORE.search(data, max(0, begin - 64), begin)
        ):
            begin = wrap.start()
        else:
            break
    return begin


# One row of a hex dump: an offset, groups of digits, and the text beside them.
_ROW = re.compile(
    rb"^[ \t]*(?:0x)?[0-9a-fA-F]{4,16}[:h]?[ \t]{1,4}"
    rb"(?P<digits>(?:[0-9a-fA-F]{2}){1,8}(?:[ ]{1,2}(?:[0-9a-fA-F]{2}){1,8}){0,31})(?:[ \t]{2,40}[^\r\n]{0,80})?\r?$",
    re.MULTILINE,
)
_DUMPED = b"|".join([DUMPED, *(re.escape(word) for word in HEX_WORDS if b" " in word and b"x" not in word)])
_ROWS = 8 << 10  # bytes of a dump that are read around a hit


def _dumps(layer: Layer) -> Iterator[Layer]:
    """Hex dumps (`xxd`, `hexdump -C`) around each key that the text beside the digits shows."""
    done = -1
    for hit in re.finditer(_DUMPED, layer.data):
        if hit.start() < done:
            continue
        splice = Splice()
        begin = max(0, hit.start() - 512)
        done = min(len(layer.data), hit.end() + _ROWS)
        for row in _ROW.finditer(layer.data, begin, done):
            for pair in _HEX_PAIR.finditer(row["digits"]):
                splice.put(bytes([int(pair[1], 16)]), row.start("digits") + pair.start())
        yield layer.inside(splice.data(), "hex", splice.locate)


_SPREAD = b"|".join(map(re.escape, SPREAD))
_OFFSET = re.compile(rb"[ \t]*[0-9a-fA-F]{6,16}(?= )")
_CELL = re.compile(rb" {4}|   [!-~]|  (?:\\[0abtnvfr]|[a-z]{2})| (?:[0-7]{3}|[a-z]{3})")
_CODES = {b"\\n": b"\n", b"\\t": b"\t", b"\\r": b"\r", b"nl": b"\n", b"ht": b"\t", b"cr": b"\r"}


def _spread(layer: Layer) -> Iterator[Layer]:
    """Dumps that give each character a column of its own (`od -c`, `od -a`, `hexdump -c`), around each hit."""
    done = -1
    for hit in re.finditer(_SPREAD, layer.data):
        if hit.start() < done:
            continue
        begin = layer.data.rfind(b"\n", 0, max(0, hit.start() - 512)) + 1
        begin = max(begin, hit.start() - 2048)
        done = min(len(layer.data), hit.end() + _ROWS)
        splice = Splice()
        width = 0
        for line in layer.data[begin:done].splitlines(keepends=True):
            width = _cells(splice, line.rstrip(), begin, width)
            begin += len(line)
        yield layer.inside(splice.data(), "dump", splice.locate)


def _cells(splice: Splice, line: bytes, start: int, width: int) -> int:
    """Adds the characters in the columns of a row, which begins at `start`; nothing where it is no such row.

    width: the number of columns in the rows before. Returns that of this one and those.
    """
    offset = _OFFSET.match(line)
    at = offset.end() if offset else len(line) % 4
    cells = [line[place : place + 4] for place in range(at, len(line), 4)]
    if not all(map(_CELL.fullmatch, cells)):
        return width
    for number, cell in enumerate(cells):
        bare = cell.strip()
        splice.put(bare if len(bare) == 1 else _CODES.get(bare, b" "), start + at + 4 * number + 3)
    if len(cells) < width:  # it ends in blanks
        splice.put(b" ", start + len(line))
    return max(width, len(cells))


def _is_hex(data: bytes) -> bool:
    return len(data) == 2 and all(byte in b"0123456789abcdefABCDEF" for byte in data)


def _hex_layer(layer: Layer, run: re.Match[bytes]) -> Iterator[Layer]:
    splice = Splice()
    for pair in _HEX_PAIR.finditer(layer.data, run.start(), min(run.end(), run.start() + RUN)):
        splice.put(bytes([int(pair[1], 16)]), pair.start())
    yield layer.inside(splice.data(), "hex", splice.locate)


# --- UTF-16 and UTF-32 ---------------------------------------------------------------------------------------------

_WIDE = (
    ("utf-32", 4, re.compile(rb"(?:[\t\n\r\x20-\x7e]\0\0\0){8,}")),
    ("utf-16", 2, re.compile(rb"(?:[\t\n\r\x20-\x7e]\0){8,}")),
)
_PRINTED = bytes(range(0x20, 0x7F)) + b"\t\n\r"
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Wide:
    """A content that is UTF-16 or UTF-32, or begins so. text: decoded. first: where the first character's own byte lies. size: bytes from one to the next."""

    text: Text
    first: int
    size: int

    def in_step(self, offset: int) -> bool:
        """Whether the character whose own byte lies at this offset of the content is one of the text's."""
        return (offset - self.first) % self.size == 0


def _decoded(text: Text, name: str, mark: int) -> Wide:
    data = text.data[mark:].decode(name, "replace").encode("utf-8", "replace")
    size = int(name[4:6]) // 8
    return Wide(Text(data, (*text.via, name)), mark + (size - 1 if name.endswith("be") else 0), size)


def marked(text: Text) -> Wide | None:
    """The text behind a byte-order mark of UTF-16 or UTF-32, as UTF-8; None where there is no mark."""
    for mark, name in _MARKS:
        if text.data.startswith(mark):
            return _decoded(text, name, len(mark))
    return None


def looks_wide(text: Text) -> Wide | None:
    """The same of content that is nearly all UTF-16 or UTF-32 without a mark."""
    for name, size, pattern in _WIDE:
        for shift in (0, size - 1):
            run = pattern.match(text.data, shift)
            if run and len(run[0]) >= 0.9 * len(text.data) - size:
                return _decoded(text, f"{name}-{'be' if shift else 'le'}", 0)
    return None


def wide(layer: Layer) -> Iterator[Layer]:
    """Runs of ASCII in UTF-16 or UTF-32 without a mark, of either byte order.

    The big-endian form of a run is the little-endian one moved by a byte, so one pattern serves both. Its last character
    has no zero behind it.
    """
    for name, size, pattern in _WIDE:
        for run in pattern.finditer(layer.data):
            if b"flux" in run[0][::size] or b"FLUX" in run[0][::size]:
                big_endian = _is_big_endian(layer.data, run.start(), size)
                last = _last(layer.data, run.end(), big_endian)
                order = "be" if big_endian or last.isalnum() else "le"
                yield layer.inside(run[0][::size] + last, f"{name}-{order}", _wide_way(run.start(), size))


def _is_big_endian(data: bytes, start: int, size: int) -> bool:
    """Whether zeros stand in front of the characters of a run, the first of which is at `start`.

    Behind plain ASCII nothing tells: its last character begins the run then.
    """
    before = data[max(0, start - size) : start]
    if not before.endswith(bytes(size - 1)):
        return False
    return start % size == size - 1 or before[:1] in _PRINTED


def _last(data: bytes, end: int, big_endian: bool) -> bytes:
    """The character behind a run's last zero, if it belongs to the run: the zeros may stand between its characters alone.

    Where that is not sure, it does if a word ends with it: what follows little-endian text is hardly one letter of ASCII.
    """
    last, behind = data[end : end + 1], data[end + 1 : end + 2]
    if last in _PRINTED and (big_endian or (behind in _PRINTED and not behind.isalnum())):
        return last
    return b""


def _wide_way(start: int, size: int) -> Callable[[int], int]:
    return lambda offset: start + offset * size
