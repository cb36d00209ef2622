"""Very many files, which two processes share: each key is found as if there were one, and nothing is lost with the second."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import Mint, Repo, Run

from fluxguard import second
from fluxguard.scan import MANY, Scan

PLACES = (0, 1, 2, MANY // 2, MANY // 2 + 1, MANY, MANY + 1)


@pytest.mark.parametrize("arguments", [["scan"], ["scan", "--staged"]])
@pytest.mark.parametrize("at", PLACES)
def test_a_key_in_any_of_many_files_is_found(
    run: Run, repo: Repo, mint: Mint, arguments: list[str], at: int
) -> None:
    for number in range(MANY + 2):
        repo.write(f"f{number:04}.txt", f"{number}\n{mint.key() if number == at else ''}\n")
    repo.git("add", "--all")
    outcome = run(*arguments, cwd=repo.path)
    assert outcome.code == 1
    assert f"f{at:04}.txt:2:1" in outcome.text


def test_many_clean_files_are_all_read(run: Run, repo: Repo) -> None:
    for number in range(MANY + 2):
        repo.write(f"f{number:04}.txt", f"{number:04}\n")
    repo.git("add", "--all")
    assert f"{MANY + 2} staged files" in run("scan", "--staged", cwd=repo.path).out
    on_disk = [path for path in repo.path.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in on_disk)
    assert f"({len(on_disk)} objects, {size:,} bytes" in run("scan", cwd=repo.path).out


PROGRAM = """
import sys
from fluxguard.cli import main
code = main(["scan", *sys.argv[1:]])
print(code, "fluxguard.detect.engine" in sys.modules, "fluxguard.findings" in sys.modules)
"""


@pytest.mark.parametrize("arguments", [[], ["--staged"]])
@pytest.mark.parametrize(("suspicious", "engine"), [("", False), ('"flux"\n', False), ('"flux" "_"\n', True)])
def test_what_only_looks_suspicious_loads_no_reports_and_what_is_clean_no_detection(
    repo: Repo, arguments: list[str], suspicious: str, engine: bool
) -> None:
    for number in range(MANY + 2):
        repo.write(f"f{number:04}.txt", f"{number}\n{suspicious if number == MANY else ''}")
    repo.git("add", "--all")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=repo.path,
        env=repo.env,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-3:] == ["0", str(engine), "False"], done.stderr


def _ends(number: int) -> bytes:
    os.kill(os.getpid(), 9)
    return b""


@pytest.mark.parametrize("end", [_ends, lambda number: 1 // 0])
def test_what_a_second_process_does_not_finish_the_first_one_does(
    end: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second, "pays", lambda: True)
    first = os.getpid()
    scan = Scan()
    left = scan.sift([b"x"] * MANY, lambda number: b"clean" if os.getpid() == first else end(number))  # type: ignore[operator]
    assert left == []
    assert scan.objects == MANY


def test_what_is_not_cleared_comes_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "pays", lambda: True)
    odd = {3, 4, 7, MANY - 1}
    left = Scan().sift([b"x"] * MANY, lambda number: None if number in odd else b"clean")
    assert left == sorted(odd)
