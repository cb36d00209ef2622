"""A git that says nothing, or never ends, is stopped; the time that it gets is the constant `SILENCE`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import COMMAND, Repo

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("arguments", [["audit"], ["scan"], ["hook", "pre-commit"]])
def test_a_signal_ends_git_too(
    repo: Repo, tmp_path: Path, number: signal.Signals, arguments: list[str]
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/begun\nexec sleep 600\n")
    (folder / "git").chmod(0o755)
    env = {**repo.env, "PATH": f"{folder}:{repo.env['PATH']}"}
    with subprocess.Popen(
        [COMMAND, *arguments], cwd=repo.path, env=env, stderr=subprocess.DEVNULL, preexec_fn=_as_on_a_terminal
    ) as ours:
        begun = _written(tmp_path / "begun")
        ours.send_signal(number)
        assert ours.wait(20) == (130 if number == signal.SIGINT else -number)
    for pid in begun:
        assert _ends(pid)


def _as_on_a_terminal() -> None:
    """No signal is ignored, whatever the tests themselves were started by (`nohup` ignores one)."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _written(path: Path) -> list[int]:
    """The numbers in a file, once there are any and no more come."""
    for _ in range(200):
        time.sleep(0.1)
        if path.exists() and path.stat().st_size and time.time() - path.stat().st_mtime > 0.3:
            return [*map(int, path.read_text().split())]
    raise AssertionError("git was not started")


def _ends(pid: int) -> bool:
    """Whether a process is gone, or goes in a moment; one that waits to be reaped is gone."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False
