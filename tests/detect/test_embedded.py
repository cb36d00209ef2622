"""gzip in the midst of something else: found behind any bytes, and nothing said of what only begins like it."""

from __future__ import annotations

import gzip
import random

import pytest
from conftest import Mint

from fluxguard.detect.engine import Detector, Limits
from fluxguard.detect.ruleset import built_in

DETECTOR = Detector(built_in())
PROGRAM = b"\x7fELF\2\1\1\0"


def named(data: bytes) -> bytes:
    """As `gzip FILE` writes it: with the file's name."""
    packed = gzip.compress(data, mtime=0)
    return packed[:3] + b"\x08" + packed[4:10] + b"config\0" + packed[10:]


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, mtime=0), named], ids=["bare", "named"])
def test_a_key_in_each_of_several_streams(pack: object, mint: Mint) -> None:
    assert callable(pack)
    chance = random.Random(4)
    keys = [mint.key().encode() for _ in range(3)]
    streams = [pack(b"A=1\nFLUXLOOP_API_KEY=" + key + b"\n" + chance.randbytes(size)) for key, size in
               zip(keys, (0, 900, 70_000), strict=True)]  # fmt: skip
    data = PROGRAM + b"".join(chance.randbytes(500) + stream for stream in streams) + chance.randbytes(500)
    detection = DETECTOR.detect(data)
    assert [match.secret.reveal() for match in detection.matches] == keys
    assert {match.via for match in detection.matches} == {("gzip",)}
    assert {match.text.position(match.start) for match in detection.matches} == {(2, 18)}
    assert detection.unread == []


def test_what_only_begins_like_it_is_nothing() -> None:
    chance = random.Random(5)
    for _ in range(300):
        data = PROGRAM + b"".join(
            mark + chance.randbytes(40) for mark in (b"\x1f\x8b\x08\0", b"\x1f\x8b\x08\x08") * 3
        )
        assert DETECTOR.detect(data).unread == []


def test_a_stream_that_is_cut_off_is_told(mint: Mint) -> None:
    chance = random.Random(6)
    packed = gzip.compress(mint.key().encode() + b"\n" + chance.randbytes(9000), mtime=0)
    detection = DETECTOR.detect(PROGRAM + packed[:6000])
    assert [match.secret.reveal().decode() for match in detection.matches] == mint.keys
    assert [reason for _, reason in detection.unread] == [
        "gzip data in the midst of it that are damaged or end early"
    ]


def test_beginnings_alone_use_up_what_may_be_unpacked() -> None:
    # A block that is stored as it is, with the begin of the next stream in it: each goes on to the end of the file.
    beginning = b"\x1f\x8b\x08\0\0\0\0\0\0\3"
    data = PROGRAM + beginning + (b"\0\x0a\0\xf5\xff" + beginning) * 20_000
    detection = Detector(built_in(), limits=Limits(expanded=8 << 20)).detect(data)
    assert "unpacks to more than the limit" in [reason for _, reason in detection.unread]
