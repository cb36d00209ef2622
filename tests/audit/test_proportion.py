"""Tracing stays in proportion to the bytes of a pack, whatever its deltas make of them: what is left untraced is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import packing
import pytest
from conftest import Mint
from packing import BLOB, COMMIT, TREE, Copy, Insert, Item

from fluxguard.audit import edges, known, run
from fluxguard.audit.depot import Opened
from fluxguard.config import Config
from fluxguard.model import Report
from fluxguard.repo import forest, trace

PERSON = b"A U Thor <author@example.com> 1767225600 +0000"


def entry(name: bytes, id: bytes) -> bytes:
    return b"100644 " + name + b"\0" + id


def alternating(folder: Path, mint: Mint, depth: int = 300, width: int = 2_000) -> None:
    """A chain of deltas of a wide tree. Every second one names a file with a key, the one behind it does not: so each of them
    has to be made from the very first."""
    key, other = f"KEY={mint.key()}\n".encode(), b"nothing\n"
    leak, harmless = packing.object_id(BLOB, key), packing.object_id(BLOB, other)
    wide = b"".join(entry(b"f%06d" % number, harmless) for number in range(width))
    items = [Item(BLOB, key), Item(BLOB, other), Item(TREE, wide)]
    copied = tuple(Copy(at, min(len(wide) - at, 0xFFFF)) for at in range(0, len(wide), 0xFFFF))
    for number in range(depth):
        last = entry(b"z%06d" % number, harmless if number % 2 else leak)
        items.append(Item(TREE, wide + last, len(items) - 1, (*copied, Insert(last))))
    root = packing.object_id(TREE, items[-2].data)
    said = b"tree %s\nauthor %s\ncommitter %s\n\nx\n" % (root.hex().encode(), PERSON, PERSON)
    items.append(Item(COMMIT, said))
    packing.install(folder, packing.write(items))
    packing.git(folder, "update-ref", "refs/heads/main", packing.object_id(COMMIT, said).hex())


def found(report: Report) -> list[tuple[bytes, bool]]:
    return [
        (place.path, bool(place.trace and place.trace.commit))
        for finding in report.findings
        for place in finding.locations
    ]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return packing.init(tmp_path / "bare")


def test_a_chain_that_is_made_over_and_over_has_a_limit(
    bare: Path, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    alternating(bare, mint)
    whole = run.audit(str(bare), Config(), full=True)
    assert (whole.complete, found(whole)) == (True, [(b"z000298", True)])
    monkeypatch.setattr(forest, "_LEAST_MADE", 64 << 20)
    monkeypatch.setattr(forest, "_PER_BYTE", 1_000)
    few = run.audit(str(bare), Config(), full=True)
    assert (few.complete, [one.where for one in few.skipped]) == (False, [b"history"])
    assert len(found(few)) == 1
    again = run.audit(str(bare), Config())
    assert not again.complete, "what was not traced is kept as if it had been"


def test_names_beyond_number_have_a_limit(bare: Path, mint: Mint, monkeypatch: pytest.MonkeyPatch) -> None:
    alternating(bare, mint, depth=20)
    monkeypatch.setattr(edges, "_LEAST_NAMES", -(1 << 20))
    few = run.audit(str(bare), Config(), full=True)
    assert (few.complete, [one.where for one in few.skipped]) == (False, [b"history"])


def nested(folder: Path, mint: Mint, depth: int) -> None:
    """A key at the end of so many folders, each in the other."""
    key = f"KEY={mint.key()}\n".encode()
    items, inner = [Item(BLOB, key)], packing.object_id(BLOB, key)
    tree = entry(b"f", inner)
    for _ in range(depth):
        items.append(Item(TREE, tree))
        tree = b"40000 d\0" + packing.object_id(TREE, tree)
    items.append(Item(TREE, tree))
    root = packing.object_id(TREE, tree)
    said = b"tree %s\nauthor %s\ncommitter %s\n\nx\n" % (root.hex().encode(), PERSON, PERSON)
    packing.install(folder, packing.write([*items, Item(COMMIT, said)]))
    (folder / "refs/heads/main").write_text(packing.object_id(COMMIT, said).hex() + "\n")


def test_a_deep_path_is_followed_and_what_is_known_of_it_kept_once(
    bare: Path, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    keep = known.Known.keep_aside

    def count(self: known.Known, opened: Opened, name: str, *rest: Any) -> None:
        kept.append(name)
        keep(self, opened, name, *rest)

    monkeypatch.setattr(known.Known, "keep_aside", count)
    nested(bare, mint, 300)
    report = run.audit(str(bare), Config(), full=True)
    assert (report.complete, found(report)) == (True, [(b"d/" * 300 + b"f", True)])
    assert kept.count("trees") == 1


def test_paths_that_are_too_deep_or_too_many_are_not_all_told(
    bare: Path, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested(bare, mint, 300)
    for limit, value in (("LONGEST_PATH", 200), ("MOST_PATHS", 0)):
        monkeypatch.setattr(trace, limit, value)
        for _ in range(2):
            report = run.audit(str(bare), Config())
            assert len(report.findings) == 1
            assert "than can be told" in report.skipped[0].reason
        monkeypatch.undo()


def test_each_of_many_keys_in_one_blob_has_its_own_line(bare: Path, mint: Mint) -> None:
    keys = [mint.key() for _ in range(2_000)]
    packing.install(bare, packing.write([Item(BLOB, "\n".join(keys).encode())]))
    report = run.audit(str(bare), Config())
    lines = [place.line for finding in report.findings for place in finding.locations]
    assert sorted(lines) == list(range(1, len(keys) + 1))
