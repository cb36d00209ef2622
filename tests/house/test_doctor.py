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
    for name in ("pre-commit", "commit-msg", "pre-merge-commit", "pre-applypatch", "pre-push"):
        subprocess.run(shlex.split(checks[name]["mend"]), check=True, cwd="/", env=repo.env)
    assert run(*shlex.split(checks["gitignore"]["mend"])[1:], cwd=repo.path).code == 0
    code, checks = states(run, repo.path)
    assert code == 0
    assert {check["state"] for check in checks.values() if check["name"] != "speed"} == {"ok"}


def test_hooks_path(run: Run, repo: Repo, tmp_path: Path) -> None:
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    code, checks = states(run, repo.path)
    assert code == 0
    assert checks["core.hooksPath"]["what"].endswith(f"{PROJECT / 'hooks'} (local)")
    repo.git("config", "core.hooksPath", "somewhere/else")
    code, checks = states(run, repo.path)
    assert code == 1
    assert "not there: git runs no hook at all" in checks["core.hooksPath"]["what"]
    subprocess.run(shlex.split(checks["core.hooksPath"]["mend"]), check=True, cwd=repo.path)
    assert "core.hooksPath" not in states(run, repo.path)[1]


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


def test_hooks_that_a_hooks_path_shadows(run: Run, repo: Repo) -> None:
    assert run("install", cwd=repo.path).code == 0
    repo.git("config", "core.hooksPath", "tools")
    (repo.path / "tools").mkdir()
    code, checks = states(run, repo.path)
    assert code == 1
    assert checks["core.hooksPath"]["state"] == "warn"
    assert "git passes over these" in checks["core.hooksPath"]["what"]
    assert "pre-commit, pre-merge-commit" in checks["core.hooksPath"]["what"]


def test_a_hook_whose_fluxguard_is_gone(run: Run, repo: Repo, tmp_path: Path) -> None:
    from fluxguard.guard import script

    assert run("install", cwd=repo.path).code == 0
    (repo.path / ".git" / "hooks" / "pre-push").write_bytes(script.text("pre-push", "/it's gone/fluxguard"))
    code, checks = states(run, repo.path)
    assert code == 0
    assert checks["pre-push"]["state"] == "warn"
    assert "/it's gone/fluxguard is gone" in checks["pre-push"]["what"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to("/usr/bin/git")
    code, checks = states(run, repo.path, {"PATH": str(tmp_path / "bin")})
    assert code == 1
    assert checks["pre-push"]["state"] == "bad"


def test_hooks_with_others_before_and_changed_ones(run: Run, repo: Repo) -> None:
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 0\n")
    (hooks / "pre-commit").chmod(0o755)
    assert run("install", cwd=repo.path).code == 0
    (hooks / "commit-msg").write_text((hooks / "commit-msg").read_text() + "# mine\n")
    _, checks = states(run, repo.path)
    assert "pre-commit.before-fluxguard is run first" in checks["pre-commit"]["what"]
    assert checks["commit-msg"]["state"] == "warn"
    assert "changed since" in checks["commit-msg"]["what"]


def test_the_cache_of_the_audit(run: Run, repo: Repo, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "kept"
    env = {**environment, "FLUXGUARD_CACHE_DIR": str(folder)}
    check = states(run, repo.path, env)[1]["cache"]
    assert check["state"] == "ok"
    assert "not there yet" in check["what"]
    folder.mkdir(0o700)
    (folder / "a").write_bytes(bytes(1_500_000))
    check = states(run, repo.path, env)[1]["cache"]
    assert check["what"].startswith(f"{folder}: 1 file, 1.5 MB")
    (folder / "a").unlink()
    folder.rmdir()
    folder.write_text("")
    check = states(run, repo.path, env)[1]["cache"]
    assert (check["state"], "FLUXGUARD_CACHE_DIR" in check["mend"]) == ("warn", True)
