"""docs/seed-table.md names tests that are there: a table of proofs that has gone stale proves nothing."""

from __future__ import annotations

import re

from conftest import PROJECT

TABLE = (PROJECT / "docs" / "seed-table.md").read_text()


def test_each_test_that_it_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 60
    for path, name in named:
        assert f"def {name}(" in (PROJECT / "tests" / path).read_text(), f"{path}::{name}"


def test_each_line_of_the_page_is_shown_by_something_or_said_not_to_be_ours() -> None:
    rows = [
        row.strip("|").split(" | ")
        for row in TABLE.splitlines()
        if row.startswith("| ") and row != "| the page | here | shown by |"
    ]
    assert len(rows) > 50
    for row in rows:
        assert len(row) == 3, row
        assert "::" in row[2] or "FluxLoop's" in row[1], row[0]
