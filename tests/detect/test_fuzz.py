"""Whatever the bytes: nothing is raised, every span lies in its text, and both trigger engines agree."""

from __future__ import annotations

import base64
import functools
import gzip
import io
import random
import re
import runpy
import string
import zipfile
from pathlib import Path

import pytest
from conftest import Mint
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxguard.detect import triggers
from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.detect.triggers import EXPRESSIONS, Triggers
from fluxguard.errors import FluxguardError
from fluxguard.repo.index import parse_raw

DETECTOR = Detector(built_in())
TRIGGERS = Triggers()
PIECES = [
    b"flux_", b"flux", b"_dev_", b"x_ci_", b"%66%6c", b"\\u0066", b"Zmx1eF", b"H4sI", b"PK\3\4", b"\x1f\x8b\x08", b"ustar",
    b"666c75785f", b"f\0l\0u\0x\0_\0", b"\xff\xfe", b"&#102;", b'"', b"\\\n", b"+", b"=5F", b"FLUXLOOP_API_KEY=", b"BZh91AY&SY",
    b"flx_api_", b"a1B2c3D4" * 3, b"\n", b"\0", b"PK\5\6", b"\\x66\\x6c\\x75\\x78_", b"_\"", b"fluxguard:allow",
]  # fmt: skip
ESCAPED = [
    b"\\146", b"\\\\0154", b"\\x75", b"\\u{78}", b"\\u{005f}", b"\\U0000006C", b"&amp;amp;#102;", b"&#x6c;", b"&amp;#00117", b"%25252566", b"%u0078", b"=6C", b"=6c", b"&lowbar;", b"\\_", b"l", b"u", b"x_",
]  # fmt: skip
soup = st.lists(st.one_of(st.sampled_from(PIECES + ESCAPED), st.binary(max_size=12)), max_size=40).map(
    b"".join
)


@settings(max_examples=400, deadline=None)
@given(soup)
def test_detection_survives_anything(data: bytes) -> None:
    for match in DETECTOR.detect(data, b"x").matches:
        assert 0 <= match.start < match.end <= len(match.text.data)
        line, column = match.text.position(match.start)
        assert line >= 1
        assert column >= 1


@functools.cache
def _fast_engines() -> list[Triggers]:
    """With hyperscan for the literals, and with hyperscan for the expressions as well."""
    engines = [Triggers(), Triggers()]
    for engine in engines:
        engine.hurry()
    engines[1]._search = triggers._compiled()
    return engines


@settings(max_examples=400, deadline=None)
@given(soup)
def test_without_a_trigger_there_is_no_finding_and_both_engines_agree(data: bytes) -> None:
    pytest.importorskip("hyperscan")
    expected = 0
    for bit, expression in EXPRESSIONS.items():
        expected |= bit if re.search(expression, data) else 0
    for literal, bit in TRIGGERS.literals.items():
        expected |= bit if literal in data else 0
    plain = TRIGGERS.find(data)
    assert plain == expected
    for engine in _fast_engines():
        assert engine.find(data) == expected
    if any(rule.judge != "value" and any(True for _ in rule.find(data)) for rule in built_in()):
        assert plain


def _escaped(letter: str, chance: random.Random) -> str:
    """A letter of `flux_` in one of the ways that text may have it."""
    digits = f"{ord(letter):02x}"
    digits = digits.upper() if chance.random() < 0.5 else digits
    back, zeros = "\\" * chance.randint(1, 4), "0" * chance.randint(0, 4)
    return chance.choice(
        [
            f"{back}u00{digits}", f"{back}u{{{zeros}{digits}}}", f"{back}U000000{digits}", f"{back}x{digits}",
            f"{back}x{{{digits}}}", f"{back}{ord(letter):03o}", f"{back}0{ord(letter):03o}", f"{back}'{digits}",
            "%" + "25" * chance.randint(0, 3) + chance.choice(["", "u00"]) + digits,
            "&" + "amp;" * chance.randint(0, 2) + f"#{zeros}{ord(letter)}" + chance.choice(["", ";"]),
            f"&#{chance.choice('xX')}{zeros}{digits}" + chance.choice(["", ";"]), f"={digits.upper()}",
        ]
    )  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(st.integers(), st.sampled_from(["", "a", "\\", "%", "f", "6"]))
def test_the_first_word_is_a_trigger_in_whatever_escapes(seed: int, before: str) -> None:
    chance = random.Random(seed)
    word = "".join(_escaped(letter, chance) if chance.random() < 0.6 else letter for letter in "flux_")
    if word != "flux_":
        assert TRIGGERS.find(f"{before}{word}dev_".encode()) & triggers.ESCAPE


def test_a_long_text_with_nothing_but_dismissed_hints() -> None:
    pytest.importorskip("hyperscan")
    data = b"an influx of fluxes \\x66 %66 " * 50_000
    for engine in (TRIGGERS, *_fast_engines()):
        assert engine.find(data) == 0
        assert engine.find(data + b"flux_dev_a")


@pytest.mark.parametrize("frame", [(b"", b""), (b"a\0", b"\0z"), (bytes(200), bytes(100))])
def test_both_engines_know_each_literal(frame: tuple[bytes, bytes]) -> None:
    pytest.importorskip("hyperscan")
    for literal in (*TRIGGERS.literals, *triggers.HINTS):
        data = literal.join(frame)
        for engine in _fast_engines():
            assert sorted(engine._first(data)[1]) == sorted(TRIGGERS._first(data)[1])
            assert engine._first(data)[0] == TRIGGERS._first(data)[0]


def test_the_words_in_base64_are_those_that_the_tool_makes() -> None:
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "base64_words.py"))
    assert tool["words"]() == list(triggers.BASE64_WORDS)
    assert tool["forms"](b"flux_") == list(triggers._FLUX)


WRAPS = [
    lambda data: base64.b64encode(data),
    lambda data: b"data: " + base64.b64encode(b"ab" + data) + b"\n",
    lambda data: gzip.compress(data, mtime=0),
    lambda data: data.hex().encode(),
    lambda data: data.decode("latin-1").encode("utf-16"),
]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(),
    st.text(string.ascii_lowercase + " \n", max_size=30),
    st.lists(st.sampled_from([WRAPS[0], WRAPS[2]]), max_size=2),
    st.sampled_from(WRAPS),
)
def test_any_key_is_found_through_any_layers(seed: int, around: str, inner: list, outer: object) -> None:
    chance = random.Random(seed)
    body = "".join(chance.choices(string.ascii_letters + string.digits, k=30)) + "0a"
    key = b"flux_" + chance.choice([b"dev_", b"stg_", b"prod_", b"ci_"]) + body.encode()
    data = around.encode() + b" " + key + b"\n" + around.encode()
    for wrap in inner:
        data = wrap(data)
    data = outer(data)  # type: ignore[operator]
    found = any(match.secret.reveal() == key for match in DETECTOR.detect(data, b"x").matches)
    # Packed data counts as packed at the start of what holds it; and README names the two odd mixtures.
    assert found or (bool(inner) and outer in (WRAPS[1], WRAPS[3], WRAPS[4]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_the_list_of_changes_is_parsed_or_refused(raw: bytes) -> None:
    try:
        list(parse_raw(raw))
    except FluxguardError:
        pass


@pytest.mark.parametrize(
    "piece", [b"flux_dev_a ", b'"flux_', b"Zmx1eF ", b"\\", b"&amp;", b"FluxLoopClient(", b"flux_dev_a\\"]
)
def test_time_stays_in_proportion(piece: bytes) -> None:
    DETECTOR.detect(piece * (200_000 // len(piece)), b"x")


def test_a_zip_member_without_a_name(mint: Mint) -> None:
    """Made by hand: zipfile writes none, and stumbles over it."""
    key = mint.key().encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("n", b"x=1\n" * 50 + b"K=" + key)
    data = stream.getvalue()
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    local = data[:26] + bytes(2) + data[28:30] + data[31:at]
    central = data[at : at + 28] + bytes(2) + data[at + 30 : at + 46]
    size, offset = len(central).to_bytes(4, "little"), len(local).to_bytes(4, "little")
    nameless = local + central + data[end : end + 12] + size + offset + data[end + 20 :]
    with zipfile.ZipFile(io.BytesIO(nameless)) as archive:
        assert archive.namelist() == [""]
    found = Detector(built_in()).detect(nameless)
    assert [one.secret.reveal() for one in found.matches] == [key]
