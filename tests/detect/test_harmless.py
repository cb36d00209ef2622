"""What is cleared at a second look holds nothing that detection would find, or could not open."""

from __future__ import annotations

import gzip
import io
import random
import string
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxguard.detect.engine import Detector
from fluxguard.detect.harmless import is_harmless
from fluxguard.detect.ruleset import built_in
from fluxguard.detect.triggers import Triggers

LOOK = Triggers()
DETECTOR = Detector(built_in())


def key(seed: int = 1) -> bytes:
    chance = random.Random(seed)
    return b"flux_" + b"dev_" + "".join(chance.choices(string.ascii_letters + string.digits, k=32)).encode()


def cleared(data: bytes) -> bool:
    kinds = LOOK.kinds(data)
    return not kinds or is_harmless(data, kinds, LOOK.kinds)


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
        archive.comment = comment
    return packed.getvalue()


def tarred(members: dict[str, bytes], format: int = tarfile.USTAR_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


PLAIN = {"a.txt": b"nothing in here\n" * 40, "b/c.bin": bytes(range(256)), "empty": b""}


@pytest.mark.parametrize(
    "data",
    [
        gzipped(b"nothing in here\n" * 100),
        zipped(PLAIN),
        zipped(PLAIN, zipfile.ZIP_STORED),
        zipped({}),
        zipped(PLAIN, comment=b"made today"),
        tarred(PLAIN),
        tarred({"é" * 60: b"x"}, tarfile.PAX_FORMAT),
        b'msgstr "un mot : flux"\n\nmsgid "next"\n',
    ],
)
def test_what_holds_nothing_is_cleared(data: bytes) -> None:
    assert LOOK.kinds(data)
    assert cleared(data)


@pytest.mark.parametrize(
    "wrap", [gzipped, lambda data: zipped({"a": data}), lambda data: tarred({"a": data})]
)
@pytest.mark.parametrize(
    "inner",
    [
        lambda: key(),
        lambda: gzipped(key()),
        lambda: zipped({"x": key()}),
        lambda: tarred({"x": key()}),
        lambda: zipped({key().decode(): b""}),
        lambda: key().decode().encode("utf-16"),
        lambda: b"7z\xbc\xaf\x27\x1c" + bytes(40),
        lambda: gzipped(bytes(2000))[:-9],
    ],
)
def test_what_holds_something_is_not(wrap: object, inner: object) -> None:
    data = wrap(inner())  # type: ignore[operator]
    assert not cleared(data)


@pytest.mark.parametrize(
    "data",
    [
        zipped(PLAIN)[:-1],
        zipped(PLAIN) + b"x",
        zipped(PLAIN, comment=zipped(PLAIN)[:80]),
        zipped({str(number): b"" for number in range(1001)}),
        tarred({str(number): b"" for number in range(1001)}),
        b"PK\3\4" + zipped(PLAIN),
        zipped(PLAIN).replace(b"PK\1\2", b"PK\1\3", 1),
        gzipped(bytes(300))[:-1],
        gzipped(b"a") + gzipped(b"b"),
        gzipped(b"a") + b"behind",
        tarred(PLAIN)[:-512] + b"x" * 512,
        tarred(PLAIN)[:700],
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_detection(data: bytes) -> None:
    assert LOOK.kinds(data)
    assert not cleared(data)


def test_a_bomb_is_left_to_detection() -> None:
    assert not cleared(gzipped(bytes(40 << 20)))
    assert not cleared(zipped({str(number): bytes(20 << 20) for number in range(2)}))


@pytest.mark.parametrize(
    "rest",
    [
        '" + "_dev_{body}"',
        "' '_dev_{body}'",
        '"\n   "_dev_{body}"',
        '", "dev", "{body}"',
        "', 'dev', '{body}'",
        "</b>_dev_{body}",
        "\\\n_dev_{body}",
        '" \\\n  f"_dev_{body}"',
    ],
)
def test_a_word_that_goes_on_is_not_prose(rest: str) -> None:
    body = "".join(random.Random(3).choices(string.ascii_letters + string.digits, k=32))
    data = b'x = "flux' + rest.replace("{body}", body).encode() + b"\n"
    assert not cleared(data)


_text = st.lists(
    st.sampled_from(
        [
            b"flux",
            b'"',
            b"'",
            b"_",
            b"dev",
            b"ci",
            b"\n",
            b" ",
            b"+",
            b"\\",
            b"<b>",
            b",",
            b"x_dev_",
            b"words ",
            b"%66",
            b"  ",
            b"6f",
        ]
    )
    | st.builds(lambda seed: key(seed)[9:], st.integers(0, 50)),
    max_size=14,
).map(b"".join)
_member = _text | st.binary(max_size=60) | st.builds(key, st.integers(0, 50))
_members = st.dictionaries(st.sampled_from(["a", "b/c", "d.txt", "ü", "fluxloop"]), _member, max_size=3)
_packed = st.one_of(
    _text,
    _member.map(lambda data: gzipped(data)),
    st.builds(zipped, _members, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), st.sampled_from([b"", b"x", b"PK\3\4" + bytes(40)])),
    st.builds(tarred, _members, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])),
)  # fmt: skip


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    """Packed content, now and then within another, cut, or with a byte changed."""
    data = draw(_packed)
    if draw(st.booleans()):
        data = draw(
            st.sampled_from([gzipped, lambda one: zipped({"in": one}), lambda one: tarred({"in": one})])
        )(data)
    if data and draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        data = draw(
            st.sampled_from([data[:at], data[:at] + b"\xff" + data[at + 1 :], data + b"\0", data + data])
        )
    return data


@settings(max_examples=1500, deadline=None)
@given(_spoiled())
def test_what_is_cleared_holds_nothing(data: bytes) -> None:
    if cleared(data):
        found = DETECTOR.detect(data)
        assert not found.matches
        assert not found.unread
