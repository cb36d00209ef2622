"""One key through every layer: found once, at the right place; and what is no key is left alone."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import tarfile
import textwrap
import zipfile
from collections.abc import Callable

import pytest
from conftest import Mint

from fluxguard.detect.engine import Detector, Match
from fluxguard.detect.ruleset import built_in, prove
from fluxguard.secret import checksum

KEY = b"_".join([b"flux", b"prod", b"q8Wm2Zt6Yb1Nc4Vx9Kd3Lp7RaB3dE5"])
LINE = b"x = 1\nkey: " + KEY + b"\nend\n"
DETECTOR = Detector(built_in())


def find(data: bytes, path: bytes = b"x.txt") -> list[Match]:
    return DETECTOR.detect(data, path).matches


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def escaped(form: str) -> bytes:
    return "".join(form.format(byte) for byte in KEY).encode()


def wrapped(width: int, indent: bytes = b"", end: bytes = b"\n") -> bytes:
    text = base64.b64encode(b"some words before it " + LINE + b"and some behind").decode()
    return (
        b"data: |"
        + end
        + end.join(indent + part.encode() for part in textwrap.wrap(text, width))
        + end
        + b"foo: bar"
        + end
    )


B64 = base64.b64encode
LAYERS: dict[str, tuple[bytes, tuple[int, int] | None, tuple[str, ...]]] = {
    "plain": (LINE, (2, 6), ()),
    "base64": (b"a\nb: " + B64(LINE) + b"\n", (2, 18), ("base64",)),
    "base64 shifted by one": (b"a: " + B64(b"q" + LINE), (1, 20), ("base64",)),
    "base64 shifted by two": (b"a: " + B64(b"qq" + LINE), (1, 21), ("base64",)),
    "base64 at 40": (wrapped(40, b"    "), None, ("base64",)),
    "base64 at 64 with CRLF": (wrapped(64, b"", b"\r\n"), None, ("base64",)),
    "base64 at 76": (base64.encodebytes(b"n" * 30 + LINE), None, ("base64",)),
    "base64 twice": (B64(B64(LINE)), (1, 19), ("base64", "base64")),
    "base64 three times": (B64(B64(B64(LINE))), None, ("base64", "base64", "base64")),
    "base64, URL alphabet": (base64.urlsafe_b64encode(b"\xff\xfe\xfd" + LINE), None, ("base64",)),
    "Kubernetes Secret": (b"kind: Secret\ndata:\n  FLUXLOOP_API_KEY: " + B64(KEY) + b"\n  x: aGVsbG8=\n", (3, 21), ("base64",)),
    "base64 of UTF-16": (b"powershell -enc " + B64(LINE.decode().encode("utf-16-le")), None, ("base64", "utf-16-le")),
    "base64 of gzip": (b"data: " + B64(gzip.compress(LINE, mtime=0)), (1, 7), ("base64", "gzip")),
    "hex": (b"h=" + LINE.hex().encode(), (1, 25), ("hex",)),
    "HEX": (LINE.hex().upper().encode(), (1, 23), ("hex",)),
    "a C array": (b"{ " + b", ".join(b"0x%02x" % byte for byte in KEY) + b" }", (1, 3), ("hex",)),
    "percent": (escaped("%{:02X}"), (1, 1), ("percent",)),
    "percent, underscore only": (b"a=" + KEY.replace(b"_", b"%5F") + b"&b", (1, 3), ("percent",)),
    "percent twice": (b"a=" + KEY.replace(b"_", b"%255F"), (1, 3), ("percent",)),
    "JSON escapes": (b'"' + escaped("\\u{:04x}") + b'"', (1, 2), ("escape",)),
    "JSON escape of the underscore": (b'"' + KEY.replace(b"_", b"\\u005f") + b'"', (1, 2), ("escape",)),
    "backslash x": (escaped("\\x{:02x}"), (1, 1), ("escape",)),
    "octal": (escaped("\\{:03o}"), (1, 1), ("escape",)),
    "HTML decimal": (b"<b>" + KEY.replace(b"_", b"&#95;") + b"</b>", (1, 4), ("html",)),
    "HTML hex": (escaped("&#x{:x};"), (1, 1), ("html",)),
    "Markdown": (KEY.replace(b"_", b"\\_"), (1, 1), ("escape",)),
    "HTML, UnderBar": (KEY.replace(b"_", b"&UnderBar;"), (1, 1), ("html",)),
    "RTF": (KEY.replace(b"_", b"\\'5f"), (1, 1), ("escape",)),
    "hex with dashes": (KEY.hex("-").encode(), (1, 1), ("hex",)),
    "registry": (b"hex(2):" + KEY.decode().encode("utf-16-le").hex(",").encode(), (1, 8), ("hex", "utf-16-le")),
    "quoted-printable": (b"key=3D" + KEY.replace(b"_", b"=5F") + b"\n", (1, 7), ("quoted-printable",)),
    "Python literals over a line end": (b'k = "' + KEY[:14] + b'" \\\n    "' + KEY[14:] + b'"\n', (1, 6), ("concat",)),
    "literals with plus": (b'k = "' + KEY[:28] + b'" + "' + KEY[28:] + b'";', (1, 6), ("concat",)),
    "cut in the first word": (b'k = "fl" + "' + KEY[2:] + b'"', (1, 6), ("concat",)),
    "joined list": (b'"".join(["' + KEY[:10] + b'", "' + KEY[10:] + b'"])', (1, 11), ("concat",)),
    "YAML, folded": (b'k: "' + KEY[:20] + b"\\\n   " + KEY[20:] + b'"\n', (1, 5), ("concat",)),
    "UTF-16 with a mark": (LINE.decode().encode("utf-16"), (2, 6), ("utf-16-le",)),
    "UTF-16 BE with a mark": (b"\xfe\xff" + LINE.decode().encode("utf-16-be"), (2, 6), ("utf-16-be",)),
    "UTF-16 LE": (LINE.decode().encode("utf-16-le"), (2, 6), ("utf-16-le",)),
    "UTF-16 BE": (LINE.decode().encode("utf-16-be"), (2, 6), ("utf-16-be",)),
    "UTF-32": (LINE.decode().encode("utf-32"), (2, 6), ("utf-32-le",)),
    "UTF-16 within a binary": (b"\1\2\3\xff" * 10 + KEY.decode().encode("utf-16-le") + b"\xff" * 40, None, ("utf-16-le",)),
    "gzip": (gzip.compress(LINE, mtime=0), (2, 6), ("gzip",)),
    "gzip, two members": (gzip.compress(b"a\n", mtime=0) + gzip.compress(LINE, mtime=0), (3, 6), ("gzip",)),
    "bzip2": (bz2.compress(LINE), (2, 6), ("bzip2",)),
    "xz": (lzma.compress(LINE), (2, 6), ("xz",)),
    "zip": (zipped("in/x.txt", LINE), (2, 6), ("zip:in/x.txt",)),
    "zip in zip": (zipped("o.zip", zipped("in/x.txt", LINE)), (2, 6), ("zip:o.zip", "zip:in/x.txt")),
    "zip behind a script": (b"#!/usr/bin/env python3\n" + zipped("__main__.py", LINE), (2, 6), ("zip:__main__.py",)),
    "tar": (tarred("a/b.txt", LINE), (2, 6), ("tar:a/b.txt",)),
    "tar.gz": (gzip.compress(tarred("a/b.txt", LINE), mtime=0), (2, 6), ("gzip", "tar:a/b.txt")),
    "NUL around it": (b"\0\1\2" + KEY + b"\0", (1, 4), ()),
    "notebook": (b'["key = \\"' + KEY + b'\\"\\n"]', (1, 11), ()),
    "CR alone": (b"a\rb\r" + KEY + b"\rc", (3, 1), ()),
    "behind letters": (b"abc" + KEY, (1, 4), ()),
    "behind an escape": (b'"A=1\\n' + KEY + b'"', (1, 7), ()),
    "behind %3D": (b"token%3D" + KEY, (1, 9), ()),
    "behind a colour": (b"\x1b[31m" + KEY, (1, 6), ()),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_key_is_found_through(name: str) -> None:
    data, position, via = LAYERS[name]
    matches = find(data)
    assert len(matches) == 1
    match = matches[0]
    assert match.secret.reveal() == KEY
    assert match.via == via
    if position:
        assert match.text.position(match.start) == position


SEAMS = {
    "escaped line ends": ('{"data": "', "\\n", '"}'),
    "escaped line ends of Windows": ('{"data": "', "\\r\\n", '\\r\\n"}'),
    "escaped twice": ('"{\\"data\\": \\"', "\\\\n", '\\"}"'),
    "adjacent strings": ('x = ("', '"\n    "', '")\n'),
    "strings with plus": ("x = '", "' +\n  '", "';\n"),
    "strings with plus in a line": ('x = "', '" + "', '";\n'),
    "a JSON list": ('["', '", "', '"]'),
    "a JSON list over lines": ('[\n  "', '",\n  "', '"\n]\n'),
    "a YAML list": ("- ", "\n- ", "\n"),
    "blanks": ("", " ", "\n"),
}


@pytest.mark.parametrize("width", [40, 60, 64, 72, 76])
@pytest.mark.parametrize("seam", SEAMS)
def test_base64_in_pieces_gives_the_whole_key_wherever_it_is_cut(seam: str, width: int) -> None:
    before, between, after = SEAMS[seam]
    for lead in range(60):
        encoded = B64(b"#" * lead + KEY + b" tail").decode()
        data = before + between.join(textwrap.wrap(encoded, width)) + after
        assert [match.secret.reveal() for match in find(data.encode())] == [KEY], lead


@pytest.mark.parametrize("between", ['", "', "' '", "\n- ", " ", '",\n  "'])
def test_two_values_in_base64_stay_two(between: str) -> None:
    values = [B64(KEY[:-3] + b"Q").decode().rstrip("="), B64(b"another value that is long").decode()]
    found = [match.secret.reveal() for match in find(f"x: {between.join(values)}".encode())]
    assert found == [KEY[:-3] + b"Q"]


INVISIBLE = {
    "a colour": b"\x1b[01;31m\x1b[K",
    "a zero-width space": "\u200b".encode(),
    "a zero-width space in JSON": b"\\u200b",
    "a soft hyphen": "\u00ad".encode(),
    "a soft hyphen in HTML": b"&shy;",
    "a soft line end": b"=\n",
    "a soft line end of Windows": b"=\r\n",
}


@pytest.mark.parametrize("sign", INVISIBLE)
def test_what_shows_nothing_hides_no_key_wherever_it_stands(sign: str) -> None:
    for at in range(1, 26):
        data = b"key: " + KEY[:at] + INVISIBLE[sign] + KEY[at:] + b"\n"
        assert [match.secret.reveal() for match in find(data)] == [KEY], at


def test_a_colour_behind_a_key_ends_it() -> None:
    assert [match.secret.reveal() for match in find(b"a " + KEY + b"\x1b[0mnext")] == [KEY]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\\n", b"\\r\\n"])
def test_wrapped_hex_is_read_wherever_it_is_cut(end: bytes) -> None:
    for lead in range(32):
        digits = (b"#" * lead + KEY + b" tail").hex()
        data = end.join(line.encode() for line in textwrap.wrap(digits, 60))
        assert [match.secret.reveal() for match in find(data)] == [KEY], lead


ASSEMBLED = {
    "shell, quoted in part": "X=PRE'BODY'",
    "shell, prefix quoted": 'X="PRE"BODY',
    "shell, a variable before it": "P=PRE\nX=${P}BODY",
    "shell, added": "X=PRE; X+=BODY",
    "shell, printf": "printf 'flux_%s_%s' prod BODY",
    "Python, triple quotes": 'x = """PRE""" + """BODY"""',
    "Python, added": 'x = "PRE"\nx += "BODY"',
    "Python, join": '"_".join(["flux", "prod", "BODY"])',
    "Python, percent": 'x = "PRE%s" % "BODY"',
    "Python, format": 'x = "PRE{}".format("BODY")',
    "JavaScript, comment between": "x = 'PRE' + /* env */ 'BODY';",
    "JavaScript, template": "x = `PRE${'BODY'}`;",
    "OCaml": 'let x = "PRE" ^ "BODY"',
    "Terraform, format": 'format("flux_%s_%s", "prod", "BODY")',
    "CloudFormation, block list": '- - "PRE"\n  - "BODY"\n',
    "CloudFormation, join": '!Join ["_", ["flux", "prod", "BODY"]]',
    "make": "X := PRE$(EMPTY)BODY",
    "notebook": '["x = \\"PRE\\" + \\\\\\n", "  \\"BODY\\"\\n"]',
}


@pytest.mark.parametrize("name", ASSEMBLED)
def test_a_key_that_source_puts_together_is_found_whole(name: str) -> None:
    prefix, body = KEY[:10].decode(), KEY[10:].decode()
    data = ASSEMBLED[name].replace("PRE", prefix).replace("BODY", body).encode()
    assert [match.secret.reveal() for match in find(data)] == [KEY]


def test_what_stands_behind_a_prefix_and_is_a_word_is_no_key() -> None:
    for template in ASSEMBLED.values():
        data = template.replace("PRE", "flux_" + "dev_").replace("BODY", "photorealisticportraitmodel")
        assert not find(data.encode())


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_key_may_be_the_name_of_a_member(pack: Callable[[str, bytes], bytes], mint: Mint) -> None:
    key = mint.key()
    found = DETECTOR.detect(pack(f"notes/{key}.txt", b"x")).matches
    assert [(match.secret.reveal(), match.via[-1]) for match in found] == [(key.encode(), "name")]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: zipped("a", data)])
def test_a_damaged_archive_is_named(pack: Callable[[bytes], bytes]) -> None:
    detection = DETECTOR.detect(pack(LINE * 50)[:-9], b"a")
    assert detection.unread


def test_a_tar_archive_with_a_broken_header_is_named() -> None:
    whole = bytearray(tarred("a", b"a" * 600)[: 3 * 512] + tarred("b", gzip.compress(LINE)))
    whole[3 * 512 + 5] ^= 1
    assert any("damaged tar" in reason for _, reason in DETECTOR.detect(bytes(whole), b"a.tar").unread)


def test_tar_archives_one_behind_the_other_are_read() -> None:
    detection = DETECTOR.detect(tarred("a", b"a\n") + tarred("b", gzip.compress(LINE, mtime=0)), b"a.tar")
    assert [match.via for match in detection.matches] == [("tar:b", "gzip")]
    assert not detection.unread


def test_what_stands_behind_a_tar_archive_makes_it_no_damaged_one() -> None:
    assert not DETECTOR.detect(tarred("a", b"a\n") + b"trailer" * 100, b"a.tar").unread


def test_the_tar_archive_of_an_empty_tree_is_read() -> None:
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c"}).close()
    assert b"comment" in out.getvalue()
    assert not DETECTOR.detect(out.getvalue(), b"a.tar").unread


def test_layers_without_end_are_named() -> None:
    data = LINE
    for _ in range(20):
        data = gzip.compress(data, mtime=0)
    detection = DETECTOR.detect(data, b"a")
    assert not detection.matches
    assert any("layers" in reason for _, reason in detection.unread)


def test_a_bomb_is_stopped_and_named() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * (300 << 20), 1), 9)
    assert any("limit" in reason for _, reason in DETECTOR.detect(bomb, b"bomb.gz").unread)


def test_a_right_checksum_is_high_confidence_and_ends_the_key() -> None:
    head = b"_".join([b"flux", b"ci", b"A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5"])
    key = head + checksum(head)
    match = find(b"x" + key + b"tail")[0]
    assert (match.secret.reveal(), match.confidence) == (key, "high")


@pytest.mark.parametrize("rule", built_in(), ids=lambda rule: rule.id)
def test_each_rule_proves_itself(rule: object) -> None:
    assert list(prove(rule)) == []  # type: ignore[arg-type]
