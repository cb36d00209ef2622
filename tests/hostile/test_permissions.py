"""What may not be read is named, and not called clean. Root reads everything: it gives that right up first."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import COMMAND, Mint, Outcome, Repo, Run

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def as_everybody() -> None:
    """Root without the right to pass over permissions. See capabilities(7)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


Bound = Callable[..., Outcome]


@pytest.fixture
def bound(repo: Repo, mint: Mint) -> Iterator[Bound]:
    """fluxguard, as somebody to whom permissions mean something."""
    root = os.geteuid() == 0
    if root and sys.platform != "linux":
        pytest.skip("run as root, on a system where root can't give up its rights")

    def run(*arguments: str) -> Outcome:
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=repo.path,
            env=repo.env,
            capture_output=True,
            timeout=60,
            preexec_fn=as_everybody if root else None,
        )
        assert not mint.leaked(done.stdout + done.stderr)
        assert b"Traceback" not in done.stderr
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    yield run
    for folder, _, _ in os.walk(repo.path):
        os.chmod(folder, 0o755)


def test_a_file_deeper_than_git_can_go_is_told(run: Run, repo: Repo, mint: Mint) -> None:
    """git complains of the folder's own .gitignore first, in as many bytes as the path has."""
    script = "import os, sys\nfor _ in range(250): os.mkdir('n' * 20); os.chdir('n' * 20)\nopen('f', 'w').write(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, mint.key()], cwd=repo.path, check=True)
    outcome = run("scan", ".", cwd=repo.path)
    assert outcome.code == 3
    assert "folder can't be read" in outcome.text


def test_a_file(bound: Bound, repo: Repo) -> None:
    repo.write("closed.env", "words\n").chmod(0)
    for arguments in (["scan"], ["scan", "closed.env"], ["scan", "--no-ignore", "."]):
        outcome = bound(*arguments)
        assert outcome.code == 3
        assert "closed.env: can't be opened: permission denied" in outcome.out
    (repo.path / "closed.env").chmod(0o644)
    assert bound("scan").code == 0


def test_a_file_beside_a_key(bound: Bound, repo: Repo, mint: Mint) -> None:
    repo.write("closed.env", "words\n").chmod(0)
    repo.write("open.env", mint.key())
    outcome = bound("scan")
    assert outcome.code == 1
    assert "closed.env" in outcome.out
    assert "open.env:1:1" in outcome.out


def test_a_folder(bound: Bound, repo: Repo) -> None:
    repo.write("closed/a.env", "words\n")
    repo.git("add", ".")
    (repo.path / "closed").chmod(0)
    for arguments in (["scan"], ["scan", "closed"], ["scan", "--no-ignore", "."], ["scan", "closed/a.env"]):
        outcome = bound(*arguments)
        assert outcome.code == 3, outcome.text
        assert "closed" in outcome.out
        assert "permission denied" in outcome.out


def test_the_staged_version_counts_and_not_the_file(bound: Bound, repo: Repo, mint: Mint) -> None:
    repo.stage("app.env", mint.key())
    (repo.path / "app.env").chmod(0)
    assert bound("hook", "pre-commit").code == 1
    repo.git("rm", "-q", "--cached", "app.env")
    (repo.path / "app.env").chmod(0o644)
    repo.stage("app.env", "words\n")
    (repo.path / "app.env").chmod(0)
    assert bound("hook", "pre-commit").code == 0
    assert bound("hook", "pre-commit", "--", "app.env").code == 0, "what a commit contains is in the index"
    assert bound("hook", "pre-commit", "--", "app.env", "README").code == 3, (
        "named beside others: what is there counts"
    )


@pytest.mark.parametrize("name", ["index", "HEAD", "objects", "."])
def test_the_repository_itself(bound: Bound, repo: Repo, name: str) -> None:
    repo.stage("app.env", "words\n")
    (repo.path / ".git" / name).chmod(0)
    outcome = bound("hook", "pre-commit")
    assert outcome.code == 3
    assert outcome.err.startswith("fluxguard: ")
    assert "rm -f .git/index" not in outcome.err
    assert "not a git repository" not in outcome.err.lower()
    (repo.path / ".git" / name).chmod(0o755)


@pytest.mark.parametrize("name", [".fluxguard.toml", "pyproject.toml", ".fluxguard-baseline.json"])
def test_the_configuration(bound: Bound, repo: Repo, name: str) -> None:
    repo.write(name, "words = 1\n").chmod(0)
    outcome = bound("hook", "pre-commit")
    assert outcome.code == 2
    assert f"{name} can't be read" in outcome.err


def test_a_folder_in_which_nothing_can_be_written(bound: Bound, repo: Repo, mint: Mint) -> None:
    repo.stage("app.env", mint.key())
    for folder in (repo.path, repo.path / ".git"):
        folder.chmod(0o555)
    assert bound("hook", "pre-commit").code == 1
    assert bound("scan").code == 1
    for arguments in (["scan", "--output", "report.txt"], ["scan", "--write-baseline"]):
        outcome = bound(*arguments)
        assert outcome.code == 2
        assert "can't be written" in outcome.err
        assert "ermission denied" in outcome.err
    assert sorted(path.name for path in Path(repo.path).iterdir()) == [".git", "README", "app.env"]


def test_an_untracked_folder_below_another(bound: Bound, repo: Repo, mint: Mint) -> None:
    repo.write("sub/locked/k", mint.key())
    (repo.path / "sub/locked").chmod(0)
    for arguments in (["scan"], ["scan", "sub"], ["scan", "sub/locked"]):
        outcome = bound(*arguments)
        assert outcome.code == 3, outcome
        assert "sub/locked" in outcome.out
