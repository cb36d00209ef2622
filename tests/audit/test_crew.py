"""The processes that share the work: what they don't finish is named, and none of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Repo, Run

from fluxguard.audit import sifting
from fluxguard.audit.crew import DONE, Crew, Died
from fluxguard.audit.run import audit
from fluxguard.config import Config
from tests import warm


def gathered(work: Any, tasks: int, size: int) -> tuple[dict[int, list[Any]], set[int], set[int]]:
    """What came of each task, which were finished, and which were not."""
    values: dict[int, list[Any]] = {}
    done, died = set(), set()
    for task, value in Crew(tasks, work, size).answers():
        if value is DONE:
            done.add(task)
        elif value is Died:
            died.add(task)
        else:
            values.setdefault(task, []).append(value)
    assert children() == []
    return values, done, died


def children() -> list[int]:
    """The processes that this one has, ended ones that nobody waited for among them; but for those of the suite itself."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    if not listed.exists():
        pytest.skip("no /proc here")
    return [int(pid) for pid in listed.read_text().split() if int(pid) not in warm.pids()]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("tasks", [0, 1, 3, 400, 20_000])
def test_every_task_is_done_once(tasks: int, size: int) -> None:
    values, done, died = gathered(lambda task: [(task, b"x")], tasks, size)
    assert values == {task: [(task, b"x")] for task in range(tasks)}
    assert done == set(range(tasks))
    assert not died


@pytest.mark.parametrize("size", [1, 3])
def test_answers_larger_than_a_pipe(size: int) -> None:
    values, done, _ = gathered(lambda task: [bytes([task]) * (3 << 20), "x"], 4, size)
    assert values == {task: [bytes([task]) * (3 << 20), "x"] for task in range(4)}
    assert len(done) == 4


def test_a_process_that_is_killed_or_fails_leaves_its_task_unfinished() -> None:
    def work(task: int) -> Iterator[str]:
        yield "begun"
        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if task == 5:
            raise ValueError("a defect")
        if task == 7:
            raise MemoryError

    values, done, died = gathered(work, 40, 4)
    assert died == {3, 5, 7}
    assert done == set(range(40)) - died
    assert set(values) == set(range(40))


def test_when_all_are_killed_the_rest_is_named() -> None:
    def work(task: int) -> Iterator[str]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield "never"

    _, done, died = gathered(work, 9, 2)
    assert not done
    assert died == set(range(9))


def test_who_stops_listening_ends_them() -> None:
    answers = Crew(1000, lambda task: [b"x" * 100_000], 3).answers()
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert children() == []


def test_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    _, done, died = gathered(lambda task: [os.getpid()], 5, 4)
    assert len(done) == 5
    assert not died


@pytest.fixture
def several(repo: Repo, mint: Any) -> Repo:
    """A repository in several shares of work: two packs and loose objects."""
    for number in range(2):
        for each in range(5):
            repo.commit(f"{number}-{each}.txt", f"line {each}\n" * 50 + str(number))
        repo.git("repack", "-q", "-d")
    repo.commit("config.py", f"key = '{mint.key()}'\n")
    return repo


def test_a_killed_process_is_never_called_clean(several: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = several.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split()
    monkeypatch.setattr(sifting, "_ALONE", 0)
    monkeypatch.setattr(sifting, "hands", lambda: 2)
    killed = sifting.Sifting._work

    def work(self: sifting.Sifting, number: int) -> Iterator[Any]:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return killed(self, number)

    monkeypatch.setattr(sifting.Sifting, "_work", work)
    report = audit(str(several.path), Config())
    (unread,) = report.skipped
    assert unread.where.decode().split()[1] in ids
    count = int(unread.reason.split()[0].replace(",", ""))
    assert report.certificates[0].read == len(ids) - count
    assert not report.complete
    assert len(report.findings) == 1
    assert children() == []


def test_one_core(several: Repo, run: Run) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("cores can't be chosen here")
    core = next(iter(os.sched_getaffinity(0)))
    program = (
        f"import os, sys; os.sched_setaffinity(0, [{core}]); from fluxguard.cli import main; "
        "sys.exit(main(['audit', '--format', 'json', '.']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=several.path, env=several.env, capture_output=True, timeout=100
    )
    outcome = run("audit", "--format", "json", cwd=several.path)
    assert done.returncode == outcome.code == 1
    assert without_time(done.stdout) == without_time(outcome.out)


SLOW = """
import sys
blocked = {"isal", "hyperscan", "dulwich._pack"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in blocked:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
from fluxguard.cli import main
code = main(["audit", "--format", "json", "."])
assert not blocked & set(sys.modules), blocked & set(sys.modules)
from fluxguard.repo import delta, inflate
assert "_pack" not in delta.apply_delta.__module__ or delta.apply_delta.__module__ == "dulwich.pack"
assert inflate.library.__name__ == "zlib"
sys.exit(code)
"""


def test_without_the_fast_libraries_the_result_is_the_same(several: Repo, mint: Any, run: Run) -> None:
    long = f"{mint.key('ci')}\n" + "\n".join(f"a line of text {number}" for number in range(3000))
    for number in range(12):
        several.commit("long.txt", f"{number}\n{long}\n{mint.key() if number % 5 == 0 else number}\n")
    several.git("gc", "-q")
    done = subprocess.run(
        [sys.executable, "-c", SLOW], cwd=several.path, env=several.env, capture_output=True, timeout=100
    )
    assert not mint.leaked(done.stdout + done.stderr)
    outcome = run("audit", "--format", "json", cwd=several.path)
    assert done.returncode == outcome.code == 1, done.stderr.decode()
    assert len(json.loads(outcome.out)["findings"]) == 5
    assert without_time(done.stdout) == without_time(outcome.out)


def without_time(report: str | bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(report)
    del parsed["stats"]["seconds"]
    return parsed
