"""Folders whose names hold a key: no report shows it, and no command line or environment of a child carries it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import Mint, Repo, Run


@pytest.fixture
def spied(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """A `git` that writes down how it was called: what to set, and where it writes."""
    log = tmp_path / "calls"
    folder = tmp_path / "bin"
    folder.mkdir()
    spy = folder / "git"
    spy.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}; cat /proc/$$/environ >> {log}; exec {shutil.which("git")} "$@"\n'
    )
    spy.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}, log


def make(folder: Path, repo: Repo) -> Repo:
    folder.mkdir()
    made = Repo(folder, repo.env, repo.mint)
    made.git("init", "-q", "-b", "main")
    (folder / "a").write_text("a\n")
    made.git("add", "a")
    made.git("commit", "-qm", "first")
    return made


@pytest.mark.parametrize(
    "flags", [[], ["--quiet"], ["--explain", "fg1:00000000"], ["--output", "report.txt"]]
)
def test_the_folder_of_a_repository(
    flags: list[str], repo: Repo, run: Run, mint: Mint, tmp_path: Path, spied: tuple[dict[str, str], Path]
) -> None:
    env, log = spied
    made = make(tmp_path / mint.key(), repo)
    assert run("audit", *flags, made.path, env=env).code == 0
    assert run("audit", *flags, cwd=made.path, env={**env, "PWD": "/"}).code == 0
    assert log.exists()
    for written in (log, tmp_path / "report.txt", made.path / "report.txt"):
        assert not written.exists() or not mint.leaked(written.read_bytes())


def test_alternates_worktrees_and_submodules(
    repo: Repo, run: Run, mint: Mint, tmp_path: Path, spied: tuple[dict[str, str], Path]
) -> None:
    env, log = spied
    other = make(tmp_path / mint.key("dev"), repo)
    made = make(tmp_path / "made", repo)
    (made.path / ".git/objects/info/alternates").write_text(f"{other.path}/.git/objects\n")
    made.git("worktree", "add", "-q", str(tmp_path / f"tree-{mint.key('stg')}"), "-b", "side")
    shutil.copytree(other.path / ".git", made.path / ".git/modules" / mint.key("ci"))
    outcome = run("audit", made.path, env=env)
    assert outcome.code == 1, outcome.text  # the name of the worktree is one of git's files' names
    assert "sha256sum" in outcome.out
    assert log.exists()
    assert not mint.leaked(log.read_bytes())


def test_an_index_is_read_wherever_the_working_tree_is_said_to_be(
    repo: Repo, run: Run, mint: Mint, tmp_path: Path
) -> None:
    made = make(tmp_path / "made", repo)
    name = mint.key()
    (made.path / name).write_text("x\n")
    made.git("add", name)
    (made.path / name).unlink()
    for worktree in (str(made.path), str(made.path / ".git"), "..", "/nowhere"):
        made.git("config", "core.worktree", worktree, cwd=tmp_path, GIT_DIR=str(made.path / ".git"))
        assert "(in the index)" in run("audit", made.path, cwd=tmp_path).out
    made.git("config", "core.bare", "true", cwd=tmp_path, GIT_DIR=str(made.path / ".git"))
    outcome = run("audit", made.path)
    assert outcome.code == 1, outcome.text
