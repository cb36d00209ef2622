"""Commits that a cleaned history gave up do not come back, by a push or into a server; and what a response sets up."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Repo, Run

from fluxguard.repo import banned
from fluxguard.respond.preventing import prevent
from guard.conftest import Guarded


def rewritten(repo: Repo) -> tuple[str, str]:
    """A commit that is given up, on a branch that still has it, and the one that took its place."""
    repo.commit("a.txt", "one\n")
    old = repo.git("rev-parse", "HEAD").decode().strip()
    repo.git("branch", "stale")
    repo.git("commit", "-q", "--amend", "--no-verify", "-m", "cleaned")
    return old, repo.git("rev-parse", "HEAD").decode().strip()


def test_a_push_that_would_bring_one_back_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    old, new = rewritten(repo)
    said = prevent(repo.path, (old,))
    assert "1 commit is kept from coming back" in said["banned"]
    assert json.loads((repo.path / ".git" / banned.NAME).read_text()) == [old]
    guarded.passes("push", "-q", "origin", "HEAD")
    text = guarded.refused("push", "origin", "stale")
    assert f"would bring back commit {old[:12]}" in text
    assert "git format-patch" in text
    repo.git("checkout", "-q", "stale")
    repo.commit("b.txt", "two\n")
    assert "would bring back" in guarded.refused("push", "origin", "stale")
    assert prevent(repo.path, (old,))["banned"] == said["banned"]
    assert new != old


def test_a_server_refuses_it_too(repo: Repo, run: Run, tmp_path: Path) -> None:
    server = tmp_path / "server.git"
    repo.git("init", "-q", "--bare", str(server))
    assert run("install", "--server", str(server)).code == 0
    repo.git("remote", "add", "origin", str(server))
    old, _ = rewritten(repo)
    (server / "fluxguard").mkdir(exist_ok=True)
    (server / banned.NAME).write_text(json.dumps([old]))
    assert repo.try_git("push", "--no-verify", "origin", "HEAD:refs/heads/main").returncode == 0
    done = repo.try_git("push", "--no-verify", "origin", "stale")
    assert done.returncode != 0
    assert b"would bring back commit" in done.stderr


def test_a_list_that_can_not_be_read_lets_nothing_through(guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    repo.commit("a.txt", "one\n")
    path = repo.path / ".git" / banned.NAME
    path.parent.mkdir(exist_ok=True)
    for wrong in ("nonsense", "{}", '["--help"]'):
        path.write_text(wrong)
        assert "can't be read" in guarded.refused("push", "origin", "HEAD")


def test_a_response_installs_the_hooks(repo: Repo) -> None:
    said = prevent(repo.path, ())
    assert said["hooks"].endswith("hooks installed")
    assert (repo.path / ".git" / "hooks" / "pre-push").is_file()
    assert prevent(repo.path, ())["hooks"] == "there already"


def test_install_ci_writes_the_recipe(repo: Repo, run: Run) -> None:
    assert run("install", "--ci", "github", "--plan", cwd=repo.path).code == 0
    assert not (repo.path / ".github").exists()
    assert run("install", "--ci", "github", cwd=repo.path).code == 0
    assert list((repo.path / ".github" / "workflows").iterdir())
    outcome = run("install", "--ci", "jenkins", cwd=repo.path)
    assert outcome.code == 2
