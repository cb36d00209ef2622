"""A forked `fluxguard` is the one that a shell starts: the same words, the same codes, and nothing of another call in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, Mint, Repo

from fluxguard.cli import COMMANDS
from tests import warm
from tests.server.real import Server

Done = subprocess.CompletedProcess[bytes]


def both(
    words: list[str], cwd: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, stdin: bytes = b""
) -> Done:
    """Runs the words both ways, which has to come to the same."""
    argv = [str(COMMAND), *words]
    forked = warm.run(argv, cwd, env, stdin)
    with monkeypatch.context() as patch:
        patch.setenv("FLUXGUARD_COLD", "1")
        started = warm.run(argv, cwd, env, stdin)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode, started.stdout, started.stderr,
    )  # fmt: skip
    return forked


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_starts_both_ways(repo: Repo, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    assert both([command, "--help"], repo.path, repo.env, monkeypatch).returncode == 0
    assert both([command, "--nonsense"], repo.path, repo.env, monkeypatch).returncode == 2


def test_streams_and_codes_are_the_same(repo: Repo, mint: Mint, monkeypatch: pytest.MonkeyPatch) -> None:
    key = mint.key().encode()
    assert both(["scan"], repo.path, repo.env, monkeypatch).returncode == 0
    assert both(["scan", "--stdin"], repo.path, repo.env, monkeypatch, b"K=" + key).returncode == 1
    many = b"".join(b"K=%s%d\n" % (key[:-6], 100_000 + number) for number in range(3_000))
    found = both(["scan", "--stdin", "--format", "github"], repo.path, repo.env, monkeypatch, many)
    assert len(found.stdout) > 1 << 16, "more than a pipe holds"
    repo.stage("app.env", b"K=" + key)
    assert both(["hook", "pre-commit"], repo.path, repo.env, monkeypatch).returncode == 1
    assert both([], repo.path, repo.env, monkeypatch).returncode == 2


def test_a_call_sees_its_own_environment_alone(repo: Repo) -> None:
    def said(**env: str) -> bytes:
        return warm.run([COMMAND, "scan"], repo.path, {**repo.env, **env}).stderr

    assert b"nowhere.toml" in said(FLUXGUARD_CONFIG="/nowhere.toml")
    assert b"nowhere.toml" not in said()


def test_what_python_looks_at_first_starts_the_script(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_Call", None)
    for name in ("PYTHONPATH", "LC_ALL", "TZ"):
        outcome = warm.run([COMMAND, "scan", "README"], repo.path, {**repo.env, name: "C"})
        assert outcome.returncode == 0
    assert warm.run([sys.executable, "-c", "print(1)"], repo.path, repo.env).stdout == b"1\n"


def test_a_server_starts_both_ways_and_one_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Server(tmp_path / "first")
    made.init()
    for way in ("forked", "started"):
        if way == "started":
            monkeypatch.setenv("FLUXGUARD_COLD", "1")
        with made.copied(tmp_path / way) as server:
            assert isinstance(server.process, warm.Started) == (way == "forked")
            server.ask("GET", "/api/v1/self", 200)
            server.stop()
        with pytest.raises(subprocess.TimeoutExpired):
            warm.run([COMMAND, "serve", "--port", "0"], tmp_path, made.environment, timeout=1)
