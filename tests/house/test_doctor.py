"""`fluxguard doctor` sees what guards a repository, what does not, and says how to mend it; the mending then works."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import PROJECT, Repo, Run

CONFIGURATION = """\
repos:
  - repo: https://github.com/fluxguard/fluxguard
    rev: v0.1.0
    hooks:
"""


def states(run: Run, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, dict[str, dict[str, str]]]:
    outcome = run("doctor", "--format", "json", cwd=cwd, env=env)
    return outcome.code, {check["name"]: check for check in json.loads(outcome.out)}


def test_outside_a_repository(run: Run, tmp_path: Path) -> None:
    code, checks = states(run, tmp_path)
    assert code == 0
    assert checks["repository"]["state"] == "warn"
    assert "pre-commit" not in checks
    assert "Run doctor inside one" in run("doctor", cwd=tmp_path).out


def test_a_fresh_repository_is_mended_by_the_commands_that_it_prints(run: Run, repo: Repo) -> None:
    code, checks = states(run, repo.path)
    assert code == 1
    assert {name: checks[name]["state"] for name in ("pre-commit", "commit-msg", "pre-merge-commit")} == {
        "pre-commit": "bad",
        "commit-msg": "bad",
        "pre-merge-commit": "warn",
    }
    assert "does not guard every commit here yet: 2 things do not work" in run("doctor", cwd=repo.path).out
    (repo.path / ".git" / "hooks").mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "pre-merge-commit", "pre-applypatch"):
        subprocess.run(shlex.split(checks[name]["mend"]), check=True, cwd="/")
    assert run(*shlex.split(checks["gitignore"]["mend"])[1:], cwd=repo.path).code == 0
    code, checks = states(run, repo.path)
    assert code == 0
    assert {check["state"] for check in checks.values() if check["name"] != "speed"} == {"ok"}


def test_hooks_path(run: Run, repo: Repo, tmp_path: Path) -> None:
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    code, checks = states(run, repo.path)
    assert code == 0
    assert checks["core.hooksPath"]["what"].endswith(str(PROJECT / "hooks"))
    repo.git("config", "core.hooksPath", "somewhere/else")
    code, checks = states(run, repo.path)
    assert code == 1
    assert "somewhere/else" in checks["pre-commit"]["mend"]


def test_hooks_path_of_the_user(run: Run, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "gitconfig").write_text(f'[core]\n\thooksPath = "{PROJECT / "hooks"}"\n')
    code, _ = states(run, repo.path, {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")})
    assert code == 0


def test_from_a_folder_and_a_linked_worktree(run: Run, repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"))
    (repo.path / "sub").mkdir()
    for where in (repo.path / "sub", tmp_path / "linked"):
        assert states(run, where)[0] == 1
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    for where in (repo.path / "sub", tmp_path / "linked"):
        assert states(run, where)[0] == 0


def test_a_hook_that_is_not_executable(run: Run, repo: Repo) -> None:
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg"):
        (hooks / name).write_text("#!/bin/sh\nexec fluxguard hook " + name + ' "$@"\n')
        (hooks / name).chmod(0o644)
    code, checks = states(run, repo.path)
    assert code == 1
    assert "not executable" in checks["pre-commit"]["what"]
    for name in ("pre-commit", "commit-msg"):
        subprocess.run(shlex.split(checks[name]["mend"]), check=True)
    assert states(run, repo.path)[0] == 0


def test_a_hook_of_somebody_else(run: Run, repo: Repo) -> None:
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg"):
        (hooks / name).write_text("#!/bin/sh\nmake lint\n")
        (hooks / name).chmod(0o755)
    code, checks = states(run, repo.path)
    assert code == 0
    assert checks["pre-commit"]["state"] == "warn"
    assert "does not call fluxguard itself" in checks["pre-commit"]["what"]


@pytest.mark.parametrize(
    ("ids", "pre_commit", "commit_msg"),
    [
        ("      - id: fluxguard\n      - id: fluxguard-commit-msg\n", "ok", "ok"),
        ("      - id: fluxguard\n", "ok", "bad"),
        ("      - id: fluxguard-commit-msg\n", "bad", "ok"),
        ("      - {id: fluxguard}\n      - {id: 'fluxguard-commit-msg'}\n", "ok", "ok"),
        ("      # - id: fluxguard\n      # - id: fluxguard-commit-msg\n      - id: other\n", "bad", "bad"),
    ],
)
def test_the_framework(run: Run, repo: Repo, ids: str, pre_commit: str, commit_msg: str) -> None:
    repo.write(".pre-commit-config.yaml", CONFIGURATION + ids)
    _, checks = states(run, repo.path)
    assert checks["commit-msg"]["mend"] == "pre-commit install -t commit-msg"
    assert "pre-commit install" not in checks["pre-applypatch"]["mend"], "the framework knows no such hook"
    for name in ("pre-commit", "pre-merge-commit", "commit-msg"):
        hook = repo.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/usr/bin/env bash\n# File generated by pre-commit: https://pre-commit.com\n")
        hook.chmod(0o755)
    code, checks = states(run, repo.path)
    assert (checks["pre-commit"]["state"], checks["commit-msg"]["state"]) == (pre_commit, commit_msg)
    assert code == ("bad" in (pre_commit, commit_msg))


def test_things_that_are_no_files(run: Run, repo: Repo) -> None:
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    os.mkfifo(hooks / "pre-commit")
    (hooks / "commit-msg").mkdir()
    os.mkfifo(repo.path / ".pre-commit-config.yaml")
    code, checks = states(run, repo.path)
    assert code == 1
    assert checks["commit-msg"]["state"] == "bad"


def test_fluxguard_itself(run: Run, repo: Repo, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "fluxguard"
    program.parent.mkdir()
    program.write_text("#!/nowhere/python\n")
    program.chmod(0o755)
    code, checks = states(run, repo.path, {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    assert code == 1
    assert "does not start" in checks["command"]["what"]
    code, checks = states(run, repo.path, {"PATH": str(tmp_path)})
    assert code == 1
    assert "not on PATH" in checks["command"]["what"]
    assert "git does not run" in checks["git"]["what"]


def test_its_configuration(run: Run, repo: Repo) -> None:
    repo.write(".fluxguard.toml", "nonsense = 1\n")
    code, checks = states(run, repo.path)
    assert code == 1
    assert "unknown setting 'nonsense'" in checks["configuration"]["what"]


def test_it_fits_a_terminal(run: Run, repo: Repo) -> None:
    repo.write(".pre-commit-config.yaml", CONFIGURATION + "      - id: other\n")
    hook = repo.path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("# pre-commit\n")
    hook.chmod(0o755)
    lines = run("doctor", cwd=repo.path).out.splitlines()
    # Commands and paths stay in one piece, so that they can be copied.
    assert [line for line in lines if len(line) > 80 and "/" not in line] == []
