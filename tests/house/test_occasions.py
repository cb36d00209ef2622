"""The next commands are right for the way the commit came about: followed as they stand, they end with the key out of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import PROJECT, Mint, Repo, Run


@pytest.fixture
def hooked(repo: Repo) -> Repo:
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    return repo


def refused(repo: Repo, *command: str, stdin: bytes = b"", **env: str) -> str:
    """What was said to a git command that has to be refused."""
    done = repo.try_git(*command, stdin=stdin, **env)
    assert done.returncode != 0
    assert not repo.mint.leaked(done.stderr)
    return done.stderr.decode()


def follow(repo: Repo, shown: str, step: int, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the commands below a step, in a shell, as they were shown."""
    below = shown.partition(f"\n  {step}. ")[2].partition(f"\n  {step + 1}. ")[0]
    commands = [line.strip() for line in below.splitlines() if line.startswith(" " * 7)]
    assert commands, shown
    return subprocess.run(
        ["sh", "-ec", "\n".join(commands)], cwd=repo.path, env={**repo.env, **env}, capture_output=True
    )


def history(repo: Repo) -> bytes:
    return repo.git("log", "-p", "--format=fuller")


def editor(repo: Repo, text: str) -> str:
    """An editor that writes `text` over what it is given."""
    program = Path(repo.env["HOME"]) / "editor"
    program.write_text(f"#!/bin/sh\necho '{text}' > \"$1\"\n")
    program.chmod(0o755)
    return str(program)


def patch(repo: Repo, line: str, message: str) -> bytes:
    repo.commit("app.env", f"A=1\n{line}\n", message)
    made = repo.git("format-patch", "-1", "--stdout")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.commit("older", "words\n", "an older message")
    return made


def test_a_patch(hooked: Repo, mint: Mint) -> None:
    shown = refused(hooked, "am", stdin=patch(hooked, mint.key(), "add a file"))
    assert "git restore" not in shown
    hooked.write("app.env", "A=1\n")
    done = follow(hooked, shown, 1)
    assert done.returncode == 0, done.stderr.decode()
    assert b"add a file" in history(hooked)
    assert not mint.leaked(history(hooked))


def test_the_message_of_a_patch(hooked: Repo, mint: Mint) -> None:
    shown = refused(hooked, "am", stdin=patch(hooked, "B=2", f"use {mint.key()}"))
    assert "COMMIT_EDITMSG" not in shown
    done = follow(hooked, shown, 1, EDITOR=editor(hooked, "use it"))
    assert done.returncode == 0, done.stderr.decode()
    assert b"use it" in history(hooked)
    assert not mint.leaked(history(hooked))


def test_a_merge_that_brings_it(hooked: Repo, mint: Mint) -> None:
    hooked.git("checkout", "-q", "-b", "side")
    hooked.commit("their.env", mint.key())
    hooked.git("checkout", "-q", "main")
    hooked.commit("ours", "words\n")
    head = hooked.head
    shown = refused(hooked, "merge", "-q", "--no-edit", "side")
    assert "taking it out of the file does not help" in " ".join(shown.split())
    assert "git restore" not in shown
    assert follow(hooked, shown, 1).returncode == 0
    assert hooked.head == head
    assert not hooked.git("status", "--porcelain")


def test_a_conflict_settled_with_it(hooked: Repo, mint: Mint) -> None:
    hooked.git("checkout", "-q", "-b", "side")
    hooked.commit("app.env", "theirs\n")
    hooked.git("checkout", "-q", "main")
    hooked.commit("app.env", "ours\n")
    hooked.try_git("merge", "-q", "side")
    hooked.stage("app.env", f"both {mint.key()}\n")
    shown = refused(hooked, "commit", "-q", "--no-edit")
    hooked.write("app.env", "both\n")
    done = follow(hooked, shown, 1)
    assert done.returncode == 0, done.stderr.decode()
    assert hooked.git("rev-list", "--merges", "HEAD")
    assert not mint.leaked(history(hooked))


def test_the_message_of_a_merge(hooked: Repo, mint: Mint) -> None:
    hooked.git("checkout", "-q", "-b", "side")
    hooked.commit("theirs", "words\n")
    hooked.git("checkout", "-q", "main")
    hooked.commit("ours", "words\n")
    shown = refused(hooked, "merge", "-q", "-m", f"merge {mint.key()}", "side")
    done = follow(hooked, shown, 1, GIT_EDITOR=editor(hooked, "merge it"))
    assert done.returncode == 0, done.stderr.decode()
    assert hooked.git("rev-list", "--merges", "HEAD")
    assert not mint.leaked(history(hooked))


@pytest.mark.parametrize("how", [("-a",), ("--", "README"), ("-i", "README")])
def test_a_commit_of_files(hooked: Repo, mint: Mint, how: tuple[str, ...]) -> None:
    hooked.write("README", mint.key())
    command = ("commit", "-q", "-m", "change", *how)
    shown = refused(hooked, *command)
    assert "Take it out of the file as it is on disk" in shown
    assert "git restore" not in shown, "it is not in the index that is left"
    hooked.write("README", "changed\n")
    hooked.git(*command)
    assert not mint.leaked(history(hooked))


def test_the_message_of_an_amended_commit(hooked: Repo, mint: Mint) -> None:
    shown = refused(hooked, "commit", "-q", "--amend", "-m", f"use {mint.key()}")
    assert "If you gave --amend, -a or paths, give them again" in " ".join(shown.split())


@pytest.mark.parametrize("name", ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME"])
def test_author_and_committer(hooked: Repo, mint: Mint, name: str) -> None:
    shown = refused(hooked, "commit", "-q", "--allow-empty", "-m", "x", **{name: mint.key()})
    assert "author or committer hold 1 key" in shown or "1 key would be committed" in shown
    assert "the author's or committer's name or mail address" in shown
    assert follow(hooked, shown, 1).returncode in (0, 1)
    hooked.git("commit", "-q", "--allow-empty", "-m", "x")


def test_author_on_the_command_line_and_committer_in_the_configuration(hooked: Repo, mint: Mint) -> None:
    refused(hooked, "commit", "-q", "--allow-empty", "-m", "x", "--author", f"Ada <{mint.key()}@example.org>")
    for name in [name for name in hooked.env if name.startswith("GIT_COMMITTER_")]:
        del hooked.env[name]
    hooked.git("config", "user.email", "a@b.c")
    hooked.git("config", "user.name", "Ada")
    hooked.git("commit", "-q", "--allow-empty", "-m", "x")
    hooked.git("config", "committer.name", mint.key())
    refused(hooked, "commit", "-q", "--allow-empty", "-m", "x")


def test_the_author_of_a_patch(hooked: Repo, mint: Mint) -> None:
    hooked.env["GIT_AUTHOR_NAME"] = mint.key()
    made = patch(hooked, "B=2", "add a file")
    hooked.env["GIT_AUTHOR_NAME"] = "Ada"
    shown = refused(hooked, "am", stdin=made)
    head = hooked.head
    assert follow(hooked, shown, 1).returncode == 0
    assert hooked.head == head


def test_a_key_that_came_and_went_within_a_range(run: Run, repo: Repo, mint: Mint) -> None:
    start = repo.head.decode()
    repo.commit("app.env", mint.key())
    repo.commit("app.env", "TOKEN=\n")
    repo.commit("other", "words\n", f"a message with {mint.key()}")
    env = {"PRE_COMMIT_FROM_REF": start, "PRE_COMMIT_TO_REF": "HEAD"}
    outcome = run("hook", "pre-commit", "--", "app.env", "other", cwd=repo.path, env=env)
    assert outcome.code == 1
    assert "app.env:1:1 (committed)" in outcome.err
    assert f"(of commit {repo.head.decode()[:10]})" in outcome.err
    assert "--find-object=" in outcome.err
    assert "draft" not in outcome.err
    done = follow(repo, outcome.err, 1)
    assert len(done.stdout.splitlines()) == 2, "the commit that brought it, and the one that took it out"
    env["PRE_COMMIT_FROM_REF"] = "HEAD"
    assert run("hook", "pre-commit", "--", cwd=repo.path, env=env).code == 0


def test_a_range_that_is_not_there_is_not_called_clean(run: Run, repo: Repo) -> None:
    env = {"PRE_COMMIT_FROM_REF": "no/such", "PRE_COMMIT_TO_REF": "HEAD"}
    assert run("hook", "pre-commit", "--", cwd=repo.path, env=env).code == 3
