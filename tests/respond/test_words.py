"""What a response says of numbers: one of a thing is one thing."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Mint

from fluxguard.model import Location, Secret, Trace
from fluxguard.respond import evidence, holding, places
from fluxguard.respond.journal import Record
from fluxguard.respond.telling import replaced, told


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "nothing"),
        ({"blobs": 1, "names of refs": 1, "paths": 1}, "1 version of a file, 1 name of a ref, 1 path"),
        ({"blobs": 3, "blobs replaced whole": 1}, "3 versions of files, 1 version of a file replaced whole"),
        (
            {"names of refs": 2, "tags of files and folders": 1},
            "2 names of refs, 1 tag of a file or a folder",
        ),
    ],
)
def test_what_was_replaced(counts: dict[str, int], words: str) -> None:
    assert replaced(counts) == words


def test_one_of_a_thing() -> None:
    one = {"refs": 1, "log_entries": 1, "files": 1, "objects": 1, "commits": 1, "changed": 1}
    assert told("own-move", one) == ["1 ref, 1 log entry, 1 working file; 1 old object is gone"]
    assert told("own-rewrite", one) == ["1 commit and 1 of 1 ref become others"]
    assert told("contain", {"known_clients": 1}) == [
        "1 client may go on using it; everybody else is turned away"
    ]
    _, doubt = told("contain", {"known_clients": 1, "untold": True})
    assert doubt.startswith("nobody used it before the leak, so a stranger may be among those")


def test_what_is_gone_is_not_said_to_be_kept(tmp_path: Path) -> None:
    """Killed between the removal and the word that it is removed, or removed by hand."""
    kept, gone = tmp_path / "originals", tmp_path / "gone"
    kept.mkdir()
    records = [
        Record(number, "2026-01-01T00:00:00Z", "rewrite", "done", {"originals": str(folder)})
        for number, folder in enumerate((kept, gone))
    ]
    (line,) = evidence._originals(records)
    assert str(kept) in line


def test_a_file_that_moved_over_is_not_left() -> None:
    """What git had held the key when the new one was brought round; since the clone was cleaned and looked at, it does not."""
    row = {"place": "/shop/settings.py", "done": "manual", "why": f"{places.IN_GIT}: mend it"}
    done = {"distribute": {"places": [row, {**row, "place": "/shop/x.zip", "why": "it is no text"}]}}
    assert len(evidence._by_hand(done)) == 2
    for found, left in (([], 1), (["file settings.py"], 2)):
        looked = {"own-move": {}, "own": {"places": found, "unread": []}}
        assert len(evidence._by_hand({**done, **looked})) == left


def test_a_file_is_named_by_the_refs_that_people_know(mint: Mint) -> None:
    secret = Secret(mint.key().encode())
    trace = Trace(commit="c" * 40, tips=(b"refs/fluxguard/at/1", b"refs/heads/main"))
    place = Location("blob", b"z.zip", 1, 1, object="b" * 40, via=("zip:a",), trace=trace)
    (line,) = holding.named(["b" * 40], {"b" * 40: [place]}, secret)
    assert "refs/heads/main" in line
    assert "refs/fluxguard" not in line
