"""What is named suspect is exactly what a look at every object whole would name: git makes the objects, hypothesis the packs."""

from __future__ import annotations

import base64
import importlib.util
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import packing
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from packing import BLOB, COMMIT, TREE, Copy, Insert, Instruction, Item

from fluxguard.audit import run, sift
from fluxguard.audit.depot import ALL, Depots
from fluxguard.audit.examiner import Examiner
from fluxguard.audit.sift import Sieve
from fluxguard.audit.sifting import Sifting
from fluxguard.config import Config
from fluxguard.detect.triggers import Triggers, head
from fluxguard.repo import gitdir, links, pack, store
from fluxguard.repo.forest import Forest

BODY = b"q7Rk2Wm9Zt4Lx8Vb3Nc6Hd1P"
TRIGGERS = Triggers()
WORD = b"flux" + b"_"
KEY = WORD + b"prod_" + BODY
MARKS = [
    KEY,
    WORD + b"ci_" + BODY,
    base64.b64encode(b"." + WORD)[2:8],
    KEY.hex().encode(),
    b" ".join(b"%02x" % byte for byte in KEY[:9]),
    b"%66lux" + b"_prod_" + BODY,
    b"flu" + rb"\u0078_dev_" + BODY,
    b"&amp;amp;#x00066;&amp;amp;#x0006c;&amp;amp;#x00075;&amp;amp;#x00078;&amp;amp;#x0005f;prod_",
    KEY.decode().encode("utf-16-le"),
    KEY.decode().encode("utf-16-be"),
    b'flux"\n + "_prod_' + BODY,
    b'fl" +\n "ux_prod_' + BODY,
    b", ".join(b"%d" % byte for byte in KEY[:9]),
    b"6c66" + b" 7875",
    b"flux\r\n" + b" _prod_" + BODY,
    b"\x1f\x8b\x08\0",
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


def suspects(path: Path, width: int = 20, triggers: Triggers = TRIGGERS) -> dict[str, bytes]:
    """What the sieve names in all the packs of a repository."""
    found = {}
    for each in sorted((path / "objects" / "pack").glob("*.pack")):
        opened = pack.read(str(each), width)
        assert not opened.broken
        assert not opened.complaint
        forest = Forest(opened, ALL)
        seen = 0
        for roots in forest.shares(8):
            sieve = Sieve(opened, forest, triggers.find, triggers.longest - 1, head)
            for entry, data in sieve.suspects(roots):
                found[opened.id(entry)] = data
            seen += sieve.objects
        assert seen == len(opened)
        assert not forest.broken
        assert not forest.large
    return found


def expected(path: Path) -> dict[str, bytes]:
    return {id: data for id, (_, data) in packing.objects(path).items() if TRIGGERS.find(data) or head(data)}


def hurried() -> list[Triggers]:
    """What looks for the triggers with hyperscan, where there is one."""
    if importlib.util.find_spec("hyperscan") is None:
        return []
    fresh = Triggers()
    fresh.hurry()
    return [fresh]


ENGINES = [TRIGGERS, *hurried()]


def ways() -> Iterator[str]:
    """With deltas always taken apart, never, and where it is worth it."""
    for name, worth in (("always", 0), ("never", 1 << 60), ("as it is", None)):
        with pytest.MonkeyPatch.context() as patch:
            if worth is not None:
                patch.setattr(sift, "_WORTH", worth)
                patch.setattr(sift, "_WORTH_TREE", worth)
            yield name


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
    max_examples=60,
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
    bare: Bare, drawn: tuple[list[Item], list[int]], version: int
) -> None:
    items, order = drawn
    folder = bare()
    packing.install(folder, packing.write(items, order), version)
    whole = expected(folder)
    event(f"suspects: {min(len(whole), 3)} of {min(len(items), 10)}")
    for way in ways():
        for number, triggers in enumerate(ENGINES):
            assert suspects(folder, triggers=triggers) == whole, (way, number)


def test_what_only_looks_suspect_where_stretches_are_joined(bare: Bare) -> None:
    """Between two stretches stands "10": with a reference before it and a digit behind, that looks like an `f`."""
    around = TRIGGERS.longest - 1
    far = b"." * 400
    first = far + b"-" + b"." * (around - 2) + b"&#"
    second = b"2;lux" + b"_prod_"
    second += b"." * (around - len(second)) + b"-" + far
    base = first + far + second
    child = (first + far + second).replace(b"-", b"")
    chosen = (
        Copy(0, len(far)),
        Copy(len(far) + 1, len(first) + len(far) + around - len(far) - 1),
        Copy(len(base) - len(far), len(far)),
    )
    assert packing.made(base, chosen) == child
    folder = bare()
    packing.install(folder, packing.write([Item(BLOB, base), Item(BLOB, child, 0, chosen)]))
    assert expected(folder) == {}
    for way in ways():
        assert suspects(folder) == {}, way


# --- what git itself writes --------------------------------------------------------------------------------------


def random_history(folder: Path, seed: int, sha256: bool, commits: int = 60) -> Path:
    """A history of changes to a few files, some with marks, packed by git in one or several packs."""
    chance = random.Random(seed)
    packing.init(folder, sha256)
    files = [
        bytearray(b"".join(b"line %d of text\n" % chance.randrange(1000) for _ in range(300)))
        for _ in range(4)
    ]
    for part in range(1 + seed % 3):
        stream = []
        for number in range(commits):
            data = chance.choice(files)
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at:at] = chance.choice(MARKS)
                case 1:
                    del data[at : at + chance.randrange(1, 60)]
                case 2:
                    data[at:at] = b"new line %d\n" % number
                case _:
                    place = data.find(b"flux")
                    data[place : place + chance.randrange(1, 8)] = (
                        b"" if place >= 0 else data[place : place + 0]
                    )
            name = b"dir%d/file%d%s" % (number % 3, id_in(files, data), b"-" + KEY if number == 9 else b"")
            stream.append(
                b"commit refs/heads/p%d\ncommitter A <a@b> %d +0000\ndata 1\nx\n" % (part, 1000 + number)
            )
            stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(data), bytes(data)))
        packing.git(
            folder, "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", stdin=b"".join(stream)
        )
    if seed % 3 != 2:
        packing.git(folder, "repack", "-q", "-adf", "--depth=50", "--window=50")
    return folder


def id_in(files: list[bytearray], data: bytearray) -> int:
    return next(number for number, each in enumerate(files) if each is data)


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_suspects_in_what_git_packs(tmp_path: Path, seed: int, sha256: bool) -> None:
    folder = random_history(tmp_path / "bare", seed, sha256)
    whole = expected(folder)
    assert whole
    for way in ways():
        assert suspects(folder, 32 if sha256 else 20) == whole, way


# --- links -------------------------------------------------------------------------------------------------------

NAME = st.one_of(
    st.sampled_from([b"a", b"b", b"10", b"link", b"fluxloop"]),
    st.binary(min_size=1, max_size=120).map(lambda name: name.replace(b"\0", b"x").replace(b"/", b"y")),
)
MODE = st.sampled_from([b"100644", b"100755", b"120000", b"40000", b"160000", b"100664", b"040000"])


@st.composite
def edited(draw: st.DrawFn, base: bytes, target: bytes) -> tuple[Instruction, ...]:
    """Any delta that makes `target` of `base`: copies wherever a few bytes agree, cut anywhere."""
    chance = draw(st.randoms(use_true_random=False))
    found: list[Instruction] = []
    at = 0
    while at < len(target):
        need = chance.choice([1, 3, 8])
        start = base.find(target[at : at + need]) if chance.random() < 0.9 else -1
        size = 0
        while (
            start >= 0
            and at + size < len(target)
            and base[start + size : start + size + 1] == target[at + size : at + size + 1]
        ):
            size += 1
        if size:
            size = size if chance.random() < 0.7 else chance.randrange(1, size + 1)
            found.append(Copy(start, size))
        else:
            size = min(chance.randrange(1, 30), len(target) - at)
            found.append(Insert(target[at : at + size]))
        at += size
    return tuple(found)


@st.composite
def linked(draw: st.DrawFn) -> list[Item]:
    """Trees, each a delta of one before, that name blobs that are there and ids that are not; commits on them."""
    items = [Item(BLOB, b"here %d" % number) for number in range(4)]
    there = [packing.object_id(BLOB, item.data) for item in items]
    absent = [bytes([255 - number]) * 20 for number in range(3)]
    absent += [b"\0" * 19 + b"\1", b"\0" + b"100644 name\0" + b"\xee" * 7]
    trees: list[int] = []
    entries: list[tuple[bytes, bytes, bytes]] = []
    for _ in range(draw(st.integers(1, 8))):
        for _ in range(draw(st.integers(0, 4))):
            entry = draw(st.tuples(MODE, NAME, st.sampled_from([*there, *there, *absent])))
            # Only as a submodule, or never: who names an id first then does not matter.
            entry = (
                (b"160000", *entry[1:])
                if entry[2] == absent[0]
                else (entry[0].replace(b"160000", b"100644"), *entry[1:])
            )
            entries.insert(draw(st.integers(0, len(entries))), entry)
        if entries and draw(st.booleans()):
            del entries[draw(st.integers(0, len(entries) - 1))]
        data = b"".join(mode + b" " + name + b"\0" + id for mode, name, id in entries)
        if trees and data and draw(st.booleans()):
            base = draw(st.sampled_from(trees))
            chosen = draw(edited(items[base].data, data))
            if len(packing.delta(len(items[base].data), len(data), chosen)) < 4:
                continue
            items.append(Item(TREE, data, base, chosen))
        else:
            items.append(Item(TREE, data))
        trees.append(len(items) - 1)
        named = draw(st.sampled_from([packing.object_id(TREE, data), bytes([9]) * 20])).hex().encode()
        parent = draw(st.sampled_from([b"", b"parent " + bytes([8]).hex().encode() * 20 + b"\n"]))
        words = b"tree " + named + b"\n" + parent + b"author A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx"
        items.append(Item(COMMIT, words))
    return items


def absent_by_git(folder: Path) -> set[str]:
    """What the objects name and git does not have; not the commits of submodules."""
    held = packing.objects(folder)
    named = set()
    for kind, data in held.values():
        if kind == "tree":
            named |= {id.hex() for mode, _, id in links.entries(data, 20) if mode != links.SUBMODULE}
        elif kind == "commit":
            for line in data.split(b"\n\n")[0].splitlines():
                if line.startswith((b"tree ", b"parent ")):
                    named.add(line.split(b" ")[1].decode())
    return named - set(held)


def found_in(folder: Path) -> set[str]:
    depots = Depots(store.stores(gitdir.family(gitdir.locate(str(folder)))))
    triggers = Triggers()
    sifting = Sifting(depots, Examiner(Config, triggers), triggers)
    sifting.start()
    found = sifting.finish(lambda done, keys: None)
    assert not any(found.broken)
    return set(found.lost)


@QUICK
@given(items=linked())
def test_what_is_missing_is_what_git_has_not(bare: Bare, items: list[Item]) -> None:
    folder = bare()
    packing.install(folder, packing.write(items))
    absent = absent_by_git(folder)
    for way in ways():
        assert found_in(folder) == absent, way


@pytest.mark.parametrize("seed", range(3))
def test_deleted_objects_are_those_that_fsck_misses(tmp_path: Path, seed: int) -> None:
    folder = random_history(tmp_path / "bare", 0, False, 12)
    tip = packing.git(folder, "rev-parse", "refs/heads/p0").decode().strip()
    module = b"160000 commit " + b"7" * 40 + b"\tmodule\n"
    tree = packing.git(folder, "mktree", stdin=packing.git(folder, "ls-tree", tip) + module).decode().strip()
    packing.git(
        folder,
        "update-ref",
        "refs/heads/p0",
        packing.git(
            folder, "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", "-p", tip, "-m", "x", tree
        )
        .decode()
        .strip(),
    )
    packed = next((folder / "objects" / "pack").glob("*.pack"))
    content = packed.read_bytes()
    for each in packed.parent.iterdir():
        each.unlink()
    packing.git(folder, "unpack-objects", "-q", stdin=content)
    held = sorted((folder / "objects").glob("??/*"))
    for path in random.Random(seed).sample(held, 5):
        path.unlink()
    fsck = subprocess.run(
        ["git", "fsck", "--connectivity-only", "--no-dangling"],
        cwd=folder,
        env=packing.ENVIRONMENT,
        capture_output=True,
    ).stdout.decode()
    missing = {line.split()[2] for line in fsck.splitlines() if line.startswith("missing ")}
    missing |= {line.split()[-1] for line in fsck.splitlines() if line.lstrip().startswith("to ")}
    walked = packing.git(
        folder, "cat-file", "--batch-check", stdin="\n".join(sorted(found_in(folder))).encode() + b"\n"
    )
    assert walked.count(b" missing") == len(found_in(folder))
    assert found_in(folder) == absent_by_git(folder)
    reachable = {id for id in missing if id in absent_by_git(folder)}
    assert reachable == {id for id in missing if id not in tips(folder)}


def tips(folder: Path) -> set[str]:
    """What refs alone name: no object says that it is missing."""
    return {path.read_text().strip() for path in (folder / "refs" / "heads").rglob("*")}


def test_somebody_who_watches_sees_it_go_on_within_one_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sift, "_PULSE_EVERY", 0.0)
    bare = packing.init(tmp_path / "bare")
    packing.install(bare, packing.write([Item(BLOB, b"%d\n" % number) for number in range(300)]))
    seen: list[int] = []
    report = run.audit(str(bare), Config(), lambda done, total, keys: seen.append(done), full=True)
    assert report.complete
    assert seen == sorted(seen)
    assert len(set(seen)) >= 5, "300 objects are looked at in five batches"
    assert seen[-1] == 300
