"""Doors at which git calls no hook: the next hook looks at what came in there, and names it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.conftest import Guarded

FOUND = "1 key in this repository that no hook refused. Your commit is not refused for it."
Door = Callable[[Guarded, str], None]
DOORS: dict[str, Door] = {}


def door(name: str) -> Callable[[Door], Door]:
    def add(way: Door) -> Door:
        DOORS[name] = way
        return way

    return add


def _side(guarded: Guarded, content: str) -> None:
    """A commit on a branch of somebody else, that is known to be on a remote: nobody looked at it here."""
    repo = guarded.repo
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("app.env", content)
    repo.git("update-ref", "refs/remotes/other/side", "side")
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "side")


@door("commit --no-verify")
def _(guarded: Guarded, content: str) -> None:
    guarded.repo.stage("app.env", content)
    guarded.repo.git("commit", "-q", "--no-verify", "-m", "quick")


@door("cherry-pick")
def _(guarded: Guarded, content: str) -> None:
    _side(guarded, content)
    guarded.commit("more.txt", "more\n")
    guarded.repo.git("cherry-pick", "refs/remotes/other/side")


@door("rebase")
def _(guarded: Guarded, content: str) -> None:
    _side(guarded, content)
    guarded.commit("more.txt", "more\n")
    guarded.repo.git("checkout", "-q", "-b", "work", "refs/remotes/other/side")
    guarded.repo.git("rebase", "-q", "main")


@door("revert")
def _(guarded: Guarded, content: str) -> None:
    _side(guarded, content)
    guarded.repo.git("merge", "-q", "--ff-only", "refs/remotes/other/side")
    guarded.repo.git("-c", "core.hooksPath=/dev/null", "rm", "-q", "app.env")
    guarded.commit("more.txt", "more\n")
    guarded.repo.git("revert", "--no-edit", "HEAD")
    guarded.repo.git("update-ref", "-d", "refs/remotes/other/side")
    guarded.repo.git("update-ref", "refs/remotes/other/side", "HEAD~1")


@door("stash")
def _(guarded: Guarded, content: str) -> None:
    guarded.repo.stage("app.env", content)
    guarded.repo.git("stash", "push", "-q")


@door("an older stash")
def _(guarded: Guarded, content: str) -> None:
    DOORS["stash"](guarded, content)
    guarded.repo.stage("words.txt", "words\n")
    guarded.repo.git("stash", "push", "-q")


@door("notes")
def _(guarded: Guarded, content: str) -> None:
    guarded.repo.git("notes", "add", "-m", content, "HEAD")


@door("an annotated tag")
def _(guarded: Guarded, content: str) -> None:
    guarded.repo.git("tag", "-a", "v1", "-m", content)


@door("plumbing")
def _(guarded: Guarded, content: str) -> None:
    repo = guarded.repo
    blob = repo.git("hash-object", "-w", "--stdin", stdin=content.encode()).decode().strip()
    tree = repo.git("mktree", stdin=f"100644 blob {blob}\tapp.env\n".encode()).decode().strip()
    commit = repo.git("commit-tree", "-p", "HEAD", "-m", "words", tree).decode().strip()
    repo.git("update-ref", "refs/heads/main", commit)
    repo.git("reset", "-q", "--hard")


@door("hooks switched off for a while")
def _(guarded: Guarded, content: str) -> None:
    guarded.repo.commit("app.env", content)


@pytest.mark.parametrize("with_key", [True, False], ids=["key", "control"])
@pytest.mark.parametrize("name", DOORS)
def test_the_next_hook_catches_up(name: str, with_key: bool, guarded: Guarded) -> None:
    content = f"TOKEN={guarded.repo.mint.key()}\n" if with_key else "words of no weight\n"
    DOORS[name](guarded, content)
    before = guarded.repo.head.decode()[:10]
    said = guarded.commit("innocent.txt", "innocent\n")
    if with_key:
        assert FOUND in said, said
        assert "that no hook had seen: " in said
        assert "pre-push will refuse it" in said
    else:
        assert "no hook refused" not in said
        if name in ("commit --no-verify", "cherry-pick", "plumbing", "hooks switched off for a while"):
            assert f"no key in 1 commit that no hook had seen: {before}." in said, said
    said = guarded.commit("innocent.txt", "and more\n")
    assert "had seen" not in said, "once is enough"


def test_pre_push_refuses_what_no_hook_had_seen_and_names_it(guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", f"file://{tmp_path}/remote.git")
    guarded.passes("push", "-q", "origin", "main")
    guarded.commit("words.txt", "words\n")
    repo.stage("more.txt", "more\n")
    repo.git("commit", "-q", "--no-verify", "-m", "quick")
    quick = repo.head.decode()[:10]
    said = guarded.passes("push", "origin", "main")
    assert (
        f"no key in 2 commits to be pushed (6 objects, {said.partition('objects, ')[2].partition(' ')[0]}"
        in said
    )
    assert f"Among them 1 commit that no hook had seen: {quick}." in said
    assert "had seen" not in guarded.commit("a.txt", "a\n"), "the push has looked at it"
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    repo.git("commit", "-q", "--no-verify", "-m", "quick")
    leak = repo.head.decode()[:10]
    said = guarded.refused("push", "origin", "main")
    assert f"brought by commit {leak}" in said
    assert f"1 commit that no hook had seen: {leak}." in said


def test_told_once_in_full_and_then_in_a_line_until_it_is_gone(guarded: Guarded) -> None:
    repo = guarded.repo
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    repo.git("commit", "-q", "--no-verify", "-m", "quick")
    leak = repo.head.decode()
    assert FOUND in guarded.commit("a.txt", "a\n")
    for name in ("b.txt", "c.txt"):
        said = guarded.commit(name, "words\n")
        assert f"still to be dealt with, found in this repository before: {leak[:10]}" in said
        assert FOUND not in said
    repo.stage("other.env", f"TOKEN={repo.mint.key()}\n")
    repo.git("commit", "-q", "--no-verify", "-m", "another")
    assert "2 keys in this repository" in guarded.commit("d.txt", "words\n")
    editor = f"sed -i '/{leak[:7]}/d;/another/d'"
    repo.git("-c", f"sequence.editor={editor}", "rebase", "-q", "-i", f"{leak}~1")
    said = guarded.commit("e.txt", "words\n")
    assert "to be dealt with" not in said
    assert "no hook refused" not in said
    assert "had seen" not in guarded.commit("f.txt", "words\n")
    assert not (guarded.state / "open").exists()


def test_a_pull_brings_no_news(guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    repo.git("init", "-q", "--bare", "-b", "main", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    guarded.passes("push", "-q", "-u", "origin", "main")
    repo.git("clone", "-q", str(tmp_path / "remote.git"), str(tmp_path / "other"))
    repo.git("commit", "-q", "--allow-empty", "-m", "theirs", cwd=tmp_path / "other")
    repo.git("push", "-q", cwd=tmp_path / "other")
    repo.git("pull", "-q")
    assert "had seen" not in guarded.commit("a.txt", "a\n")


@pytest.mark.parametrize(
    "way", ["merge", "am", "amend", "detached", "linked", "commit -a", "subfolder", "packed"]
)
def test_what_hooks_have_seen_is_no_news(way: str, guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    guarded.commit("start.txt", "words\n")
    cwd = repo.path
    if way in ("merge", "am"):
        guarded.passes("checkout", "-q", "-b", "side")
        guarded.commit("side.txt", "words\n")
        (tmp_path / "a.patch").write_bytes(repo.git("format-patch", "-1", "--stdout"))
        guarded.passes("checkout", "-q", "main")
        guarded.commit("more.txt", "words\n")
        words = (
            ("merge", "-q", "--no-ff", "side") if way == "merge" else ("am", "-q", str(tmp_path / "a.patch"))
        )
        guarded.passes(*words)
    elif way == "amend":
        guarded.commit("more.txt", "words\n", "--amend")
    elif way == "detached":
        guarded.passes("checkout", "-q", "--detach")
        guarded.commit("more.txt", "words\n")
    elif way == "linked":
        guarded.passes("worktree", "add", "-q", str(tmp_path / "linked"))
        cwd = tmp_path / "linked"
        (cwd / "more.txt").write_text("words\n")
        guarded.passes("add", ".", cwd=cwd)
        guarded.passes("commit", "-m", "change", cwd=cwd)
    elif way == "commit -a":
        repo.write("start.txt", "more words\n")
        guarded.passes("commit", "-a", "-m", "change")
    elif way == "subfolder":
        repo.stage("sub/a.txt", "words\n")
        guarded.passes("commit", "-m", "change", cwd=repo.path / "sub")
    else:
        guarded.passes("pack-refs", "--all")
    (cwd / "last.txt").write_text("words\n")
    guarded.passes("add", "last.txt", cwd=cwd)
    said = guarded.passes("commit", "-m", "change", cwd=cwd)
    assert "had seen" not in said, said


def test_a_commit_that_a_hook_refused_and_no_verify_then_made(guarded: Guarded) -> None:
    """The hook that passes before the message is refused must not vouch for the next commit."""
    guarded.repo.stage("words.txt", "words\n")
    guarded.refused("commit", "-m", f"use {guarded.repo.mint.key()}")
    guarded.repo.stage("app.env", f"TOKEN={guarded.repo.mint.key()}\n")
    guarded.repo.git("commit", "-q", "--no-verify", "-m", "quick")
    assert FOUND in guarded.commit("a.txt", "a\n")


def test_exceptions_count(guarded: Guarded) -> None:
    guarded.repo.stage("app.py", f"A = '{guarded.repo.mint.key()}'  # fluxguard:allow of the documentation\n")
    guarded.repo.git("commit", "-q", "--no-verify", "-m", "quick")
    assert "no hook refused" not in guarded.commit("a.txt", "a\n")
    assert "had seen" not in guarded.commit("b.txt", "b\n")


def test_a_state_that_is_damaged_or_made_up_stops_nobody(guarded: Guarded, tmp_path: Path) -> None:
    for text in (b"", b"\0\xff\n\n", b"0 0 0 0\n" + b"1" * 40 + b"\nnonsense\n--all\n", b"x" * (1 << 20)):
        (guarded.state / "checked").write_bytes(text)
        guarded.repo.write("a.txt", f"{len(text)}\n")
        guarded.repo.git("add", "a.txt")
        guarded.passes("commit", "-m", "change")
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    for name in ("checked", "passed", "checked.new", "open"):
        (guarded.state / name).unlink(missing_ok=True)
        (guarded.state / name).symlink_to(victim)
        guarded.repo.write("a.txt", f"{name}\n")
        guarded.repo.git("add", "a.txt")
        guarded.passes("commit", "-m", "change")
        assert victim.read_text() == "mine\n"
        (guarded.state / name).unlink(missing_ok=True)


def test_the_state_holds_ids_and_times_alone(guarded: Guarded) -> None:
    guarded.repo.stage("app.env", f"TOKEN={guarded.repo.mint.key()}\n")
    guarded.repo.git("commit", "-q", "--no-verify", "-m", "quick")
    guarded.commit("a.txt", "a\n")
    for path in guarded.state.iterdir():
        assert set(path.read_text()) <= set("0123456789abcdef \n:"), path.name


LOADED = """
import os, sys
before = set(sys.modules)
from fluxguard.cli import main
code = main(["hook", "pre-commit"])
print(code, *sorted(name for name in set(sys.modules) - before if name.startswith("fluxguard")))
"""


def test_catching_up_when_nothing_happened_loads_two_small_modules(guarded: Guarded) -> None:
    from test_imports import OURS

    guarded.commit("a.txt", "a\n")
    guarded.repo.stage("b.txt", "b\n")
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED], cwd=guarded.repo.path, env={**guarded.repo.env, "FLUXGUARD_GIT": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert set(loaded) - OURS == {"fluxguard.commands.catchup", "fluxguard.repo.seen"}
