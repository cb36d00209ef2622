"""The kill table: a response killed behind each of its effects, and what `resume` makes of it.

The suite takes a sample of the boundaries. `FLUXGUARD_KILLS=FILE python -m pytest tests/respond/test_kills.py` takes all of them, some
twenty minutes long, and writes the table into that file; KILLS.md is such a one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PROJECT, Mint, surroundings

from tests import warm
from tests.respond.story import Story, user
from tests.server.real import Server

GOOD = ("active", "pending", "grace", "quarantined")
STRATEGIES = ("contain", "revoke-first")


class Kill:
    """One story, killed at a boundary."""

    def __init__(self, story: Story, words: tuple[str, ...]) -> None:
        self.story = story
        self.words = words
        self.env_file = story.repo.write(".env", f"# kept\nexport K='{story.key}' # too\n")
        self.before = self.env_file.read_bytes()

    def at(self, number: int) -> list[str]:
        """Runs until the boundary. Returns the boundaries that were passed, as STEP: WHAT."""
        log = self.story.folder / "boundaries.log"
        log.unlink(missing_ok=True)
        argv = [
            sys.executable, "-m", warm.KILLED, str(number), str(log), "respond", "start", "--key-stdin", "--repo",
            str(self.story.repo.path), "--yes", *self.words,
        ]  # fmt: skip
        done = warm.run(argv, PROJECT, self.story.environment, self.story.key.encode() + b"\n", 180)
        assert done.returncode == (-9 if number else self._code), done.stderr.decode()
        self.story.said.append((done.stdout + done.stderr).decode())
        lines = log.read_text().splitlines()
        return [": ".join(line.split("\t")[1:]) for line in lines]

    def holds(self, first: bool) -> str:
        """What may never be otherwise. first: the old key was to die first. Returns what there is, in words."""
        story = self.story
        keys = {one["fingerprint"]: one for one in story.issued()}
        fresh = [one for one in keys.values() if one["id"] != story.key_id and one["state"] in GOOD]
        assert len(fresh) <= 1, "two successors"
        old = next(one for one in keys.values() if one["id"] == story.key_id)
        standing = self._standing(keys)
        if not first:
            assert standing["state"] in GOOD, "the key that stands in .env is dead"
        stands = "old" if standing["id"] == story.key_id else "new"
        return f"old {old['state']}, new {fresh[0]['state'] if fresh else 'none'}, {stands} in .env"

    def _standing(self, keys: dict[str, dict[str, str]]) -> dict[str, str]:
        from fluxguard.model import Secret

        value = self.env_file.read_bytes().split(b"'")[1]
        return keys[Secret(value).fingerprint]

    def resumes(self) -> str:
        """`resume`, or `start` where there is no incident yet. Returns what it did, in words."""
        story = self.story
        begun = bool(list((story.state / "incidents").glob("inc-*")))
        known = len(story.records()) if begun and (story.incident / "journal.jsonl").exists() else 0
        if (
            begun
            and known
            and story.records()[-1]["step"] == "close"
            and story.records()[-1]["phase"] == "done"
        ):
            return "nothing: it was closed"
        if begun:
            story.resume("--yes", code=self._code)
        else:
            story.start("--yes", *self.words, code=self._code)
        steps = [one["step"] for one in story.records()[known:] if one["phase"] == "done"]
        return f"{'resumed' if begun else 'started anew'}: {', '.join(steps)}"

    @property
    def _code(self) -> int:
        """1 where the remote was cleaned: the pull request's ref holds the key still."""
        return int("--push" in self.words and "--plan" not in self.words)

    def ends_well(self) -> None:
        story = self.story
        new = story.new_key(self.env_file, self.before)
        assert (story.answers(story.key), story.answers(new)) == (401, 200)
        assert len(story.alive()) == 1
        if "--push" in self.words:
            assert story.holding() == ["refs/pull/1/head"]
        assert not (story.incident / "vault").exists()
        assert not (story.incident / "mirror").exists()
        story.nowhere()


Killing = Callable[[str, str], Kill]


@pytest.fixture(scope="module")
def begin(platform: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kill]:
    """A new story each time; the repository is made once."""

    def make(words: tuple[str, ...], kind: str = "dev") -> Kill:
        folder = tmp_path_factory.mktemp("killed")
        mint = Mint(str(folder))
        mint.keys.append(platform.key)
        story = Story(folder, platform, mint, user(folder, platform, surroundings(folder)))
        story.create(kind)
        story.leak()
        return Kill(story, words)

    return make


def _note(rows: list[str]) -> None:
    name = os.environ.get("FLUXGUARD_KILLS")
    if name:
        with Path(name).open("a") as stream:
            stream.write("\n".join(rows) + "\n")


def _table(
    begin: Callable[..., Kill],
    words: tuple[str, ...],
    wanted: Callable[[str], bool],
    title: str,
    every: int = 1,
) -> None:
    """Kills at the boundaries of a run that are `wanted`, and writes the table.

    every: each how manieth of them; where a table is asked for, it is all.
    """
    every = 1 if os.environ.get("FLUXGUARD_KILLS") else every
    passed = begin(words).at(0)
    rows = [f"\n## {title}\n", "| n | step | killed behind | then | resume |", "|--:|---|---|---|---|"]
    for number, boundary in enumerate(passed, 1):
        if not wanted(boundary) or number % every:
            continue
        kill = begin(words)
        reached = kill.at(number)
        assert reached[-1].split(":")[0] == boundary.split(":")[0], (reached[-1], boundary)
        try:
            there = kill.holds("revoke-first" in words)
            did = kill.resumes()
            kill.ends_well()
        except AssertionError as error:
            raise AssertionError(f"killed at {number}, {boundary}: {error}") from error
        step, _, what = boundary.partition(": ")
        rows.append(f"| {number} | {step} | {what} | {there} | {did} |")
    _note(rows)
    assert len(rows) > (8 if every == 1 else 3)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_anywhere_in_the_key_lane(begin: Callable[..., Kill], strategy: str) -> None:
    _table(begin, ("--strategy", strategy), lambda boundary: True, strategy, every=8)


@pytest.mark.slow
def test_killed_anywhere_in_the_history_lane(begin: Callable[..., Kill]) -> None:
    late = ("rewrite", "push", "prove", "prevent", "close")
    words = ("--strategy", "overlap", "--clean-history", "--push")
    _table(begin, words, lambda boundary: boundary.startswith(late), "the history", every=8)


def test_killed_while_asking_for_the_new_key(begin: Callable[..., Kill]) -> None:
    """Before and behind the request, and before the vault has its answer: the same new key, or none and another."""
    _table(
        begin, ("--strategy", "overlap"), lambda boundary: boundary.startswith(("reissue", "distribute", "confirm")), "overlap",
        every=2,
    )  # fmt: skip


def test_a_plan_that_is_killed_leaves_no_incident(begin: Callable[..., Kill]) -> None:
    """Behind each answer of the platform, and so before and behind the audit."""
    kill = begin(("--plan", "--clean-history", "--push"))
    passed = kill.at(0)
    assert len([one for one in passed if "platform:" in one]) >= 3
    for number in range(1, len(passed) + 1):
        kill.at(number)
        assert list(kill.story.state.rglob("*")) == []
        assert "There are no incidents" in kill.story.run("respond", "status").out
    kill.words = ("--strategy", "overlap")
    kill.resumes()
    kill.ends_well()


def test_a_torn_line_is_dropped(begin: Callable[..., Kill]) -> None:
    kill = begin(("--strategy", "overlap"))
    passed = kill.at(9)
    assert passed
    path = kill.story.incident / "journal.jsonl"
    whole = path.read_bytes()
    with path.open("ab") as stream:
        stream.write(b'{"seq": 99, "step": "rei')
    kill.resumes()
    kill.ends_well()
    assert path.read_bytes().startswith(whole)


def test_a_changed_line_stops_the_run(begin: Callable[..., Kill]) -> None:
    kill = begin(("--strategy", "overlap"))
    kill.at(9)
    path = kill.story.incident / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0].replace(b"verify", b"verifY"), *lines[1:]]))
    said = kill.story.resume(code=3)
    assert "Line 1 of the journal" in said.err
    assert json.loads(lines[0])["step"] == "verify"
    assert kill.story.answers(kill.story.key) == 200
