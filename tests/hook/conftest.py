"""How a repository gets its hooks: our scripts, or the pre-commit framework with fluxguard in its configuration."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PROJECT, Repo

CONFIGURATION = """\
default_install_hook_types: [pre-commit, pre-merge-commit, commit-msg]
repos:
  - repo: {source}
    rev: {revision}
    hooks:
      - id: fluxguard
      - id: fluxguard-commit-msg
"""


@dataclass
class Framework:
    """The framework, its environment for fluxguard made: hooks that it has installed, and a configuration."""

    home: Path
    hooks: Path
    configuration: str

    @property
    def env(self) -> dict[str, str]:
        return {"PRE_COMMIT_HOME": str(self.home), "PRE_COMMIT_COLOR": "never"}

    def into(self, repo: Repo) -> None:
        """Gives a repository the configuration and the hooks."""
        repo.env.update(self.env)
        repo.commit(".pre-commit-config.yaml", self.configuration, "configure")
        for hook in self.hooks.iterdir():
            shutil.copy2(hook, repo.path / ".git" / "hooks" / hook.name)

    def alone(self, repo: Repo, hook: str, stage: str) -> None:
        """Gives a repository the framework's own hook for a stage, which calls one of ours and no other."""
        repo.env.update(self.env)
        source = [line for line in self.configuration.splitlines() if "repo:" in line or "rev:" in line]
        text = "\n".join(["repos:", *source, "    hooks:", f"      - id: {hook}"]) + "\n"
        repo.commit(".pre-commit-config.yaml", text, "configure")
        install = [sys.executable, "-m", "pre_commit", "install", "-t", stage]
        subprocess.run(install, cwd=repo.path, env=repo.env, check=True, capture_output=True)

    def run(self, repo: Repo, *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        """`pre-commit run`."""
        return subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", *arguments],
            cwd=repo.path, env={**repo.env, **self.env, **env}, capture_output=True,
        )  # fmt: skip


@pytest.fixture(scope="session")
def framework(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Framework]:
    """The framework, set up once for all the workers of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with open(shared / "framework.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Framework(shared / "home", shared / "installed" / ".git" / "hooks", "")
        ready = shared / "framework.yaml"
        if not ready.exists():
            ready.write_text(_set_up(shared, found))
        found.configuration = ready.read_text()
    return found


def _set_up(shared: Path, framework: Framework) -> str:
    """Commits the project as it stands to a repository, has the framework install from there; the configuration."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@b.c",
        **framework.env,
    }  # fmt: skip
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def call(cwd: Path, *argv: str) -> str:
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    source = shared / "fluxguard-source"
    needed = ("fluxguard", "hooks", ".pre-commit-hooks.yaml", "pyproject.toml", "README.md", "LICENSE")
    source.mkdir()
    for name in needed:
        path = PROJECT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, source / name)
    installed = shared / "installed"
    installed.mkdir()
    for folder in (source, installed):
        call(folder, "git", "init", "-q", "-b", "main")
    call(source, "git", "add", ".")
    call(source, "git", "commit", "-q", "-m", "snapshot")
    configuration = CONFIGURATION.format(source=source, revision=call(source, "git", "rev-parse", "HEAD"))
    (installed / ".pre-commit-config.yaml").write_text(configuration)
    shutil.rmtree(framework.hooks)
    call(installed, sys.executable, "-m", "pre_commit", "install", "--install-hooks")
    return configuration


Give = Callable[[Repo], None]


@pytest.fixture
def give_hooks() -> Give:
    """Gives a repository our own scripts, as they stand in the project."""
    return lambda repo: repo.git("config", "core.hooksPath", str(PROJECT / "hooks")) and None
