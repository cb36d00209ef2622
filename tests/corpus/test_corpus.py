"""The corpus holds: every key found at its place, and nothing else. What is known to be missed is marked as such."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from conftest import LETTERS, Mint, Run

from corpus import chance
from corpus.cases import Case, load
from corpus.measure import check
from fluxguard.detect import grade
from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in

POSITIVE = load("positive")
NEGATIVE = load("negative")
DETECTOR = Detector(built_in())


def parameters(cases: list[Case]) -> list[object]:
    return [
        pytest.param(
            case,
            id=f"{case.kind}: {case.name}".encode("ascii", "replace").decode(),
            marks=[pytest.mark.xfail(reason=case.miss, strict=True)] if case.miss else [],
        )
        for case in cases
    ]


@pytest.mark.parametrize("case", parameters(POSITIVE))
def test_each_key_is_found(case: Case) -> None:
    assert case.expected, "a positive case without a key"
    assert check(DETECTOR, case).failures == []


@pytest.mark.parametrize("case", parameters(NEGATIVE))
def test_nothing_is_found(case: Case) -> None:
    assert not case.expected, "a negative case with a key"
    assert check(DETECTOR, case).failures == []


def test_the_command_finds_them_all_and_shows_none(run: Run, tmp_path: Path, mint: Mint) -> None:
    wanted: dict[str, set[bytes]] = {}
    for number, case in enumerate([*POSITIVE, *NEGATIVE]):
        if not case.miss:
            name = f"{number:03}/{case.path}"
            path = tmp_path / "files" / name
            path.parent.mkdir(parents=True)
            path.write_bytes(case.data)
            wanted[name] = {expected.value for expected in case.expected}
            mint.keys += [value.decode() for value in wanted[name]]
    outcome = run("scan", "--format", "json", "--no-ignore", ".", cwd=tmp_path / "files", timeout=300)
    report = json.loads(outcome.out)
    found: dict[str, int] = {}
    for finding in report["findings"]:
        for path in {location["path"] for location in finding["locations"]}:
            found[path] = found.get(path, 0) + 1
    assert (outcome.code, report["complete"]) == (1, True)
    assert found == {name: len(values) for name, values in wanted.items() if values}


def test_every_random_key_is_found() -> None:
    missed = {entry.name: entry.total - entry.found for entry in chance.recall(many=400)}
    assert not any(missed.values()), missed


def test_a_name_is_hardly_ever_taken_for_a_key() -> None:
    for entry in chance.false_alarms(many=2000):
        sure = entry.found - entry.confidences["low"]
        assert sure <= 0.02 * entry.total, (
            f"{entry.name}: {sure} of {entry.total} with more than low confidence"
        )


def test_names_in_camel_case_are_no_keys() -> None:
    for entry in chance.false_alarms(many=1000):
        if "Case" in entry.name:
            assert entry.found <= 0.05 * entry.total, f"{entry.name}: {entry.found} of {entry.total}"


def test_chance_in_the_shape_of_camel_case_is_no_name() -> None:
    # Only three random bodies of 16 characters in a thousand have this shape, and fewer of the longer ones: so a key
    # is lost to it less than once in a million times.
    source = random.Random("humps")
    lost = total = 0
    for _ in range(20_000):
        body = ""
        while len(body) < 16:
            body += source.choice(LETTERS[:26]).upper() + "".join(
                source.choices(LETTERS[:26].lower(), k=source.randrange(2, 7))
            )
        lost += grade.is_camel(body.encode())
        total += 1
    assert lost <= 0.001 * total
