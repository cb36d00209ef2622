"""Object stores that lie: `fluxguard audit` names what can't be read, ends with 3, and stays within its memory and time."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import packing
import pytest
from conftest import COMMAND, Mint, Outcome, call
from packing import BLOB, COMMIT, OFS_DELTA, REF_DELTA, TAG, TREE, Copy, Item

from fluxguard.audit import run
from fluxguard.config import Config
from fluxguard.repo import forest

MEMORY = 3 << 30  # bytes of address space; the libraries take one of them
PACK = b"PACK\0\0\0\2"
Audit = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def audit(environment: dict[str, str], mint: Mint, tmp_path: Path) -> Audit:
    """The real `fluxguard audit` in bounded memory: exit code and report."""

    def audited(folder: Path, code: int | None = None) -> tuple[int, dict[str, Any]]:
        limited = f"ulimit -v {MEMORY >> 10}; exec {COMMAND} audit --format json {folder}"
        outcome: Outcome = call(["bash", "-c", limited], tmp_path, environment, mint, timeout=300)
        assert "Traceback" not in outcome.text, outcome.text
        assert "panicked" not in outcome.text, outcome.text
        assert outcome.code in ((1, 3) if code is None else (code,)), outcome.text[:2000]
        report = json.loads(outcome.out)
        assert report["complete"] is (not report["skipped"])
        return outcome.code, report

    return audited


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return packing.init(tmp_path / "bare")


def skipped(report: dict[str, Any]) -> dict[str, str]:
    """What was not read, and why; objects by their ids."""
    return {one["where"].removeprefix("object "): one["reason"] for one in report["skipped"]}


def certified(folder: Path) -> int:
    """How many objects the certificate says were read."""
    return run.audit(str(folder), Config()).certificates[0].read


def entry(kind: int, size: int, packed: bytes, between: bytes = b"") -> bytes:
    return packing.header(kind, size) + between + packed


def pack_of(*parts: bytes) -> tuple[bytes, list[int]]:
    """A pack of raw entries, and where each lies."""
    body = PACK + len(parts).to_bytes(4, "big")
    places = []
    for part in parts:
        places.append(len(body))
        body += part
    return packing.seal(body), places


def blob(data: bytes) -> bytes:
    return entry(BLOB, len(data), zlib.compress(data))


def id_of(data: bytes) -> bytes:
    return packing.object_id(BLOB, data)


def lie(folder: Path, parts: list[bytes], ids: list[bytes], version: int = 2) -> list[str]:
    """Puts a pack of raw entries with an index that names them as told; returns the hex ids."""
    pack, places = pack_of(*parts)
    packing.install(folder, pack, index=packing.index_of(pack, list(zip(ids, places, strict=True)), version))
    return [id.hex() for id in ids]


def named(number: int) -> bytes:
    """An id that no content has."""
    return bytes([number]) * 20


# --- deltas ------------------------------------------------------------------------------------------------------


def test_a_circle_of_deltas_and_what_hangs_on_it(bare: Path, audit: Audit, mint: Mint) -> None:
    key = mint.key().encode()
    change = zlib.compress(packing.delta(5, 5, [Copy(0, 5)]))
    parts = [
        entry(REF_DELTA, 4, change, named(2)),
        entry(REF_DELTA, 4, change, named(3)),
        entry(REF_DELTA, 4, change, named(1)),
        entry(REF_DELTA, 4, change, named(4)),  # of itself
        entry(REF_DELTA, 4, change, named(1)),  # of the circle
        entry(REF_DELTA, 4, change, named(9)),  # of nothing
        blob(key),
    ]
    ids = lie(bare, parts, [*map(named, (1, 2, 3, 4, 5, 6)), id_of(key)])
    code, report = audit(bare)
    assert code == 1
    reasons = skipped(report)
    assert all("circle" in reasons[id] for id in ids[:5])
    assert "not in the pack" in reasons[ids[5]]
    assert len(report["findings"]) == 1
    assert certified(bare) == 1


def test_an_offset_that_leads_to_no_entry_or_in_front_of_the_pack(bare: Path, audit: Audit) -> None:
    change = zlib.compress(packing.delta(5, 5, [Copy(0, 5)]))
    parts = [
        blob(b"hello"),
        entry(OFS_DELTA, 4, change, packing.distance(1)),
        entry(OFS_DELTA, 4, change, packing.distance(1 << 40)),
        entry(OFS_DELTA, 4, change, b"\0"),  # itself
        entry(OFS_DELTA, 4, change, b"\xff" * 16 + b"\0"),  # endless
        entry(OFS_DELTA, 4, change, packing.distance(12)),
    ]
    ids = lie(bare, parts, [id_of(b"hello"), *map(named, range(1, 6))])
    _, report = audit(bare, 3)
    assert set(ids[1:]) <= set(skipped(report))
    assert ids[0] not in skipped(report)


def chain(length: int, key: bytes) -> list[Item]:
    items = [Item(BLOB, b"x" * 99)]
    for number in range(length):
        base = items[-1].data
        data = b"%06d" % number + base[6:] if number < length - 1 else base + key
        instructions = (
            (*packing.inserts(data[:6]), Copy(6, len(base) - 6))
            if number < length - 1
            else (Copy(0, len(base)), *packing.inserts(key))
        )
        items.append(Item(BLOB, data, number, instructions))
    return items


def index_by_ourselves(pack: bytes, items: list[Item]) -> bytes:
    """An index without git, which takes long for deep chains."""
    at, entries = 12, []
    for item in items:
        entries.append((id_of(item.data), at))
        if item.base is None:
            at += len(blob(item.data)) if False else len(_entry(item, items, at, entries))
        else:
            at += len(_entry(item, items, at, entries))
    return packing.index_of(pack, entries)


def _entry(item: Item, items: list[Item], at: int, entries: list[tuple[bytes, int]]) -> bytes:
    if item.base is None:
        return packing.header(BLOB, len(item.data)) + zlib.compress(item.data, 1)
    content = packing.delta(len(items[item.base].data), len(item.data), item.instructions)
    return (
        packing.header(OFS_DELTA, len(content))
        + packing.distance(at - entries[item.base][1])
        + zlib.compress(content, 1)
    )


def test_a_chain_as_deep_as_git_may_write_is_read(bare: Path, audit: Audit, mint: Mint) -> None:
    items = chain(4095, mint.key().encode())
    pack = packing.write(items)
    packing.install(bare, pack, index=index_by_ourselves(pack, items))
    _, report = audit(bare, 1)
    assert not report["skipped"]
    assert certified(bare) == 4096


def test_a_chain_too_deep_is_named_and_the_rest_is_read(bare: Path, audit: Audit, mint: Mint) -> None:
    items = chain(12_000, mint.key().encode())
    pack = packing.write(items)
    packing.install(bare, pack, index=index_by_ourselves(pack, items))
    _, report = audit(bare, 3)
    reasons = skipped(report)
    read = certified(bare)
    assert 4096 < read < 8200
    assert len(reasons) == len(items) - read
    assert "longer than" in reasons[id_of(items[-1].data).hex()]


def test_deltas_that_announce_petabytes(bare: Path, audit: Audit) -> None:
    good = b"hello"
    huge = packing.varint(5) + packing.varint(1 << 50) + Copy(0, 5).code()
    endless = packing.varint(5) + b"\xff" * 4000
    lying = packing.varint(5) + packing.varint(30 << 20) + Copy(0, 5).code()
    other = packing.delta(6, 5, [Copy(0, 5)])
    cut = packing.varint(5) + packing.varint(5) + b"\x91"
    out = packing.delta(5, 5, [Copy(2, 5)])
    nothing = b"\x05"
    reserved = packing.varint(5) + packing.varint(1) + b"\0\0"
    deltas = [huge, endless, lying, other, cut, out, nothing, reserved]
    parts = [blob(good)] + [entry(REF_DELTA, len(one), zlib.compress(one), id_of(good)) for one in deltas]
    ids = lie(bare, parts, [id_of(good), *map(named, range(1, len(deltas) + 1))])
    _, report = audit(bare, 3)
    assert set(ids[1:]) == set(skipped(report))


def test_small_deltas_that_make_much(bare: Path, audit: Audit) -> None:
    """Each of a few bytes makes 30 MiB: read one after the other, never held together."""
    base = b"\n" * 0xFFFFFF
    items = [Item(BLOB, base)]
    parts = [blob(base)]
    change = packing.delta(len(base), 30 << 20, [Copy(0, 0xFFFFFF), Copy(0, (30 << 20) - 0xFFFFFF)])
    parts += [entry(REF_DELTA, len(change), zlib.compress(change), id_of(base)) for _ in range(60)]
    lie(bare, parts, [id_of(base), *map(named, range(1, 61))])
    assert len(items) == 1
    audit(bare, 0)


# --- sizes and streams -------------------------------------------------------------------------------------------


def test_sizes_and_streams_that_lie(bare: Path, audit: Audit, mint: Mint) -> None:
    key = mint.key().encode()
    zeros = zlib.compress(bytes(1 << 30), 9) if False else bomb(1 << 30)
    damaged = bytearray(zlib.compress(os.urandom(200)))
    damaged[60] ^= 255
    parts = [
        blob(key),
        entry(BLOB, 10, zlib.compress(b"too long for it")),
        entry(BLOB, 100, zlib.compress(b"too short")),
        entry(BLOB, 10, zeros),  # a bomb that claims to be small
        entry(BLOB, 1 << 50, zlib.compress(b"no petabyte")),
        entry(BLOB, 20 << 20, zlib.compress(b"no megabytes")),
        entry(BLOB, 200, bytes(damaged)),
        entry(BLOB, 9, zlib.compress(b"cut short")[:-2]),
        entry(BLOB, 4, b""),
        entry(BLOB, 4, b"garbage"),
        entry(0, 4, zlib.compress(b"none")),
        entry(5, 4, zlib.compress(b"five")),
        b"\xbf" + b"\xff" * 30 + b"\0" + zlib.compress(b"endless size"),
    ]
    ids = lie(bare, parts, [id_of(key), *map(named, range(1, len(parts)))])
    code, report = audit(bare)
    assert code == 1
    assert set(ids[1:]) == set(skipped(report))
    assert certified(bare) == 1


def test_sizes_that_add_up_to_nothing(bare: Path, audit: Audit, mint: Mint) -> None:
    """Their sum is just below 2 to the 64th power."""
    key = mint.key().encode()
    sizes = [1 << 59] * 31 + [(1 << 59) - (1 << 20) - 33 * 600 - len(key)]
    parts = [blob(key), *(entry(BLOB, size, zlib.compress(b"x")) for size in sizes)]
    ids = lie(bare, parts, [id_of(key), *map(named, range(1, 33))])
    _, report = audit(bare, 1)
    assert set(skipped(report)) == set(ids[1:])


def bomb(size: int) -> bytes:
    """A zlib stream of zeros."""
    deflater = zlib.compressobj(9)
    piece = bytes(1 << 20)
    return b"".join(deflater.compress(piece) for _ in range(size >> 20)) + deflater.flush()


def test_a_large_object_that_is_damaged_is_named(bare: Path, audit: Audit) -> None:
    """Larger than what is held in memory, so it is read in pieces."""
    size = 40 << 20
    stream = bytearray(bomb(size))
    broken = bytes(stream[:-4]) + b"oops"
    parts = [
        entry(BLOB, size, broken),
        entry(BLOB, size + 1, bytes(stream)),
        entry(BLOB, size - 1, bytes(stream)),
        entry(BLOB, size, bytes(stream[: len(stream) // 2])),
        entry(BLOB, size, bytes(stream)),
    ]
    ids = lie(bare, parts, [named(number) for number in range(1, 6)])
    _, report = audit(bare, 3)
    assert set(skipped(report)) == set(ids[:4])


# --- indexes -----------------------------------------------------------------------------------------------------


def small_pack(mint: Mint) -> tuple[bytes, list[tuple[bytes, int]]]:
    contents = [mint.key().encode(), *(b"content %d" % number for number in range(20))]
    pack, places = pack_of(*map(blob, contents))
    return pack, [(id_of(data), place) for data, place in zip(contents, places, strict=True)]


def indexes(pack: bytes, entries: list[tuple[bytes, int]]) -> Iterator[tuple[str, bytes]]:
    good = packing.index_of(pack, entries)
    yield "empty", b""
    yield "short", good[:500]
    yield "cut", good[:-25]
    yield "longer", good + bytes(7)
    falling = bytearray(good)
    falling[8 : 8 + 4] = b"\0\0\0\xff"
    yield "a fan-out that falls", bytes(falling)
    many = bytearray(good)
    many[8 + 1020 : 8 + 1024] = b"\xff\xff\xff\xff"
    yield "four thousand million", bytes(many)
    table = bytearray(good)
    at = 8 + 1024 + 24 * len(entries)
    table[at : at + 4] = b"\x80\0\0\x05"
    yield "far offset outside of its table", bytes(table)
    far = packing.index_of(pack, [(entries[0][0], 1 << 63), *entries[1:]])
    yield "offset of exabytes", far
    yield "offset behind the end", packing.index_of(pack, [(entries[0][0], len(pack)), *entries[1:]])
    yield "offset in the header", packing.index_of(pack, [(entries[0][0], 4), *entries[1:]])
    yield (
        "offset inside of another",
        packing.index_of(pack, [(entries[0][0], entries[3][1] + 1), *entries[1:]]),
    )
    yield "offset twice", packing.index_of(pack, [(entries[0][0], entries[3][1]), *entries[1:]])
    yield "fewer than there are", packing.index_of(pack, entries[1:])
    yield "none", packing.index_of(pack, [])
    yield "version 3", good[:4] + b"\0\0\0\3" + good[8:]
    yield "version 1, cut", packing.index_of(pack, entries, 1)[:-21]


@pytest.mark.parametrize("number", range(16))
def test_indexes_that_lie(bare: Path, audit: Audit, mint: Mint, number: int) -> None:
    pack, entries = small_pack(mint)
    name, index = list(indexes(pack, entries))[number]
    packing.install(bare, pack, index=index)
    _, report = audit(bare)
    assert report["skipped"], name


@pytest.mark.parametrize("version", [1, 2])
def test_a_good_index_of_either_version(bare: Path, audit: Audit, mint: Mint, version: int) -> None:
    pack, entries = small_pack(mint)
    packing.install(bare, pack, index=packing.index_of(pack, entries, version))
    _, report = audit(bare, 1)
    assert not report["skipped"]


def test_an_index_out_of_order(bare: Path, audit: Audit, mint: Mint) -> None:
    ids = [named(2), named(1)]
    pack, places = pack_of(blob(b"nothing"), blob(mint.key().encode()))
    index = bytearray(packing.index_of(pack, list(zip(sorted(ids), places, strict=True))))
    index[8 + 1024 : 8 + 1024 + 40] = b"".join(ids)
    packing.install(bare, pack, index=bytes(index))
    _, report = audit(bare, 1)
    assert "out of order" in report["skipped"][0]["reason"]


def test_a_large_object_that_a_pack_holds_twice(bare: Path, audit: Audit, mint: Mint) -> None:
    """git reads the one; that the other may hold something else is said, the second time as well."""
    large = b"\n" * (33 << 20)
    lie(bare, [blob(large), blob(large + mint.key().encode())], [named(1), named(1)])
    for _ in range(2):
        _, report = audit(bare, 3)
        assert "holds it twice" in report["skipped"][0]["reason"]


def test_what_stands_around_the_objects_of_a_pack(bare: Path, audit: Audit, mint: Mint) -> None:
    """git opens no pack whose end is not the one that the index names; what stands in it is read as it is in a file."""
    key = mint.key().encode()
    pack, places = pack_of(blob(b"nothing"))
    index = packing.index_of(pack, [(id_of(b"nothing"), places[0])])
    path = packing.install(bare, pack + b" " + key + b"\n", index=index)
    _, report = audit(bare, 1)
    assert "stands behind it" in report["skipped"][0]["reason"]
    path.unlink()
    path.with_suffix(".idx").unlink()
    pack, places = pack_of(b" " + key + b"\n" + blob(b"nothing"))
    at = places[0] + len(key) + 2
    packing.install(bare, pack, index=packing.index_of(pack, [(id_of(b"nothing"), at)]))
    _, report = audit(bare, 1)
    assert any("before its first one" in why for why in skipped(report).values())


def test_a_table_of_far_offsets_with_more_in_it(bare: Path, audit: Audit) -> None:
    pack, entries = pack_of(blob(b"nothing"))
    index = packing.index_of(pack, [(id_of(b"nothing"), entries[0])])
    packing.install(bare, pack, index=index[:-40] + b"12345678" + index[-40:])
    _, report = audit(bare, 3)
    assert "is damaged" in report["skipped"][0]["reason"]


# --- what is no plain file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "folder", "dead link", "device", "unreadable", "nothing"])
@pytest.mark.parametrize("name", ["pack", "idx", "loose", "alternates", "packed-refs", "log"])
def test_what_is_no_plain_file(bare: Path, audit: Audit, mint: Mint, kind: str, name: str) -> None:
    pack, entries = small_pack(mint)
    path = packing.install(bare, pack, index=packing.index_of(pack, entries))
    place = {
        "pack": path,
        "idx": path.with_suffix(".idx"),
        "loose": bare / "objects" / "aa" / ("b" * 38),
        "alternates": bare / "objects" / "info" / "alternates",
        "packed-refs": bare / "packed-refs",
        "log": bare / "logs" / "HEAD",
    }[name]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    make = {
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
        "dead link": lambda: place.symlink_to("nowhere"),
        "device": lambda: place.symlink_to("/dev/zero"),
        "unreadable": lambda: (place.write_bytes(b"x"), place.chmod(0)),
        "nothing": place.touch,
    }
    if kind == "unreadable" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    make[kind]()
    # A pack whose index can't be read is still searched, like one that lies elsewhere.
    _, report = audit(bare, 3 if name == "pack" else 1)
    # An empty list of alternates is a list; a reflog or a list of refs that is no file holds none.
    assert report["skipped"] or name in ("packed-refs", "log") or (name, kind) == ("alternates", "nothing")


# --- loose objects -----------------------------------------------------------------------------------------------


def loose(folder: Path, id: str, raw: bytes) -> str:
    path = folder / "objects" / id[:2] / id[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return id


def test_loose_objects_that_lie(bare: Path, audit: Audit, mint: Mint) -> None:
    key = mint.key().encode()
    whole = b"blob %d\0" % len(key) + key
    good = loose(bare, id_of(key).hex(), zlib.compress(whole))
    squeeze = zlib.compress
    bad = [
        b"",
        b"garbage",
        squeeze(b""),
        squeeze(b"blob"),
        squeeze(b"blob 3\0toolong"),
        squeeze(b"blob 30\0short"),
        squeeze(b"blob -3\0abc"),
        squeeze(b"blob 99999999999999999999\0abc"),
        squeeze(b"blob 999999999999999999\0abc"),
        squeeze(b"blog 3\0abc"),
        squeeze(b"blob 3\0abc"),  # right, but for its id
        squeeze(whole)[:-5],
        squeeze(whole)[:-1] + b"x",
        squeeze(b"x" * (64 << 20)),  # a header without an end
        squeeze(b"blob 10\0" + bytes(256 << 20)),
        squeeze(b"blob %d\0" % (40 << 20) + bytes(40 << 20)),  # right, but for its id, and large
        squeeze(b"blob %d\0" % (50 << 20) + bytes(40 << 20)),
        squeeze(b"tree 3\0abc"),
    ]
    more = [squeeze(b"blob 1\0" + text) + rest for text, rest in ((b"1", key), (b"2", squeeze(key)))]
    behind = [loose(bare, id_of(text).hex(), raw) for text, raw in zip((b"1", b"2"), more, strict=True)]
    ids = [loose(bare, f"{number:02x}" + "0" * 38, raw) for number, raw in enumerate(bad)]
    _, report = audit(bare, 1)
    assert set(skipped(report)) == {*ids, *behind}
    assert all("behind its end" in skipped(report)[id] for id in behind)
    assert certified(bare) == 1
    assert report["findings"][0]["locations"][0]["object"] == good


def test_a_loose_object_that_is_not_what_its_pack_says(bare: Path, audit: Audit, mint: Mint) -> None:
    """git reads the one in the pack; the other is there all the same, and is named."""
    key = mint.key().encode()
    id = id_of(b"nothing").hex()
    lie(bare, [blob(b"nothing")], [id_of(b"nothing")])
    loose(bare, id, zlib.compress(b"blob %d\0" % len(key) + key))
    for _ in range(2):  # the second time with what is known from the first
        _, report = audit(bare, 3)
        assert "one copy of it can't be read" in skipped(report)[id]
        assert certified(bare) == 1


def test_copies_that_hold_other_things_under_one_id(bare: Path, audit: Audit, mint: Mint) -> None:
    """A blob, a tree with a key for a name, and a large blob: each copy is looked at, and its key found in that copy."""
    keys = [mint.key().encode() for _ in range(3)]
    tree = [b"100644 " + name + b"\0" + bytes(20) for name in (b"a", b"b", keys[1])]
    large = b"\n" * (33 << 20)
    ids = [named(number) for number in range(1, 4)]
    for own in (False, True):
        parts = [
            blob(keys[0] if own else b"nothing"),
            entry(TREE, *_squeezed(b"".join(tree) if own else tree[0])),
            blob(large + keys[2] if own else large),
            blob(b"%d" % own),
        ]
        lie(bare, parts, [*ids, id_of(b"%d" % own)])
    for _ in range(2):
        _, report = audit(bare, 1)
        assert len(report["findings"]) == 3
        assert not [why for why in skipped(report).values() if "another time" in why]


def _squeezed(data: bytes) -> tuple[int, bytes]:
    return len(data), zlib.compress(data)


# --- contents ----------------------------------------------------------------------------------------------------


def test_trees_and_commits_that_make_no_sense(bare: Path, audit: Audit, mint: Mint) -> None:
    """Trees that hold themselves can't be made with true hashes; an index can say that they are."""
    key = mint.key().encode()
    itself, other = named(1), named(2)
    deep = b"40000 fluxloop\0" + itself + b"40000 again\0" + other + b"100644 key\0" + id_of(key)
    contents = [
        (TREE, itself, deep),
        (TREE, other, b"40000 fluxloop\0" + itself),
        (TREE, named(3), b"100644 cut"),
        (TREE, named(4), b"\0" * 50),
        (TREE, named(5), b"100644 a\0" + b"short"),
        (TREE, named(6), b"9" * 400 + b" x\0" + id_of(key)),
        (TREE, named(7), b""),
        (COMMIT, named(8), b""),
        (COMMIT, named(9), b"tree\n"),
        (COMMIT, named(10), b"tree " + b"zz" * 20 + b"\nparent " + b"1 " * 20 + b"\n\n" + key),
        (COMMIT, named(11), b"tree 11 22 33 44 55 66 77 88 99 00 aa bb cc \nparent \nparent 11\n"),
        (
            COMMIT,
            named(12),
            b"tree %s\nparent %s\n\nitself" % (itself.hex().encode(), named(12).hex().encode()),
        ),
        (
            COMMIT,
            named(13),
            b"tree %s\nauthor <<<>>> 99999999999999 +9999\n\n\xff\xfe" % itself.hex().encode(),
        ),
        (TAG, named(14), b""),
        (TAG, named(15), b"object %s\ntype tag\ntag x\n\n" % named(15).hex().encode() + key),
        (TAG, named(16), b"object 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0\n"),
        (BLOB, id_of(key), key),
    ]
    parts = [entry(kind, len(data), zlib.compress(data)) for kind, _, data in contents]
    lie(bare, parts, [id for _, id, _ in contents])
    (bare / "refs" / "heads" / "main").write_bytes(named(12).hex().encode() + b"\n")
    (bare / "refs" / "tags").mkdir(exist_ok=True)
    (bare / "refs" / "tags" / "t").write_bytes(named(15).hex().encode() + b"\n")
    _, report = audit(bare, 1)
    kinds = {place["kind"] for finding in report["findings"] for place in finding["locations"]}
    assert {"blob", "commit-message", "tag-message"} <= kinds


def test_alternates_that_lead_in_a_circle_and_reflogs_of_anything(
    bare: Path, audit: Audit, mint: Mint, tmp_path: Path
) -> None:
    other = packing.init(tmp_path / "other")
    key = mint.key().encode()
    pack, places = pack_of(blob(key))
    packing.install(other, pack, index=packing.index_of(pack, [(id_of(key), places[0])]))
    for one, another in ((bare, other), (other, bare)):
        (one / "objects" / "info").mkdir(exist_ok=True)
        (one / "objects" / "info" / "alternates").write_bytes(
            b"# comment\n%s\n/nowhere\n\0\n\xff\n../objects\n" % os.fsencode(another / "objects")
            + b"x" * 5000
            + b"\n"
        )
    (bare / "logs" / "refs").mkdir(parents=True)
    chance = random.Random(3)
    (bare / "logs" / "HEAD").write_bytes(b"1" * 41 + b" " + b"2" * 40 + b" x\n" + chance.randbytes(3000))
    (bare / "logs" / "refs" / "x\n\x1b[31m").write_bytes(b"0" * 40 + b" " + b"3" * 64 + b" <> -1 +9\n")
    _, report = audit(bare, 1)
    assert any("alternate" in one["reason"] for one in report["skipped"])


# --- large objects that are in order ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("place", ["loose", "packed"])
def test_a_large_blob_does_not_raise_the_memory(
    bare: Path, environment: dict[str, str], mint: Mint, place: str
) -> None:
    """Keys at its end and across the seam between two of the pieces that it is read in."""
    size = 400 << 20
    keys = {(32 << 20) - 9: mint.key().encode(), size - 40: mint.key().encode()}
    digest = hashlib.sha1(b"blob %d\0" % size)
    streams = {"loose": zlib.compressobj(1), "packed": zlib.compressobj(1)}
    packed = {"loose": streams["loose"].compress(b"blob %d\0" % size), "packed": b""}
    for start in range(0, size, 8 << 20):
        piece = bytearray(8 << 20)
        for at, key in keys.items():
            for number, byte in enumerate(key):
                if start <= at + number < start + len(piece):
                    piece[at + number - start] = byte
        digest.update(piece)
        packed[place] += streams[place].compress(bytes(piece))
    packed[place] += streams[place].flush()
    if place == "loose":
        loose(bare, digest.hexdigest(), packed[place])
    else:
        lie(bare, [entry(BLOB, size, packed[place])], [digest.digest()])
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, COMMAND, "audit", "--format", "json", bare],
        env=environment,
        capture_output=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert len(report["findings"]) == 2
    assert report["complete"]
    assert int(done.stderr) < (300 << 10 if sys.platform == "linux" else 300 << 20)


# A process of its own, for a child's figure begins with what its parent holds.
MEASURED = """
import resource, subprocess, sys
assert subprocess.run(sys.argv[1:]).returncode == 1
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


# --- at random ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits_and_cuts_through_the_real_command(
    bare: Path, audit: Audit, mint: Mint, seed: int
) -> None:
    chance = random.Random(seed)
    items = chain(30, mint.key().encode())
    path = packing.install(bare, packing.write(items))
    victim = path if seed % 2 else path.with_suffix(".idx")
    victim.chmod(0o600)
    data = bytearray(victim.read_bytes())
    if seed % 3 == 0:
        del data[chance.randrange(len(data)) :]
    else:
        for _ in range(20):
            data[chance.randrange(1032, len(data)) if seed % 2 == 0 else chance.randrange(len(data))] ^= (
                1 << chance.randrange(8)
            )
    victim.write_bytes(bytes(data))
    audit(bare)


def test_thousands_of_packs(bare: Path, audit: Audit, mint: Mint) -> None:
    """More tasks than turns."""
    for number in range(1_500):
        data = b"%d" % number
        pack, places = pack_of(blob(data))
        packing.install(bare, pack, index=packing.index_of(pack, [(id_of(data), places[0])]))
    audit(bare, 0)
    assert certified(bare) == 1_500


# --- more than anybody can read ----------------------------------------------------------------------------------


def swollen(bare: Path, base: int, copies: int, number: int) -> None:
    """A pack of a few kB with `number` objects, each of them `copies` times a base of so many bytes."""
    head = (Copy(0, 1 << 16),) * (base >> 16)
    items = [Item(BLOB, bytes(1 << 16)), Item(BLOB, bytes(base), 0, head)]
    for one in range(number):
        last = Copy(0, one + 1)
        whole = (*(Copy(at, min(base - at, 0xFFFFFF)) for at in range(0, base, 0xFFFFFF)),) * copies
        items.append(Item(BLOB, bytes(base * copies + one + 1), 1, (*whole, last)))
    packing.install(bare, packing.write(items))


@pytest.mark.parametrize(("copies", "number"), [(4, 40), (16, 12)], ids=["in memory", "made by git"])
def test_what_is_made_of_a_few_bytes_has_a_limit(
    copies: int, number: int, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swollen(bare, 4 << 20, copies, number)
    whole = run.audit(str(bare), Config())
    assert not whole.skipped
    monkeypatch.setattr(forest, "_LEAST_MADE", 256 << 20)
    few = run.audit(str(bare), Config(), full=True)
    assert {one.reason for one in few.skipped} == {forest.TOO_MUCH}
    assert few.certificates[0].read < whole.certificates[0].read
