"""Pushes for real, to a repository beside: what the remote lacks is looked at, all of it and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PROJECT, Mint, Repo, Run

HARMLESS = "no key at all"


class Pushing:
    """A repository, a remote that has its first commit, and pushes that our hook sees."""

    def __init__(self, repo: Repo, remote: Path) -> None:
        self.repo = repo
        self.remote = remote
        repo.git("init", "-q", "--bare", "-b", "main", str(remote), cwd=repo.path.parent)
        repo.git("remote", "add", "origin", f"file://{remote}")
        repo.git("push", "-q", "-u", "origin", "main")
        repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))

    def push(self, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        """`git push`; no key may be said."""
        done = self.repo.try_git("push", *words, **env)
        leaked = self.repo.mint.leaked(done.stdout + done.stderr)
        assert not leaked, leaked
        assert b"Traceback" not in done.stderr
        return done

    def refused(self, *words: str, **env: str) -> str:
        before = self.refs()
        done = self.push(*words, **env)
        shown = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode != 0, shown
        assert self.refs() == before, "something was pushed"
        return shown

    def passes(self, *words: str, **env: str) -> str:
        done = self.push(*words, **env)
        shown = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode == 0, shown
        return shown

    def refs(self) -> bytes:
        return self.repo.git("for-each-ref", cwd=self.remote)

    def quietly(self, *words: str, stdin: bytes = b"") -> bytes:
        return self.repo.git("-c", "core.hooksPath=/dev/null", *words, stdin=stdin)


@pytest.fixture
def pushing(repo: Repo, tmp_path: Path) -> Pushing:
    return Pushing(repo, tmp_path / "remote.git")


Story = Callable[[Pushing, str], tuple[str, ...]]
STORIES: dict[str, Story] = {}


def story(name: str) -> Callable[[Story], Story]:
    def add(tell: Story) -> Story:
        STORIES[name] = tell
        return tell

    return add


@story("a file in the last commit")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return ("origin", "main")


@story("a file that a later commit deletes")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    pushing.quietly("rm", "-q", "app.env")
    pushing.quietly("commit", "-q", "-m", "gone")
    return ("origin", "main")


@story("the first of 61 commits of a new branch")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("checkout", "-q", "-b", "new")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    for number in range(60):
        pushing.quietly("commit", "-q", "--allow-empty", "-m", f"change {number}")
    return ("-u", "origin", "new")


@story("the second of two branches")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("checkout", "-q", "-b", "aclean")
    pushing.repo.commit("words.txt", "words\n")
    pushing.quietly("checkout", "-q", "-b", "zdirty", "main")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return ("origin", "aclean", "zdirty")


@story("push --all")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    STORIES["the second of two branches"](pushing, text)
    return ("--all", "origin")


@story("push --mirror, in a note")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("notes", "add", "-m", text, "HEAD")
    return ("--mirror", "origin")


@story("one of 300 new branches")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    start = pushing.repo.head
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    tips = [pushing.repo.head if number == 211 else start for number in range(300)]
    lines = b"".join(b"create refs/heads/b%d %s\n" % (number, tip) for number, tip in enumerate(tips))
    pushing.quietly("update-ref", "--stdin", stdin=lines)
    return ("origin", "refs/heads/b*")


@story("on top of what was packed since")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit("deep/er/words", "words\n")
    pushing.quietly("push", "-q", "origin", "main")
    pushing.repo.git("gc", "-q")
    pushing.repo.commit("deep/er/app.env", f"TOKEN={text}\n")
    pushing.repo.commit("deep/er/app.env", "TOKEN=\n")
    return ("origin", "main")


@story("the message of an annotated tag")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("tag", "-a", "v1", "-m", f"it is {text}")
    return ("origin", "v1")


@story("the message of a tag of a tag, push --tags")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("tag", "-a", "inner", "-m", f"it is {text}")
    pushing.quietly("tag", "-a", "outer", "-m", "words", "inner")
    pushing.quietly("tag", "-d", "inner")
    return ("--tags", "origin")


@story("the tagger's name")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("-c", f"user.name={text}", "tag", "-a", "v1", "-m", "words")
    pushing.repo.env["GIT_COMMITTER_NAME"] = text
    pushing.quietly("tag", "-f", "-a", "v1", "-m", "words")
    pushing.repo.env["GIT_COMMITTER_NAME"] = "Ada"
    return ("origin", "v1")


@story("a tag on a blob")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    blob = pushing.quietly("hash-object", "-w", "--stdin", stdin=f"TOKEN={text}\n".encode()).decode().strip()
    pushing.quietly("tag", "blob", blob)
    return ("origin", "blob")


@story("an annotated tag on a tree")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    blob = pushing.quietly("hash-object", "-w", "--stdin", stdin=f"TOKEN={text}\n".encode()).decode().strip()
    tree = pushing.quietly("mktree", stdin=f"100644 blob {blob}\tapp.env\n".encode()).decode().strip()
    pushing.quietly("tag", "-a", "-m", "words", "tree", tree)
    return ("origin", "tree")


@story("a lightweight tag on a commit of no branch")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("checkout", "-q", "--detach")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    pushing.quietly("tag", "away")
    pushing.quietly("checkout", "-q", "main")
    return ("origin", "away")


@story("a commit message")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("commit", "-q", "--allow-empty", "-m", f"use {text}")
    return ("origin", "main")


@story("the author's name")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("commit", "-q", "--allow-empty", "-m", "words", f"--author={text} <a@b.c>")
    return ("origin", "main")


@story("the name of a file")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit(f"notes/{text}.txt", "words\n")
    return ("origin", "main")


@story("the name of a folder")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit(f"{text}/notes.txt", "words\n")
    return ("origin", "main")


@story("the name of a branch")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    return ("origin", f"HEAD:refs/heads/{text.replace(' ', '-')}")


@story("the name of a tag")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    name = text.replace(" ", "-")
    pushing.quietly("tag", name)
    return ("origin", name)


@story("a forced push")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("commit", "-q", "--amend", "-m", "another start")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return ("--force", "origin", "main")


@story("a forced push over a commit that is not here")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    other = pushing.repo.path.parent / "other"
    pushing.quietly("clone", "-q", f"file://{pushing.remote}", str(other))
    pushing.repo.git("commit", "-q", "--allow-empty", "-m", "theirs", cwd=other)
    pushing.repo.git("push", "-q", cwd=other)
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return ("--force", "origin", "main")


@story("cherry-pick, which no hook sees")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("checkout", "-q", "-b", "side")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    pushing.quietly("checkout", "-q", "main")
    pushing.repo.commit("words.txt", "words\n")
    pushing.repo.git("cherry-pick", "side")
    return ("origin", "main")


@story("commit --no-verify")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.stage("app.env", f"TOKEN={text}\n")
    pushing.repo.git("commit", "-q", "--no-verify", "-m", "quick")
    return ("origin", "main")


@story("plumbing")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    blob = pushing.repo.git("hash-object", "-w", "--stdin", stdin=f"TOKEN={text}\n".encode()).decode().strip()
    tree = pushing.repo.git("mktree", stdin=f"100644 blob {blob}\tapp.env\n".encode()).decode().strip()
    commit = pushing.repo.git("commit-tree", "-p", "HEAD", "-m", "words", tree).decode().strip()
    return ("origin", f"{commit}:refs/heads/plumbed")


@story("a merge that brings what neither side has")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("checkout", "-q", "-b", "side")
    pushing.repo.commit("words.txt", "words\n")
    pushing.quietly("checkout", "-q", "main")
    pushing.repo.commit("more.txt", "more\n")
    pushing.quietly("merge", "-q", "--no-ff", "--no-commit", "side")
    pushing.repo.stage("app.env", f"TOKEN={text}\n")
    pushing.quietly("commit", "-q", "-m", "merge")
    return ("origin", "main")


@story("a URL instead of a remote's name")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return (f"file://{pushing.remote}", "main")


@story("a branch that has no commit in common with the remote's")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("checkout", "-q", "--orphan", "alone")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return ("origin", "alone")


@story("a value in .fluxloop, in a file that also lies elsewhere")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    content = f"api_key: {text}\n"
    pushing.repo.write("a.yaml", content)
    pushing.repo.commit(".fluxloop/config.yaml", content)
    return ("origin", "main")


@story("a file of Git LFS")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    content = f"TOKEN={text}\n".encode()
    name = hashlib.sha256(content).hexdigest()
    path = pushing.repo.path / ".git" / "lfs" / "objects" / name[:2] / name[2:4] / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {len(content)}\n"
    pushing.repo.commit("data.bin", pointer)
    return ("origin", "main")


@story("a path with a line feed")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.repo.commit("a\nb.env", f"TOKEN={text}\n")
    return ("origin", "main")


@story("deletion of another branch in the same push")
def _(pushing: Pushing, text: str) -> tuple[str, ...]:
    pushing.quietly("push", "-q", "origin", "main:old")
    pushing.repo.commit("app.env", f"TOKEN={text}\n")
    return ("origin", ":old", "main")


@pytest.mark.parametrize("with_key", [True, False], ids=["key", "control"])
@pytest.mark.parametrize("name", STORIES)
def test_push(name: str, with_key: bool, pushing: Pushing, mint: Mint) -> None:
    words = STORIES[name](pushing, mint.key() if with_key else HARMLESS)
    if with_key:
        shown = pushing.refused(*words)
        assert "flux_prod_" in shown, f"refused, but not for the key: {shown}"
        assert "What to do now" in shown
        assert "The push is refused." in shown
    else:
        pushing.passes(*words)


# --- what is looked at, and what is not ------------------------------------------------------------------------------


def test_nothing_new_is_silent(pushing: Pushing) -> None:
    assert "fluxguard" not in pushing.passes("origin", "main")


def test_deletions_are_no_ones_concern(pushing: Pushing, mint: Mint) -> None:
    name = mint.key()
    pushing.quietly("push", "-q", "origin", f"main:{name}")
    done = pushing.repo.try_git("push", "origin", f":{name}")
    assert done.returncode == 0
    assert b"fluxguard" not in done.stderr


def test_what_the_remote_has_is_not_looked_at_again(pushing: Pushing, mint: Mint) -> None:
    pushing.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    pushing.quietly("push", "-q", "origin", "main")
    pushing.repo.commit("words.txt", "words\n")
    assert "no key in 1 commit to be pushed (3 objects" in pushing.passes("origin", "main")
    pushing.quietly("checkout", "-q", "-b", "further")
    pushing.repo.commit("more.txt", "more\n")
    assert "no key in 1 commit to be pushed (3 objects" in pushing.passes("origin", "further")


def test_a_file_whose_key_the_remote_has_warns_only(pushing: Pushing, mint: Mint) -> None:
    pushing.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    pushing.quietly("push", "-q", "origin", "main")
    pushing.repo.commit("app.env", f"TOKEN={mint.keys[0]}\nmore\n")
    shown = pushing.passes("origin", "main")
    assert "Not blocking: 1 key" in shown
    assert "app.env:1:7 (there already)" in shown
    pushing.quietly("mv", "app.env", "other.env")
    pushing.repo.commit("other.env", f"TOKEN={mint.keys[0]}\nmore and more\n")
    assert "(there already)" in pushing.passes("origin", "main"), "moved, and changed"
    pushing.repo.commit("third.env", f"TOKEN={mint.keys[0]}\nwords\n")
    assert "third.env:1:7" in pushing.refused("origin", "main")


def test_who_brought_it_and_with_which_ref(pushing: Pushing, mint: Mint) -> None:
    pushing.quietly("checkout", "-q", "-b", "feature")
    pushing.repo.commit("words.txt", "words\n")
    pushing.repo.commit("conf/app.env", f"\nTOKEN={mint.key()}\n")
    brought = pushing.repo.head.decode()
    pushing.repo.commit("conf/app.env", f"\nTOKEN={mint.keys[0]}\nmore\n")
    pushing.repo.commit("more.txt", "more\n")
    shown = pushing.refused("origin", "feature", "main")
    assert "conf/app.env:2:7" in shown
    assert shown.count("conf/app.env") == 1
    assert f"brought by commit {brought[:10]}  2026-01-31  Ada <ada@example.org>" in shown
    assert "in refs/heads/feature" in shown
    assert f"git rebase -i {brought[:10]}~1" in shown


def test_the_advice_works(pushing: Pushing, mint: Mint) -> None:
    pushing.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    brought = pushing.repo.head.decode()[:10]
    pushing.repo.commit("words.txt", "words\n")
    assert f"git rebase -i {brought}~1" in pushing.refused("origin", "main")
    pushing.quietly("-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", f"{brought}~1")
    pushing.repo.stage("app.env", "TOKEN=\n")
    pushing.repo.git("commit", "-q", "--amend", "-m", "change")
    pushing.quietly("rebase", "--continue")
    pushing.passes("origin", "main")


def test_exceptions_count_as_for_a_commit(pushing: Pushing, mint: Mint) -> None:
    pushing.repo.commit("app.py", f"TOKEN = '{mint.key()}'  # fluxguard:allow of the documentation\n")
    assert "by allow-comment: of the documentation" in pushing.passes("origin", "main")
    pushing.repo.write(".fluxguard.toml", '[[allow]]\npaths = ["data/examples/**"]\nreason = "made up"\n')
    pushing.repo.commit("data/examples/a.env", f"TOKEN={mint.key()}\n")
    assert "by path: made up" in pushing.passes("origin", "main")


# --- what can't be believed or read ----------------------------------------------------------------------------------


def test_a_remote_that_moved_is_not_believed_to_have_anything(
    pushing: Pushing, mint: Mint, tmp_path: Path
) -> None:
    pushing.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    pushing.quietly("push", "-q", "origin", "main")
    public = tmp_path / "public.git"
    pushing.quietly("init", "-q", "--bare", str(public))
    pushing.quietly("remote", "set-url", "origin", f"file://{public}")
    assert "app.env:1:7" in pushing.refused("origin", "main")


def test_a_push_url_of_another_place(pushing: Pushing, mint: Mint, tmp_path: Path) -> None:
    pushing.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    pushing.quietly("push", "-q", "origin", "main")
    public = tmp_path / "public.git"
    pushing.quietly("init", "-q", "--bare", str(public))
    pushing.quietly("remote", "set-url", "--push", "origin", f"file://{public}")
    assert "app.env:1:7" in pushing.refused("origin", "main:other")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("git@host.example:team/app.git", "https://host.example/team/app", True),
        ("ssh://git@host.example:2222/team/app.git/", "https://me:pw@HOST.example/team/app.git", True),
        ("https://host.example/team/app", "https://host.example/team/app2", False),
        ("https://host.example/team/app", "https://other.example/team/app", False),
        ("/srv/git/app.git", "file:///srv/git/app.git", True),
        ("/srv/git/app.git", "/srv/git/app", False),
        ("/srv/git/app/.git", "/srv/git/app", True),
    ],
)
def test_same_place(one: str, other: str, same: bool) -> None:
    from fluxguard.repo.outgoing import same_place

    assert same_place(one, other) is same


def test_a_missing_object_is_not_clean(pushing: Pushing) -> None:
    pushing.repo.commit("app.txt", "words\n")
    blob = pushing.repo.git("rev-parse", "HEAD:app.txt").decode().strip()
    (pushing.repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    shown = pushing.refused("origin", "main")
    assert "not everything could be read. The push is refused." in shown
    assert blob in shown


def test_a_damaged_object_is_not_clean(pushing: Pushing) -> None:
    pushing.repo.commit("app.txt", "words\n")
    blob = pushing.repo.git("rev-parse", "HEAD:app.txt").decode().strip()
    path = pushing.repo.path / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-3])
    assert "app.txt: the object is damaged" in pushing.refused("origin", "main")


def test_a_missing_tree_is_not_clean(pushing: Pushing) -> None:
    pushing.repo.commit("sub/app.txt", "words\n")
    tree = pushing.repo.git("rev-parse", "HEAD:sub").decode().strip()
    (pushing.repo.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    assert "The push is refused." in pushing.refused("origin", "main")


def _clone(pushing: Pushing, *options: str) -> Pushing:
    folder = pushing.repo.path.parent / "clone"
    pushing.quietly("clone", "-q", *options, f"file://{pushing.remote}", str(folder))
    pushing.repo.path = folder
    pushing.repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    return pushing


def test_a_shallow_clone(pushing: Pushing, mint: Mint, tmp_path: Path) -> None:
    pushing.repo.commit("words.txt", "words\n")
    pushing.quietly("push", "-q", "origin", "main")
    _clone(pushing, "--depth=1")
    pushing.repo.commit("more.txt", "more\n")
    assert "no key in 1 commit" in pushing.passes("origin", "main"), "all that the remote lacks is here"
    pushing.quietly("init", "-q", "--bare", str(tmp_path / "new.git"))
    pushing.quietly("remote", "add", "new", f"file://{tmp_path}/new.git")
    assert "shallow clone" in pushing.refused("new", "main")
    pushing.repo.commit("app.env", f"TOKEN={mint.key()}\n")
    assert "app.env:1:7" in pushing.refused("origin", "main")


def test_a_partial_clone_fetches_nothing(pushing: Pushing, mint: Mint, tmp_path: Path) -> None:
    pushing.repo.commit("words.txt", "words\n")
    pushing.quietly("push", "-q", "origin", "main")
    pushing.repo.git("config", "uploadpack.allowFilter", "true", cwd=pushing.remote)
    pushing.repo.git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=pushing.remote)
    _clone(pushing, "--filter=blob:none", "--no-checkout")
    store = pushing.repo.path / ".git" / "objects" / "pack"
    before = sorted(os.listdir(store))
    commit = pushing.quietly("commit-tree", "-p", "HEAD", "-m", "words", "HEAD^{tree}").decode().strip()
    assert "no key in 1 commit" in pushing.passes("origin", f"{commit}:refs/heads/more")
    assert sorted(os.listdir(store)) == before
    pushing.quietly("init", "-q", "--bare", str(tmp_path / "new.git"))
    pushing.quietly("remote", "add", "new", f"file://{tmp_path}/new.git")
    assert "not in this repository (a partial clone?)" in pushing.refused("new", "main")
    assert sorted(os.listdir(store)) == before


def test_hostile_names_and_people(pushing: Pushing, mint: Mint) -> None:
    pushing.repo.env["GIT_AUTHOR_NAME"] = "Eve \x1b[31m"
    pushing.repo.commit("a\x1b]0;owned\x07.env", f"TOKEN={mint.key()}\n")
    shown = pushing.refused("origin", "main")
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize(
    "text", [b"one two three\n", b"refs/heads/main zzzz refs/heads/main " + b"0" * 40 + b"\n", b"\0\xff\n"]
)
def test_nonsense_on_standard_input(run: Run, repo: Repo, text: bytes) -> None:
    outcome = run("hook", "pre-push", "origin", "file:///nowhere", cwd=repo.path, stdin=text)
    assert outcome.code == 2
    assert "git help hooks" in outcome.err


def test_an_object_that_is_nowhere(run: Run, repo: Repo) -> None:
    line = b"refs/heads/main " + b"1" * 40 + b" refs/heads/main " + b"0" * 40 + b"\n"
    outcome = run("hook", "pre-push", "origin", "file:///nowhere", cwd=repo.path, stdin=line)
    assert outcome.code == 3


def test_from_a_bare_repository_and_a_linked_worktree(pushing: Pushing, mint: Mint, tmp_path: Path) -> None:
    pushing.quietly("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    linked = Repo(tmp_path / "linked", pushing.repo.env, mint)
    linked.commit("app.env", f"TOKEN={mint.key()}\n")
    done = linked.try_git("push", "origin", "side")
    assert done.returncode != 0
    assert b"app.env:1:7" in done.stderr
    bare = tmp_path / "bare.git"
    shutil.copytree(pushing.repo.path / ".git", bare)
    pushing.quietly("-C", str(bare), "config", "core.bare", "true")
    done = Repo(bare, pushing.repo.env, mint).try_git("push", "origin", "side")
    assert done.returncode != 0
    assert b"app.env:1:7" in done.stderr


def test_sha256(make_repo: Callable[..., Repo], mint: Mint, tmp_path: Path) -> None:
    repo = make_repo("new", "--object-format=sha256")
    repo.commit("README", "A project.\n", "start")
    remote = tmp_path / "remote.git"
    repo.git("init", "-q", "--bare", "--object-format=sha256", str(remote))
    repo.git("remote", "add", "origin", str(remote))
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    repo.commit(f"{mint.key()}.txt", "words\n")
    repo.commit("app.env", f"TOKEN={mint.key()}\n")
    done = repo.try_git("push", "origin", "main")
    assert done.returncode != 0
    assert b"2 keys would be pushed" in done.stderr
    assert not mint.leaked(done.stderr)


@pytest.mark.parametrize("code", [None, 1, 2, 3, 70, 130])
def test_the_script_lets_nothing_pass_but_on_0(code: int | None, pushing: Pushing, tmp_path: Path) -> None:
    pushing.repo.commit("words.txt", "words\n")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh", "git-receive-pack", "git-upload-pack"):
        (folder / name).symlink_to(str(shutil.which(name)))
    if code is not None:
        (folder / "fluxguard").write_text(f"#!/bin/sh\nexit {code}\n")
        (folder / "fluxguard").chmod(0o755)
    shown = pushing.refused("origin", "main", PATH=str(folder))
    assert ("so nothing looked for keys, and the push is refused." in shown) is (code is None)
