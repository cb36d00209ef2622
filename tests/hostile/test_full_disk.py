"""A disk that is full, and places that can't be written to: what stood there stays, and the exit code tells."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import COMMAND, Mint, Outcome, Repo, Run, call

DEFECT = """
import sys
from fluxguard.commands import files
def broken(words):
    raise ValueError(sys.argv[2])
files.check = broken
from fluxguard.cli import main
raise SystemExit(main(["scan"]))
"""


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 KiB with no room left on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], capture_output=True
    ).returncode
    if mounted:
        pytest.skip("no right to mount a small disk")
    try:
        (disk / "report.json").write_text("the old one")
        with (disk / "filler").open("wb") as filler:
            try:
                filler.write(bytes(1 << 20))
            except OSError:
                pass
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def narrow(repo: Repo, mint: Mint, *arguments: str) -> Outcome:
    """fluxguard where no file may be longer than 8 KiB: for whoever can't mount a disk."""
    done = subprocess.run(
        [COMMAND, *arguments], cwd=repo.path, env=repo.env, capture_output=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )  # fmt: skip
    assert not mint.leaked(done.stdout + done.stderr)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_report_to_a_full_disk(run: Run, repo: Repo, mint: Mint, full: Path) -> None:
    arguments = ["scan", "--format", "json", "--output", str(full / "report.json")]
    outcome = run(*arguments, cwd=repo.path)
    assert outcome.code == 3
    assert "No space left" in outcome.err
    repo.stage("app.env", mint.key())
    outcome = run(*arguments, cwd=repo.path)
    assert outcome.code == 1, "a key was found, whatever became of the report"
    assert "app.env:1:1" in outcome.out, "what could not be saved is at least shown"
    assert (full / "report.json").read_text() == "the old one"
    assert sorted(path.name for path in full.iterdir()) == ["filler", "report.json"]


def test_a_baseline_to_a_full_disk(run: Run, repo: Repo, mint: Mint, full: Path) -> None:
    repo.stage("app.env", mint.key())
    outcome = run("scan", "--write-baseline", str(full / "baseline.json"), cwd=repo.path)
    assert outcome.code == 3
    assert "No space left" in outcome.err
    assert sorted(path.name for path in full.iterdir()) == ["filler", "report.json"]


def test_reports_that_grow_beyond_what_may_be_written(repo: Repo, mint: Mint) -> None:
    repo.stage("app.env", "".join(f"{mint.key()}\n" for _ in range(100)))
    repo.write("report.json", "the old one")
    assert narrow(repo, mint, "scan", "--format", "json", "--output", "report.json").code == 1
    assert (repo.path / "report.json").read_text() == "the old one"
    outcome = narrow(repo, mint, "scan", "--write-baseline")
    assert outcome.code == 3
    assert "can't be written" in outcome.err
    assert sorted(path.name for path in repo.path.iterdir()) == [".git", "README", "app.env", "report.json"]


def defect(repo: Repo, mint: Mint, temporary: Path) -> Outcome:
    """A defect whose message holds a key: a plain way to it in an otherwise sound program."""
    env = {**repo.env, "TMPDIR": str(temporary)}
    # The key comes in as an argument of the test's own program; nothing of fluxguard's would take it so.
    return call([sys.executable, "-c", DEFECT, "x", mint.key()], repo.path, env, mint)


def test_a_defect_leaves_a_trace_without_the_input(repo: Repo, mint: Mint, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    outcome = defect(repo, mint, temporary)
    assert outcome.code == 70
    (trace,) = temporary.iterdir()
    assert str(trace) in outcome.err
    assert not mint.leaked(trace.read_bytes())
    assert "ValueError" in trace.read_text()
    assert "in broken" in trace.read_text()
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600


def test_a_defect_where_nothing_can_be_written(repo: Repo, mint: Mint) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    outcome = call([sys.executable, "-c", limit + DEFECT, "x", mint.key()], repo.path, repo.env, mint)
    assert outcome.code == 70
    assert "Traceback" not in outcome.err
    assert "trace could not be written" in outcome.err


def test_a_link_in_the_repository_does_not_choose_what_is_overwritten(
    run: Run, repo: Repo, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("report.json", ".fluxguard-baseline.json"):
        (repo.path / name).symlink_to(precious)
    arguments = ["scan", "--no-repo-config"]
    outcome = run(*arguments, "--format", "json", "--output", "report.json", cwd=repo.path)
    assert outcome.code == 2
    assert "symbolic link" in outcome.err
    assert run(*arguments, "--write-baseline", cwd=repo.path).code == 2
    assert all((repo.path / name).is_symlink() for name in ("report.json", ".fluxguard-baseline.json"))
    assert precious.read_text() == "mine"


def test_a_device_or_a_pipe_takes_the_report_and_stays_what_it_is(
    run: Run, repo: Repo, tmp_path: Path
) -> None:
    outcome = run("scan", "--quiet", "--format", "json", "--output", "/dev/stdout", cwd=repo.path)
    assert json.loads(outcome.out)["command"] == "scan"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert run("scan", "--format", "json", "--output", str(pipe), cwd=repo.path).code == 0
        assert reader.stdout is not None
        assert json.loads(reader.stdout.read())["command"] == "scan"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_baseline_of_a_part_keeps_what_is_known_of_the_rest(run: Run, repo: Repo, mint: Mint) -> None:
    repo.write("a.txt", mint.key())
    repo.write("b.txt", mint.key())
    assert run("scan", "--write-baseline", cwd=repo.path).code == 0
    repo.write("c.txt", mint.key())
    assert run("scan", "--write-baseline", "--", "c.txt", cwd=repo.path).code in (0, 2)
    assert run("scan", "c.txt", "--write-baseline", cwd=repo.path).code == 0
    baseline = json.loads((repo.path / ".fluxguard-baseline.json").read_text())
    assert len(baseline["findings"]) == 3
    assert run("scan", cwd=repo.path).code == 0
    (repo.path / "b.txt").unlink()
    assert run("scan", "--write-baseline", cwd=repo.path).code == 0
    assert len(json.loads((repo.path / ".fluxguard-baseline.json").read_text())["findings"]) == 2
