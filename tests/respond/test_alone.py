"""A response goes by its own repository and its own key, whatever the environment says; and no child gets a key from there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, Repo

from tests.respond.story import Story


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_git_s_variables_lead_nowhere_else(story: Story) -> None:
    other = Repo(story.folder / "other", story.environment, story.mint)
    other.path.mkdir()
    other.git("init", "-q", "-b", "main")
    other.commit("x", "x\n", "x")
    before = _contents(other.path)
    bound = {
        "GIT_DIR": str(other.path / ".git"), "GIT_WORK_TREE": str(other.path), "GIT_COMMON_DIR": str(other.path / ".git"),
        "GIT_INDEX_FILE": str(other.path / ".git" / "index"), "GIT_OBJECT_DIRECTORY": str(other.path / ".git" / "objects"),
    }  # fmt: skip
    said = story.clean("--repo", str(story.repo.path), **bound)
    assert "GIT_DIR" in said.err
    assert _contents(other.path) == before
    assert (story.repo.path / ".git" / "hooks" / "pre-commit").exists()
    assert story.holding() == ["refs/pull/1/head"]
    assert story.answers(story.key) == 401


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_child_gets_a_key_in_its_environment(story: Story) -> None:
    """The key that fluxguard asks with, the leaked one under any name, and the new one: as the kernel saw every start of a program."""
    log = story.folder / "strace.log"
    hook = story.remote / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\nenv >> {story.folder}/seen\n")
    hook.chmod(0o755)
    target = f"exec:sh -c 'cat > /dev/null; env >> {story.folder}/seen'"
    env_file = story.repo.path / ".env"
    before = env_file.read_bytes()
    environment = {
        **story.environment, "MY_KEY": story.key, "URL": f"https://u:{story.key}@host/", "FLUXLOOP_SYNC_API_KEY": story.server.key,
    }  # fmt: skip
    environment.pop("FLUXGUARD_NO_KEYRING")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(log), str(COMMAND), "respond", "start",
         "--key-stdin", "--yes", "--clean-history", "--push", "--target", target],
        input=story.key.encode() + b"\n", capture_output=True, cwd=story.repo.path, env=environment, check=False, timeout=300,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 1, text  # a pull request holds it still
    story.new_key(env_file, before)
    first, _, children = log.read_bytes().partition(b"\n")
    assert story.mint.leaked(first), "the command itself is given them"
    assert not story.mint.leaked(children)
    started = set(re.findall(rb'execve\("[^"]*/([^"/]+)"', children))
    assert {b"git", b"sh"} <= started
    assert not {b"gcc", b"cc", b"ld", b"ldconfig"} & started
    assert not story.mint.leaked((story.folder / "seen").read_bytes())
    assert "environment (MY_KEY): by hand" in text


def test_the_keyring_starts_no_compiler(tmp_path: Path) -> None:
    """keyring's part for another system, which looks for that system's libraries: as it is written there."""
    package = tmp_path / "keyring"
    (package / "backends").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "def get_keyring():\n    from ctypes.util import find_library\n    print('found', find_library('Security'))\n    return object()\n"
    )
    for name in ("__init__", "fail", "null"):
        (package / "backends" / f"{name}.py").write_text("class Keyring: pass\n")
    (tmp_path / "bin").mkdir()
    for name in ("gcc", "cc", "ld"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    environment.pop("FLUXGUARD_NO_KEYRING", None)
    code = "from fluxguard.platform import credentials as c; c._keyring(); from ctypes.util import find_library as f; print(f.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, check=True, text=True
    )
    assert done.stdout.split() == ["found", "None", "ctypes.util"]
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("where", [".", "st", ".git/st", "sub/deeper"])
def test_the_state_lies_outside_of_the_repository(story: Story, where: str) -> None:
    before = story.repo.git("status", "--porcelain", "--ignored")
    for words in ((), ("--plan",)):
        said = story.start("--yes", *words, code=2, FLUXGUARD_STATE_DIR=str(story.repo.path / where))
        assert "lies in the repository" in said.err
    link = story.folder / "link"
    link.symlink_to(story.repo.path)
    story.start("--yes", code=2, FLUXGUARD_STATE_DIR=str(link / where))
    assert story.repo.git("status", "--porcelain", "--ignored") == before
    assert not (story.repo.path / where / "vault.key").exists()
    assert story.answers(story.key) == 200


def _last_used(story: Story) -> object:
    (old,) = (one for one in story.issued() if one["id"] == story.key_id)
    return old["last_used_at"]


@pytest.mark.parametrize("set_to", [None, "", "  ", "your-api-key", "garbage", "two words", "itself"])
def test_the_leaked_key_never_asks(story: Story, set_to: str | None) -> None:
    """Nothing to ask with, or nothing that is good: said so, and the leaked key in the workspace is not used in its place."""
    folder = story.repo.path / ".fluxloop"
    folder.mkdir()
    (folder / ".env").write_text(f"FLUXLOOP_API_KEY={story.key}\n")
    without = {name: value for name, value in story.environment.items() if name != "FLUXLOOP_API_KEY"}
    kept, story.environment = story.environment, without
    more = {} if set_to is None else {"FLUXLOOP_API_KEY": story.key if set_to == "itself" else set_to}
    said = story.start("--yes", code=None, **more)
    assert said.code == (4 if set_to in ("garbage", "two words") else 2)
    assert "key" in said.err
    if set_to not in ("garbage", "two words"):
        assert "but the leaked one, which is not used" in said.err
    assert _last_used(story) is None
    assert story.answers(story.key) == 200
    assert len(story.issued()) == 1
    story.environment = kept
    story.resume("--yes")
    assert story.answers(story.key) == 401


def test_a_dead_key_can_be_cleaned_without_any(story: Story) -> None:
    story.server.ask("POST", f"/api/v1/keys/{story.key_id}/revoke", 200, json={"reason": "x"})
    story.clean(FLUXLOOP_API_KEY="")
    assert story.outcome("choose")["strategy"] == "clean-only"
    assert story.holding() == ["refs/pull/1/head"]
