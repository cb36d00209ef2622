"""Ctrl-C, readers that go away, streams that are closed or full: a sentence where there is somebody to read it, and the code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COMMAND, PROJECT, Mint, Repo, Run

SENTENCE = b"fluxguard: interrupted; nothing that it has not said so far counts as clean."


def interrupted(
    argv: list[str], repo: Repo, ready: Callable[[subprocess.Popen[bytes]], None]
) -> tuple[int, bytes]:
    """Starts a command in a process group of its own, as a terminal does, and sends it Ctrl-C once it is `ready`."""
    with subprocess.Popen(
        argv,
        cwd=repo.path,
        env=repo.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        ready(process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert b"Traceback" not in out + err, err.decode()
    return process.returncode, err


def opened(name: str) -> Callable[[subprocess.Popen[bytes]], None]:
    """Waits until the process has loaded the module `name` and is at work: its compiled pattern library is mapped."""

    def wait(process: subprocess.Popen[bytes]) -> None:
        maps = Path(f"/proc/{process.pid}/maps")
        deadline = time.monotonic() + 30
        while maps.exists() and name not in maps.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it was interrupted"
            time.sleep(0.01)

    return wait


@pytest.fixture
def slow_repo(repo: Repo) -> Repo:
    """A repository that takes a minute to look through: every line asks for a closer look."""
    line = b"flux_dev base64 Zmx1eF \\x66\\x6c flux_prod_ %66lux_\n"
    for number in range(20):
        repo.write(f"{number}.txt", line * 40_000)
    repo.git("add", ".")
    return repo


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="watches the process through /proc")
@pytest.mark.parametrize("arguments", [["scan"], ["scan", "--staged"], ["hook", "pre-commit"]])
def test_ctrl_c_during_a_scan(slow_repo: Repo, arguments: list[str]) -> None:
    code, err = interrupted([str(COMMAND), *arguments], slow_repo, opened("_regex"))
    assert code == 130
    assert SENTENCE in err


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="watches the process through /proc")
def test_ctrl_c_at_standard_input(repo: Repo) -> None:
    def waiting(process: subprocess.Popen[bytes]) -> None:
        opened("_regex")(process)
        assert process.stdin is not None
        process.stdin.write(b"words\n" * 100)
        process.stdin.flush()
        time.sleep(0.2)

    code, err = interrupted([str(COMMAND), "scan", "--stdin"], repo, waiting)
    assert code == 130
    assert SENTENCE in err


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="watches the process through /proc")
def test_ctrl_c_during_a_commit_leaves_no_commit(slow_repo: Repo) -> None:
    slow_repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    before = slow_repo.head

    def at_work(process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for maps in Path("/proc").glob("[0-9]*/maps"):
                try:
                    environ = maps.with_name("environ").read_bytes()
                    if str(slow_repo.env["HOME"]).encode() in environ and "_regex" in maps.read_text():
                        return
                except OSError:
                    continue
            time.sleep(0.01)

    code, err = interrupted(["git", "commit", "-q", "-m", "change"], slow_repo, at_work)
    assert code != 0
    assert SENTENCE in err
    assert slow_repo.head == before


def shell(script: str, repo: Repo) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in the repository; ends with the exit code of the first command of its pipe."""
    return subprocess.run(
        ["bash", "-c", script + "; exit ${PIPESTATUS[0]}"],
        cwd=repo.path,
        env=repo.env,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def leaky(repo: Repo, mint: Mint) -> Repo:
    """A repository with so many keys staged that no pipe holds the report."""
    repo.stage("app.env", "".join(f"T{number}={mint.key()}\n" for number in range(600)))
    return repo


@pytest.mark.parametrize(
    "script",
    [
        "fluxguard scan --format json | head -1",
        "fluxguard scan --format json --staged | head -1",
        "fluxguard scan | head -1",
        "fluxguard hook pre-commit 2>&1 >/dev/null | head -1",
        "fluxguard scan >&-",
        "fluxguard scan --staged >&-",
        "fluxguard scan <&- >&- 2>&-",
        "fluxguard hook pre-commit >&-",
        "fluxguard hook pre-commit 2>&-",
        "fluxguard hook pre-commit <&- >&- 2>&-",
        "fluxguard scan >/dev/full",
        "fluxguard hook pre-commit 2>/dev/full",
    ],
)
def test_a_key_that_nobody_could_read_of_is_still_a_key(leaky: Repo, mint: Mint, script: str) -> None:
    if "/dev/full" in script and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    done = shell(script, leaky)
    assert done.returncode == 1, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"defect" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert not mint.leaked(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("fluxguard scan >&-", 0, b""),
        ("fluxguard scan <&-", 0, b""),
        ("fluxguard hook pre-commit >&-", 0, b""),
        ("fluxguard hook pre-commit <&- >&- 2>&-", 0, b""),
        ("fluxguard scan missing 2>&-", 2, b""),
        ("fluxguard scan --stdin <&-", 3, b"Standard input can't be read"),
        ("fluxguard scan >/dev/full", 3, b"No space left"),
        ("fluxguard hook pre-commit >/dev/full", 3, b"No space left"),
        ("fluxguard rules list >/dev/full", 3, b"No space left"),
        ("fluxguard doctor >/dev/full", 3, b"No space left"),
    ],
)
def test_a_clean_run_whose_streams_are_closed_or_full(
    repo: Repo, script: str, code: int, says: bytes
) -> None:
    if "/dev/full" in script and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    done = shell(script, repo)
    assert done.returncode == code, done.stderr.decode()
    assert says in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_terminal_that_knows_ascii_alone(run: Run, repo: Repo, mint: Mint) -> None:
    repo.stage("schlüssel.env", f"{mint.key()}\n")
    for arguments in (["scan"], ["doctor"], ["rules", "list"], ["scan", "--write-baseline", "ü.json"]):
        outcome = run(*arguments, cwd=repo.path, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
        assert outcome.text.isascii()
        assert outcome.code in (0, 1)


def test_the_folder_is_gone(repo: Repo) -> None:
    done = shell("mkdir gone && cd gone && rmdir ../gone && fluxguard scan; exit $?", repo)
    assert done.returncode == 3
    assert b"is gone" in done.stderr
