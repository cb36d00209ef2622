"""Work stays in proportion to the bytes, whatever they are made of. Held by counting; the time limits are only a net.

Without what is tested here each of the large inputs takes many minutes, some of them hours.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import random
import string
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxguard.chunk import Chunk, Origin
from fluxguard.detect import engine, suppress
from fluxguard.detect.containers import Budget, Closed, Opened, unpack
from fluxguard.detect.engine import Detector, Match, Spans
from fluxguard.detect.layers import Layer, Places, Text
from fluxguard.detect.ruleset import built_in
from fluxguard.findings import Collector, _line_counts

DETECTOR = Detector(built_in())
LIMIT = 60.0  # seconds, for work of a few
SIZE = 1 << 20


def keys(count: int) -> list[bytes]:
    chance = random.Random(count)
    letters = string.ascii_letters + string.digits
    return [b"flux_" + b"dev_" + "".join(chance.choices(letters, k=28)).encode() for _ in range(count)]


def collected(data: bytes, base: bytes = b"") -> Collector:
    collector = Collector(None)
    collector.add(Chunk(data, Origin("file", b"x")))
    if base:
        collector.forget_known({b"x": base})
    return collector


@pytest.mark.parametrize(
    "between", [b"\n", b" ", b" # fluxguard:allow\n"], ids=["lines", "one line", "allowed"]
)
def test_very_many_keys_in_one_file(between: bytes) -> None:
    made = keys(20_000)
    started = time.perf_counter()
    collector = collected(between.join(made), base=between.join(made[:10_000]) + b"\n")
    assert time.perf_counter() - started < LIMIT
    assert len({sighting.match.secret for sighting in collector._sightings}) == 20_000


def test_one_key_fifty_thousand_times() -> None:
    key = keys(1)[0]
    started = time.perf_counter()
    collector = collected((key + b"\n") * 50_000)
    assert time.perf_counter() - started < LIMIT
    assert [sighting.copy for sighting in collector._sightings] == list(range(1, 50_001))


NEAR_MISSES = [
    b"flux_", b"flux_dev_", b"flux_dev_aB3", b"%66", b"%66lux_ ", b"\\u0066", b"&#x66;", b"=66", b'"flux_dev_" + ', b'flux"',
    b"Zmx1eF9k", b"Zmx1eF9k\n", b"H4sI ", b"UEsDB\n", b"666c75785f", b"66 6c 75 78 ", b"f\0l\0u\0x\0", b"_".join([b"flx", b"api", b"abc123xyz789 "]),
    b"102, 108, 117, 120\n", b"102,108,117,120,", b"95 105 ", b"146 154 165 170 ", b"6c66 7875 ", b"78756c66\n", b"01100110 01101100 ",
    b"\x7f\x1f\x8b\x08\0", b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\0\0\0\xff\xff" * 9, b"BEGIN:VCALENDAR\nflux\n ", b"BEGIN:VCARD\n x_dev_\n f",
    b"FLUXLOOP_API_", b"FLUXLOOP_API_KEY=", b"FluxLoopClient(", b"# fluxguard:allow ", b"fluxguard:allow\n", b"# ' // ",
]  # fmt: skip


@pytest.mark.parametrize("piece", NEAR_MISSES, ids=repr)
def test_megabytes_of_near_misses(piece: bytes) -> None:
    data = piece * (SIZE // len(piece))
    started = time.perf_counter()
    collected(data + b" " + keys(1)[0] + b" # fluxguard:allow \"'")
    assert time.perf_counter() - started < LIMIT


@pytest.mark.parametrize(
    "body", [b"your", b"x", b"your" + b"x" * 999, b"aB3"], ids=lambda body: repr(body[:8])
)
def test_a_body_of_megabytes(body: bytes) -> None:
    started = time.perf_counter()
    DETECTOR.detect(b"flux_dev_" + body * (SIZE // len(body)))
    assert time.perf_counter() - started < LIMIT


def test_no_layer_is_made_that_nobody_will_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    inside = Layer.inside

    def counting(self: Layer, data: bytes, via: str, locate: Callable[[int], int]) -> Layer:
        nonlocal made
        made += 1
        return inside(self, data, via, locate)

    monkeypatch.setattr(Layer, "inside", counting)
    detection = DETECTOR.detect(b"Zmx1eF9k\n" * 50_000)
    assert made <= engine.NODES
    assert any("layers" in reason for _, reason in detection.unread)


def test_what_stands_in_one_line_is_searched_for_comments_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    allowed = suppress.allowed
    monkeypatch.setattr(suppress, "allowed", lambda lines: looked.append(len(lines)) or allowed(lines))
    collected(b" ".join(keys(500)))
    assert len(looked) == 1


def test_base64_lines_are_gone_over_once() -> None:
    line = base64.b64encode(b"flux_" * 12)
    lines = b"".join(line[: 40 + 4 * (number % 3)] + b"\n" for number in range(20_000))
    started = time.perf_counter()
    DETECTOR.detect(lines)
    assert time.perf_counter() - started < LIMIT


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_very_many_small_streams_in_one_file(pack: Callable[[bytes], bytes]) -> None:
    data = pack(b"x") * (SIZE // len(pack(b"x")))
    started = time.perf_counter()
    (member,) = unpack(data, Budget(1 << 28))
    assert time.perf_counter() - started < LIMIT
    assert isinstance(member, Opened)
    assert member.data == b"x" * (SIZE // len(pack(b"x")))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("size", [100, 70_000])
def test_a_first_stream_that_is_damaged_is_named(pack: Callable[[bytes], bytes], size: int) -> None:
    data = bytearray(pack(random.Random(size).randbytes(size)))
    data[len(data) // 2] ^= 0xFF
    assert any(isinstance(member, Closed) for member in unpack(bytes(data), Budget(1 << 28)))


# --- and what is fast says the same as what is plain ---------------------------------------------------------------

soup = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"a", "é".encode(), b"\xc3", b"\xff", "🔑".encode(), b" "]),
    max_size=40,
).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(soup, st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_places_are_those_of_the_text(data: bytes, offsets: list[int], ascending: bool) -> None:
    text = Text(data)
    places = Places(text)
    for offset in sorted(offsets) if ascending else offsets:
        offset = min(offset, len(data))
        assert places.position(offset) == text.position(offset)
        end = min(offset + 3, len(data))
        assert places.line_span(offset, end) == text.line_span(offset, end)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12),
    st.integers(0, 80),
    st.integers(1, 20),
)
def test_spans_meet_what_any_of_them_meets(added: list[tuple[int, int]], start: int, size: int) -> None:
    spans = Spans()
    for begin, length in added:
        spans.add(begin, begin + length)
    assert spans.meet(start, start + size) == any(
        begin < start + size and start < begin + length for begin, length in added
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"b", b"", b"a\nb"])),
    st.sampled_from([b"a", b"b", b"", b"a\nb", b"b\na", b"a\na"]),
)
def test_lines_are_counted_as_they_stand(base: list[bytes], lines: bytes) -> None:
    text = b"\n" + b"\n".join(base) + b"\n"
    wanted = b"\n" + lines + b"\n"
    assert _line_counts(b"\n".join(base))(lines) == sum(
        text.startswith(wanted, at) for at in range(len(text))
    )


RULES = {rule.judge: rule for rule in built_in()}


def _settled_plainly(matches: list[Match]) -> list[Match]:
    """What `_settle` is defined to do, pair by pair."""

    def explains(better: Match, match: Match) -> bool:
        if better.text is not match.text or not (better.start < match.end and match.start < better.end):
            return False
        return better.secret == match.secret or match.rule.judge == "value"

    def unpacked(match: Match) -> bool:
        depth = len(match.text.via)
        return any(
            other.secret == match.secret
            and len(other.text.via) > depth
            and other.text.via[:depth] == match.text.via
            for other in matches
        )

    def cut_short(match: Match) -> bool:
        value = match.secret.reveal()
        return match.confidence != "high" and any(
            other.text is match.text and other.start == match.start and other.rule.judge == match.rule.judge
            and len(other.secret.reveal()) > len(value) and other.secret.reveal().startswith(value)
            for other in matches
        )  # fmt: skip

    kept: list[Match] = []
    for match in sorted(
        matches,
        key=lambda match: (match.rule.judge == "value", engine._RANK[match.confidence], len(match.via)),
    ):
        if not (cut_short(match) or unpacked(match) or any(explains(better, match) for better in kept)):
            kept.append(match)
    return sorted(kept, key=lambda match: (match.text.via, match.start))


TEXTS = [Text(b"", via) for via in ((), ("zip:a",), ("zip:a", "gzip"), ("gzip",), ("gzip",))]
some_match = st.builds(
    lambda judge, value, confidence, text, start, size, via: Match(
        RULES[judge], engine.Secret(value), "", confidence, text, start, start + size, (*text.via, *via)
    ),
    st.sampled_from(["key", "value"]), st.sampled_from([b"a", b"ab", b"abc", b"b", b"bc"]),
    st.sampled_from(["high", "medium", "low"]), st.sampled_from(TEXTS), st.integers(0, 12), st.integers(1, 6),
    st.sampled_from([(), ("base64",), ("percent", "concat")]),
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(some_match, max_size=12))
def test_matches_settle_as_they_would_pair_by_pair(matches: list[Match]) -> None:
    assert [id(match) for match in engine._settle(matches)] == [
        id(match) for match in _settled_plainly(matches)
    ]
