"""`pre-commit run` in every way that people and services call it: with a key it fails, without one it passes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Mint, Repo, Run

from hook.conftest import Framework

HARMLESS = "no key at all"


@dataclass
class Scene:
    """A repository with the framework's configuration; `line` holds the key, or harmless words."""

    repo: Repo
    text: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """A line with the key in it."""
        return f"TOKEN={self.text}\n"


Call = Callable[[Scene], tuple[str, ...]]
CALLS: dict[str, Call] = {}


def call(name: str) -> Callable[[Call], Call]:
    """Adds a way to call the framework."""
    return lambda prepare: CALLS.setdefault(name, prepare)


@call("run, staged")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.stage("app.env", scene.line)
    return ()


@call("run --all-files, committed")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    return ("--all-files",)


@call("run --all-files, only the committed version has it")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.stage("app.env", "TOKEN=\n")
    return ("--all-files",)


@call("run --all-files, committed, its removal is staged")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.git("rm", "-q", "app.env")
    return ("--all-files",)


@call("run --all-files, committed, gone from the disk")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    (scene.repo.path / "app.env").unlink()
    return ("--all-files",)


@call("run --all-files, committed, overwritten on the disk")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.write("app.env", "TOKEN=\n")
    return ("--all-files",)


@call("run --all-files, only the index has it")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", "TOKEN=\n")
    scene.repo.stage("app.env", scene.line)
    scene.repo.write("app.env", "TOKEN=\n")
    return ("--all-files",)


@call("run --all-files, only the disk has it")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", "TOKEN=\n")
    scene.repo.write("app.env", scene.line)
    return ("--all-files",)


@call("run --all-files, beside a staged edit of the same file")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.stage("app.env", scene.line + "MORE=1\n")
    return ("--all-files",)


@call("run --all-files, in a symbolic link's target")
def _(scene: Scene) -> tuple[str, ...]:
    (scene.repo.path / "link").symlink_to(f"nowhere/{scene.text}")
    scene.repo.git("add", "link")
    scene.repo.git("commit", "-q", "--no-verify", "-m", "link")
    return ("--all-files",)


@call("run --all-files, in a committed file's name")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit(f"{scene.text}.txt", "words\n")
    return ("--all-files",)


@call("run --all-files, in a binary file that attributes hide")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit(".gitattributes", "* -diff binary\n")
    scene.repo.commit("data.bin", b"\0\1\2\xff" * 40 + scene.line.encode())
    return ("--all-files",)


@call("run --all-files --hook-stage manual")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    return ("--all-files", "--hook-stage", "manual")


@call("run --all-files fluxguard, by its id")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    return ("fluxguard", "--all-files")


@call("run --hook-stage pre-merge-commit")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.stage("app.env", scene.line)
    return ("--hook-stage", "pre-merge-commit")


@call("run --files, committed")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    return ("--files", "app.env")


@call("run --files, only the committed version has it")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.write("app.env", "TOKEN=\n")
    return ("--files", "app.env")


@call("run --files, only the index has it")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.stage("app.env", scene.line)
    scene.repo.write("app.env", "TOKEN=\n")
    return ("--files", "app.env")


@call("run --files, untracked")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.write("app.env", scene.line)
    return ("--files", "app.env")


@call("run --files, ignored")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit(".gitignore", "*.env\n")
    scene.repo.write("app.env", scene.line)
    return ("--files", "app.env")


@call("run --from-ref --to-ref")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    return ("--from-ref", "HEAD~1", "--to-ref", "HEAD")


@call("run --from-ref --to-ref of another branch")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", "TOKEN=\n")
    scene.repo.git("checkout", "-q", "-b", "side")
    scene.repo.commit("app.env", scene.line)
    scene.repo.git("checkout", "-q", "main")
    return ("--from-ref", "main", "--to-ref", "side")


@call("run --from-ref --to-ref, overwritten and staged meanwhile")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.commit("other.txt", "words\n")
    scene.repo.stage("app.env", "TOKEN=\n")
    return ("--from-ref", "HEAD~2", "--to-ref", "HEAD")


@call("run --from-ref --to-ref, added and removed between them")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.git("rm", "-q", "app.env")
    scene.repo.git("commit", "-q", "--no-verify", "-m", "remove")
    return ("--from-ref", "HEAD~2", "--to-ref", "HEAD")


@call("run --from-ref --to-ref, in a commit's message")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", "words\n", f"use {scene.text}")
    return ("--from-ref", "HEAD~1", "--to-ref", "HEAD")


@call("run --all-files in several batches of names")
def _(scene: Scene) -> tuple[str, ...]:
    _many(scene)
    scene.repo.git("commit", "-q", "--no-verify", "-m", "many")
    return ("--all-files",)


@call("run in several batches of staged names")
def _(scene: Scene) -> tuple[str, ...]:
    _many(scene)
    return ()


def _many(scene: Scene) -> None:
    """Names that take several times what the framework puts on one command line (128 KiB)."""
    folder = "a-long-name-for-a-folder-" * 4
    for number in range(5_000):
        scene.repo.write(f"{folder}/{number}-{'x' * 60}.txt", f"file {number}\n")
    scene.repo.write(f"{folder}/2500-{'x' * 60}.txt", scene.line)
    scene.repo.git("add", folder)


@call("hosted: shallow clone, run --all-files")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    scene.repo.commit("more.txt", "words\n")
    _shallow(scene)
    return ("--all-files",)


@call("hosted: shallow clone with a detached HEAD, run --from-ref --to-ref")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    _shallow(scene, depth=2)
    scene.repo.git("checkout", "-q", "--detach")
    return ("--from-ref", "HEAD~1", "--to-ref", "HEAD")


def _shallow(scene: Scene, depth: int = 1) -> None:
    clone = scene.repo.path.parent / "clone"
    scene.repo.git("clone", "-q", "--depth", str(depth), f"file://{scene.repo.path}", str(clone))
    scene.repo.path = clone


@call("hosted: a copy without history, git init and add, run --all-files")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    _copy(scene)
    return ("--all-files",)


@call("hosted: a copy without history, committed anew, run --all-files")
def _(scene: Scene) -> tuple[str, ...]:
    scene.repo.commit("app.env", scene.line)
    _copy(scene)
    scene.repo.git("commit", "-q", "--no-verify", "-m", "all of it")
    return ("--all-files",)


def _copy(scene: Scene) -> None:
    copy = scene.repo.path.parent / "copy"
    shutil.copytree(scene.repo.path, copy, ignore=shutil.ignore_patterns(".git"))
    scene.repo.path = copy
    scene.repo.git("init", "-q", "-b", "main")
    scene.repo.git("add", ".")


def _message(scene: Scene) -> tuple[str, ...]:
    message = scene.repo.path / ".git" / "COMMIT_EDITMSG"
    message.write_text(f"use it\n\nIt is {scene.text}.\n")
    return ("--hook-stage", "commit-msg", "--commit-msg-filename", str(message))


@call("run --hook-stage commit-msg")
def _(scene: Scene) -> tuple[str, ...]:
    return _message(scene)


@call("run --hook-stage commit-msg --all-files")
def _(scene: Scene) -> tuple[str, ...]:
    return ("--all-files", *_message(scene))


@call("hosted: shallow clone, run --hook-stage commit-msg")
def _(scene: Scene) -> tuple[str, ...]:
    _shallow(scene)
    return _message(scene)


@call("hosted: a copy without history, run --hook-stage commit-msg")
def _(scene: Scene) -> tuple[str, ...]:
    _copy(scene)
    return _message(scene)


@pytest.mark.framework
@pytest.mark.parametrize("with_key", [True, False], ids=["key", "control"])
@pytest.mark.parametrize("name", CALLS)
def test_framework_call(name: str, with_key: bool, repo: Repo, mint: Mint, framework: Framework) -> None:
    framework.into(repo)
    scene = Scene(repo, mint.key() if with_key else HARMLESS)
    done = framework.run(repo, *CALLS[name](scene), **scene.env)
    said = done.stdout + done.stderr
    assert not mint.leaked(said), mint.leaked(said)
    shown = said.decode("utf-8", "replace")
    assert "Traceback" not in shown, shown
    assert done.returncode == (1 if with_key else 0), shown
    if with_key:
        assert "flux_prod_" in shown, shown
        assert "What to do now" in shown
    else:
        assert "Passed" in shown
        assert "Failed" not in shown


@pytest.mark.framework
def test_what_all_files_finds_is_not_said_to_be_staged(repo: Repo, mint: Mint, framework: Framework) -> None:
    framework.into(repo)
    repo.commit("app.env", f"TOKEN={mint.key()}\n")
    shown = framework.run(repo, "--all-files").stdout.decode()
    assert "app.env:1:7 (committed)" in shown
    assert shown.count("app.env:1:7") == 1, "the same content on the disk is the same place"
    assert "It is committed" in shown
    assert "would be committed" not in shown
    assert "git restore --staged" not in shown


@pytest.mark.framework
def test_a_plain_run_is_about_the_commit_alone(repo: Repo, mint: Mint, framework: Framework) -> None:
    framework.into(repo)
    repo.commit("app.env", f"TOKEN={mint.key()}\n")
    repo.stage("app.env", "TOKEN=\n")
    assert framework.run(repo).returncode == 0, "who takes a key out may commit that"
    repo.stage("app.env", "TOKEN=\n")
    assert repo.try_git("commit", "-q", "-m", "take it out").returncode == 0


@pytest.mark.framework
def test_what_does_not_block_is_shown_all_the_same(repo: Repo, mint: Mint, framework: Framework) -> None:
    framework.into(repo)
    repo.commit("old.env", f"A=1\nTOKEN={mint.key()}\n")
    repo.stage("old.env", (repo.path / "old.env").read_text() + "MORE=1\n")
    done = repo.try_git("commit", "-q", "-m", "change")
    assert done.returncode == 0
    assert b"(there at HEAD already)" in done.stdout + done.stderr
    repo.commit(".fluxguard.toml", '[severity]\ndev = "warn"\n')
    done = repo.try_git("commit", "-q", "--allow-empty", "-m", f"use {mint.key('dev')}")
    assert done.returncode == 0
    assert b"Not blocking: 1 key" in done.stdout + done.stderr


@pytest.mark.framework
def test_a_conflict_settled_as_it_was_does_not_block_for_what_is_at_head(
    repo: Repo, mint: Mint, framework: Framework
) -> None:
    framework.into(repo)
    repo.commit("app.env", f"TOKEN={mint.key()}\nours\n")
    repo.git("checkout", "-q", "-b", "side", "HEAD~1")
    repo.commit("app.env", "theirs\n")
    repo.commit("new.txt", "words\n")
    repo.git("checkout", "-q", "main")
    repo.try_git("-c", "core.hooksPath=/dev/null", "merge", "-q", "side")
    repo.git("checkout", "-q", "--ours", "app.env")
    repo.git("add", "app.env")
    done = repo.try_git("commit", "-q", "-m", "merge")
    assert done.returncode == 0, done.stderr.decode()


def test_the_hook_on_files_without_a_repository(run: Run, tmp_path: Path, mint: Mint) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "app.env").write_text(f"TOKEN={mint.key()}\n")
    (folder / "words.txt").write_text("words\n")
    outcome = run("hook", "pre-commit", "--", "app.env", "words.txt", cwd=folder)
    assert outcome.code == 1
    assert "app.env:1:7" in outcome.err
    outcome = run("hook", "pre-commit", "--", "words.txt", cwd=folder)
    assert outcome.code == 0
    assert "1 named file" in outcome.out


def test_a_revision_that_does_not_exist_is_not_called_clean(run: Run, repo: Repo) -> None:
    env = {"PRE_COMMIT_TO_REF": "no/such/commit"}
    assert run("hook", "pre-commit", "--", "README", cwd=repo.path, env=env).code == 3


def test_what_is_accepted_as_unread_passes_the_hook(run: Run, repo: Repo) -> None:
    repo.stage("data.7z", b"7z\xbc\xaf\x27\x1c" + bytes(64))
    assert run("hook", "pre-commit", cwd=repo.path).code == 3
    repo.write(".fluxguard.toml", '[[accept-unread]]\npath = "data.7z"\nreason = "pictures"\n')
    assert run("hook", "pre-commit", cwd=repo.path).code == 0
