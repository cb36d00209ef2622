"""A server's hooks: real pushes to a real bare repository, whose pushers have no hook at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COMMAND, PROJECT, Mint, Repo, Run

KINDS = ("pre-receive", "update")


class Server:
    """A bare repository with one of our hooks, and a clone to push from."""

    def __init__(self, repo: Repo, path: Path, kind: str) -> None:
        self.repo = repo
        self.path = path
        repo.git("init", "-q", "--bare", "-b", "main", str(path), cwd=repo.path.parent)
        repo.git("remote", "add", "origin", f"file://{path}")
        repo.git("push", "-q", "origin", "main")
        (path / "hooks").mkdir(exist_ok=True)
        shutil.copy2(PROJECT / "hooks" / kind, path / "hooks" / kind)

    def set(self, name: str, value: str) -> None:
        self.repo.git("config", name, value, cwd=self.path)

    def push(self, *words: str, **env: str) -> tuple[int, str]:
        done = self.repo.try_git("push", *words, **env)
        # git itself repeats the names of refs.
        ours = [
            line
            for line in done.stderr.splitlines()
            if line.startswith(b"remote:") and b"declined" not in line
        ]
        leaked = self.repo.mint.leaked(b"\n".join(ours))
        assert not leaked, leaked
        shown = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert "Traceback" not in shown
        return done.returncode, shown

    def refused(self, *words: str, **env: str) -> str:
        before = self.refs()
        code, shown = self.push(*words, **env)
        assert code != 0, shown
        assert self.refs() == before
        return shown

    def passes(self, *words: str, **env: str) -> str:
        code, shown = self.push(*words, **env)
        assert code == 0, shown
        return shown

    def refs(self) -> bytes:
        return self.repo.git("for-each-ref", cwd=self.path)

    def objects(self) -> bytes:
        return self.repo.git("cat-file", "--batch-all-objects", "--batch-check", cwd=self.path)


@pytest.fixture
def serve(repo: Repo, tmp_path: Path) -> Callable[..., Server]:
    return lambda kind="pre-receive": Server(repo, tmp_path / "server.git", kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_refused_and_its_absence_passes(kind: str, serve: Callable[..., Server], mint: Mint) -> None:
    server = serve(kind)
    server.repo.commit("words.txt", "words\n")
    assert "fluxguard" not in server.passes("origin", "main"), "a clean push is silent"
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    brought = server.repo.head.decode()[:10]
    server.repo.commit("app.env", "TOKEN=\n")
    shown = server.refused("origin", "main")
    assert "remote: fluxguard: 1 key would arrive here." in shown
    assert "app.env:1:7" in shown
    assert f"brought by commit {brought}  2026-01-31  Ada <ada@example.org>" in shown
    assert f"git rebase -i {brought}~1" in shown
    assert {"pre-receive": "Nothing of this push was accepted.", "update": "This ref was not accepted."}[
        kind
    ] in shown


def test_what_was_refused_leaves_nothing_behind(serve: Callable[..., Server], mint: Mint) -> None:
    server = serve()
    before = server.objects()
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    server.refused("origin", "main")
    assert server.objects() == before, "git's quarantine is thrown away"


def test_one_of_many_refs_refuses_them_all(serve: Callable[..., Server], mint: Mint) -> None:
    server = serve()
    for number in range(30):
        server.repo.git("checkout", "-q", "-b", f"b{number}", "main")
        server.repo.commit(f"f{number}.txt", mint.key() if number == 17 else "words\n")
    server.repo.git("checkout", "-q", "main")
    shown = server.refused("--all", "origin")
    assert "in refs/heads/b17" in shown
    server.repo.git("branch", "-q", "-D", "b17")
    server.passes("--all", "origin")


def test_update_takes_the_clean_refs_of_a_push(serve: Callable[..., Server], mint: Mint) -> None:
    server = serve("update")
    server.repo.git("branch", "clean")
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    code, _ = server.push("origin", "main", "clean")
    assert code != 0
    assert b"refs/heads/clean" in server.refs()
    assert server.repo.head not in server.refs()


@pytest.mark.parametrize("kind", KINDS)
def test_deletions_and_what_is_there_already(kind: str, serve: Callable[..., Server], mint: Mint) -> None:
    server = serve(kind)
    hook = server.path / "hooks" / kind
    aside = server.path / "aside"
    hook.rename(aside)
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    server.repo.git("push", "-q", "origin", "main", f"main:refs/heads/{mint.keys[0]}")
    aside.rename(hook)
    server.passes("origin", "main:refs/heads/another")
    done = server.repo.try_git("push", "origin", f":refs/heads/{mint.keys[0]}")
    assert done.returncode == 0
    server.repo.commit("app.env", f"TOKEN={mint.keys[0]}\nmore\n")
    assert "(there already)" in server.passes("origin", "main")
    server.repo.commit("copy.env", f"TOKEN={mint.keys[0]}\n")
    assert "copy.env:1:7" in server.refused("origin", "main")


@pytest.mark.parametrize("kind", KINDS)
def test_tags_messages_names_and_people(kind: str, serve: Callable[..., Server], mint: Mint) -> None:
    server = serve(kind)
    server.repo.git("tag", "-a", "v1", "-m", f"it is {mint.key()}")
    assert "the tag's message, line 1, column 7" in server.refused("origin", "v1")
    server.refused("origin", f"main:refs/heads/{mint.key()}")
    server.repo.git("notes", "add", "-m", mint.key(), "HEAD")
    server.refused("origin", "refs/notes/commits")
    server.repo.git("commit", "-q", "--allow-empty", "-m", f"use {mint.key()}")
    assert "the commit's message, line 1, column 5" in server.refused("origin", "main")
    server.repo.git(
        "commit", "-q", "--amend", "-m", "words", f"--author={mint.key()} <a@b.c>", "--allow-empty"
    )
    assert "the commit's header" in server.refused("origin", "main")


def test_a_merge_that_brings_what_neither_side_has(serve: Callable[..., Server], mint: Mint) -> None:
    server = serve()
    server.repo.git("checkout", "-q", "-b", "side")
    server.repo.commit("words.txt", "words\n")
    server.repo.git("checkout", "-q", "main")
    server.repo.git("merge", "-q", "--no-ff", "--no-commit", "side")
    server.repo.stage("app.env", f"TOKEN={mint.key()}\n")
    server.repo.git("commit", "-q", "-m", "merge")
    assert "app.env:1:7" in server.refused("origin", "main")


# --- nothing that a pusher sets lets a push through -------------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"FLUXGUARD_BYPASS": "I must"},
        {"SKIP": "fluxguard"},
        {"FLUXGUARD_CONFIG": "/dev/null"},
    ],
)
def test_no_bypass(env: dict[str, str], serve: Callable[..., Server], mint: Mint) -> None:
    server = serve()
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    server.refused("--no-verify", "origin", "main", **env)


def test_pushed_rules_do_not_count_for_themselves(serve: Callable[..., Server], mint: Mint) -> None:
    server = serve()
    server.repo.write(".fluxguard.toml", '[[allow]]\npaths = ["data/examples/**"]\nreason = "made up"\n')
    server.repo.git("add", ".")
    server.repo.commit("data/examples/a.env", f"TOKEN={mint.key()}\n")
    assert "data/examples/a.env:1:7" in server.refused("origin", "main")
    server.repo.git("rm", "-q", "data/examples/a.env")
    server.repo.git("commit", "-q", "--amend", "-m", "the rules alone")
    server.passes("origin", "main")
    server.repo.commit("data/examples/a.env", f"TOKEN={mint.key()}\n")
    assert "by path: made up" in server.passes("origin", "main"), "now they were accepted"
    server.set("fluxguard.exceptions", "none")
    server.repo.commit("data/examples/b.env", f"TOKEN={mint.key()}\n")
    server.refused("origin", "main")


def test_a_baseline_counts_once_it_was_accepted(serve: Callable[..., Server], mint: Mint, run: Run) -> None:
    server = serve()
    server.repo.write("app.env", f"TOKEN={mint.key()}\n")
    outcome = run("scan", "--write-baseline", "conf/known.json", cwd=server.repo.path)
    assert outcome.code != 0, "the folder is not there"
    (server.repo.path / "conf").mkdir()
    run("scan", "--write-baseline", "conf/known.json", cwd=server.repo.path)
    server.repo.write(".fluxguard.toml", 'baseline = "conf/known.json"\n')
    server.repo.git("add", "conf", ".fluxguard.toml")
    server.repo.git("commit", "-q", "-m", "known")
    server.passes("origin", "main")
    server.repo.commit("app.env", f"TOKEN={mint.keys[0]}\n")
    assert "by baseline" in server.passes("origin", "main")


def test_rules_that_are_wrong_neither_count_nor_lock_the_door(
    serve: Callable[..., Server], mint: Mint
) -> None:
    server = serve()
    server.repo.commit(".fluxguard.toml", "nonsense = 1\n")
    server.passes("origin", "main")
    server.repo.commit(".fluxguard.toml", '[[allow]]\npaths = ["**"]\nreason = "all"\n')
    server.passes("origin", "main")
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    shown = server.refused("origin", "main")
    assert "The configuration at HEAD does not count" in shown


def test_allow_comments_are_for_the_owner_to_decide(serve: Callable[..., Server], mint: Mint) -> None:
    server = serve()
    server.repo.commit("a.py", f"A = '{mint.key()}'  # fluxguard:allow of the documentation\n")
    assert "by allow-comment: of the documentation" in server.passes("origin", "main")
    server.set("fluxguard.exceptions", "none")
    server.repo.commit("b.py", f"B = '{mint.key()}'  # fluxguard:allow of the documentation\n")
    assert "b.py:1:6" in server.refused("origin", "main")


# --- in doubt, refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_time(kind: str, serve: Callable[..., Server]) -> None:
    server = serve(kind)
    server.set("fluxguard.timeout", "0.01")
    for number in range(300):
        server.repo.write(f"f{number}.txt", f"words {number}\n" * 2000)
    server.repo.git("add", ".")
    server.repo.commit("words.txt", "words\n")
    shown = server.refused("origin", "main")
    assert "took longer than 0.01 seconds" in shown
    assert "fluxguard.timeout SECONDS" in shown
    server.set("fluxguard.timeout", "60")
    server.passes("origin", "main")


@pytest.mark.parametrize(("name", "value"), [("timeout", "soon"), ("timeout", "0"), ("exceptions", "some")])
def test_settings_that_make_no_sense(name: str, value: str, serve: Callable[..., Server]) -> None:
    server = serve()
    server.set(f"fluxguard.{name}", value)
    server.repo.commit("words.txt", "words\n")
    assert f"git config fluxguard.{name}" in server.refused("origin", "main")


@pytest.mark.parametrize("kind", KINDS)
def test_fluxguard_is_gone(kind: str, serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(kind)
    server.repo.commit("words.txt", "words\n")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh", "git-receive-pack", "git-upload-pack"):
        (folder / name).symlink_to(str(shutil.which(name)))
    assert "so nothing looked for keys, and the push is refused." in server.refused(
        "origin", "main", PATH=str(folder)
    )


def test_content_that_can_not_be_opened(serve: Callable[..., Server]) -> None:
    server = serve()
    server.repo.commit("data.7z", b"7z\xbc\xaf\x27\x1c" + bytes(64))
    shown = server.refused("origin", "main")
    assert "not everything could be read" in shown
    assert "data.7z" in shown
    assert "[[accept-unread]]" not in shown, "it would not count"


def test_a_missing_object_in_the_store(serve: Callable[..., Server], run: Run) -> None:
    server = serve()
    server.repo.commit("words.txt", "words\n")
    blob = server.repo.git("rev-parse", "HEAD:words.txt").decode().strip()
    hook = server.path / "hooks" / "pre-receive"
    remove = f'find "$GIT_OBJECT_DIRECTORY" . -path "*{blob[:2]}/{blob[2:]}" -delete\n'
    hook.write_text(hook.read_text().replace("if command", remove + "if command", 1))
    assert blob in server.refused("origin", "main")


# --- kinds of repositories --------------------------------------------------------------------------------------------


def test_the_first_push_of_all(serve: Callable[..., Server], mint: Mint, tmp_path: Path) -> None:
    server = serve()
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    empty = tmp_path / "empty.git"
    server.repo.git("init", "-q", "--bare", str(empty))
    shutil.copy2(PROJECT / "hooks" / "pre-receive", empty / "hooks" / "pre-receive")
    assert "app.env:1:7" in server.refused(str(empty), "main")


def test_a_fork_that_shares_its_objects(serve: Callable[..., Server], mint: Mint, tmp_path: Path) -> None:
    server = serve()
    fork = tmp_path / "fork.git"
    server.repo.git("clone", "-q", "--bare", "--shared", str(server.path), str(fork))
    shutil.copy2(PROJECT / "hooks" / "pre-receive", fork / "hooks" / "pre-receive")
    server.repo.commit("words.txt", "words\n")
    server.passes(str(fork), "main")
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    assert "app.env:1:7" in server.refused(str(fork), "main")


def test_a_repository_with_a_working_tree(serve: Callable[..., Server], mint: Mint, tmp_path: Path) -> None:
    server = serve()
    tree = tmp_path / "tree"
    server.repo.git("clone", "-q", str(server.path), str(tree))
    shutil.copy2(PROJECT / "hooks" / "pre-receive", tree / ".git" / "hooks" / "pre-receive")
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    assert "app.env:1:7" in server.refused(str(tree), "main:other")


def test_hooks_of_the_whole_server(serve: Callable[..., Server], mint: Mint, tmp_path: Path) -> None:
    server = serve()
    (server.path / "hooks" / "pre-receive").unlink()
    server.set("core.hooksPath", str(PROJECT / "hooks"))
    server.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    assert "app.env:1:7" in server.refused("origin", "main")


def test_a_terminal_says_nothing(serve: Callable[..., Server], environment: dict[str, str]) -> None:
    server = serve()
    outside, inside = os.openpty()
    try:
        done = subprocess.run(
            [str(COMMAND), "hook", "pre-receive"], cwd=server.path, env=environment, stdin=inside, capture_output=True,
            timeout=20,
        )  # fmt: skip
    finally:
        os.close(inside)
        os.close(outside)
    assert done.returncode == 2
    assert b"a terminal says nothing" in done.stderr
