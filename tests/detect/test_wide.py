"""UTF-16 and UTF-32 with other bytes among them: both ways of reading are taken, and no character of a key is lost."""

from __future__ import annotations

import gzip

import pytest

from fluxguard.detect.engine import Detector, Match
from fluxguard.detect.ruleset import built_in

WHOLE = "q8Wm2Zt6Yb1Nc4Vx9Kd3Lp7R"
KEY = "{}_{}_{}".format("flux", "prod", WHOLE)
SHORT = "{}_{}_{}".format("flux", "prod", WHOLE[:16])
DETECTOR = Detector(built_in())
LE, BE = "utf-16-le", "utf-16-be"


def find(data: bytes) -> list[Match]:
    return DETECTOR.detect(data, b"x.txt").matches


def keys(data: bytes) -> list[str]:
    return [match.secret.reveal().decode() for match in find(data)]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff"])
@pytest.mark.parametrize(
    "rest",
    [
        f"TOKEN={KEY}\n".encode(),
        "A=1\r\n".encode(LE) + f"TOKEN={KEY}\n".encode(),
        f"TOKEN={KEY}\n".encode(LE),
        f"TOKEN={KEY}\n".encode(BE),
        b"x" + f"TOKEN={KEY}\n".encode(LE),
        b"x" + f"TOKEN={KEY}\n".encode(BE),
        b"xyz" + f"TOKEN={KEY}\n".encode("utf-32-le"),
    ],
)
def test_a_mark_hides_nothing(mark: bytes, rest: bytes) -> None:
    assert keys(mark + rest) == [KEY]
    assert keys(gzip.compress(mark + rest)) == [KEY]


def test_plain_text_behind_long_utf_16_without_a_mark() -> None:
    assert keys(("nothing to see here\r\n" * 200).encode(LE) + f"TOKEN={KEY}\n".encode()) == [KEY]


@pytest.mark.parametrize("name", [LE, BE, "utf-32-le", "utf-32-be"])
def test_text_in_step_with_its_mark_is_found_once_at_its_line(name: str) -> None:
    mark = "\ufeff".encode(name)
    found = find(mark + f"ä\n  key: {KEY}ä{SHORT}x\u200by\n".encode(name))
    assert [match.via for match in found] == [(name,)] * len(found)
    assert found[0].secret.reveal().decode() == KEY
    assert found[0].text.position(found[0].start) == (2, 8)


@pytest.mark.parametrize("key", [KEY, SHORT])
@pytest.mark.parametrize("lead", [b"hello, this is text", b"hello, this is text."])
@pytest.mark.parametrize("behind", [b"", b"\n", b'"', "ä".encode(BE), "\n".encode(BE)])
def test_big_endian_behind_ascii_keeps_its_last_character(key: str, lead: bytes, behind: bytes) -> None:
    found = find(lead + key.encode(BE) + behind)
    assert [match.secret.reveal().decode() for match in found] == [key]
    assert found[0].start == len(lead) + 1


@pytest.mark.parametrize("key", [KEY, SHORT])
@pytest.mark.parametrize("behind", [b"", b"\n", b'"'])
def test_zeros_between_the_characters_alone(key: str, behind: bytes) -> None:
    assert keys(b"hello, this is text\n" + "\0".join(key).encode() + behind) == [key]


@pytest.mark.parametrize("lead", ["", "hello ", "é", "日"])
@pytest.mark.parametrize("behind", ["", " and more", "д", "日", "\u2019s", "é"])
def test_little_endian_takes_no_character_of_what_follows(lead: str, behind: str) -> None:
    plain = b"\0\1" * 40  # keeps it from being all wide
    assert keys(plain + (lead + KEY + behind).encode(LE) + plain) == [KEY]
    assert keys((lead + KEY + behind).encode(LE) + b"Next line\n" + plain) == [KEY]
