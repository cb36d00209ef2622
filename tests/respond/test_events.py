"""`--format json`: whatever an action comes to is an event, before there is an incident and after it, too."""

from __future__ import annotations

import json

import pytest
from conftest import Outcome

from tests.respond.story import Story


def _last(said: Outcome) -> dict[str, object]:
    event = json.loads(said.out.splitlines()[-1])
    assert event["schema"] == "fluxguard.event/1"
    assert isinstance(event, dict)
    return event


@pytest.mark.parametrize(
    ("words", "step", "what"),
    [
        (["start", "--finding", "zzz"], "start", "--finding takes a fingerprint"),
        (["start", "--finding", "0123456789ab"], "start", "No key of this repository"),
        (["start", "--key-stdin", "--push"], "start", "--push pushes a cleaned history."),
        (["start", "--key-stdin", "--repo", "/nowhere"], "start", "/nowhere is not a folder"),
        (["resume"], "resume", "No incident is open."),
        (["abort", "inc-1"], "abort", "There is no incident of that name."),
        (["forget"], "forget", "No incident keeps a backup"),
        (["status", "inc-1"], "status", "There is no incident of that name."),
    ],
)
def test_an_error_before_there_is_an_incident(story: Story, words: list[str], step: str, what: str) -> None:
    said = story.run("respond", *words, "--format", "json", code=None, stdin=story.key)
    assert said.code in (2, 3)
    assert len(said.out.splitlines()) == 1
    event = _last(said)
    assert (event["step"], event["state"]) == (step, "failed")
    assert what in str(event["data"])
    assert what in said.err


def test_an_error_of_a_step_is_told_once(story: Story) -> None:
    said = story.start("--format", "json", code=4, FLUXLOOP_API_URL="http://127.0.0.1:9")
    assert [json.loads(line)["state"] for line in said.out.splitlines()] == ["started", "failed"]


def test_an_abort_and_what_is_forgotten(story: Story) -> None:
    (story.repo.path / ".env").unlink()
    story.start("--yes", code=3)
    event = _last(story.run("respond", "abort", "--yes", "--format", "json"))
    assert (event["incident"], event["step"], event["state"]) == (story.incident.name, "abort", "done")
    assert event["data"] == {"new_key": "The new key, which nobody had, is revoked.", "kept": []}


@pytest.mark.parametrize("folder", ["/proc/none", "{}/file/state"])
def test_a_state_folder_that_can_not_be_is_named(story: Story, folder: str) -> None:
    (story.folder / "file").write_text("")
    where = folder.format(story.folder)
    assert where in story.start(code=3, FLUXGUARD_STATE_DIR=where).err
    assert story.answers(story.key) == 200


def test_a_report_that_can_not_be_written_says_where(story: Story) -> None:
    story.start("--yes")
    assert "/nowhere/report" in story.run("respond", "report", "--output", "/nowhere/report", code=None).err
