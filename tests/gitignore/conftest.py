"""What the tests of .gitignore coverage share: the command, and a real clone as the oracle."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import PROJECT, Mint, Repo, Run

SCHEMA = json.loads((PROJECT / "docs" / "report.schema.json").read_text())

# What FluxLoop's documentation wants covered, and what machines really hold.
REQUIRED = (
    ".env", ".env.local", ".env.production", ".fluxloop/.env", ".fluxloop/scenarios/any/.env", ".fluxloop/auth.json",
    ".fluxloop/pending_login.json", ".fluxloop/credentials", ".fluxloop/cli.token", "server.key", "secrets.yaml",
    "api_key.txt", ".netrc", "id_rsa", "id_ed25519", ".git-credentials", ".pypirc",
    "a/b/.env", "a/b/.fluxloop/.env", "a/.fluxloop/auth.json", "a/b/c/deep.key",
)  # fmt: skip
ADVISED = (
    ".npmrc", "private.pem", "server.p12", ".fluxloop/config.yaml", ".fluxloop/results/run-1/trace_summary.jsonl",
    ".fluxloop/results/run-1/errors.json", ".fluxloop/scenarios/any/experiments/exp_2/summary.json",
    ".fluxloop/scenarios/any/recordings/a.jsonl", "experiments/artifacts/traces.jsonl",
)  # fmt: skip
FREE = (
    ".env.example", "a/.env.example", "README", "src/app.py", ".fluxloop/project.json",
    ".fluxloop/scenarios/any/contracts/static.yaml", ".vscode/settings.json", "envs/a.py",
)  # fmt: skip


class Oracle:
    """A real clone of what a repository has committed: what git ignores there is what a colleague's git ignores."""

    def __init__(self, repo: Repo, folder: Path) -> None:
        self._repo = repo
        self._folder = folder
        repo.git("clone", "-q", str(repo.path), str(folder), "--no-hardlinks")

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of the paths that, written there, `git add .` does not take. They are really written."""
        made = []
        for name in paths:
            path = self._folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("A=1\n")
                made.append(name)
        elsewhere = {"HOME": "/nowhere", "XDG_CONFIG_HOME": "/nowhere"}
        listed = self._repo.git(
            "ls-files", "-z", "--others", "--exclude-standard", cwd=self._folder, **elsewhere
        )
        taken = set(listed.decode("utf-8", "surrogateescape").split("\0"))
        return {name for name in made if name not in taken}


@pytest.fixture
def clone(tmp_path: Path) -> Callable[[Repo], Oracle]:
    """Makes an oracle of the repository as it is committed now."""
    count = iter(range(100))
    return lambda repo: Oracle(repo, tmp_path / f"clone{next(count)}")


class Ask:
    """Runs `fluxguard gitignore --format json`, checks the schema, and gives the gaps."""

    def __init__(self, run: Run, repo: Repo) -> None:
        self._run = run
        self._repo = repo

    def __call__(
        self, *arguments: str, code: int | None = None, cwd: Path | None = None, **env: str
    ) -> dict[str, Any]:
        outcome = self._run("gitignore", "--format", "json", *arguments, cwd=cwd or self._repo.path, env=env)
        assert code is None or outcome.code == code, outcome.text
        document: dict[str, Any] = json.loads(outcome.out)
        jsonschema.validate(document, SCHEMA)
        return document

    def gaps(self, *arguments: str, code: int | None = None, **options: Any) -> dict[str, dict[str, Any]]:
        """By path, each path's gap."""
        found = self(*arguments, code=code, **options)["uncovered"]
        return {place["path"]: gap for gap in found for place in gap["paths"]}


@pytest.fixture
def ask(run: Run, repo: Repo) -> Ask:
    return Ask(run, repo)


def commit_all(repo: Repo, message: str = "change") -> None:
    """Commits what `git add .` takes, as a person would."""
    repo.git("add", ".")
    repo.git("commit", "-q", "--allow-empty", "-m", message)


def status(repo: Repo) -> list[str]:
    return repo.git("status", "--porcelain", "-uall").decode().splitlines()


__all__ = [
    "ADVISED",
    "FREE",
    "REQUIRED",
    "SCHEMA",
    "Ask",
    "Mint",
    "Oracle",
    "commit_all",
    "status",
    "subprocess",
]
