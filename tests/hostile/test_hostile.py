"""Hostile or broken input: a clear sentence and the contract's exit code, and nothing of the repository's own is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Mint, Repo, Run


def test_a_bare_repository_has_nothing_staged(run: Run, make_repo: object) -> None:
    repo = make_repo("bare", "--bare")  # type: ignore[operator]
    assert run("scan", "--staged", cwd=repo.path).code == 3


def test_a_damaged_index(run: Run, repo: Repo) -> None:
    (repo.path / ".git" / "index").write_bytes(b"DIRC garbage")
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 3
    assert "index" in outcome.err


def test_a_staged_object_that_is_gone_is_named(run: Run, repo: Repo) -> None:
    repo.stage("lost.txt", "soon gone\n")
    id = repo.git("rev-parse", ":lost.txt").decode().strip()
    (repo.path / ".git" / "objects" / id[:2] / id[2:]).unlink()
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 3
    assert "lost.txt" in outcome.text


def test_a_staged_object_that_is_damaged_is_named_and_the_rest_is_read(
    run: Run, repo: Repo, mint: Mint
) -> None:
    repo.stage("a.txt", "soon damaged\n")
    repo.stage("z.txt", mint.key())
    id = repo.git("rev-parse", ":a.txt").decode().strip()
    path = repo.path / ".git" / "objects" / id[:2] / id[2:]
    path.chmod(0o600)
    path.write_bytes(b"garbage")
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 1
    assert "a.txt" in outcome.text
    assert "z.txt:1:1" in outcome.text


@pytest.mark.parametrize(
    "setting", ["core.fsmonitor", "diff.external", "diff.x.textconv", "filter.x.clean", "filter.x.smudge"]
)
def test_nothing_that_the_repository_names_is_run(
    run: Run, repo: Repo, tmp_path: Path, mint: Mint, setting: str
) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    repo.stage("a.txt", mint.key())
    repo.write(".gitattributes", "* diff=x filter=x\n")
    repo.git("config", setting, str(program))
    assert run("scan", "--staged", cwd=repo.path).code == 1
    assert run("scan", cwd=repo.path).code == 1
    assert not canary.exists()


@pytest.mark.parametrize("folder", [".", "", "tools"])
@pytest.mark.parametrize("words", [["audit"], ["scan"], ["scan", "--staged"], ["hook", "pre-commit"]])
def test_no_program_of_the_repository_is_taken_for_git(
    run: Run, repo: Repo, tmp_path: Path, words: list[str], folder: str
) -> None:
    """Where somebody's PATH begins with a folder that is wherever they are."""
    canary = tmp_path / "canary"
    for name in ("git", "tools/git"):
        repo.write(name, f"#!/bin/sh\ntouch {canary}\n").chmod(0o755)
    repo.stage("a.txt", "nothing\n")
    outcome = run(*words, cwd=repo.path, env={"PATH": f"{folder}:{os.environ['PATH']}"})
    assert outcome.code == 0
    assert not canary.exists()


NAMES = [
    b"a\x1b[31m\x1b]0;x\x07.txt",
    b"[red]b[/red].txt",
    b"c\nd.txt",
    b"e\xff.txt",
    b"-rf",
    b"f\xe2\x80\xae.txt",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_the_terminal_as_it_is(run: Run, repo: Repo, mint: Mint, name: bytes) -> None:
    repo.stage(name, mint.key())
    for arguments in (["scan", "--staged"], ["scan"], ["scan", "--format", "json"]):
        outcome = run(*arguments, cwd=repo.path)
        assert outcome.code == 1
        assert all(character.isprintable() or character == "\n" for character in outcome.text)
        if name.startswith(b"[red]"):
            assert "[red]b[/red].txt" in outcome.text


def test_a_key_in_a_name_is_masked_wherever_it_shows(run: Run, repo: Repo, mint: Mint) -> None:
    repo.stage(f"{mint.key()}.txt", f"{mint.key('dev')}\n")
    for arguments in (["scan", "--staged"], ["scan"], ["scan", "--format", "json"]):
        assert run(*arguments, cwd=repo.path).code == 1


_BROAD = [
    '["*.*"]',
    '["**/*.*"]',
    '["**/*"]',
    '["?*"]',
    '["*e*", "*.gz"]',
    '["*/"]',
    '["/**"]',
    '["*.py"]',
    '["a.*"]',
    '["s*", "a*"]',
    "[" + ", ".join(f'"{letter}*"' for letter in "abcdefghijklmnopqrstuvwxyz") + ', "[A-Z]*", ".*"]',
    '["src/**"]',
    '["config/", "docs/", "k8s/", "app/", "lib/", "terraform/", "settings.py", ".env", "main.go", "infra/"]',
]
_RULE = '[[rules]]\nid = "{0}"\npattern = "zzzzz[0-9]+"\nliterals = ["zzzzz"]\nexamples = ["zzzzz1"]\n[severity]\n{0} = "warn"\n'
OFF = [
    *(_RULE.format(id) for id in ("fluxloop-api-key", "prod", "high", "medium")),
    '[severity]\nprod = "warn"\n',
    '[severity]\nhigh = "warn"\n',
    '[severity]\nfluxloop-api-key = "warn"\n',
    '[[allow]]\npaths = ["**"]\nreason = "all"\n',
    '[[allow]]\npaths = ["*"]\nreason = "all"\n',
    '[[allow]]\npaths = ["a.txt"]\n',
    '[[accept-unread]]\npath = "**"\nreason = "all"\n',
    "[limits]\nmax-file-size = 99999999999999\n",
    '[limits]\nmax-file-size = 3\n[[accept-unread]]\npath = "a.txt"\nreason = "x"\n',
    '[limits]\nmax-depth = 1\nmax-expanded = 1\n[[accept-unread]]\npath = "*.gz"\nreason = "x"\n',
    "[limits]\n",
    *(f'[[allow]]\npaths = {paths}\nreason = "x"\n' for paths in _BROAD),
    '[[accept-unread]]\npath = "*.p*"\nreason = "x"\n',
    'baseline = "/etc/passwd"\n',
    'baseline = "../elsewhere.json"\n',
    "rules = 3\n",
    "nonsense = true\n",
    "= broken",
    "\xff",
]


@pytest.mark.parametrize("text", OFF)
def test_a_repository_can_not_switch_the_guard_off(run: Run, repo: Repo, mint: Mint, text: str) -> None:
    repo.stage("a.txt", mint.key())
    (repo.path / ".fluxguard.toml").write_text(text, "latin-1")
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 2
    assert ".fluxguard.toml" in outcome.err
    assert run("hook", "pre-commit", cwd=repo.path).code == 2


@pytest.mark.parametrize(
    "glob", ["tests/data/**", "a.txt", "docs/", "*.snap", "test_*.py", "*.spec.js", "**/fixtures/*.json"]
)
def test_what_a_repository_may_allow(run: Run, repo: Repo, mint: Mint, glob: str) -> None:
    repo.write(".fluxguard.toml", f'[[allow]]\npaths = ["{glob}", "fine.txt"]\nreason = "samples"\n')
    repo.stage("fine.txt", mint.key())
    outcome = run("scan", "--staged", "--format", "json", cwd=repo.path)
    assert outcome.code == 0
    assert '"by": "path"' in outcome.out
    repo.stage("other.txt", mint.key())
    assert run("scan", "--staged", cwd=repo.path).code == 1


@pytest.mark.parametrize("name", [".fluxguard.toml", ".fluxguard-baseline.json"])
def test_a_configuration_that_is_no_plain_file(run: Run, repo: Repo, name: str) -> None:
    os.mkfifo(repo.path / name)
    assert run("scan", cwd=repo.path, timeout=20).code == 2
    (repo.path / name).unlink()
    (repo.path / name).mkdir()
    assert run("scan", cwd=repo.path).code == 2


def test_a_report_to_a_place_that_is_none(run: Run, repo: Repo) -> None:
    assert run("scan", "--output", "/dev/full/x", cwd=repo.path).code == 2


def test_git_is_missing(run: Run, repo: Repo, tmp_path: Path) -> None:
    outcome = run("scan", "--staged", cwd=repo.path, env={"PATH": str(tmp_path)})
    assert outcome.code == 3
    assert "git" in outcome.err


def test_an_encrypted_member_is_not_called_clean(run: Run, repo: Repo) -> None:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "text")
    data = bytearray(out.getvalue())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    repo.stage("secret.zip", bytes(data))
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 3
    assert "encrypted" in outcome.text


def test_a_repository_accepts_nothing_that_only_a_lower_limit_left_unread(
    run: Run, repo: Repo, mint: Mint
) -> None:
    own = Path(repo.env["HOME"]) / "own.toml"
    own.write_text("[limits]\nmax-file-size = 1000\n")
    repo.write(".fluxguard.toml", '[[accept-unread]]\npath = "data.bin"\nreason = "pictures"\n')
    repo.stage("data.bin", mint.key() + "\n" * 2000)
    env = {"FLUXGUARD_CONFIG": str(own)}
    assert run("hook", "pre-commit", cwd=repo.path, env=env).code == 3
    own.write_text(own.read_text() + '[[accept-unread]]\npath = "data.bin"\nreason = "mine"\n')
    assert run("hook", "pre-commit", cwd=repo.path, env=env).code == 0


def test_a_key_of_production_that_a_repository_lets_through_is_shown(
    run: Run, repo: Repo, mint: Mint
) -> None:
    repo.write(".fluxguard.toml", '[[allow]]\npaths = ["fixtures/a.txt"]\nreason = "a sample"\n')
    repo.stage("fixtures/a.txt", f"{mint.key()}\n{mint.key('dev')}\n")
    outcome = run("hook", "pre-commit", cwd=repo.path)
    assert outcome.code == 0
    assert "Let through, though of production: 1 key" in outcome.err
    assert "Suppressed: 1 key" in outcome.err
    assert "fixtures/a.txt:1:1" in outcome.err
