"""The kill table where the new key goes nowhere by itself: handed over, shown, given up, aborted; killed behind each effect, and gone on with.

As test_kills.py: a sample, or all of it into FLUXGUARD_KILLS=FILE.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Mint, surroundings

from tests.respond.story import Story, user
from tests.server.real import Server

DONE = "nothing: it was done"


@dataclass(frozen=True)
class Lane:
    """before: what was run before. words: what is killed. wanted: at which boundaries. ends: how it is gone on with, and what has to be then."""

    title: str
    before: tuple[str, ...]
    words: tuple[str, ...]
    wanted: Callable[[str], bool]
    ends: Callable[[Story], str]


def _steps(story: Story, known: int) -> str:
    return ", ".join(one["step"] for one in story.records()[known:] if one["phase"] == "done")


def _shown(story: Story) -> str:
    """The new key, which has to be the one that was made first."""
    (made,) = story.alive()
    kept, story.mint.keys[:] = list(story.mint.keys), []
    done = story.run("respond", "resume", "--show-key")
    story.said.remove(done.text)
    story.mint.keys += [*kept, done.out.strip()]
    assert [made] == story.alive()
    return done.out.strip()


def _handed(story: Story) -> str:
    """Seen, and gone on with: the old key dies, and the new one works."""
    if _closed(story):
        return DONE
    assert story.answers(story.key) == 200
    new = _shown(story)
    known = len(story.records())
    story.resume("--yes")
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
    assert len(story.alive()) == 1
    return f"shown, then resumed: {_steps(story, known)}"


def _given_up(story: Story) -> str:
    """No key is left that opens anything."""
    did = DONE
    if not _closed(story):
        known = len(story.records())
        story.resume("--no-new-key", "--yes")
        did = f"resumed: {_steps(story, known)}"
    assert story.answers(story.key) == 401
    assert not story.alive()
    return did


def _aborted(story: Story) -> str:
    """The old key is as it was; the new one, which nobody has, is dead."""
    over = story.records()[-1]["step"] == "abort" and story.records()[-1]["phase"] == "done"
    said = story.run("respond", "abort", story.incident.name, "--yes", code=2 if over else 0)
    assert "aborted" in said.text.lower()
    assert story.answers(story.key) == 200
    assert not story.alive()
    return DONE if over else "aborted"


def _closed(story: Story) -> bool:
    last = story.records()[-1]
    return (last["step"], last["phase"]) == ("close", "done")


START = ("start", "--yes", "--strategy", "overlap")
LANES = (
    Lane("the hand-over", (), START, lambda one: one.startswith("hand-over"), _handed),
    Lane("the new key shown", START, ("resume", "--show-key"), lambda one: True, _handed),
    Lane("the new key given up", START, ("resume", "--no-new-key", "--yes"), lambda one: True, _given_up),
    Lane("an abort", START, ("abort", "--yes"), lambda one: True, _aborted),
)


@pytest.fixture(scope="module")
def begin(platform: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Lane], Story]:
    """A leak whose key stands in no file that may hold a new one."""

    def make(lane: Lane) -> Story:
        folder = tmp_path_factory.mktemp("handing")
        mint = Mint(str(folder))
        mint.keys.append(platform.key)
        story = Story(folder, platform, mint, user(folder, platform, surroundings(folder)))
        story.create()
        story.leak()
        (story.repo.path / ".env").unlink()
        if lane.before:
            story.run("respond", *_with(lane.before, story), code=3)
        return story

    return make


def _with(words: tuple[str, ...], story: Story) -> tuple[str, ...]:
    """`start` is told which key it is."""
    from fluxguard.model import Secret

    return (*words, "--finding", Secret(story.key.encode()).fingerprint) if words[0] == "start" else words


@pytest.mark.slow
@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.title.replace(" ", "-"))
def test_killed_where_the_new_key_goes_nowhere(begin: Callable[[Lane], Story], lane: Lane) -> None:
    file = os.environ.get("FLUXGUARD_KILLS")
    first = begin(lane)
    _, passed = first.boundaries(0, *_with(lane.words, first))
    wanted = [(number, one) for number, one in enumerate(passed, 1) if lane.wanted(one)]
    assert wanted
    rows = [
        f"\n## {lane.title}\n",
        "| n | step | killed behind | then | gone on with |",
        "|--:|---|---|---|---|",
    ]
    for number, boundary in wanted if file else wanted[:: max(1, len(wanted) // 3)]:
        story = begin(lane)
        code, reached = story.boundaries(number, *_with(lane.words, story))
        assert (code, reached[-1].split(":")[0]) == (-9, boundary.split(":")[0]), (reached, boundary)
        there = {one["id"] == story.key_id: one["state"] for one in story.issued()}
        did = lane.ends(story)
        assert not (story.incident / "vault").exists()
        story.said = [said for said in story.said if "--show-key" not in lane.words or "flux_" not in said]
        story.nowhere()
        step, _, what = boundary.partition(": ")
        rows.append(
            f"| {number} | {step} | {what} | old {there[True]}, new {there.get(False, 'none')} | {did} |"
        )
    if file:
        with Path(file).open("a") as stream:
            stream.write("\n".join(rows) + "\n")
