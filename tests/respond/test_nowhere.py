"""The key in clear is nowhere: in no argument or environment of any process of a response, and in nothing that it leaves. And the demo."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import COMMAND, call, forms

from tests.respond.story import Story


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_in_no_argument_and_no_environment(story: Story) -> None:
    """Every program that is started, with its arguments and its whole environment, as the kernel saw them."""
    key = story.key
    story.repo.write(".env", f"K={key}\n")
    story.repo.git("branch", f"b-{key}", "main~1")
    story.push("--all")
    log = story.folder / "strace.log"
    environment = {name: value for name, value in story.environment.items() if name != "FLUXLOOP_API_KEY"}
    subprocess.run(
        [str(COMMAND), "auth", "login"], input=story.server.key.encode() + b"\n", capture_output=True, check=True,
        env=environment, cwd=story.folder,
    )  # fmt: skip
    done = subprocess.run(
        ["strace", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(log), str(COMMAND), "respond", "start",
         "--key-stdin", "--yes", "--clean-history", "--push", "--own-clone"],
        input=key.encode() + b"\n", capture_output=True, cwd=story.repo.path, env=environment, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr.decode()  # the pull request's ref holds it still
    story.said.append((done.stdout + done.stderr).decode())
    story.new_key(story.repo.path / ".env", f"K={key}\n".encode())
    traced = log.read_bytes()
    started = set(re.findall(rb'execve\("[^"]*/([^"/]+)"', traced))
    assert b"git" in started
    assert traced.count(b"execve(") > 50
    leaked = story.mint.leaked(traced)
    assert not leaked, leaked
    story.run("respond", "forget", "--yes")  # the backup of the own clone holds it
    story.mint.keys.remove(story.server.key)  # `auth login` keeps that one, 0600
    story.nowhere()
    assert story.holding() == ["refs/pull/1/head"]


def test_not_even_while_it_waits(story: Story) -> None:
    """With an open incident, mirror and all: the vault is sealed, and the rest holds no key."""
    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    story.start("--clean-history", "--push", code=3)
    story.new_key(path, before)
    assert (story.incident / "vault").stat().st_mode & 0o777 == 0o600
    story.nowhere()


def test_the_demo_tells_the_story(story: Story, tmp_path: Path) -> None:
    environment = {
        name: value for name, value in story.environment.items() if not name.startswith(("FLUX", "GIT_"))
    }
    done = subprocess.run(
        [str(COMMAND), "demo", "--no-color", "--keep"], capture_output=True, cwd=tmp_path, env=environment, check=False,
        timeout=600,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    folder = Path(re.findall(r"All of it is in (\S+)", text)[0])
    try:
        for number in range(1, 8):
            assert f"{number}/7  " in text
        for words in ("The commit is refused", "$ fluxguard audit", "$ fluxguard respond start", "the platform answers 401",
                      "no key found", "The key is dead"):  # fmt: skip
            assert words in text
        new = (folder / "shop/.fluxloop/.env").read_bytes().strip().partition(b"=")[2]
        assert len(new) > 30
        for form in forms(new).values():
            assert form not in text.encode()
        whole = re.findall(r"flux_(?:dev|stg|prod|ci)_[0-9A-Za-z]{16,}", text)
        assert whole == []
    finally:
        shutil.rmtree(folder)


def test_a_folder_and_a_remote_called_after_the_key(story: Story) -> None:
    """What is kept of the incident names neither in clear; killed or left, it is gone on with all the same."""
    git = story.repo.git
    folder = story.folder / f"of-{story.key}"
    folder.mkdir()
    remote = f"r-{story.key}"
    git("remote", "rename", "origin", remote)
    story.repo.path.rename(folder / "shop")
    words = ("--repo", str(folder / "shop"), "--clean-history", "--push", "--remote", remote)
    environment = story.environment
    called = [str(COMMAND), "respond", "start", "--key-stdin", *words]
    for more in ([], ["--plan", "--format", "json"]):
        done = call([*called, *more], folder, environment, story.mint, f"{story.key}\n".encode(), 180)
        story.said.append(done.text)
    assert done.code == 0, done.text
    for words, code in ((["resume", "--yes"], 1), (["status", "--format", "json"], 0), (["report"], 0)):
        done = call([str(COMMAND), "respond", *words], folder, environment, story.mint, b"", 180)
        story.said.append(done.text)
        assert done.code == code, done.text
    assert story.holding() == ["refs/pull/1/head"]
    story.nowhere()
