"""What is made to exhaust time or memory is bounded, named, and not called clean."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import COMMAND, Mint, Repo, Run

MEMORY = 700 << 20  # bytes; what a scan may take at most, whatever it reads


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def bomb() -> bytes:
    return zipped({f"{number}.txt": bytes(20 << 20) for number in range(40)})


def forked() -> bytes:
    data = bytes(1 << 20)
    for _ in range(4):
        data = zipped({f"{number}.zip": data for number in range(10)})
    return data


def nested(pack: object) -> bytes:
    data = b"words"
    for _ in range(40):
        data = pack(data)  # type: ignore[operator]
    return data


def many() -> bytes:
    return tarfile.TarInfo("a").tobuf() * 101_000 + bytes(1024)


BOMBS = {
    "zip bomb": (bomb, "unpacks to more than the limit"),
    "zip of zips of zips": (forked, "unpacks to more than the limit"),
    "gzip bomb": (lambda: gzip.compress(bytes(400 << 20), 1), "unpacks to more than the limit"),
    "gzip forty times": (lambda: nested(gzip.compress), "nested in more than 8 layers"),
    "zip forty times": (lambda: nested(lambda data: zipped({"a.zip": data})), "nested in more than 8 layers"),
    "tar of many members": (many, "more than"),
}


def limited(repo: Repo, *arguments: str) -> subprocess.CompletedProcess[str]:
    """fluxguard with its memory measured: fails where it took more than it may."""
    program = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)\n"
        f"sys.exit(99 if peak > {MEMORY} else code)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, COMMAND, *arguments],
        cwd=repo.path, env=repo.env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb(repo: Repo, name: str) -> None:
    make, reason = BOMBS[name]
    repo.stage("bomb.bin", make())
    # To go through a hundred thousand members takes 15 s of processor time: once is enough.
    for arguments in (["scan"], ["hook", "pre-commit"])[make is many :]:
        done = limited(repo, *arguments)
        assert done.returncode == 3, done.stdout[:500] + done.stderr[:500]
        assert "bomb.bin" in done.stdout + done.stderr
        assert reason in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_key_beside_a_bomb_is_found(repo: Repo, mint: Mint) -> None:
    key = mint.key()
    repo.stage("bomb.zip", zipped({"a.env": f"K={key}".encode(), "b.bin": bytes(300 << 20)}))
    done = limited(repo, "scan")
    assert done.returncode == 1
    assert "bomb.zip" in done.stdout
    assert "zip:a.env" in done.stdout


def test_base64_of_base64_of_base64(repo: Repo) -> None:
    data = b"words and words"
    for _ in range(25):
        data = base64.b64encode(data)
    repo.stage("deep.txt", data)
    assert limited(repo, "scan").returncode in (0, 3)


def test_two_gigabytes_take_no_more_memory_than_a_window(repo: Repo) -> None:
    pytest.importorskip("hyperscan")
    with (repo.path / "big.bin").open("wb") as stream:
        stream.truncate(2 << 30)
    assert limited(repo, "scan").returncode == 0


ENCRYPTED = {
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(60),
    "rar": b"Rar!\x1a\x07\x01\x00" + bytes(60),
    "zst": b"\x28\xb5\x2f\xfd" + bytes(60),
}


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_archives_that_can_not_be_opened_are_named(run: Run, repo: Repo, kind: str) -> None:
    repo.stage(f"a.{kind}", ENCRYPTED[kind])
    for arguments in (["scan"], ["hook", "pre-commit"]):
        outcome = run(*arguments, cwd=repo.path)
        assert outcome.code == 3
        assert f"a.{kind}" in outcome.text
        assert "[[accept-unread]]" in outcome.text
        assert f'path = "a.{kind}"' in outcome.text


SLOW = r"""
[[rules]]
id = "acme-token"
pattern = '(?:acme-|a)(?:\w|[a-z])*?(?:\w|[a-z])*?(?:\w|[a-z])*?x'
literals = ["acme-"]
examples = ["acme-¦x"]
"""


IMPATIENT = """
import sys
from fluxguard.detect import engine, ruleset
assert engine.PATIENCE <= 60 and ruleset.TIMEOUT <= 5
engine.PATIENCE, ruleset.TIMEOUT = 2, 1
from fluxguard.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_a_rule_that_is_slow_on_some_texts_alone_is_given_up_in_the_end(repo: Repo, mint: Mint) -> None:
    repo.write(".fluxguard.toml", SLOW)
    for number in range(40):
        repo.write(f"{number:02}.txt", "acme-" + "a" * 40_000 + "!\n")
    repo.write("99.env", mint.key())
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, "scan", "--format", "json"],
        cwd=repo.path, env=repo.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, "our own rules go on"
    assert "99.env" in done.stdout
    assert "took too long here" in done.stdout
    assert "was given up" in done.stdout
    assert json.loads(done.stdout)["complete"] is False


WRONG = {
    "backtracks on its example": "[[rules]]\nid='acme'\npattern='(a|a)+(b|b)+$'\nliterals=['aaa']\nexamples=['"
    + "a" * 60
    + "']\n",
    "nested too deeply": "[[rules]]\nid='acme'\npattern='"
    + "(" * 30_000
    + "a"
    + ")" * 30_000
    + "'\nliterals=['aaa']\nexamples=['aaa']\n",
    "a count without end": "[[rules]]\nid='acme'\npattern='a{5,99999999999999999999}'\nliterals=['aaa']\nexamples=['aaaaa']\n",
    "a key of a hundred thousand parts": "[a" + ".a" * 100_000 + "]\n",
    "brackets without end": "x = " + "[" * 100_000,
}


@pytest.mark.parametrize("name", WRONG)
def test_configuration_that_is_made_to_exhaust(run: Run, repo: Repo, name: str) -> None:
    repo.write(".fluxguard.toml", WRONG[name])
    for arguments in (["scan"], ["hook", "pre-commit"]):
        outcome = run(*arguments, cwd=repo.path, timeout=60)
        assert outcome.code == 2
        assert ".fluxguard.toml" in outcome.err


def test_a_path_pattern_with_too_many_stars(run: Run, repo: Repo, mint: Mint) -> None:
    repo.write(".fluxguard.toml", f'[[allow]]\npaths = ["data/{"**a" * 900}c"]\nreason = "x"\n')
    id = repo.git("hash-object", "-w", "--stdin", stdin=mint.key().encode()).decode().strip()
    name = "data/" + ("a" * 200 + "/") * 18 + "cb"
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{id},{name}")
    outcome = run("scan", "--staged", cwd=repo.path, timeout=60)
    assert outcome.code == 2
    assert "too many stars" in outcome.err


def test_core_worktree_points_elsewhere(run: Run, repo: Repo, tmp_path: Path, mint: Mint) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs.env").write_text(mint.key())
    repo.git("config", "core.worktree", str(elsewhere))
    assert run("scan", cwd=repo.path).code == 0, "what was asked for is this folder"
    repo.write("mine.env", mint.key())
    outcome = run("scan", cwd=repo.path)
    assert outcome.code == 1
    assert "mine.env:1:1" in outcome.out
    assert "theirs.env" not in outcome.text
    assert run("hook", "pre-commit", cwd=repo.path).code == 0
    repo.git("config", "core.worktree", str(tmp_path / "nowhere"))
    assert run("scan", cwd=repo.path).code == 1
    id = repo.git("hash-object", "-w", "--stdin", stdin=mint.key().encode()).decode().strip()
    repo.git("config", "--unset", "core.worktree")
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{id},staged.env")
    repo.git("config", "core.worktree", str(tmp_path / "nowhere"))
    assert run("hook", "pre-commit", cwd=repo.path).code == 1, (
        "what is staged does not depend on where the files are"
    )


VANISH = """
import os, sys
from fluxguard.sources import worktree
real = worktree._file
def file(name, shown, limit):
    if name.endswith((b"gone.txt", b"cut.txt")):
        os.unlink(name) if name.endswith(b"gone.txt") else os.truncate(name, 3)
    return real(name, shown, limit)
worktree._file = file
from fluxguard.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "arguments", [["scan"], ["scan", "--no-ignore", "."], ["scan", "gone.txt", "cut.txt", "z.env"]]
)
def test_a_file_vanishes_between_the_list_and_the_look(repo: Repo, mint: Mint, arguments: list[str]) -> None:
    for name in ("cut.txt", "gone.txt"):
        repo.write(name, "words\n" * 1000)
    repo.write("z.env", mint.key())
    done = subprocess.run(
        [sys.executable, "-c", VANISH, *arguments],
        cwd=repo.path,
        env=repo.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "z.env:1:1" in done.stdout
    assert "Traceback" not in done.stderr
    assert not mint.leaked((done.stdout + done.stderr).encode())


def test_tracked_files_that_are_gone_are_no_skip(run: Run, repo: Repo) -> None:
    repo.commit("a/b.txt", "words\n")
    (repo.path / "a" / "b.txt").unlink()
    os.rmdir(repo.path / "a")
    assert run("scan", cwd=repo.path).code == 0
