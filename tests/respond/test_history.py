"""The cleaned history: other kinds of repositories, what a rewrite loses, remotes that refuse, and people who push meanwhile."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.respond.story import Story


def _report(story: Story) -> str:
    return "\n".join(json.loads(story.run("respond", "report", "--format", "json").out)["left"])


def _tip(story: Story, name: str = "refs/heads/main") -> str:
    return story.repo.git("rev-parse", name, cwd=story.remote).decode().strip()


def test_a_repository_of_sha256(untold: Story) -> None:
    untold.create()
    untold.leak("--object-format=sha256")
    untold.clean()
    assert untold.holding() == ["refs/pull/1/head"]
    assert len(_tip(untold)) == 64
    untold.repo.git("fsck", "--full", "--strict", cwd=untold.remote)


def _signed(story: Story, begin: str) -> None:
    """A commit on main with a signature of a kind in its header, made by hand: no program that signs is needed."""
    raw = story.repo.git("cat-file", "commit", "HEAD").decode()
    head, _, message = raw.partition("\n\n")
    signature = f"gpgsig -----BEGIN {begin} SIGNATURE-----\n \n abc\n -----END {begin} SIGNATURE-----"
    data = f"{head}\n{signature}\n\n{message}".encode()
    made = story.repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=data).decode().strip()
    story.repo.git("update-ref", "refs/heads/main", made)


@pytest.mark.parametrize("begin", ["PGP", "SSH"])
def test_signatures_that_are_lost_are_counted(story: Story, begin: str) -> None:
    _signed(story, begin)
    story.push("+main")
    story.clean()
    assert story.outcome("rewrite")["signatures"] == 1
    assert "1 signature of" in _report(story)


def test_notes_go_with_their_commits(story: Story) -> None:
    git = story.repo.git
    git("notes", "add", "-m", "a note about the leak", "main~1")
    git("notes", "add", "-m", f"with {story.key} in it", "main")
    story.push("refs/notes/commits")
    story.clean()
    assert story.outcome("rewrite")["notes"] == 2
    assert story.holding() == ["refs/pull/1/head"]
    assert git("notes", "show", "main~1", cwd=story.remote) == b"a note about the leak\n"
    assert b"with REMOVED-BY-FLUXGUARD in it" in git("notes", "show", "main", cwd=story.remote)


def test_tags_and_messages_and_names(story: Story) -> None:
    git, key = story.repo.git, story.key
    git("tag", "-a", "-m", f"release with {key}", "v1", "main~1")
    git("tag", "-a", "-m", "the tag of a tag", "v1-again", "v1")
    git("tag", f"tag-{key}", "main")
    git("branch", f"branch-{key}", "main~1")
    git("commit", "-q", "--allow-empty", "-m", f"the key was {key}")
    git("commit", "-q", "--allow-empty", "-m", "x", "--author", f"{key} <{key}@example.org>")
    story.repo.commit(f"dir-{key}/{key}.txt", "nothing\n")
    story.push("--all")
    story.push("--tags")
    story.clean()
    assert story.holding() == ["refs/pull/1/head"]
    names = git("for-each-ref", "--format=%(refname)", cwd=story.remote).decode()
    assert key not in names
    assert "refs/heads/branch-REMOVED-BY-FLUXGUARD" in names
    assert b"REMOVED-BY-FLUXGUARD" in git("cat-file", "-p", "v1", cwd=story.remote)
    assert git("rev-parse", "v1^{commit}", cwd=story.remote) == git("rev-parse", "main~4", cwd=story.remote)
    story.nowhere()


def test_submodules_and_pointers_of_lfs_are_named(story: Story) -> None:
    git = story.repo.git
    git("update-index", "--add", "--cacheinfo", f"160000,{'12' * 20},lib/sub")
    story.repo.stage(
        ".gitmodules", '[submodule "lib/sub"]\n\tpath = lib/sub\n\turl = https://example.org/sub\n'
    )
    story.repo.stage(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 12345\n"
    (story.repo.path / "model.bin").write_text(pointer)
    id = git("hash-object", "-w", "--stdin", stdin=pointer.encode()).decode().strip()
    git("update-index", "--add", "--cacheinfo", f"100644,{id},model.bin")
    git("commit", "-q", "-m", "a submodule and a large file")
    story.push("main")
    story.clean(code=None)
    left = _report(story)
    assert "Not looked at: submodule lib/sub" in left
    assert "lfs" in left.lower()
    assert story.holding() == ["refs/pull/1/head"]


def test_a_submodule_that_nobody_looked_at_is_not_clean(story: Story) -> None:
    git = story.repo.git
    git("update-ref", "-d", "refs/pull/1/head", cwd=story.remote)
    git("update-index", "--add", "--cacheinfo", f"160000,{'12' * 20},lib/sub")
    git("commit", "-q", "-m", "a submodule")
    story.push("main")
    said = story.clean(code=3)
    assert "Not looked at: submodule lib/sub" in " ".join((said.out + said.err).split())
    assert not story.holding()


@pytest.mark.parametrize("how", ["denyNonFastForwards", "hook"])
def test_a_remote_that_refuses_can_be_asked_again(story: Story, how: str) -> None:
    hook = story.remote / "hooks" / "pre-receive"
    if how == "hook":
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'GH006: Protected branch update failed' >&2\nexit 1\n")
        hook.chmod(0o755)
    else:
        story.repo.git("config", "receive.denyNonFastForwards", "true", cwd=story.remote)
    before = _tip(story)
    said = story.clean(code=3)
    assert "lift that for the moment, then resume" in said.err
    assert _tip(story) == before
    assert story.answers(story.key) == 401
    if how == "hook":
        hook.unlink()
    else:
        story.repo.git("config", "receive.denyNonFastForwards", "false", cwd=story.remote)
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]


def _colleague(story: Story, name: str, content: str) -> str:
    """Somebody clones, commits on the old main, and pushes. Returns the commit."""
    other = story.folder / f"other-{name}"
    story.repo.git("clone", "-q", str(story.remote), str(other))
    (other / name).write_text(content)
    story.repo.git("add", name, cwd=other)
    story.repo.git("commit", "-q", "-m", f"work on {name}", cwd=other)
    story.repo.git("push", "-q", "origin", "main", cwd=other)
    return story.repo.git("rev-parse", "HEAD", cwd=other).decode().strip()


def test_what_somebody_pushes_meanwhile_is_not_overwritten(story: Story) -> None:
    said = story.start("--clean-history", "--push", code=3)  # nobody typed the word
    assert "not agreed to" in said.out
    commit = _colleague(story, "work.txt", f"work, and {story.key} again\n")
    said = story.resume("--yes", code=3)
    assert "has moved on the remote" in said.err
    assert _tip(story) == commit
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]
    kept = story.repo.git("show", "main:work.txt", cwd=story.remote)
    assert kept == b"work, and REMOVED-BY-FLUXGUARD again\n"
    phases = [one["phase"] for one in story.records() if one["step"] == "rewrite"]
    assert phases == ["intent", "done", "stale", "intent", "done"]


def test_what_is_banned_is_what_was_given_up_and_nothing_else(story: Story) -> None:
    """A new clone with the list pushes; the old history is refused."""
    git = story.repo.git
    old = git("rev-parse", "main").decode().strip()
    story.clean()
    banned = set(story.outcome("rewrite")["banned"])
    assert banned
    assert not banned & set(git("rev-list", "main", "topic", cwd=story.remote).decode().split())
    fresh = story.folder / "fresh"
    git("clone", "-q", str(story.remote), str(fresh))
    story.run("install", str(fresh))
    (fresh / ".git" / "fluxguard").mkdir(exist_ok=True)
    (fresh / ".git" / "fluxguard" / "banned-commits.json").write_text(json.dumps(sorted(banned)))
    git("commit", "-q", "--allow-empty", "-m", "work on the cleaned history", cwd=fresh)
    git("push", "-q", "origin", "main", cwd=fresh)
    said = story.repo.try_git("push", "origin", f"{old}:refs/heads/again")
    assert b"would bring back commit" in said.stderr


def test_names_that_would_meet_are_kept_apart(story: Story) -> None:
    """In one commit and in several, a file and a folder, two forms of the key: each keeps what it held, in every commit."""
    key, removed, git = story.key, "REMOVED-BY-FLUXGUARD", story.repo.git
    percent = "".join(f"%{byte:02x}" for byte in key.encode())
    held = {
        f"{key}.txt": "one", f"{removed}.txt": "two", f"{percent}.txt": "three", f"d/{key}/a": "four", f"d/{removed}": "five",
    }  # fmt: skip
    for name, content in held.items():
        story.repo.stage(name, content)
    git("commit", "-q", "-m", "all at once")
    story.repo.commit(f"later/{key}", "six", "first this")
    story.repo.commit(f"later/{removed}", "seven", "then that")
    git("rm", "-q", f"later/{removed}")
    git("commit", "-q", "-m", "and gone again")
    story.push("main")
    said = story.clean("--strategy", "overlap")
    assert story.holding() == ["refs/pull/1/head"]
    git("fetch", "-q", "origin")
    for number, wanted in enumerate([{"six"}, {"six", "seven"}, {"six"}, set()]):
        listed = git("ls-tree", "-r", "-z", f"origin/main~{number}").split(b"\0")
        names = {line.split(b"\t")[1]: line.split()[2].decode() for line in listed if line}
        there = {
            git("cat-file", "blob", id).decode() for name, id in names.items() if removed.encode() in name
        }
        assert there == {*held.values(), *wanted}, number
        assert names.keys() >= {f"{removed}.txt".encode(), f"d/{removed}".encode()}
    assert len(story.outcome("rewrite")["apart"]) == 3
    assert f"{removed}-2" in story.run("respond", "report").out
    git("fsck", "--full", "--strict", cwd=story.remote)
    assert key not in said.text


def _when_main_was_pushed(story: Story, command: str) -> None:
    """The remote does something by itself, once, as soon as the rewritten main has arrived."""
    hook = story.remote / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\ngrep -q refs/heads/main || exit 0\nrm "$0"\n{command}\n')
    hook.chmod(0o755)


@pytest.mark.parametrize("form", ["itself", "hex"])
def test_a_ref_whose_name_holds_the_key_is_not_deleted_once_it_moved(story: Story, form: str) -> None:
    git, key = story.repo.git, story.key if form == "itself" else story.key.encode().hex()
    name = f"refs/heads/zoo-{key}"
    git("branch", f"zoo-{key}", "main")
    story.push(name)
    work = git("commit-tree", "main^{tree}", "-p", "main", "-m", "work of somebody else").decode().strip()
    story.push(f"{work}:refs/work/1")
    git("config", "receive.advertiseAtomic", "false", cwd=story.remote)
    _when_main_was_pushed(story, f"git update-ref {name} {work}")
    said = story.clean(code=3)
    assert "pushed meanwhile" in said.err or "has moved on the remote" in said.err
    assert _tip(story, name) == work
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]
    names = git("for-each-ref", "--format=%(refname)", cwd=story.remote).decode().split()
    assert name not in names
    kept = [git("log", "-1", one, cwd=story.remote) for one in names if one.startswith("refs/heads/zoo-")]
    assert any(b"work of somebody else" in one for one in kept)
    story.nowhere()


def test_nothing_is_overwritten_between_the_look_and_the_update(story: Story, tmp_path: Path) -> None:
    """The lease itself: what the remote has when the update is sent is what counts, for a name that holds the key, too."""
    from fluxguard.model import Secret
    from fluxguard.respond import mirror, pushing

    git, name = story.repo.git, f"refs/heads/zoo-{story.key}"
    git("branch", f"zoo-{story.key}", "main")
    story.push(name)
    folder = tmp_path / "mirror"
    before = mirror.mirror(str(story.remote), folder, story.repo.path)[name]
    config = (folder / "config").read_bytes()
    moved = git("rev-parse", "main~1").decode().strip()
    git("update-ref", name, moved, cwd=story.remote)
    secret, main = Secret(story.key.encode()), _tip(story)
    start = git("rev-parse", "main~2").decode().strip()
    beside = {"refs/heads/main": (main, moved)}
    for pairs in (
        {name: (before, "")},
        {name: ("", before)},
        {name: (before, ""), **beside},
        {name: (moved, ""), "refs/heads/main": (moved, start)},
    ):
        with pytest.raises(mirror.Moved):
            pushing._push_with_leases(folder, pairs, secret, *["--atomic"] * (len(pairs) > 1))
        assert (_tip(story, name), _tip(story)) == (moved, main)
    assert (folder / "config").read_bytes() == config
    assert not (folder / "leases").exists()
    (folder / "config").write_bytes(
        config + pushing._OWN_LINES + b"\tpush = +refs/heads/main:refs/heads/main\n"
    )  # killed
    found = pushing.push(folder, {name: (moved, "")}, secret, lambda text: None)
    assert (folder / "config").read_bytes() == config
    assert _tip(story) == main
    assert found == {name: "deleted"}
    assert story.repo.try_git("rev-parse", "--verify", name, cwd=story.remote).returncode


def test_a_default_branch_with_the_key_in_its_name_is_told(story: Story) -> None:
    git = story.repo.git
    git("branch", f"b-{story.key}", "main")
    story.push(f"b-{story.key}")
    git("symbolic-ref", "HEAD", f"refs/heads/b-{story.key}", cwd=story.remote)
    said = story.clean(code=3)
    assert "choose another default branch" in said.err
    git("symbolic-ref", "HEAD", "refs/heads/main", cwd=story.remote)
    story.resume("--yes", code=1)
    assert story.holding() == ["refs/pull/1/head"]


def test_the_mirror_is_private_and_goes(story: Story) -> None:
    story.start("--clean-history", "--push", code=3)
    mirror = story.incident / "mirror"
    assert stat.S_IMODE(mirror.stat().st_mode) == 0o700
    assert stat.S_IMODE((story.incident / "vault").stat().st_mode) == 0o600
    assert stat.S_IMODE(story.incident.stat().st_mode) == 0o700
    story.run("respond", "abort", "--yes")
    assert sorted(path.name for path in story.incident.iterdir()) == [
        "incident.json",
        "journal.jsonl",
        "lock",
    ]
    story.nowhere()


def test_the_own_clone_is_looked_at_and_left_alone(story: Story) -> None:
    """Unless git itself is asked, nothing of the user's own changes: what it still holds is named."""
    git = story.repo.git
    story.repo.write("README", "x")
    story.repo.write("settings.py", f"K = '{story.key}'\n")
    git("stash", "-q", "-u")
    before = git("for-each-ref") + git("stash", "list") + git("reflog") + git("rev-parse", "HEAD")
    story.clean()
    assert git("for-each-ref") + git("stash", "list") + git("reflog") + git("rev-parse", "HEAD") == before
    left = _report(story)
    assert "In your own clone: blob settings.py" in left
    assert "refs/stash" in left


def test_another_run_at_once_is_refused(story: Story, leaked: Callable[..., Story]) -> None:
    import fcntl

    story.start("--clean-history", "--push", code=3)
    with (story.incident / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = story.resume(code=3)
        assert "Another run is at work" in said.err
        story.run("respond", "abort", code=3)
    story.resume("--yes", code=1)


def test_two_starts_at_once_make_one_new_key(story: Story) -> None:
    import subprocess

    from conftest import COMMAND

    argv = [str(COMMAND), "respond", "start", "--key-stdin", "--yes"]
    both = [
        subprocess.Popen(
            argv, cwd=story.repo.path, env=story.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for one in both:
        assert one.stdin is not None
        one.stdin.write(story.key.encode() + b"\n")
        one.stdin.close()
    codes = sorted(one.wait(120) for one in both)
    for one in both:
        assert one.stdout is not None
        assert one.stderr is not None
        one.stdout.close()
        one.stderr.close()
    assert codes == [0, 2]
    assert len(story.alive()) == 1


def test_a_file_in_the_history_that_can_not_be_read_is_named(story: Story, tmp_path: Path) -> None:
    """Not looked at is not clean: the run ends with 3, and says which."""
    data = (PROJECT_ZIP).replace(b"KEY", b"xyz")
    story.repo.commit("secret.zip", data)
    story.push("main", ":refs/pull/1/head")
    story.clean(code=3)
    assert "Not looked at" in _report(story)
    assert story.holding() == []


# An encrypted archive with one member, as zip 3.0 writes it: flag 1 says that it is encrypted.
PROJECT_ZIP = (
    b"PK\x03\x04\x0a\x00\x01\x00\x00\x00\x00\x00\x21\x00\x00\x00\x00\x00\x10\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00a.env"
    + b"0123456789abcdef"
    + b"PK\x01\x02\x1e\x03\x0a\x00\x01\x00\x00\x00\x00\x00\x21\x00\x00\x00\x00\x00\x10\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00"
    + b"\x00\x00\x00\x00\x00\x00\x00\x00\xa4\x81\x00\x00\x00\x00a.env"
    + b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00\x33\x00\x00\x00\x33\x00\x00\x00\x00\x00"
)
