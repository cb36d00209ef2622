"""What a response says of numbers: one of a thing is one thing."""

from __future__ import annotations

import pytest

from fluxguard.commands.watching import told
from fluxguard.respond import evidence


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "nothing"),
        ({"blobs": 1, "names of refs": 1, "paths": 1}, "1 blob, 1 name of a ref, 1 path"),
        ({"blobs": 3, "blobs replaced whole": 1}, "3 blobs, 1 blob replaced whole"),
        (
            {"names of refs": 2, "tags of files and folders": 1},
            "2 names of refs, 1 tag of a file or a folder",
        ),
    ],
)
def test_what_was_replaced(counts: dict[str, int], words: str) -> None:
    assert evidence.replaced(counts) == words


def test_one_of_a_thing() -> None:
    one = {"refs": 1, "log_entries": 1, "files": 1, "objects": 1, "commits": 1, "changed": 1}
    assert told("own-move", one) == ["1 ref, 1 log entry, 1 working file; 1 old object is gone"]
    assert told("own-rewrite", one) == ["1 commit and 1 of 1 ref become others"]
    assert told("contain", {"known_clients": 1}) == [
        "1 known client may go on using it; everybody else is turned away"
    ]
