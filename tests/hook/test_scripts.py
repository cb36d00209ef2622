"""The scripts in `hooks/`: whatever is wrong with fluxguard, no commit gets through in silence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import PROJECT, Repo

from hook.conftest import Framework

SCRIPTS = sorted(path.name for path in (PROJECT / "hooks").iterdir())
COMMITS = {
    "pre-commit": ("commit", "-q", "--allow-empty", "-m", "change"),
    "commit-msg": ("commit", "-q", "--allow-empty", "-m", "change"),
    "pre-merge-commit": ("merge", "-q", "--no-ff", "-m", "merge", "side"),
    "pre-applypatch": ("am", "-q", "../change.patch"),
}
OTHERS = {"pre-push", "pre-receive", "update"}  # see test_pushes.py


@pytest.fixture
def path_without(tmp_path: Path) -> Path:
    """A folder for PATH with git and a shell in it, and no fluxguard."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh", "env", "cat"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def commit_with(script: str, repo: Repo, path: Path) -> subprocess.CompletedProcess[bytes]:
    """Commits in the way that runs this one script, which stands alone in the hooks folder."""
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("side.txt", "words\n", "side")
    patch = repo.git("format-patch", "-1", "--stdout")
    (repo.path.parent / "change.patch").write_bytes(patch)
    repo.git("checkout", "-q", "main")
    hooks = repo.path / ".git" / "hooks"
    shutil.rmtree(hooks, ignore_errors=True)
    hooks.mkdir()
    shutil.copy2(PROJECT / "hooks" / script, hooks / script)
    return repo.try_git(*COMMITS[script], PATH=str(path))


def refused(done: subprocess.CompletedProcess[bytes], repo: Repo, before: bytes) -> str:
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode != 0, shown
    assert repo.head == before, shown
    assert "so nothing looked for keys, and the commit is refused." in shown
    assert "pipx install --force fluxguard" in shown
    return shown


def test_every_script_is_tried() -> None:
    assert set(COMMITS) | OTHERS == set(SCRIPTS)


@pytest.mark.parametrize("script", COMMITS)
def test_fluxguard_is_missing(script: str, repo: Repo, path_without: Path) -> None:
    before = repo.head
    shown = refused(commit_with(script, repo, path_without), repo, before)
    assert "fluxguard is not on PATH" in shown
    assert str(path_without) in shown, "the PATH that was looked through is named"


@pytest.mark.parametrize("script", COMMITS)
def test_its_interpreter_is_gone(script: str, repo: Repo, path_without: Path) -> None:
    before = repo.head
    program = path_without / "fluxguard"
    program.write_text("#!/nowhere/bin/python3\nprint('never')\n")
    program.chmod(0o755)
    shown = refused(commit_with(script, repo, path_without), repo, before)
    assert f"{program} does not start" in shown


@pytest.mark.parametrize("script", COMMITS)
def test_its_package_is_gone(script: str, repo: Repo, path_without: Path) -> None:
    before = repo.head
    program = path_without / "fluxguard"
    program.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'fluxguard'\" >&2\nexit 1\n")
    program.chmod(0o755)
    done = commit_with(script, repo, path_without)
    assert done.returncode != 0
    assert repo.head == before


@pytest.mark.parametrize("script", COMMITS)
@pytest.mark.parametrize("code", [1, 2, 3, 70, 130])
def test_whatever_is_not_0_refuses(script: str, code: int, repo: Repo, path_without: Path) -> None:
    before = repo.head
    program = path_without / "fluxguard"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    done = commit_with(script, repo, path_without)
    assert done.returncode != 0
    assert repo.head == before
    assert b"not on PATH" not in done.stderr


@pytest.mark.parametrize("script", COMMITS)
def test_0_lets_the_commit_pass(script: str, repo: Repo, path_without: Path) -> None:
    before = repo.head
    program = path_without / "fluxguard"
    program.write_text('#!/bin/sh\necho "called: $*" >&2\nexit 0\n')
    program.chmod(0o755)
    done = commit_with(script, repo, path_without)
    assert done.returncode == 0, done.stderr.decode()
    assert repo.head != before
    assert f"called: hook {script}".encode() in done.stderr


@pytest.mark.framework
def test_the_scripts_come_with_the_package(framework: Framework) -> None:
    for script in SCRIPTS:
        assert os.access(PROJECT / "hooks" / script, os.X_OK)
        (installed,) = framework.home.glob(f"**/site-packages/fluxguard/hooks/{script}")
        assert os.access(installed, os.X_OK)
