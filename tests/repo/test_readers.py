"""The readers of packs, indexes, streams, loose objects and trees on damaged input: our own errors, or every entry accounted for."""

from __future__ import annotations

import random
import resource
import sys
import zlib
from pathlib import Path

import packing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packing import BLOB, COMMIT, TREE, Copy, Insert, Item

from fluxguard.repo import inflate, links, pack, store, trace
from fluxguard.repo.forest import Forest
from fluxguard.repo.graph import parse_commit, parse_signature
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import KINDS, DamagedPack
from fluxguard.repo.refs import small_file
from fluxguard.repo.store import Store, TooLarge

MANY = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ID = b"\x11" * 20


def sample() -> tuple[bytes, list[tuple[bytes, int]]]:
    """A small pack with every kind of entry, and what its index says."""
    text = b"".join(b"line %d\n" % number for number in range(80))
    items = [
        Item(BLOB, text),
        Item(BLOB, text + b"!", 0, (Copy(0, len(text)), Insert(b"!"))),
        Item(BLOB, b"?" + text + b"!", 1, (Insert(b"?"), Copy(0, len(text) + 1)), True),
        Item(TREE, b"100644 a\0" + ID + b"40000 b\0" + ID),
        Item(COMMIT, b"tree %s\n\nx" % ID.hex().encode()),
        Item(BLOB, random.Random(1).randbytes(70_000)),
        Item(BLOB, text[:-1], 2, (Copy(1, len(text) - 1),)),
    ]
    data = packing.write(items)
    places, at = [], 12
    for number in range(len(items)):
        places.append(at)
        at = len(packing.write(items[: number + 1])) - 20
    ids = [packing.object_id(item.kind, item.data) for item in items]
    return data, list(zip(ids, places, strict=True))


PACK, ENTRIES = sample()
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), max_size=6)


def damaged(data: bytes, changes: list[tuple[int, int]], cut: int | None, start: int = 0) -> bytes:
    changed = bytearray(data)
    for place, bits in changes:
        changed[start + place % (len(changed) - start)] ^= bits
    return bytes(changed[: cut % len(changed)] if cut is not None else changed)


def account(path: Path) -> None:
    """Reads a pack whole: each of its entries is read, or broken, or too large, and each only once."""
    try:
        opened = pack.read(str(path), 20)
    except DamagedPack:
        return
    forest = Forest(opened, tuple(KINDS))
    seen = [entry for roots in forest.shares(4) for entry, _, _ in forest.walk(roots)]
    parts = [*seen, *forest.broken, *forest.large, *opened.broken]
    assert sorted(parts) == list(range(len(opened)))
    for entry in range(len(opened)):
        opened.id(entry)
        try:
            forest.content(entry)
        except Damaged:
            assert entry not in seen
        else:
            assert entry in seen


@MANY
@given(changes=CHANGES, cut=st.one_of(st.none(), st.integers(0, 1 << 20)))
def test_a_damaged_pack(tmp_path: Path, changes: list[tuple[int, int]], cut: int | None) -> None:
    path = tmp_path / "pack-0.pack"
    path.write_bytes(damaged(PACK, [(place % 1000, bits) for place, bits in changes], cut))
    path.with_suffix(".idx").write_bytes(packing.index_of(PACK, ENTRIES))
    account(path)


@MANY
@given(
    changes=CHANGES,
    cut=st.one_of(st.none(), st.none(), st.integers(0, 1 << 20)),
    version=st.sampled_from([1, 2]),
    whole=st.booleans(),
)
def test_a_damaged_index(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, version: int, whole: bool
) -> None:
    path = tmp_path / "pack-0.pack"
    path.write_bytes(PACK)
    index = packing.index_of(PACK, ENTRIES, version)
    path.with_suffix(".idx").write_bytes(damaged(index, changes, cut, 0 if whole else 1032))
    account(path)


@MANY
@given(
    places=st.lists(st.integers(0, len(PACK) + 40), min_size=1, max_size=30), version=st.sampled_from([1, 2])
)
def test_an_index_of_anywhere(tmp_path: Path, places: list[int], version: int) -> None:
    path = tmp_path / "pack-0.pack"
    path.write_bytes(PACK)
    entries = [(bytes([number]) * 20, place) for number, place in enumerate(places)]
    path.with_suffix(".idx").write_bytes(packing.index_of(PACK, entries, version))
    account(path)


@MANY
@given(raw=st.binary(max_size=3000))
def test_a_pack_of_anything(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "pack-0.pack"
    path.write_bytes(packing.seal(b"PACK\0\0\0\2\0\0\0\5" + raw))
    entries = [(bytes([number]) * 20, 12 + number * 7) for number in range(40)]
    path.with_suffix(".idx").write_bytes(packing.index_of(path.read_bytes(), entries))
    account(path)


@MANY
@given(raw=st.binary(max_size=2000), width=st.sampled_from([20, 32]))
def test_trees_commits_and_tags_of_anything(raw: bytes, width: int) -> None:
    present = links.Present([])
    named = links.Links(present, width)
    words = raw.replace(b"\0", b" ")
    for number, each in enumerate((raw, b"", b"100644 a\0" + raw, raw + b"\0" * 9)):
        named.tree(number, each)
    for number, each in enumerate(
        (raw, b"tree " + words, b"tree 1 2 3 4 5 6 7 8 9 0\nparent " + words, words.hex().encode())
    ):
        named.commit(number, each)
        named.tag(number, b"object " + each)
    named.flush()
    list(links.lost(named.missing, lambda entry: ("tree", raw), width))
    list(links.lost(named.missing, lambda entry: ("commit", raw), width))
    list(trace.naming(raw, frozenset([ID])))
    parse_commit(ID, b"tree " + raw)
    parse_commit(ID, b"tree " + ID.hex().encode() + b"\nparent " + raw)
    parse_signature(b"author " + raw)
    parse_signature(b"tree x\nauthor A <a@b> " + raw)


@MANY
@given(changes=CHANGES, cut=st.one_of(st.none(), st.integers(0, 1 << 20)), large=st.booleans())
def test_a_damaged_stream(changes: list[tuple[int, int]], cut: int | None, large: bool) -> None:
    data = random.Random(2).randbytes(100_000) if large else b"hello " * 40
    packed = damaged(zlib.compress(data), changes, cut)
    for size in (len(data), 0, 1, len(data) - 1, len(data) + 1):
        try:
            got = inflate.inflate(memoryview(packed), size)
        except Damaged:
            continue
        assert got == data


@pytest.mark.parametrize("missing", [1, 3, 4, 5, 500])
def test_a_long_stream_without_its_end_is_damaged(missing: int) -> None:
    data = random.Random(2).randbytes(100_000)
    with pytest.raises(Damaged):
        inflate.inflate(memoryview(zlib.compress(data)[:-missing]), len(data))


@MANY
@given(changes=CHANGES, cut=st.one_of(st.none(), st.integers(0, 1 << 20)))
def test_a_damaged_loose_object(tmp_path: Path, changes: list[tuple[int, int]], cut: int | None) -> None:
    whole = b"blob 240\0" + b"hello " * 40
    id = packing.object_id(BLOB, whole[9:]).hex()
    path = tmp_path / id[:2] / id[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(damaged(zlib.compress(whole), changes, cut))
    try:
        assert store.read_loose(Store(str(tmp_path), "objects", 20), id) == ("blob", whole[9:])
    except (Damaged, TooLarge):
        pass


@MANY
@given(raw=st.binary(max_size=300))
def test_lists_of_alternates_of_anything(tmp_path: Path, raw: bytes) -> None:
    folder = packing.init(tmp_path / "bare") if not (tmp_path / "bare").exists() else tmp_path / "bare"
    (folder / "objects" / "info" / "alternates").write_bytes(raw)
    from fluxguard.repo import gitdir

    found = store.stores(gitdir.family(gitdir.locate(str(folder))))
    assert found[0].name == "objects"


def test_a_device_is_not_drained() -> None:
    assert small_file("/dev/zero", 1 << 30) == b""


def test_a_chain_without_an_end_take_no_stack_and_little_memory(tmp_path: Path) -> None:
    """A chain of three hundred thousand deltas, each a few bytes; what is too deep is named."""
    body = bytearray(b"PACK\0\0\0\2" + (300_000).to_bytes(4, "big"))
    change = zlib.compress(packing.delta(5, 5, [Copy(0, 5)]))
    entries, last = [], 0
    for number in range(300_000):
        entries.append((number.to_bytes(20, "big"), len(body)))
        if number == 0:
            entry = packing.header(BLOB, 5) + zlib.compress(b"hello")
        else:
            entry = packing.header(6, 4) + packing.distance(len(body) - last) + change
        last = len(body)
        body += entry
    path = tmp_path / "pack-0.pack"
    path.write_bytes(packing.seal(bytes(body)))
    path.with_suffix(".idx").write_bytes(packing.index_of(path.read_bytes(), entries))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    account_for_depth(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (400 << 10 if sys.platform == "linux" else 400 << 20)


def account_for_depth(path: Path) -> None:
    opened = pack.read(str(path), 20)
    forest = Forest(opened, tuple(KINDS))
    seen = sum(1 for roots in forest.shares(4) for _ in forest.walk(roots))
    assert pack.DEEPEST <= seen <= pack.DEEPEST + 2
    assert seen + len(opened.broken) == 300_000
