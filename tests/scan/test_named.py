"""What is named by hand is read, or said not to have been: pipes, devices, links that lead nowhere, ignored folders."""

from __future__ import annotations

import os
import subprocess

import pytest
from conftest import Mint, Repo, Run


def bash(script: str, repo: Repo, mint: Mint) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in the repository; the key is in $KEY."""
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=repo.path,
        env={**repo.env, "KEY": mint.key()},
        capture_output=True,
        timeout=60,
    )
    assert not mint.leaked(done.stdout + done.stderr)
    return done


@pytest.mark.parametrize(
    "script",
    [
        "fluxguard scan <(echo $KEY)",
        "fluxguard scan <(sleep 1; echo $KEY)",
        "echo $KEY | fluxguard scan /dev/stdin",
        "echo $KEY | fluxguard scan /dev/fd/0",
        "echo $KEY > f; exec 5<f; rm f; fluxguard scan /dev/fd/5",
        "mkfifo p; (echo $KEY > p &) ; fluxguard scan p",
        "mkfifo p; (sleep 1; echo $KEY > p) & fluxguard scan p",
        "mkfifo p; (exec 5>p; sleep 1; echo $KEY >&5) & fluxguard scan p",
        "mkfifo p; ln -s p link; (echo $KEY > p &) ; fluxguard scan --no-repo-config --format json link",
    ],
)
def test_a_pipe_that_is_named_is_read(script: str, repo: Repo, mint: Mint) -> None:
    done = bash(script, repo, mint)
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("fluxguard scan <(echo words)", 0),
        ("true | fluxguard scan /dev/stdin", 0),
        ("fluxguard scan /dev/null", 0),
        ("mkfifo p; fluxguard scan .", 0),
        ("mkfifo p; (exec 5>p) & fluxguard scan p", 0),
        ("mkfifo p; fluxguard scan p", 3),
        ("ln -s nowhere link; fluxguard scan link", 3),
        ("ln -s loop loop; fluxguard scan loop", 3),
        ("fluxguard scan /dev/stdin <&-", 3),
        ("printf '[limits]\\nmax-file-size = 100\\n' > .fluxguard.toml; fluxguard scan /dev/zero", 3),
    ],
)
def test_nothing_named_is_called_clean_unread(script: str, code: int, repo: Repo, mint: Mint) -> None:
    done = bash(script, repo, mint)
    if code == 0:
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert done.returncode in (2, 3), done.stdout + done.stderr
        assert b"Traceback" not in done.stderr


def test_a_socket_that_is_named_is_not_called_clean(run: Run, repo: Repo) -> None:
    import socket

    here = os.getcwd()
    os.chdir(repo.path)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("s")
            assert run("scan", "s", cwd=repo.path).code == 3
    finally:
        os.chdir(here)


def test_an_ignored_folder_that_is_named_is_read(run: Run, repo: Repo, mint: Mint) -> None:
    repo.commit(".gitignore", "build\n")
    repo.write("build/deep/out.txt", mint.key())
    assert run("scan", cwd=repo.path).code == 0
    for named in ("build", "build/deep", "./build/"):
        assert run("scan", named, cwd=repo.path).code == 1
    assert run("scan", ".", cwd=repo.path / "build").code == 1
