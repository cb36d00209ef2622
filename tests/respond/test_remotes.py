"""What a remote does to a clean-up: none, several, one that changes, refuses, keeps something, or does not show all that it has."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from fluxguard.errors import FluxguardError
from fluxguard.respond import mirror
from tests.respond.story import Story


def _left(story: Story) -> list[str]:
    found: list[str] = json.loads(story.run("respond", "report", "--format", "json").out)["left"]
    return found


def _refs(story: Story) -> bytes:
    return story.repo.git("for-each-ref")


def _hook(story: Story, name: str, script: str) -> Path:
    path = story.remote / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("how", ["none", "itself", "unknown", "several"])
def test_without_a_remote_nothing_is_begun(story: Story, how: str) -> None:
    git = story.repo.git
    words: list[str] = []
    git("remote", "remove", "origin")
    if how == "itself":
        git("remote", "add", "origin", str(story.repo.path))
    elif how == "unknown":
        words = ["--remote", "elsewhere"]
    elif how == "several":
        git("remote", "add", "one", str(story.remote))
        git("remote", "add", "two", f"{story.remote}-2")
    before = _refs(story)
    for more in (["--plan"], []):
        said = story.clean(*words, *more, code=2)
        assert "remote" in said.err
    assert _refs(story) == before
    assert story.answers(story.key) == 200
    assert not list((story.state / "incidents").glob("inc-*"))


def test_a_remote_that_is_gone_meanwhile_is_not_taken_for_the_clone(story: Story) -> None:
    story.start("--clean-history", "--push", code=3)
    story.repo.git("remote", "remove", "origin")
    before = _refs(story)
    said = story.resume("--yes", code=3)
    assert "no longer configured" in said.err
    assert _refs(story) == before
    story.repo.git("remote", "add", "origin", str(story.remote))
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]


def test_a_mirror_of_the_clone_is_never_pushed(story: Story) -> None:
    """Made by an older fluxguard, say, while there was no remote."""
    story.start("--clean-history", "--push", code=3)
    git, mirrored = story.repo.git, story.incident / "mirror"
    git("config", "remote.origin.url", str(story.repo.path), cwd=mirrored)
    before = _refs(story)
    assert "of your own clone" in story.resume("--yes", code=3).err
    assert _refs(story) == before
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]


def _backup(story: Story) -> Path:
    """A second remote, which has the branches with the key."""
    git, backup = story.repo.git, story.folder / "backup.git"
    git("init", "-q", "--bare", "-b", "main", str(backup))
    git("remote", "add", "backup", str(backup))
    git("-c", "core.hooksPath=/dev/null", "push", "-q", "backup", "main", "topic")
    return backup


def test_another_remote_is_named_and_can_be_cleaned(story: Story) -> None:
    git, backup = story.repo.git, _backup(story)
    assert "remote backup" in story.clean("--plan", code=0).out
    git("push", "-q", "origin", "--delete", "refs/pull/1/head", cwd=story.repo.path)
    story.clean(code=3)  # not looked at is not clean
    assert story.holding() == []
    assert any(
        "Not looked at: remote backup; to clean it: fluxguard respond start" in line for line in _left(story)
    )
    assert story.holding(where=backup) == ["refs/heads/main", "refs/heads/topic"]


def test_a_remote_is_cleaned_of_a_key_that_the_clone_holds_no_more(story: Story) -> None:
    """With the command that the first incident names."""
    git, backup = story.repo.git, _backup(story)
    git("push", "-q", "origin", "--delete", "refs/pull/1/head")
    (story.repo.path / ".env").unlink()
    story.clean("--no-new-key", "--own-clone", code=3)
    (line,) = (one for one in _left(story) if "remote backup; to clean it: " in one)
    first = story.incident
    words = shlex.split(line.partition("fluxguard ")[2])
    fingerprint = words[words.index("--finding") + 1]
    said = story.run("respond", "start", "--finding", fingerprint, "--plan", code=2).err
    assert "only a remote holds" in said
    left = first.parent / ".look-99999999"  # of one that was killed: there is no process of that number
    left.mkdir()
    (left / "file").write_text(story.key)
    story.run(*words, "--yes", "--no-new-key", code=None)
    assert story.holding(where=backup) == []
    assert not list(first.parent.glob(".look*"))
    story.nowhere()


def test_the_remote_can_be_chosen(story: Story) -> None:
    git = story.repo.git
    git("remote", "rename", "origin", "server")
    git("init", "-q", "--bare", "-b", "main", str(story.folder / "other.git"))
    git("remote", "add", "origin", str(story.folder / "other.git"))
    story.clean("--remote", "server")
    assert story.holding() == ["refs/pull/1/head"]
    assert any("remote origin" in line for line in _left(story))


def test_a_branch_that_comes_during_the_push_leaves_it_open(story: Story) -> None:
    old = story.repo.git("rev-parse", "main~1").decode().strip()
    _hook(story, "post-receive", f"[ -e once ] || {{ : >once; git update-ref refs/heads/brandnew {old}; }}")
    said = story.clean(code=1)
    assert "refs/heads/brandnew" in said.err
    assert "Closed" not in said.out
    assert (story.incident / "vault").exists()
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]
    assert not (story.incident / "vault").exists()


def test_what_was_pushed_has_to_be_there_when_it_is_proved(story: Story) -> None:
    once = '[ "$name" = refs/heads/topic ] && [ ! -e once ] && : >once && git update-ref -d "$name"'
    _hook(story, "post-receive", f"while read old new name; do {once}; done; true")
    said = story.clean(code=3)
    assert "no longer has what was pushed: refs/heads/topic" in said.err
    assert (story.incident / "vault").exists()
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]


def test_with_no_pull_request_it_ends_with_0(story: Story) -> None:
    story.repo.git("push", "-q", "origin", ":refs/pull/1/head")
    story.clean(code=0)
    assert story.holding() == []


def _tips(story: Story) -> bytes:
    return story.repo.git("for-each-ref", "refs/heads", "refs/tags", cwd=story.remote)


def test_branches_and_tags_go_all_or_none(story: Story) -> None:
    """One that the remote refuses keeps back the others, and says so; with that mended, all go in one transaction."""
    git = story.repo.git
    git("branch", f"b-{story.key}", "main")
    git("tag", "-a", "-m", "a release", "v1", "main")
    story.push("--all")
    story.push("v1")
    before = _tips(story)
    hook = _hook(story, "update", '[ "$1" = refs/tags/v1 ] || exit 0\necho "tags are kept" >&2\nexit 1')
    said = " ".join(story.clean(code=3).err.split())
    assert "refs/tags/v1 was not pushed; the remote says: tags are kept" in said
    assert "No branch and no tag was pushed" in said
    assert "atomic" not in said
    assert _tips(story) == before
    hook.unlink()
    _hook(story, "post-receive", "wc -l >>once")
    story.resume("--yes", code=1)
    assert (story.remote / "once").read_text().split() == ["5"]
    assert story.holding() == ["refs/pull/1/head"]
    story.nowhere()


@pytest.mark.parametrize("atomic", ["true", "false"])
def test_a_ref_that_the_remote_keeps_to_itself_stops_no_other(story: Story, atomic: str) -> None:
    git = story.repo.git
    git("config", "receive.advertiseAtomic", atomic, cwd=story.remote)
    story.push("main~1:refs/ci/build-1", "main~1:refs/aaa/1")
    _hook(story, "update", 'case $1 in refs/ci/*|refs/aaa/*) echo "not yours" >&2; exit 1;; esac')
    story.clean()
    assert story.holding() == ["refs/aaa/1", "refs/ci/build-1", "refs/pull/1/head"]
    became = story.outcome("push")["refs"]
    assert {became["refs/heads/main"], became["refs/heads/topic"]} == {"pushed"}
    assert became["refs/ci/build-1"].startswith("refused (not yours")
    assert any("refs/aaa/1 was not rewritten: refused (not yours" in line for line in _left(story))


def test_a_refusal_is_told_with_the_ref_and_the_remote_s_words(story: Story) -> None:
    """By a remote that takes refs one by one alone."""
    story.repo.git("config", "receive.advertiseAtomic", "false", cwd=story.remote)
    story.repo.git("branch", "b2", "main")
    story.push("b2")
    say = f"printf '\\n\\nGH006: \\033[31mProtected\\033[0m branch [bold]x[/bold] {story.key}\\n' >&2"
    hook = _hook(story, "update", f'[ "$1" = refs/heads/main ] || exit 0\n{say}\nexit 1')
    said = story.clean(code=3)
    assert "refs/heads/main was not pushed" in said.err
    assert "GH006" in said.err
    assert "\x1b" not in said.err
    assert "1 ref had been pushed before" in said.err
    hook.unlink()
    story.resume("--yes", code=1)
    story.nowhere()


def test_what_is_deleted_is_said_to_be(story: Story) -> None:
    git = story.repo.git
    git("branch", f"b-{story.key}", "main")
    git("replace", git("rev-parse", "main~1").decode().strip(), git("rev-parse", "main").decode().strip())
    story.push(f"b-{story.key}", "refs/replace/*:refs/replace/*")
    said = story.clean().out
    became = story.outcome("push")["refs"]
    (replaced,) = (name for name in became if name.startswith("refs/replace/"))
    assert became[replaced] == "deleted"
    assert sum(what == "deleted" for what in became.values()) == 2
    assert "2 refs deleted" in said
    assert any(replaced in line and "deleted" in line for line in _left(story))
    rewritten = story.outcome("rewrite")
    assert rewritten["refs_changed"] <= rewritten["refs_before"]


def test_tags_without_a_tagger_stay_so_and_lost_headers_are_told(story: Story) -> None:
    git = story.repo.git
    tree, parent = (git("rev-parse", one).decode().strip() for one in ("main^{tree}", "main"))
    who = "A <a@example.org> 1700000000 +0000"
    raw = f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\nx-custom of its own\n\nodd\n"
    commit = git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode()).decode().strip()
    git("update-ref", "refs/heads/odd", commit)
    tag = f"object {commit}\ntype commit\ntag old\n\nfrom long ago\n"
    inner = git("hash-object", "-t", "tag", "-w", "--stdin", stdin=tag.encode()).decode().strip()
    git("update-ref", "refs/tags/old", inner)
    git("tag", "-a", "-m", "around it", "around", "old")
    story.push("odd", "old", "around")
    story.clean()
    there = git("cat-file", "tag", "old", cwd=story.remote).decode()
    assert "tagger" not in there
    assert there.endswith("\ntag old\n\nfrom long ago\n")
    assert git("rev-parse", "old^{commit}", cwd=story.remote) == git("rev-parse", "odd", cwd=story.remote)
    assert git("rev-parse", "around^{commit}", cwd=story.remote) == git("rev-parse", "odd", cwd=story.remote)
    assert story.outcome("rewrite")["headers"] == {"x-custom": 1}
    assert any("x-custom" in line for line in _left(story))
    git("fsck", "--full", cwd=story.remote)


def test_a_mirror_that_is_not_all_of_it_is_no_mirror(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git whose fetch brings nothing, and says that all is well."""
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = Path(next(p for p in ("/usr/bin/git", "/usr/local/bin/git") if Path(p).exists()))
    fake.write_text(f'#!/bin/sh\nfor one; do [ "$one" = fetch ] && exit 0; done\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    with pytest.raises(FluxguardError, match="does not hold what the remote says"):
        mirror.mirror(str(story.remote), tmp_path / "mirror", story.repo.path)


def test_a_history_that_is_not_pushed_is_said_to_be_there(story: Story) -> None:
    """Cleaned in the mirror alone, not agreed to, or given up: the remote is as it was, and the report says so."""
    there = "origin still holds the key: "

    def says(words: str) -> bool:
        return any(words in one for one in _left(story))

    story.start("--yes", "--clean-history")
    assert says(there + "it was cleaned in a private mirror")
    story.start("--clean-history", "--push", code=3)
    for aborted in (False, True):
        if aborted:
            story.run("respond", "abort", "--yes")
        assert says(there + "the cleaned one was not pushed")
        assert says("own clone was not looked at")
    story.clean()
    assert not says(there)
    assert not says("own clone was not looked at")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/nowhere/remote.git", "There is no repository where the remote should be"),
        ("ext::sh -c true", "does not allow this kind of address"),
        ("http://127.0.0.1:9/remote.git", "The remote can't be reached"),
        ("http://remote.invalid/remote.git", "The remote's host can't be found"),
    ],
)
def test_a_remote_that_does_not_answer_is_told_apart(story: Story, url: str, words: str) -> None:
    story.repo.git("remote", "set-url", "origin", url)
    said = story.start("--yes", "--clean-history", "--push", code=3)
    assert words in said.err
    story.repo.git("remote", "set-url", "origin", str(story.remote))
    story.resume("--yes", code=1)


def test_a_plan_for_a_key_that_only_a_remote_holds_leaves_nothing(story: Story) -> None:
    from fluxguard.model import Secret

    other = story.folder / "fresh"
    story.repo.git("init", "-q", "-b", "main", str(other))
    story.repo.git("remote", "add", "origin", str(story.remote), cwd=other)
    fingerprint = Secret(story.key.encode()).fingerprint
    where = ("respond", "start", "--repo", str(other), "--finding", fingerprint, "--plan", "--format", "json")
    assert story.run(*where, code=2).out
    plan = json.loads(story.run(*where, "--clean-history", "--push").out)
    assert plan["verify"]["status"] == "active"
    assert not story.state.exists() or not list(story.state.rglob("*"))
