"""The corpus: text files of cases, and how a case becomes bytes with the places where keys stand in them.

A file holds cases, each behind a header `=== name | path | option ...`; its stem is the cases' class. A case named
`lines` is one case a line. Signs in a case:

`¦`              nothing; keeps a whole key out of the file. `␛` is the escape character.
`{prod_key}`     a key put together at run time, expected at exactly this place. `#2` behind the kind gives a second one,
                 `{prod_key[:20]}` and `{prod_key[20:]}` its pieces. Kinds are in `Values`; those of `NOISE` are
                 random characters of others, and nothing is expected there.
`⟦base64|...⟧`   the text between, encoded; may be nested. A key in there is expected within the block's span.

Options: `confidence=low,medium`, `via=concat` (the layers expected, joined by `>`), `pack=gzip` (the whole content packed),
`change=crlf` (the whole content changed), `miss=reason` (a known miss).
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import quopri
import random
import re
import tarfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from conftest import LETTERS, Mint

FOLDER = Path(__file__).resolve().parent
LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
HEXADECIMAL = "0123456789abcdef"


Place = tuple[int, int]  # line and column, from 1


@dataclass(frozen=True)
class Expected:
    """A key that has to be found: from `first` to `last`, of the text it stands in; both the same where it is exact."""

    value: bytes
    first: Place
    last: Place
    via: tuple[str, ...]
    confidence: frozenset[str]


@dataclass(frozen=True)
class Case:
    """Content at a path, and the keys in it. miss: why it is known not to be found."""

    name: str
    kind: str
    path: str
    data: bytes
    expected: tuple[Expected, ...]
    miss: str = ""


# --- values put together at run time --------------------------------------------------------------------------------

LEGACY = ("flx_api", "flx_sa", "flx_dev", "flx_staging", "flx_prod", "flx_refresh", "flx_sk", "flx", "fl_sk")
DOCUMENTED = {
    "doc29": "abc123def456ghi789jkl012mno34",
    "doc27": "xyz789abc123def456ghi789jkl",
    "doc27b": "abc123def456ghi789jkl012mno",
    "doc18": "new123new456new789",
}
ANY = frozenset({"low", "medium", "high"})
BY_COMPANY = frozenset({"low", "medium"})


class Values:
    """The values of one case: the same sign gives the same value."""

    def __init__(self, seed: str) -> None:
        self.mint = Mint(seed)
        self.random_source = random.Random(seed)
        self._made: dict[str, tuple[str, frozenset[str]]] = {}

    def get(self, sign: str) -> tuple[str, frozenset[str]]:
        """The value for `kind` or `kind#number`, and the confidence it deserves; none for what is no key."""
        if sign not in self._made:
            self._made[sign] = self._make(sign.partition("#")[0])
        return self._made[sign]

    def _make(self, kind: str) -> tuple[str, frozenset[str]]:
        if kind in NOISE:
            return NOISE[kind](self), frozenset()
        if kind in LEGACY:
            return f"{kind}_" + self.random(24), BY_COMPANY
        if kind in VALUES:
            return VALUES[kind](self), BY_COMPANY
        environment, _, form = kind.rpartition("_")
        if form == "checked":
            return self.mint.checked(environment), frozenset({"high"})
        if form == "lower":
            return f"flux_{environment}_{self.random(29, LOWER)}", frozenset({"medium"})
        if form in DOCUMENTED:
            return f"flux_{environment}_{DOCUMENTED[form]}", frozenset({"medium"})
        return self.mint.key(environment, 24 if form == "key" else int(form)), frozenset({"medium"})

    def random(self, length: int, letters: str = LETTERS) -> str:
        """Random characters."""
        return "".join(self.random_source.choices(letters, k=length))


def _jwt(values: Values) -> str:
    parts = ('{"alg":"HS256","typ":"JWT"}', '{"sub":"1234567890","iat":1516239022}')
    return ".".join(
        [*(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts), values.random(43)]
    )


def _uuid(values: Values) -> str:
    return "-".join(values.random(size, HEXADECIMAL) for size in (8, 4, 4, 4, 12))


def _bytes(size: int) -> Callable[[Values], str]:
    return lambda values: base64.b64encode(values.random_source.randbytes(size)).decode()


VALUES: dict[str, Callable[[Values], str]] = {
    "value": lambda values: values.random(24),
    "value_lower": lambda values: values.random(29, LOWER),
    "value_hex": lambda values: values.random(40, HEXADECIMAL),
    "value_uuid": _uuid,
    "value_sk": lambda values: "sk-proj-" + values.random(48),
    "value_jwt": _jwt,
    "value_b64": lambda values: values.random(42) + "==",
}
NOISE: dict[str, Callable[[Values], str]] = {
    "random24": lambda values: values.random(24),
    "random64": lambda values: values.random(64),
    "md5": lambda values: values.random(32, HEXADECIMAL),
    "sha1": lambda values: values.random(40, HEXADECIMAL),
    "sha256": lambda values: values.random(64, HEXADECIMAL),
    "sha512": _bytes(64),
    "uuid": _uuid,
    "jwt": _jwt,
    "blob": _bytes(900),
    "bigblob": _bytes(60_000),
    "aws": lambda values: "AKIA" + values.random(16, LOWER.upper()),
    "github": lambda values: "ghp_" + values.random(36),
    "openai": lambda values: "sk-proj-" + values.random(48),
    "stripe": lambda values: "sk_live_" + values.random(24),
    "slack": lambda values: "xoxb-" + values.random(11, "0123456789") + "-" + values.random(24),
    "google": lambda values: "AIza" + values.random(35),
    "npm": lambda values: "npm_" + values.random(36),
    "influx": lambda values: values.random(86) + "==",
}


# --- encodings and packings -----------------------------------------------------------------------------------------


def _base64(text: str, width: int = 0, indent: str = "", url: bool = False) -> str:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    encoded = encode(text.encode()).decode()
    return ("\n" + indent).join(textwrap.wrap(encoded, width)) if width else encoded


def _each(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(byte) for byte in text.encode())


def _numbers(text: str, between: str) -> str:
    return between.join(str(byte) for byte in text.encode())


def _quoted_printable(text: str) -> str:
    return quopri.encodestring(text.encode()).decode().rstrip("\n")


def _xxd(text: str) -> str:
    data = text.encode()
    lines = []
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        digits = " ".join(piece[i : i + 2].hex() for i in range(0, len(piece), 2))
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}: {digits:39}  {shown}")
    return "\n".join(lines)


def _hexdump(text: str) -> str:
    data = text.encode()
    lines = []
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}  {piece[:8].hex(' '):23}  {piece[8:].hex(' '):23}  |{shown}|")
    return "\n".join(lines)


# name -> the layers it makes, and how
ENCODINGS: dict[str, tuple[tuple[str, ...], Callable[[str], str]]] = {
    "base64": (("base64",), _base64),
    "base64 bare": (("base64",), lambda text: _base64(text).rstrip("=")),
    "base64url": (("base64",), lambda text: _base64(text, url=True)),
    "base64 at 76": (("base64",), lambda text: _base64(text, 76)),
    "base64 at 64": (("base64",), lambda text: _base64(text, 64)),
    "base64 at 60, indented": (("base64",), lambda text: _base64(text, 60, "    ")),
    "base64 at 40, indented": (("base64",), lambda text: _base64(text, 40, "  ")),
    "base64 of gzip": (
        ("base64", "gzip"),
        lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    ),
    "base64 of utf-16": (
        ("base64", "utf-16-le"),
        lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    ),
    "base64 of zip": (
        ("base64", "zip:key.txt"),
        lambda text: base64.b64encode(_zip({"key.txt": text.encode()})).decode(),
    ),
    "hex": (("hex",), lambda text: text.encode().hex()),
    "HEX": (("hex",), lambda text: text.encode().hex().upper()),
    "hex with spaces": (("hex",), lambda text: text.encode().hex(" ")),
    "hex with colons": (("hex",), lambda text: text.encode().hex(":")),
    "C array": (("hex",), lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode())),
    "C array, wrapped": (
        ("hex",),
        lambda text: ",\n  ".join(
            textwrap.wrap(", ".join(f"0x{byte:02x}" for byte in text.encode()), 72)
        ).replace(",,", ","),
    ),
    "xxd": (("hex",), _xxd),
    "hexdump": (("hex",), _hexdump),
    "bytes": (("hex",), lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode())),
    "percent": (("percent",), lambda text: quote(text, safe="").replace("_", "%5F")),
    "percent, all": (("percent",), _each("%{:02X}")),
    "percent, twice": (("percent",), lambda text: text.replace("_", "%255F")),
    "unicode escapes": (("escape",), _each("\\u{:04x}")),
    "unicode underscore": (("escape",), lambda text: text.replace("_", "\\u005f")),
    "unicode braces": (("escape",), lambda text: text.replace("_", "\\u{5f}")),
    "x escapes": (("escape",), _each("\\x{:02x}")),
    "octal": (("escape",), _each("\\{:03o}")),
    "html decimal": (("html",), _each("&#{};")),
    "html hex": (("html",), _each("&#x{:x};")),
    "html underscore": (("html",), lambda text: text.replace("_", "&#95;")),
    "html lowbar": (("html",), lambda text: text.replace("_", "&lowbar;")),
    "quoted-printable": (("quoted-printable",), _quoted_printable),
    "quoted-printable, underscore": (("quoted-printable",), lambda text: text.replace("_", "=5F")),
    "markdown": (("escape",), lambda text: text.replace("_", "\\_")),
    "json string": ((), lambda text: json.dumps(text)[1:-1]),
    "decimal array": (("decimal",), lambda text: _numbers(text, ", ")),
    "decimal bare": (("decimal",), lambda text: _numbers(text, ",")),
    "decimal printed": (("decimal",), lambda text: _numbers(text, " ")),
    "decimal lines": (("decimal",), lambda text: _numbers(text, ",\n      ")),
    "decimal array, wrapped": (
        ("decimal",),
        lambda text: "\n  ".join(textwrap.wrap(_numbers(text, ", "), 48)),
    ),
    "reversed": (("reversed",), lambda text: text[::-1]),
}


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


_PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8

# name -> the layers around the text, and how
PACKINGS: dict[str, tuple[tuple[str, ...], Callable[[bytes], bytes]]] = {
    "gzip": (("gzip",), lambda data: gzip.compress(data, mtime=0)),
    "bzip2": (("bzip2",), bz2.compress),
    "xz": (("xz",), lzma.compress),
    "zip": (("zip:app/config.py",), lambda data: _zip({"README": b"x\n", "app/config.py": data})),
    "zip stored": (("zip:a.txt",), lambda data: _zip({"a.txt": data}, zipfile.ZIP_STORED)),
    "zip lzma": (("zip:a.txt",), lambda data: _zip({"a.txt": data}, zipfile.ZIP_LZMA)),
    "jar": (
        ("zip:application.properties",),
        lambda data: _zip(
            {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n", "application.properties": data}
        ),
    ),
    "whl": (("zip:pkg/settings.py",), lambda data: _zip({"pkg/__init__.py": b"", "pkg/settings.py": data})),
    "docx": (
        ("zip:word/document.xml",),
        lambda data: _zip({"[Content_Types].xml": b"<Types/>", "word/document.xml": data}),
    ),
    "zip in zip": (
        ("zip:inner.zip", "zip:a.env"),
        lambda data: _zip({"inner.zip": _zip({"a.env": data})}),
    ),
    "zip behind a script": (
        ("zip:__main__.py",),
        lambda data: b"#!/usr/bin/env python3\n" + _zip({"__main__.py": data}),
    ),
    "tar": (("tar:dir/.env",), lambda data: _tar({"dir/a.png": _PNG, "dir/.env": data})),
    "tar.gz": (("gzip", "tar:dir/.env"), lambda data: gzip.compress(_tar({"dir/.env": data}), mtime=0)),
    "tar.bz2": (("bzip2", "tar:dir/.env"), lambda data: bz2.compress(_tar({"dir/.env": data}))),
    "tar.xz": (("xz", "tar:dir/.env"), lambda data: lzma.compress(_tar({"dir/.env": data}))),
    "jar in tar.gz": (
        ("gzip", "tar:lib/app.jar", "zip:app.properties"),
        lambda data: gzip.compress(_tar({"lib/app.jar": _zip({"app.properties": data})}), mtime=0),
    ),
    "gzip in a program": (
        ("gzip",),
        lambda data: b"\x7fELF\2\1\1\0IKCFG_ST" + gzip.compress(data, mtime=0) + b"IKCFG_ED" + _PNG,
    ),
    "utf-16": (("utf-16-le",), lambda data: b"\xff\xfe" + data.decode().encode("utf-16-le")),
    "utf-16-be": (("utf-16-be",), lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be")),
    "utf-16, no mark": (("utf-16-le",), lambda data: data.decode().encode("utf-16-le")),
    "utf-16-be, no mark": (("utf-16-be",), lambda data: data.decode().encode("utf-16-be")),
    "utf-32": (("utf-32-le",), lambda data: b"\xff\xfe\0\0" + data.decode().encode("utf-32-le")),
}
# These change the text in which offsets count.
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "cr": lambda data: data.replace(b"\n", b"\r"),
    "bom": lambda data: b"\xef\xbb\xbf" + data,
    "no final newline": lambda data: data.rstrip(b"\n"),
    "latin-1": lambda data: data.decode().encode("latin-1"),
    "nul": lambda data: b"\x7fELF\2\1\1\0" + data.replace(b"\n", b"\0"),
    "long line": lambda data: b"x" * 300_000 + b" " + data,
    "deep": lambda data: b"line\n" * 40_000 + data,
}


# --- from a template to a case --------------------------------------------------------------------------------------

_ENVIRONMENT = r"(?:dev|stg|prod|ci|test|sandbox|qa|preview)"
_FORM = r"(?:key|lower|checked|doc\w+|\d\d)"
_OTHERS = "|".join(re.escape(kind) for kind in sorted((*LEGACY, *VALUES, *NOISE), key=len, reverse=True))
_SIGN = re.compile(
    rf"\{{(?P<sign>(?:{_ENVIRONMENT}_{_FORM}|{_OTHERS})(?:#\d)?)"
    r"(?P<piece>\[(?P<from>-?\d*):(?P<to>-?\d*)\])?\}|(?P<open>⟦[^|⟦⟧]+\|)|(?P<close>⟧)"
)


@dataclass(frozen=True)
class _Mark:
    start: int
    end: int
    value: str
    via: tuple[str, ...]
    confidence: frozenset[str]
    exact: bool


class _Parser:
    """Fills in the signs of a template. The positions of marks are in characters."""

    def __init__(self, template: str, values: Values) -> None:
        self._template = template
        self._values = values
        self._at = 0

    def parse(self) -> tuple[str, list[_Mark]]:
        text, marks = "", []
        while match := _SIGN.search(self._template, self._at):
            text += _plain(self._template[self._at : match.start()])
            self._at = match.end()
            if match["close"]:
                return text, marks
            if match["open"]:
                layers, encode = ENCODINGS[match["open"][1:-1]]
                inner, inside = self.parse()
                encoded = encode(inner)
                marks += [
                    replace(
                        mark,
                        start=len(text),
                        end=len(text) + len(encoded),
                        via=layers + mark.via,
                        exact=False,
                    )
                    for mark in inside
                ]
                text += encoded
            else:
                value, confidence = self._values.get(match["sign"])
                piece = value[_number(match["from"]) : _number(match["to"])] if match["piece"] else value
                if confidence and value.startswith(piece):
                    via = ("concat",) if match["piece"] else ()
                    marks.append(_Mark(len(text), len(text) + len(piece), value, via, confidence, exact=True))
                text += piece
        text += _plain(self._template[self._at :])
        self._at = len(self._template)
        return text, marks


def _plain(text: str) -> str:
    return text.replace("¦", "").replace("␛", "\x1b")


def _number(text: str) -> int | None:
    return int(text) if text else None


def _case(name: str, kind: str, path: str, options: dict[str, str], template: str) -> Case:
    text, marks = _Parser(template, Values(f"{kind}/{name}")).parse()
    change = CHANGES.get(options.get("change", ""), lambda data: data)
    around, pack = PACKINGS.get(options.get("pack", ""), ((), lambda data: data))
    confidence = frozenset(options["confidence"].split(",")) if "confidence" in options else None
    via = tuple(filter(None, options["via"].split(">"))) if "via" in options else None

    def place(position: int) -> tuple[int, int]:
        return _place(change(text[:position].encode() + b"|")[:-1])

    expected = tuple(
        Expected(
            mark.value.encode(),
            place(mark.start),
            place(mark.start if mark.exact else mark.end),
            (*around, *(mark.via if via is None else via)),
            confidence or mark.confidence,
        )
        for mark in marks
    )
    return Case(name, kind, path, pack(change(text.encode())), expected, options.get("miss", ""))


def _place(before: bytes) -> tuple[int, int]:
    """Line and column of what follows, counted here and not by the code under test."""
    text = before.replace(b"\r\n", b" \n").replace(b"\r", b"\n").decode("utf-8", "replace")
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


_HEADER = re.compile(r"^=== (.+)\n", re.MULTILINE)


def read(path: Path) -> Iterator[Case]:
    """The cases of one file."""
    pieces = _HEADER.split(path.read_text("utf-8"))
    for header, body in zip(pieces[1::2], pieces[2::2], strict=True):
        name, where, *rest = (part.strip() for part in header.split(" | "))
        options = dict(option.split("=", 1) for option in rest)
        unknown = set(options) - {"confidence", "via", "pack", "change", "miss"}
        assert not unknown, f"{path.name}, {name}: {unknown}"
        if name == "lines":
            for line in filter(None, body.split("\n")):
                yield _case(f"{where}: {line}", path.stem, where, options, line + "\n")
        else:
            yield _case(name, path.stem, where, options, body.strip("\n") + "\n")


def load(sort: str) -> list[Case]:
    """All cases that are `positive` or `negative`."""
    return [case for path in sorted((FOLDER / sort).glob("*.txt")) for case in read(path)]
