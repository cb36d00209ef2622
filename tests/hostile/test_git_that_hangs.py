"""A git that says nothing, or never ends, is stopped; the time that it gets is the constant `SILENCE`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Repo

PROGRAM = """
import sys
from fluxguard.repo import run
assert run.SILENCE >= 10
run.SILENCE = 0.5
from fluxguard.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
SILENT = "#!/bin/sh\nexec sleep 600\n"
ENDLESS = "#!/bin/sh\nexec sleep 600 >&-\n"  # its output ends, but it does not


@pytest.mark.parametrize("git", [SILENT, ENDLESS], ids=["silent", "endless"])
@pytest.mark.parametrize(
    "arguments",
    [["scan"], ["scan", "."], ["scan", "--staged"], ["hook", "pre-commit"], ["hook", "pre-commit", "a"]],
)
def test_git_hangs(repo: Repo, tmp_path: Path, git: str, arguments: list[str]) -> None:
    done, seconds = hung(repo, tmp_path, git, arguments)
    assert done.returncode == 3, done.stderr
    assert "seconds and was stopped" in done.stderr
    assert "Traceback" not in done.stderr
    assert seconds < 60


def test_doctor_says_that_git_does_not_run(repo: Repo, tmp_path: Path) -> None:
    done, _ = hung(repo, tmp_path, SILENT, ["doctor"])
    assert done.returncode == 1
    assert "git does not run" in done.stdout


def hung(
    repo: Repo, tmp_path: Path, git: str, arguments: list[str]
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs fluxguard with such a git first on PATH, and less patience."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(git)
    (folder / "git").chmod(0o755)
    env = {**repo.env, "PATH": f"{folder}:{repo.env['PATH']}"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=repo.path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done, time.monotonic() - started
