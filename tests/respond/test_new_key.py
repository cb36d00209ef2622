"""The new key is somewhere before the old one goes: where nothing takes it by itself, the run waits, and says what a person can do."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.respond.story import Story

STRATEGIES = ["overlap", "contain", "revoke-first"]


@pytest.fixture
def nowhere(story: Story) -> Story:
    """A leak whose key stands in no file of this machine that may hold a new one."""
    (story.repo.path / ".env").unlink()
    return story


def _waits(story: Story) -> None:
    """The old key is as it was, the new one is kept, and the person is told."""
    assert story.outcome("reissue")
    assert (story.incident / "vault").exists()
    (row,) = json.loads(story.run("respond", "status", "--format", "json").out)
    assert (row["state"], row["step"]) == ("waiting", "hand-over")
    for flag in ("--show-key", "--target", "--no-new-key"):
        assert flag in " ".join(row["todo"])


def _shown(story: Story) -> str:
    """The new key, as `--show-key` prints it: the one place where a key may come out."""
    (made,) = (one for one in story.issued() if one["id"] != story.key_id)
    kept, story.mint.keys[:] = list(story.mint.keys), []
    done = story.run("respond", "resume", "--show-key")
    story.mint.keys += kept
    key = done.out.strip()
    assert made["masked"] == f"{key[:13]}...{key[-5:]}"
    story.said.remove(done.text)
    story.mint.keys.append(key)
    assert story.key not in done.text
    assert key not in done.err
    return key


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_key_that_goes_nowhere_is_waited_with_and_shown(nowhere: Story, strategy: str) -> None:
    story = nowhere
    assert "goes nowhere by itself" in story.start("--plan", "--strategy", strategy).out
    for again in range(2):
        story.resume("--yes", code=3) if again else story.start("--yes", "--strategy", strategy, code=3)
        assert story.answers(story.key) == (401 if strategy == "revoke-first" else 200)
        _waits(story)
    new = _shown(story)
    assert story.answers(story.key) == (401 if strategy == "revoke-first" else 200), "to show it ends nothing"
    assert _shown(story) == new
    story.resume("--yes")
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
    assert not (story.incident / "vault").exists()
    story.nowhere()


def test_places_by_hand_alone_are_no_places(nowhere: Story) -> None:
    nowhere.repo.commit("config.py", f"KEY = '{nowhere.key}'\n", "again")
    nowhere.start("--yes", code=3)
    _waits(nowhere)
    assert nowhere.outcome("distribute")["places"][0]["done"] == "manual"
    assert nowhere.answers(nowhere.key) == 200


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_a_new_key(nowhere: Story, strategy: str) -> None:
    assert "goes nowhere" not in nowhere.start("--plan", "--strategy", strategy, "--no-new-key").out
    path = nowhere.repo.write(".env", f"K={nowhere.key}\n")
    nowhere.start("--yes", "--strategy", strategy, "--no-new-key")
    assert nowhere.answers(nowhere.key) == 401
    assert len(nowhere.issued()) == 1
    assert nowhere.key in path.read_text()
    report = json.loads(nowhere.run("respond", "report", "--format", "json").out)
    assert any(".env" in line and "stops working" in line for line in report["left"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_done_without_after_all(nowhere: Story, strategy: str) -> None:
    nowhere.start("--yes", "--strategy", strategy, code=3)
    assert len(nowhere.issued()) == 2
    nowhere.resume("--yes", "--no-new-key")
    assert nowhere.answers(nowhere.key) == 401
    assert not nowhere.alive(), "an orphan that nobody can get"
    nowhere.resume("--show-key", code=2)


def test_brought_to_a_place_that_is_named_later(nowhere: Story) -> None:
    nowhere.start("--yes", code=3)
    got = nowhere.folder / "got"
    nowhere.resume("--yes", "--target", f"exec:tee {got}")
    new = got.read_text()
    nowhere.mint.keys.append(new)
    assert (nowhere.answers(nowhere.key), nowhere.answers(new)) == (401, 200)
    nowhere.resume("--show-key", code=2)
    nowhere.nowhere()


@pytest.mark.parametrize("strategy", ["overlap", "revoke-first"])
def test_an_abort_leaves_no_key_that_nobody_has(nowhere: Story, strategy: str) -> None:
    nowhere.start("--yes", "--strategy", strategy, code=3)
    said = nowhere.run("respond", "abort", code=2)
    assert "--show-key" in said.err
    said = nowhere.run("respond", "abort", "--yes")
    assert "is revoked" in said.out
    assert not nowhere.alive()


def test_an_abort_says_who_has_the_new_key(nowhere: Story) -> None:
    nowhere.start("--yes", code=3)
    new = _shown(nowhere)
    assert "shown to whoever asked" in nowhere.run("respond", "abort", "--yes").out
    assert nowhere.use(new) == 200


def _target(story: Story, code: int) -> Path:
    path = story.folder / "target.sh"
    path.write_text(f"#!/bin/sh\ncat > {story.folder}/got\nenv > {story.folder}/environment\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_places_that_were_written_before_a_failure_stay_known(story: Story) -> None:
    env_file = story.repo.path / ".env"
    before = env_file.read_bytes()
    target = _target(story, 3)
    story.start("--yes", "--target", f"exec:{target}", code=None)
    assert story.answers(story.key) == 200
    story.new_key(env_file, before)
    _target(story, 0)
    story.resume("--yes")
    rows = {one["place"]: one["done"] for one in story.outcome("distribute")["places"]}
    assert rows == {str(env_file): "there", f"exec:{target}": "delivered"}
    assert str(env_file) in story.run("respond", "report").out.replace("\\", "")


def test_an_abort_says_where_the_new_key_was_written(story: Story) -> None:
    env_file = story.repo.path / ".env"
    before = env_file.read_bytes()
    target = _target(story, 3)
    story.start("--yes", "--target", f"exec:{target}", code=None)
    new = story.new_key(env_file, before)
    said = story.run("respond", "abort", "--yes").out
    assert str(env_file) in said
    assert f"exec:{target} (perhaps)" in said
    assert story.use(new) == 200
    story.nowhere()


def test_a_key_that_is_given_up_is_shown_to_nobody(nowhere: Story) -> None:
    """Killed after it was said, and before it is revoked: whoever saw it now would put a dead key where it is needed."""
    nowhere.start("--yes", code=3)
    nowhere.killed("start\tjournal: note", "resume", "--no-new-key", "--yes")
    assert nowhere.alive()
    assert "given up" in nowhere.resume("--show-key", code=2).err
    nowhere.resume("--no-new-key", "--yes")  # said twice, it is the same
    assert not nowhere.alive()
    assert nowhere.answers(nowhere.key) == 401


def test_a_key_that_may_have_been_seen_is_not_revoked_unasked(nowhere: Story) -> None:
    """Killed while it was shown: it is not known whether somebody has it, and the old key waits until somebody has."""
    nowhere.start("--yes", code=3)
    nowhere.killed("start\tjournal: note", "resume", "--show-key")
    nowhere.resume("--yes", code=3)
    assert nowhere.answers(nowhere.key) == 200
    assert "(perhaps)" in nowhere.resume("--no-new-key", code=2).err
    new = _shown(nowhere)
    nowhere.resume("--yes")
    assert (nowhere.answers(nowhere.key), nowhere.answers(new)) == (401, 200)


@pytest.mark.parametrize("behind", ["abort\tjournal: intent", "abort\tjournal: done"])
def test_an_abort_that_is_killed_is_gone_on_with(nowhere: Story, behind: str) -> None:
    nowhere.start("--yes", code=3)
    nowhere.killed(behind, "abort", "--yes")
    if behind.endswith("intent"):
        (row,) = json.loads(nowhere.run("respond", "status", "--format", "json").out)
        assert row["state"] == "aborting"
        assert f"respond abort {row['incident']}" in nowhere.run("respond", "status").out
        assert "respond abort" in nowhere.resume(code=2).err
        assert "is revoked" in nowhere.run("respond", "abort", "--yes").out
    assert not (nowhere.incident / "vault").exists()
    assert not nowhere.alive()
    assert "aborted" in nowhere.run("respond", "abort", nowhere.incident.name, "--yes", code=2).err
    nowhere.nowhere()


def _broken(story: Story) -> str:
    """A command that is there, and can't be started all the same."""
    script = story.folder / "broken"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("command", ["", "false"])
def test_a_place_that_was_named_wrongly_can_be_taken_back(nowhere: Story, command: str) -> None:
    wrong, got = f"exec:{command or _broken(nowhere)}", nowhere.folder / "got"
    said = nowhere.start("--yes", "--target", wrong, code=3)
    assert f"--without-target {wrong}" in said.err
    assert "--without-target" in nowhere.run("respond", "status").out
    assert "none of the places" in nowhere.resume("--without-target", "exec:true", code=2).err
    nowhere.resume("--show-key", "--without-target", wrong, code=2)
    nowhere.resume("--yes", "--without-target", wrong, "--target", f"exec:tee {got}")
    nowhere.mint.keys.append(got.read_text())
    rows = [one["place"] for one in nowhere.outcome("distribute")["places"]]
    assert rows == [f"exec:tee {got}"]
    assert nowhere.answers(nowhere.key) == 401


def test_a_command_that_never_ran_has_no_key(nowhere: Story) -> None:
    nowhere.start("--yes", "--target", f"exec:{_broken(nowhere)}", code=3)
    nowhere.resume("--yes", "--no-new-key")
    assert not nowhere.alive()


def test_a_response_that_makes_no_key_takes_no_places(story: Story) -> None:
    assert story.use(story.key) == 200
    story.start("--yes", code=3)
    story.run("respond", "abort", "--yes")
    assert "so none goes to exec:true" in story.start("--plan", "--target", "exec:true").out
    said = story.start("--yes", "--target", "exec:true", code=3).out
    assert "finish" in said
    for words in (("--target", "exec:false"), ("--no-new-key",)):
        assert (
            "makes no new key (finish)" in story.run("respond", "resume", open_one(story), *words, code=2).err
        )
    report = story.run("respond", "report", open_one(story), "--format", "json").out
    assert any("exec:true" in line and "no new key" in line for line in json.loads(report)["left"])


def open_one(story: Story) -> str:
    rows = json.loads(story.run("respond", "status", "--format", "json").out)
    (name,) = (one["incident"] for one in rows if one["state"] not in ("closed", "aborted"))
    return str(name)
