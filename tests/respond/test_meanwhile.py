"""What others do, and what clocks do, while the old key is waited for."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import COMMAND, call

from tests.respond.story import Story


@contextmanager
def _database(story: Story) -> Iterator[sqlite3.Connection]:
    (path,) = story.server.folder.rglob("*.db")
    connection = sqlite3.connect(path, timeout=10)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _successor(story: Story) -> str:
    (found,) = story.alive()
    return found


def _waits(story: Story) -> bytes:
    """A response that waits, for the old key is used. Returns what stood in .env."""
    before = story.repo.write(".env", f"K={story.key} # kept\n").read_bytes()
    assert story.use(story.key) == 200
    story.start("--yes", code=3)
    story.new_key(story.repo.path / ".env", before)
    return before


def _silent(story: Story) -> None:
    """As if the old key had last been used an hour ago."""
    with _database(story) as connection:
        connection.execute(
            "UPDATE keys SET last_used_at = last_used_at - 3600000 WHERE id = ?", [story.key_id]
        )


@pytest.mark.parametrize("how", ["revoked", "deleted", "never made"])
def test_a_new_key_that_somebody_ended_is_replaced_before_the_old_one_goes(story: Story, how: str) -> None:
    """Revoked by a colleague; or the platform was put back to a day before."""
    before = _waits(story)
    lost = _successor(story)
    if how == "revoked":
        story.server.ask("POST", f"/api/v1/keys/{lost}/revoke", 200, json={"reason": "a mistake"})
    elif how == "deleted":
        story.server.ask("DELETE", f"/api/v1/keys/{lost}?confirm_name=The+shop", 200)
    else:
        with _database(story) as connection:
            connection.execute("DELETE FROM keys WHERE id = ?", [lost])
            connection.execute(
                "UPDATE keys SET successor_id = NULL, ends_at = NULL WHERE id = ?", [story.key_id]
            )
    _silent(story)
    said = story.resume("--yes", code=3)
    assert "opens nothing any more" in said.err
    assert story.answers(story.key) == 200
    story.resume("--yes")
    new = story.new_key(story.repo.path / ".env", before)
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
    assert len(story.alive()) == 1
    story.nowhere()


def test_an_abort_says_that_the_new_key_is_dead(story: Story) -> None:
    _waits(story)
    story.server.ask("POST", f"/api/v1/keys/{_successor(story)}/revoke", 200, json={"reason": "a mistake"})
    story.resume("--yes", code=3)
    said = story.run("respond", "abort", "--yes").out
    assert "The new key is dead" in said
    assert str(story.repo.path / ".env") in said


def test_where_both_are_dead_a_new_one_is_made(story: Story) -> None:
    before = _waits(story)
    for one in (_successor(story), story.key_id):
        story.server.ask("POST", f"/api/v1/keys/{one}/revoke", 200, json={"reason": "all of them"})
    story.resume("--yes", code=3)
    story.resume("--yes")
    new = story.new_key(story.repo.path / ".env", before)
    assert story.answers(new) == 200
    assert len(story.alive()) == 1


def test_the_deadline_is_nobodys_doing(story: Story) -> None:
    _waits(story)
    with _database(story) as connection:
        connection.execute("UPDATE keys SET ends_at = last_used_at - 1 WHERE id = ?", [story.key_id])
    story.resume("--yes")
    assert story.outcome("drain")["why"] == "its deadline has come"


AHEAD = """
import sys
from datetime import UTC, datetime, timedelta
from fluxguard.respond import revoking
revoking.now = lambda: (datetime.now(UTC) + timedelta(hours=float(sys.argv[1]))).strftime("%Y-%m-%dT%H:%M:%SZ")
from fluxguard.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("hours", ["25", "-25"])
def test_what_is_used_is_not_silent_by_a_clock_that_is_wrong(story: Story, hours: str) -> None:
    """This machine's clock against the platform's, which stamps the uses."""
    story.repo.write(".env", f"K={story.key}\n")
    assert story.use(story.key) == 200
    story.start("--yes", code=3)
    argv = [sys.executable, "-c", AHEAD, hours, "respond", "resume", "--yes"]
    done = call(argv, story.repo.path, story.environment, story.mint)
    assert done.code == 3, done.text
    assert "1,500 minutes apart" in done.out or "1,499 minutes apart" in done.out
    assert story.answers(story.key) == 200


def test_whose_key_is_not_let_in_is_said(story: Story) -> None:
    """A person who reads "regenerate it" ends the wrong one."""
    wish = {"name": "for responses", "environment": "dev", "scope": "all", "permissions": ["read_scenarios", "manage_keys"], "expires": "30d"}  # fmt: skip
    asks = story.server.ask("POST", "/api/v1/keys", 201, json=wish)
    assert isinstance(asks, dict)
    story.mint.keys.append(asks["key"])
    assert story.use(story.key) == 200
    story.start("--yes", code=3, FLUXLOOP_API_KEY=asks["key"])
    story.server.ask("POST", f"/api/v1/keys/{asks['id']}/revoke", 200, json={"reason": "x"})
    said = story.resume("--yes", code=4, FLUXLOOP_API_KEY=asks["key"])
    assert "neither the leaked key nor the new one" in said.err
    assert "egenerate" not in said.text
    assert "neither the leaked key" in story.run("respond", "status").out
    story.resume("--yes", code=3)


def test_a_command_that_is_not_there_is_told_before_a_key_is_made(story: Story) -> None:
    for command in ("/no/such/command", "sh -c 'cat", " ' ' "):
        assert "command of a target" in story.start("--yes", "--target", f"exec:{command}", code=2).err
    assert len(story.issued()) == 1
    assert not list((story.state / "incidents").glob("inc-*"))


def test_a_command_that_leaves_a_child_behind_holds_nobody_up(story: Story) -> None:
    child, got = story.folder / "child", story.folder / "got"
    command = f"sh -c 'cat >{got}; sleep 250 & echo $! >{child}'"
    story.start("--yes", "--target", f"exec:{command}")
    os.kill(int(child.read_text()), signal.SIGKILL)  # it runs still, or this would be an error
    story.mint.keys.append(got.read_text())
    assert story.answers(got.read_text()) == 200


def test_where_there_is_no_repository(story: Story) -> None:
    said = story.start("--yes", "--repo", str(story.folder), code=2)
    assert "--repo PATH" in said.err


def test_the_persons_own_hooks_do_not_run_in_the_mirror(story: Story) -> None:
    hooks = story.folder / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "pre-push", "post-checkout"):
        (hooks / name).write_text(f"#!/bin/sh\npwd >>{story.folder}/ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    home = story.folder / "with-hooks"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[core]\n\thooksPath = {hooks}\n")
    remote = story.repo.git("for-each-ref", cwd=story.remote)
    story.start("--clean-history", "--yes", HOME=str(home), GIT_CONFIG_GLOBAL=str(home / ".gitconfig"))
    assert story.outcome("rewrite")["changed"]
    assert not (story.folder / "ran").exists()
    assert story.repo.git("for-each-ref", cwd=story.remote) == remote


def test_a_clone_that_can_not_be_cleaned_is_told_in_the_plan(story: Story) -> None:
    """The lines that an earlier response wrote to .gitignore, say."""
    story.repo.write(".gitignore", ".env\n# and more\n")
    words = ("--clean-history", "--push", "--own-clone", "--plan")
    assert "changes that are not committed" in story.start(*words).out
    plan = json.loads(story.start(*words, "--format", "json").out)
    assert any("not committed" in one for one in plan["cleaning"]["hindrances"])


@pytest.mark.parametrize("broken", ["vault", "vault.key"])
def test_an_incident_whose_vault_is_lost_can_be_ended_and_the_leak_responded_to(
    story: Story, broken: str
) -> None:
    _waits(story)
    path = story.incident / "vault" if broken == "vault" else story.state / "vault.key"
    path.write_bytes(os.urandom(32) if broken == "vault.key" else b"")
    said = story.resume("--yes", code=3)
    assert f"respond abort {story.incident.name}" in said.err
    assert "The new key stays" in story.run("respond", "abort", "--yes").out
    assert not (story.incident / "vault").exists()
    story.start("--plan")


def test_a_new_key_that_stands_in_a_file_is_not_revoked_whatever_the_journal_says(story: Story) -> None:
    _waits(story)
    (story.incident / "journal.jsonl").write_bytes(b"")
    assert str(story.repo.path / ".env") in story.run("respond", "abort", "--yes").out
    assert len(story.alive()) == 1


def test_a_remote_that_became_another_is_not_called_clean(story: Story) -> None:
    assert story.use(story.key) == 200
    story.clean(code=3)
    other = story.folder / "other.git"
    story.repo.git("init", "-q", "--bare", str(other))
    story.repo.git("remote", "set-url", "origin", str(other))
    story.server.ask("POST", f"/api/v1/keys/{story.key_id}/revoke", 200, json={"reason": "leaked"})
    assert "another address" in story.resume("--yes", code=3).err
    story.repo.git("remote", "set-url", "origin", str(story.remote))
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]


def test_a_clone_that_was_moved_is_asked_back(story: Story) -> None:
    assert story.use(story.key) == 200
    story.clean(code=3)
    story.server.ask("POST", f"/api/v1/keys/{story.key_id}/revoke", 200, json={"reason": "leaked"})
    aside = story.folder / "aside"
    story.repo.path.rename(aside)
    story.repo.path.symlink_to("nowhere")
    argv = [str(COMMAND), "respond", "resume", "--yes"]
    done = call(argv, story.folder, story.environment, story.mint)
    assert "bring it back to that place" in done.err, done.text
    story.repo.path.unlink()
    aside.rename(story.repo.path)
    story.resume("--yes", code=1)
