"""What is named suspect is exactly what a look at every object whole would name: git makes the objects, hypothesis the packs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import packing
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from packing import BLOB, Copy, Instruction, Item

from fluxguard.audit import sift
from fluxguard.audit.depot import ALL
from fluxguard.audit.sift import Sieve
from fluxguard.detect.triggers import Triggers, base64_forms, head
from fluxguard.repo import pack
from fluxguard.repo.forest import Forest

BODY = b"q7Rk2Wm9Zt4Lx8Vb3Nc6Hd1P"
TRIGGERS = Triggers()
WORD = b"flux" + b"_"
KEY = WORD + b"prod_" + BODY
MARKS = [
    KEY,
    WORD + b"ci_" + BODY,
    base64_forms(WORD)[1],
    KEY.hex().encode(),
    b" ".join(b"%02x" % byte for byte in KEY[:9]),
    b"%66lux" + b"_prod_" + BODY,
    b"flu" + rb"\u0078_dev_" + BODY,
    b"&amp;amp;#x00066;&amp;amp;#x0006c;&amp;amp;#x00075;&amp;amp;#x00078;&amp;amp;#x0005f;prod_",
    KEY.decode().encode("utf-16-le"),
    KEY.decode().encode("utf-16-be"),
    b'flux"\n + "_prod_' + BODY,
    b'fl" +\n "ux_prod_' + BODY,
    b"Flux" + b"Loop",
    b"fluxguard:" + b"allow",
]
HEADS = [b"\xff\xfe", b"\x1f\x8b\x08", b"PK\3\4", b"BZh91AY&SY"]
PIECES = st.one_of(
    st.sampled_from(MARKS),
    # Parts of marks, which only become marks where a delta joins them.
    st.builds(lambda mark, at: mark[: at % len(mark)], st.sampled_from(MARKS), st.integers(1, 90)),
    st.builds(lambda mark, at: mark[at % len(mark) :], st.sampled_from(MARKS), st.integers(1, 90)),
    st.sampled_from([b"\n", b"x", b"10", b"flux", b"_", b"f", b'"', b"=", b"&#", b"%"]),
    st.binary(max_size=12),
    st.builds(lambda size: b"plain text " * size, st.integers(0, 30)),
)
CONTENT = st.builds(
    lambda start, pieces: start + b"".join(pieces),
    st.sampled_from([b"", b"", b"", b"", *HEADS]),
    st.lists(PIECES, max_size=8),
)


@st.composite
def instructions(draw: st.DrawFn, base: bytes) -> tuple[Instruction, ...]:
    """Any delta of a base: copies of anything in any order, with anything between."""
    drawn: list[Instruction] = []
    if base and draw(st.booleans()):
        # A deletion or a small insert in the middle of what is copied, often inside of a mark.
        marks = [at for mark in (b"flux", b"ux", b"666c") for at in _places(base, mark)]
        cut = draw(st.sampled_from(marks or [len(base) // 2])) + draw(st.integers(0, 6))
        cut = min(cut, len(base))
        gap = draw(st.integers(0, 3))
        drawn += [Copy(0, cut)] if cut else []
        drawn += packing.inserts(draw(st.binary(max_size=2)))
        if cut + gap < len(base):
            drawn.append(Copy(cut + gap, len(base) - cut - gap))
    for _ in range(draw(st.integers(0, 5))):
        if base and draw(st.booleans()):
            start = draw(st.integers(0, len(base) - 1))
            size = draw(st.one_of(st.just(1), st.integers(1, len(base)), st.just(0x10000)))
            size = min(size, len(base) - start, 0xFFFFFF)
            drawn.append(Copy(start, size, draw(st.booleans())))
        else:
            drawn += packing.inserts(draw(st.one_of(PIECES, CONTENT)))
    return tuple(drawn)


def _places(data: bytes, mark: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(mark, at)]


@st.composite
def packs(draw: st.DrawFn) -> tuple[list[Item], list[int]]:
    """The items of a pack, and the order in which they are written."""
    items: list[Item] = []
    for _ in range(draw(st.integers(1, 14))):
        if not items or draw(st.integers(0, 3)) == 0:
            padding = b"." * draw(st.sampled_from([0, 0, 100, 70_000, 140_000]))
            items.append(Item(BLOB, padding + draw(CONTENT) + padding))
            continue
        number = draw(st.one_of(st.just(len(items) - 1), st.integers(0, len(items) - 1)))
        base = items[number].data
        chosen = draw(instructions(base))
        data = packing.made(base, chosen)
        if not data or len(packing.delta(len(base), len(data), chosen)) < 4:
            continue  # git holds that no delta is shorter, and makes nothing of nothing
        items.append(Item(BLOB, data, number, chosen, draw(st.booleans())))
    order = list(range(len(items)))
    if len({item.data for item in items}) < len(items):
        # An id that stands for two entries may lead a REF_DELTA in a circle, for git too.
        items = [replace(item, named=False) for item in items]
    elif draw(st.booleans()):
        draw(st.randoms(use_true_random=False)).shuffle(order)
    return items, order


def suspects(path: Path, width: int = 20) -> dict[str, bytes]:
    """What the sieve names in all the packs of a repository."""
    found = {}
    for each in sorted((path / "objects" / "pack").glob("*.pack")):
        opened = pack.read(str(each), width)
        assert not opened.broken
        assert not opened.complaint
        forest = Forest(opened, ALL)
        seen = 0
        for roots in forest.shares(8):
            sieve = Sieve(opened, forest, TRIGGERS.find, TRIGGERS.longest - 1, head)
            for entry, data in sieve.suspects(roots):
                found[opened.id(entry)] = data
            seen += sieve.objects
        assert seen == len(opened)
        assert not forest.broken
        assert not forest.large
    return found


def expected(path: Path) -> dict[str, bytes]:
    return {id: data for id, (_, data) in packing.objects(path).items() if TRIGGERS.find(data) or head(data)}


@pytest.fixture(params=["always", "never", "as it is"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether deltas are taken apart."""
    worth = {"always": 0, "never": 1 << 60}.get(request.param)
    if worth is not None:
        monkeypatch.setattr(sift, "_WORTH", {})
        monkeypatch.setattr(sift, "_WORTH_ELSE", worth)
    return str(request.param)


@pytest.fixture(params=["bytes.find", "hyperscan"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What looks for the triggers."""
    fresh = Triggers()
    if request.param == "hyperscan":
        pytest.importorskip("hyperscan")
        fresh.hurry()
    monkeypatch.setitem(globals(), "TRIGGERS", fresh)
    return str(request.param)


Bare = Callable[[], Path]


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """A bare repository, emptied again at each call."""
    folder = packing.init(tmp_path / "bare")

    def fresh() -> Path:
        shutil.rmtree(folder / "objects" / "pack", ignore_errors=True)
        return folder

    return fresh


QUICK = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)


@QUICK
@given(drawn=packs(), version=st.sampled_from([1, 2]))
def test_suspects_are_those_of_a_look_at_everything_whole(
    bare: Bare, way: str, engine: str, drawn: tuple[list[Item], list[int]], version: int
) -> None:
    items, order = drawn
    folder = bare()
    packing.install(folder, packing.write(items, order), version)
    whole = expected(folder)
    event(f"suspects: {min(len(whole), 3)} of {min(len(items), 10)}")
    assert suspects(folder) == whole
