"""The first look at every byte, and for most of them the last: short marks without which nothing can be found.

Detection is defined as "a trigger stands in the bytes, and then ...", so a look for triggers decides the same as
full detection would, in a fraction of the time. Each trigger is at most LONGEST bytes long: a reader that sees
content in pieces needs that much overlap. Beside them stand the marks of a container, which count at the very
start or end of the content only (`head`).

Two engines answer alike, which a test holds: plain `bytes.find`, which needs no import and serves the hook, and
hyperscan (several GB/s) once there is more to look at than `BULK` bytes. Both look for literals alone, which compile
in 2 ms; what a literal only hints at is confirmed by an expression, in the stretch around it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fluxguard.detect.bulk import Shelf

BULK = 96 << 10
CALL = 128  # bytes that could be looked at in the time that it takes to begin
LONGEST = 96

# Each bit stands for one way on.
PLAIN = 1  # a rule's own literal: run the rules
ESCAPE = 2  # percent, backslash and entity escapes
BASE64 = 4
HEX = 8
WIDE = 16  # UTF-16 and UTF-32
PACKED = 32  # gzip, bzip2, xz, zip, tar; packs and bundles of git's
MARKER = 64  # an allow comment: only so that a stale one can be pointed out
JOINED = 128  # a literal that goes on after a quote or a line end

ENVIRONMENTS = (b"dev", b"stg", b"prod", b"ci")
MARKER_WORDS = (b"fluxguard:allow", b"gitleaks:allow", b"pragma: allowlist secret")

_GLUE = rb"[\"'`\\+.&<\s]"
_KEY = rb"flux_[a-z0-9]{1,12}_[A-Za-z0-9]"
# The prefix is whole, or a template for it, and the body is put in behind it; or the first word is whole, and a quote or
# line end cuts what follows; or it is cut itself.
_CUT_BEHIND = rb"flux(?:_(?:(?:dev|stg|prod|ci)_[^A-Za-z0-9_]|[%{$])|(?:_[a-z0-9]{0,12}_?)?(?:[\"'`\\<]|\r?\n[ \t][_a-z0-9]))"
_CUT_INSIDE = rb"[\"'`>\s](?:lu|u)?x_(?:dev|stg|prod|ci)_"

# The text beside the digits in a hex dump. A row may end within the first word: the second is whole then, in the next.
DUMPED = rb"[0-9a-fA-F]{2} {2,40}[|>]?[ -~]{0,31}(?:flux|x_(?:dev|stg|prod|ci)_)"


# What shows nothing, in the midst of a word: a terminal's colours, characters without width, a soft line break.
INVISIBLE = (
    rb"(?:\x1b\[[0-9;:]{0,16}[A-Za-z]|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xa9]|\xc2\xad|\xef\xbb\xbf|=\r?\n"
    rb"|\\\\{0,3}u(?:00[aA][dD]|20[0-6][0-9a-fA-F]|[fF][eE][fF][fF])|&(?:\#(?:8203|173|[xX](?:200[bB]|[aA][dD]))|shy|ZeroWidthSpace);)"
)
# It parts the first word, or what follows; where it parts the first, the second is whole.
_PARTED_BEHIND = rb"flux(?:_[a-z0-9]{0,12}_?)?" + INVISIBLE
_PARTED_INSIDE = INVISIBLE + rb"(?:lu|u)?x_(?:dev|stg|prod|ci)_"
PARTED = _PARTED_BEHIND + rb"|" + _PARTED_INSIDE


def escaped_word() -> bytes:
    """A regular expression for `flux_` with at least one of its characters written as an escape, of any kind."""
    parts = [(bytes([letter]), _escapes_of(letter)) for letter in b"flux_"]
    ways = []
    for at in range(len(parts)):
        before = b"".join(plain for plain, _ in parts[:at])
        after = b"".join(b"(?:" + plain + b"|" + escaped + b")" for plain, escaped in parts[at + 1 :])
        ways.append(before + parts[at][1] + after)
    return b"|".join(ways)


def _escapes_of(letter: int) -> bytes:
    return b"(?:" + b"|".join(_ways_to_escape(letter)) + b")"


def _ways_to_escape(letter: int) -> list[bytes]:
    """Expressions each of which begins with a character that is not repeated: `re` finds these many times as fast."""
    digits = b"%02x" % letter
    pair = b"".join(b"[%c%c]" % (d, d - 32) if d > 57 else b"%c" % d for d in digits)
    ways = [
        rb"\\\\{0,3}u00" + pair,
        rb"\\\\{0,3}u\{0{0,4}" + pair + rb"\}",
        rb"\\\\{0,3}U000000" + pair,
        rb"\\\\{0,3}x\{?" + pair + rb"\}?",
        rb"\\\\{0,3}0?%03o" % letter,
        rb"\\\\{0,3}'" + pair,  # RTF
        rb"%(?:25){0,3}(?:u00)?" + pair,
        rb"&(?:amp;){0,2}#0{0,4}%d;?" % letter,
        rb"&(?:amp;){0,2}#[xX]0{0,4}" + pair + b";?",
        b"=" + pair.replace(b"[f", b"[").replace(b"[c", b"["),
    ]
    if letter == ord("_"):
        ways += [rb"&(?:amp;)?(?:lowbar|UnderBar);", rb"\\\\?_"]
    return ways


# What the words to look for become in base64, up to three times over. Made by tools/base64_words.py.
BASE64_WORDS = tuple(
    b"""
Zmx1e ZsdX mbHV4 RkxVWExPT1 ZMVVhMT09Q GTFVYTE9PU Zmx4X ZseF mbHhf Zmxfc2tf ZsX3NrX mbF9za1 NjY2Yzc1Nz
Y2NmM3NTc4 2NjZjNzU3O NjY2Qzc1Nz Y2NkM3NTc4 2NjZDNzU3O JTY2JT U2NiU2 lNjYlN XHUwMDY2 x1MDA2N cdTAwNj JiMxMDI7
YjMTAyO mIzEwMj Wm14MWVG pteDFlR abXgxZU WnNkWGhm pzZFhoZ ac2RYaG bWJIVjRY 1iSFY0W tYkhWNF V20xNE1XVk
dtMTRNV1ZH XbTE0TVdWR cHRlREZsU B0ZURGbF wdGVERmxS YWJYZ3haV FiWGd4Wl hYlhneFpV V25Oa1dHaG duTmtXR2ht
Xbk5rV0dob cHpaRmhvW B6WkZob1 welpGaG9a YWMyUllhR FjMlJZYU hYzJSWWFH YldKSVZqUl JXSklWalJZ iV0pJVmpSW
MWlTRlkwV FpU0ZZMF xaVNGWTBX dFlraFdOR RZa2hXTk 0WWtoV05G X2Rldl 9kZXZf fZGV2X X3N0Z1 9zdGdf fc3RnX X3Byb2Rf
9wcm9kX fcHJvZF X2NpX 9jaV fY2lf WDJSbGRs gyUmxkb YMlJsZG OWtaWFpm lrWlhaZ 5a1pYWm ZlpHVjJY ZaR1YyW mWkdWMl
WDNOMFox gzTjBaM YM04wWj OXpkR2Rm l6ZEdkZ 5emRHZG ZmMzUm5Y ZjM1JuW mYzNSbl WDNCeWIyUm gzQnliMlJm YM0J5YjJSZ
OXdjbTlrW l3Y205a1 5d2NtOWtY ZmNISnZaR ZjSEp2Wk mY0hKdlpG WDJOcF gyTnBY YMk5wW OWphV lqYV 5amFW ZlkybG ZZMmxm
mWTJsZ ZgBsAHUAeA YAbAB1AHgA mAGwAdQB4A XwBkAGUAdgBfA 8AZABlAHYAXw fAGQAZQB2AF8A XwBzAHQAZwBfA 8AcwB0AGcAXw
fAHMAdABnAF8A XwBwAHIAbwBkAF8A 8AcAByAG8AZABfA fAHAAcgBvAGQAXw XwBjAGkAXw 8AYwBpAF8A fAGMAaQBfA H4sI UEsDB
SDRzS VUVzRE
""".split()
)
# `flux_` at each of the three alignments.
_FLUX = (b"Zmx1eF", b"ZsdXhf", b"mbHV4X")

_HEX_FIRST = (
    b"666c75785f",
    b"666C75785F",
    b"66 6c 75 78",
    b"66 6C 75 78",
    b"66:6c:75:78",
    b"66:6C:75:78",
    b"0x66,0x6c",
    b"0x66, 0x6c",
    b"0x66, 0x6C",
    b"66-6c-75-78",
    b"66-6C-75-78",
    b"66,6c,75,78",
    b"66,00,6c,00",  # UTF-16, as the registry editor of Windows writes it
)
# A line end may cut the first word; the second is whole then.
_HEX_SECOND = (
    *((b"_" + name + b"_").hex().encode() for name in ENVIRONMENTS),
    *((b"_" + name + b"_").hex(" ").encode() for name in ENVIRONMENTS),
    *(b", ".join(b"0x%02x" % byte for byte in b"_" + name + b"_") for name in ENVIRONMENTS),
)
_HEX_SECOND_UPPER = tuple((b"_" + name + b"_").hex().upper().encode() for name in ENVIRONMENTS)
# base64 of `flux_` within hex
_HEX_BASE64 = (*(form.hex().encode() for form in _FLUX), *(form.hex().upper().encode() for form in _FLUX))
HEX_WORDS = (*_HEX_FIRST, *_HEX_SECOND, *_HEX_SECOND_UPPER, *_HEX_BASE64)
# Each character in a column of its own, as `od -c` and `hexdump -c` write it.
SPREAD = tuple(
    b"   ".join(b"%c" % letter for letter in word)
    for word in (b"flux", *(b"_" + name + b"_" for name in ENVIRONMENTS))
)
# The codes of the characters as decimal numbers, as programs print and source code lists them. One on each line where
# JSON is printed for people; a line end elsewhere may cut the first word, and the second is whole then.
_SECOND = tuple(b"_" + name + b"_" for name in ENVIRONMENTS)
_LISTED = (b", ", b",", b" ")
_INDENTED = tuple(b"102,\n%b108,\n%b117" % (indent, indent) for indent in (
    b" ", b"  ", b"    ", b"      ", b"        ", b"            ", b"\t", b"\t\t", b"\t\t\t"
))  # fmt: skip
_YAML = tuple(b"- 102\n%b- 108\n%b- 117" % (indent, indent) for indent in (b"", b"  ", b"    "))
_DECIMAL_FIRST = (
    *(between.join((b"102", b"108", b"117", b"120")) for between in _LISTED),
    *_INDENTED,
    *_YAML,
)
_DECIMAL_SECOND = (
    *(between.join(b"%d" % byte for byte in word) for between in _LISTED for word in _SECOND),
    *(b"95" + b"".join(b"%4d" % byte for byte in word[1:]) for word in _SECOND),  # as `od -tu1` has it
)
DECIMALS = (*_DECIMAL_FIRST, *_DECIMAL_SECOND)
# Dumps: bytes in octal (`od -b`), words of two bytes or four, the lower first (`hexdump`, `od`, `od -x`, `xxd -e`), bits
# (`xxd -b`). A row ends between two numbers; the first word of a key, or the second, is whole on one side of it.
_OCTAL_SECOND = tuple(b" ".join(b"%03o" % byte for byte in word) for word in _SECOND)
OCTALS = (b"146 154 165 170", *_OCTAL_SECOND)
_EVEN = tuple(word[:4] for word in _SECOND)
_ODD = (b"lux_", *(b"x_" + name[:2] for name in ENVIRONMENTS))
_WORDS_FIRST = (b"6c66 7875", b"6c66    7875", b"066146 074165")
_WORDS_SECOND = tuple(
    b"%02x%02x%b%02x%02x" % (word[1], word[0], between, word[3], word[2])
    for between in (b" ", b"    ")
    for word in (*_EVEN, *_ODD)
)
_OCTAL_EVEN = tuple(b"%06o %06o" % (word[0] | word[1] << 8, word[2] | word[3] << 8) for word in _EVEN)
_OCTAL_ODD = tuple(b"%06o %06o" % (word[0] | word[1] << 8, word[2] | word[3] << 8) for word in _ODD)
WORDS = (*_WORDS_FIRST, *_WORDS_SECOND, *_OCTAL_EVEN, *_OCTAL_ODD)
_LONG_SECOND = tuple(
    word[::-1].hex().encode() for word in (*_ODD, *(b"ux_" + name[:1] for name in ENVIRONMENTS))
)
LONG_WORDS = (b"78756c66", *_LONG_SECOND)
BITS = (b"01100110 01101100", b"01110101 01111000")
# gzip with nothing told, and with a name. In the midst of something else, where `head` does not look.
GZIPPED = (b"\x1f\x8b\x08\0", b"\x1f\x8b\x08\x08")

_SURE: tuple[tuple[int, Sequence[bytes]], ...] = (
    (PLAIN, (b"fluxloop", b"FLUXLOOP", b"FluxLoop", b"Fluxloop", b"fluxLoop", b"flx_", b"fl_sk_")),
    (BASE64, BASE64_WORDS),
    (HEX, (*_HEX_BASE64, *SPREAD, OCTALS[0], *_WORDS_FIRST, LONG_WORDS[0], *BITS)),
    (WIDE, (b"f\0l\0u\0x", b"f\0\0\0l\0\0\0u")),
    (MARKER, MARKER_WORDS[:1]),
)
# The same, behind something short that stands in each of them but in few texts: where that is missing, so are they all.
_GATED: tuple[tuple[int, bytes, Sequence[bytes]], ...] = (
    (HEX, b"66", _HEX_FIRST),
    (HEX, b"5f", (*_HEX_SECOND, *_WORDS_SECOND, *_LONG_SECOND)),
    (HEX, b"5F", _HEX_SECOND_UPPER),
    (HEX, b"108", _DECIMAL_FIRST),
    (HEX, b"95", _DECIMAL_SECOND),
    (HEX, b"37 1", _OCTAL_SECOND),
    (HEX, b"37 0", _OCTAL_EVEN),
    (HEX, b"057570", _OCTAL_ODD),
    (PACKED, GZIPPED[0][:3], GZIPPED),
)
# Short literals, one of which stands in all that the expressions below match, with the bits that it may lead to. An
# escaped word has one of its first four letters escaped, or `flux` in clear; the digits are those of f, l, u and x.
_WRITTEN = {
    b"f": (b"66", b"146", b"102"),
    b"l": (b"6c", b"6C", b"154", b"108"),
    b"u": (b"75", b"165", b"117"),
    b"x": (b"78", b"170", b"120"),
    b"_": (b"5f", b"5F", b"137"),
}
_HEXES = tuple(code for letter in (b"f", b"l", b"u", b"x") for code in _WRITTEN[letter] if len(code) == 2)
_CODES = (
    b"102",
    b"108",
    b"117",
    b"120",
    b"0",
    *(x + pair for x in (b"x", b"X") for pair in (b"0", *_HEXES)),
)
_ESCAPED = (
    *(start + pair for start in (b"%", b"%25", b"%2525", b"%252525") for pair in _HEXES),
    *(start + b"u00" + pair for start in (b"%", b"%25", b"%2525", b"%252525") for pair in _HEXES),
    *(start + pair for start in (b"\\u00", b"\\U000000", b"\\u{", b"\\x", b"\\x{", b"\\'") for pair in _HEXES), b"\\u{0",
    b"\\146", b"\\154", b"\\165", b"\\170", b"\\0146", b"\\0154", b"\\0165", b"\\0170",
    b"=66", b"=6C", b"=75", b"=78",
    *(start + digits for start in (b"&#", b"amp;#") for digits in _CODES),
)  # fmt: skip
HINTS: dict[bytes, int] = {
    b"flux": PLAIN | JOINED | ESCAPE | HEX,
    **{b"x_" + name + b"_": JOINED | HEX | ESCAPE for name in ENVIRONMENTS},
    **dict.fromkeys(_ESCAPED, ESCAPE),
}
# What has to follow, where that can be told: `_`, a quote, an escape or something invisible behind `flux`; behind an
# escaped letter the next one of the word, plain or escaped too.
_BEHIND_FLUX = frozenset(b"_\"'`\\<%&=\r\n\x1b\xe2\xc2\xef")
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_FOLLOWING = {b"f": b"l", b"l": b"u", b"u": b"x", b"x": b"_"}
_UNTOLD = b"\\u{0"  # how it goes on is not looked at
# How a letter may begin that is written as an escape.
_FORMS = {
    letter: (*(hint for hint in _ESCAPED if hint.endswith(_WRITTEN[letter])), _UNTOLD)
    for letter in (b"l", b"u", b"x")
}
_FORMS[b"_"] = (
    *(hint[:-2] + code for hint in _FORMS[b"x"] if hint.endswith(b"78") for code in (b"5f", b"5F")),
    *(b"\\_", b"\\137", b"\\0137", _UNTOLD),
)
# What the letter before the escaped one ends with, by the one that follows it.
_ENDS = {
    _FOLLOWING[letter]: (before, *_WRITTEN[before]) for before, letter in _FOLLOWING.items() if letter != b"_"
}


def _follower(hint: bytes) -> bytes:
    """The letter that has to follow an escaped one; b"" where the hint does not say which it is, or has not ended."""
    if any(mark in hint for mark in (b"#", b"{")):
        return b""
    return next((after for letter, after in _FOLLOWING.items() if hint.endswith(_WRITTEN[letter])), b"")


_FOLLOWERS = {hint: _follower(hint) for hint in _ESCAPED}


def _by_start() -> dict[bytes, list[bytes]]:
    groups: dict[bytes, list[bytes]] = {}
    for hint in HINTS:
        groups.setdefault(hint[:5] if hint[0] in b"afx" else hint[:3], []).append(hint)
    return groups


_HINTS_BY_START = _by_start()  # few enough to be looked for in everything, one by one
EXPRESSIONS: dict[int, bytes] = {
    PLAIN: _KEY,
    JOINED: _CUT_BEHIND + rb"|" + _CUT_INSIDE,
    HEX: DUMPED,
    ESCAPE: escaped_word() + rb"|" + PARTED,
}
# For `re`, which takes 11 ms to compile the escaped word: the word in any way of writing, the plain one among them.
# Each of these begins with certain characters, which it looks for many times as fast as it tries one expression or another.
_PLAIN_EXPRESSIONS = (
    (PLAIN, _KEY), (JOINED, _CUT_BEHIND), (JOINED, _CUT_INSIDE), (HEX, DUMPED),
    (ESCAPE, _PARTED_BEHIND), (ESCAPE, _PARTED_INSIDE),
)  # fmt: skip
_WORD = b"".join(b"(?:%s)" % b"|".join((b"%c" % letter, *_ways_to_escape(letter))) for letter in b"flux_")
_FEW = 64  # times that a hint is looked at more closely
_MANY = 256  # stretches around hints in one content; beyond them the whole of it is looked at
_SMALL = 8 << 10  # bytes, below which hints are looked for one by one
_WORTH = 4 << 20  # bytes looked at for one hint, after which the fast engine takes over, where that is in use
_MOST_MADE = 64  # sets of hints that it is made ready for, at 2 ms each
_SLOW = (
    4 << 20
)  # bytes looked at by `re`, after which hyperscan is worth the time it takes to compile expressions


_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_PACKED_MARKS = (
    b"\x1f\x8b\x08",
    b"PK\3\4",
    b"PK\5\6",
    b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",
    b"!<arch>\n",
    b"x\x01",  # zlib
    b"x\x9c",
    b"x\xda",
    b"\x04\x22\x4d\x18",
    b"\x1f\x9d\x90",
    b"MSCF\0\0\0\0",
    b"]\0\0\x80\0" + b"\xff" * 8 + b"\0",
    b"PACK\0\0",
    b"# v2 g",  # a bundle of git's
    b"# v3 g",
)
_STARTS = frozenset(mark[:2] for mark in (*_WIDE_MARKS, *_PACKED_MARKS, b"BZ"))


def head(data: bytes) -> int:
    """The bits that the start and the end of the content set: what it is packed in, or a byte-order mark."""
    if data[:2] not in _STARTS and data[257:262] != b"ustar" and data[-22:-18] != b"PK\5\6":
        return 0
    if data.startswith(_WIDE_MARKS):
        return WIDE
    if data.startswith(_PACKED_MARKS) or (data[:3] == b"BZh" and data[4:10] == b"1AY&SY"):
        return PACKED
    return PACKED if data[257:262] == b"ustar" or data[-22:-18] == b"PK\5\6" else 0


class Triggers:
    """The built-in triggers and the literals of a team's own rules.

    shelf: brings the place where the fast engine keeps what it has compiled; the built-in ones alone are kept.
    """

    def __init__(self, extra: Sequence[bytes] = (), shelf: Callable[[], Shelf] | None = None) -> None:
        self._shelf = None if extra else shelf
        self.literals: dict[bytes, int] = {}
        for bit, literals in (*_SURE, (PLAIN, tuple(extra))):
            for literal in literals:
                self.literals[literal] = self.literals.get(literal, 0) | bit
        self._alone = tuple(self.literals.items())
        for bit, _, literals in _GATED:
            for literal in literals:
                self.literals[literal] = self.literals.get(literal, 0) | bit
        self.longest = max(LONGEST, *map(len, self.literals))
        self._seen = 0
        self._confirmed = 0
        self._first: Callable[[bytes], tuple[int, list[bytes]]] = self._plain
        self._search: Callable[[bytes, int], int] = _search

    def cover(self, literals: Iterable[bytes]) -> bool:
        """Whether each of these sets the bit PLAIN wherever it stands."""
        return all(self.literals.get(literal, 0) & PLAIN for literal in literals)

    def kinds(self, data: bytes) -> int:
        """The bits of all the triggers in `data`; 0 means that nothing can be found there."""
        if self._seen >= 0:
            if self._seen + len(data) > BULK:
                self.hurry()
            else:
                self._seen += len(data) + CALL
        return self.find(data) | head(data)

    def hurry(self) -> None:
        """There will be much to look at: brings in the fast engine at once, where there is one."""
        if self._seen < 0:
            return
        self._seen = -1
        try:
            from fluxguard.detect import bulk
        except ImportError:
            return
        self._first = bulk.literals(self.literals, HINTS, self._shelf() if self._shelf else None)
        _places.fast = bulk.places

    def find(self, data: bytes) -> int:
        """As `kinds`, for what stands anywhere in the content."""
        bits, hints = self._first(data)
        return bits | self._confirm(data, hints) if hints else bits

    def _plain(self, data: bytes) -> tuple[int, list[bytes]]:
        find = data.find  # a third of what `in` takes, which tries whether it is asked for a number first
        bits = 0
        for literal, bit in self._alone:
            if find(literal) >= 0:
                bits |= bit
        for bit, gate, literals in _GATED:
            if find(gate) >= 0 and not bits & bit and any(find(literal) >= 0 for literal in literals):
                bits |= bit
        starts = [start for start in _HINTS_BY_START if find(start) >= 0]
        return bits, [hint for start in starts for hint in _HINTS_BY_START[start] if find(hint) >= 0]

    def _confirm(self, data: bytes, hints: list[bytes]) -> int:
        """The bits of the expressions that match; each lies within LONGEST bytes of a hint. hints: those in `data`."""
        hints = [hint for hint in hints if not _dismissed(data, hint)]
        if not hints:
            return 0
        wanted = 0
        for hint in hints:
            wanted |= HINTS[hint]
        bits = 0
        for start, end in around(data, hints):
            self._confirmed += end - start
            if self._confirmed > _SLOW and self._search is _search:
                self._search = _compiled()
            bits |= self._search(data[start:end], wanted & ~bits)
        return bits


def _dismissed(data: bytes, hint: bytes) -> bool:
    """Whether none of the expressions can match around a hint, wherever it stands, by what stands beside it."""
    at = data.find(hint)
    letter = _FOLLOWERS.get(hint, b"")
    if not letter and hint != b"flux":
        return at < 0
    for _ in range(_FEW):
        if at < 0:
            return True
        behind = at + len(hint)
        if not letter and _may_begin(data, at, behind):
            return False
        if letter and _may_precede(data, at, letter) and _may_follow(data, behind, letter):
            return False
        at = data.find(hint, behind)
    return at < 0


def _may_follow(data: bytes, at: int, letter: bytes) -> bool:
    """Whether a letter of the word stands here, plain or escaped."""
    rest = data[at : at + 24].lstrip(b"}")
    if rest.startswith((letter, b"&")):
        return True
    if rest.startswith(b"\\"):
        rest = b"\\" + rest.lstrip(b"\\")
    return rest.startswith(_FORMS[letter])


def _may_precede(data: bytes, at: int, follower: bytes) -> bool:
    """Whether the letter before the one that is escaped here is the word's; there is none before the first."""
    ends = _ENDS.get(follower)
    return ends is None or data[max(0, at - 16) : at].rstrip(b"\\").rstrip(b"};").endswith(ends)


def _may_begin(data: bytes, at: int, behind: int) -> bool:
    """Whether `flux` may be the begin of a key, whole or in pieces, or stand in a dump of one."""
    return (behind < len(data) and data[behind] in _BEHIND_FLUX) or _may_be_dumped(data, at)


def _may_be_dumped(data: bytes, at: int) -> bool:
    """Whether the text beside the digits in a hex dump may be what stands at `at`, as DUMPED has it."""
    columns = data[max(0, at - LONGEST) : at].rpartition(b"\n")[2].split(b"  ")
    return any(len(column) > 1 and _HEX_DIGITS.issuperset(column[-2:]) for column in columns[:-1])


class _Places:
    """Where hints stand in a content: one `bytes.find` for each, or all of them at once where the fast engine is in use."""

    def __init__(self) -> None:
        self.fast: Callable[[Iterable[bytes], int], Callable[[bytes], list[int] | None]] | None = None
        self._made: dict[tuple[bytes, ...], Callable[[bytes], list[int] | None]] = {}
        self._sought = 0

    def of(self, data: bytes, hints: tuple[bytes, ...]) -> list[int] | None:
        """None where there are more than _MANY."""
        if self.fast is None or len(data) < _SMALL:
            return _found(data, hints)
        self._sought += len(data) * len(hints)
        if self._sought < _WORTH:
            return _found(data, hints)
        if hints not in self._made:
            if len(self._made) == _MOST_MADE:
                return _found(data, hints)
            self._made[hints] = self.fast(hints, _MANY)
        return self._made[hints](data)


def _found(data: bytes, hints: Iterable[bytes]) -> list[int] | None:
    places: list[int] = []
    for hint in hints:
        at = data.find(hint)
        while at >= 0:
            places.append(at)
            if len(places) > _MANY:
                return None
            at = data.find(hint, at + 1)
    return places


_places = _Places()


def around(data: bytes, hints: Iterable[bytes]) -> list[tuple[int, int]]:
    """The stretches of `data` around the hints in it, joined where they meet."""
    places = _places.of(data, tuple(hints))
    if places is None:
        return [(0, len(data))]
    stretches: list[tuple[int, int]] = []
    for at in sorted(places):
        start, end = max(0, at - LONGEST), at + 2 * LONGEST
        if stretches and start <= stretches[-1][1]:
            start = stretches.pop()[0]
        stretches.append((start, end))
    return stretches


def _search(data: bytes, wanted: int) -> int:
    import re

    bits = 0
    for bit, expression in _PLAIN_EXPRESSIONS:
        if wanted & bit & ~bits and re.search(expression, data):
            bits |= bit
    if wanted & ESCAPE & ~bits and any(word[0] != b"flux_" for word in re.finditer(_WORD, data)):
        bits |= ESCAPE
    return bits


def _compiled() -> Callable[[bytes, int], int]:
    try:
        from fluxguard.detect import bulk
    except ImportError:
        return _slowly
    return bulk.expressions(EXPRESSIONS)


def _slowly(data: bytes, wanted: int) -> int:
    return _search(data, wanted)
