"""A repository with the hooks of `fluxguard install`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Repo, Run
from hook.conftest import framework  # noqa: F401


@dataclass
class Guarded:
    """A repository, and what git says in it. No key is ever said."""

    repo: Repo
    run: Run

    def git(self, *words: str, cwd: Path | None = None, **env: str) -> tuple[int, str]:
        done = self.repo.try_git(*words, cwd=cwd, **env)
        return done.returncode, self.said(done)

    def said(self, done: subprocess.CompletedProcess[bytes]) -> str:
        leaked = self.repo.mint.leaked(done.stdout + done.stderr)
        assert not leaked, leaked
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert "Traceback" not in text, text
        return text

    def passes(self, *words: str, cwd: Path | None = None, **env: str) -> str:
        code, text = self.git(*words, cwd=cwd, **env)
        assert code == 0, text
        return text

    def refused(self, *words: str, cwd: Path | None = None, **env: str) -> str:
        code, text = self.git(*words, cwd=cwd, **env)
        assert code != 0, text
        return text

    def commit(self, name: str, content: str, *words: str, **env: str) -> str:
        """A commit that the hooks see."""
        self.repo.stage(name, content)
        return self.passes("commit", "-m", "change", *words, **env)

    @property
    def hooks(self) -> Path:
        return self.repo.path / ".git" / "hooks"

    @property
    def state(self) -> Path:
        return self.repo.path / ".git" / "fluxguard"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: its mode, and its content or target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if path.is_symlink():
            found[str(path.relative_to(folder))] = (mode, str(path.readlink()).encode())
        elif path.is_file():
            found[str(path.relative_to(folder))] = (mode, path.read_bytes())
    return found


@pytest.fixture
def bare_repo(repo: Repo, run: Run) -> Guarded:
    """Without our hooks yet."""
    return Guarded(repo, run)


@pytest.fixture
def guarded(bare_repo: Guarded) -> Guarded:
    """With our hooks."""
    outcome = bare_repo.run("install", cwd=bare_repo.repo.path)
    assert outcome.code == 0, outcome.text
    return bare_repo
