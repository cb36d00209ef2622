"""The user's own clone, cleaned with their consent: nothing of it is lost, and the key stands nowhere in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import PROJECT

from fluxguard.audit.run import audit
from fluxguard.config import Config
from fluxguard.errors import FluxguardError
from fluxguard.model import Location, Secret
from fluxguard.respond.ownclone import backup, clone
from tests import warm
from tests.respond.story import Story

REMOVED = "REMOVED-BY-FLUXGUARD"


@dataclass
class Lived:
    """A clone that somebody has worked in: what was there before, by git's own word."""

    story: Story
    objects: set[str] = field(default_factory=set)
    dangling: str = ""

    @property
    def linked(self) -> Path:
        return self.story.folder / "linked"

    @property
    def detached(self) -> Path:
        return self.story.folder / "detached"

    def git(self, *words: str, cwd: Path | None = None) -> str:
        return self.story.repo.git(*words, cwd=cwd).decode("utf-8", "surrogateescape")

    def all_objects(self, where: Path | None = None) -> set[str]:
        return set(
            self.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", cwd=where).split()
        )

    def told(self) -> dict[str, str]:
        """What stays the same but for ids and the key: names, messages, contents, states."""
        trees = (self.story.repo.path, self.linked, self.detached)
        found = {
            "branches": self.git("for-each-ref", "--format=%(refname) %(symref) %(contents:subject)"),
            "stash": self.git("stash", "list"),
            "stash 1": self.git("stash", "show", "-p", "--include-untracked", "--full-index", "stash@{1}"),
            "log": self.git("log", "--all", "--graph", "--format=%an %ae %at %s %b"),
            "worktrees": str(len(self.git("worktree", "list").splitlines())),
        }
        for tree in trees:
            found[f"{tree.name} status"] = self.git("status", "--porcelain", "--branch", "-uall", cwd=tree)
            found[f"{tree.name} reflog"] = self.git("reflog", "--format=%gd %gs %s", cwd=tree)
            found[f"{tree.name} files"] = "\n".join(sorted(self.git("ls-files", cwd=tree).splitlines()))
        found["stash 1"] = "\n".join(
            line for line in found["stash 1"].splitlines() if not line.startswith("index ")
        )
        return {
            name: re.sub(
                "( on work:) [0-9a-f]+",
                r"\1 ID",
                text.replace(self.story.key, REMOVED).replace(" M .gitignore\n", ""),
            )
            for name, text in found.items()
        }

    def holding(self, where: Path | None = None) -> list[Location]:
        report = audit(str(where or self.story.repo.path), Config(), full=True)
        secret = Secret(self.story.key.encode())
        return [place for one in report.findings if one.secret == secret for place in one.locations]

    def bytes_of(self) -> bytes:
        """Everything in the git directory as git shows it, and its files as they are."""
        said = self.story.repo.git("cat-file", "--batch-all-objects", "--batch", "--unordered")
        folder = self.story.repo.path / ".git"
        files = [path for path in folder.rglob("*") if path.is_file()]
        return said + b"".join(path.read_bytes() + os.fsencode(path.relative_to(folder)) for path in files)


def live(story: Story) -> Lived:
    """Work that is not pushed, stashes, amended commits, linked working trees, names with the key, and the key in a file that git has."""
    one, git, key = Lived(story), story.repo.git, story.key
    story.repo.commit("conf.ini", f"[a]\nkey = {key}\nb = 1\n", "still there")
    story.repo.commit(f"notes-{key}.txt", "a file's name\n", f"message with {key}")
    git("tag", "-a", "-m", f"tag with {key}", "v1")
    git("branch", f"b-{key}", "main~1")
    story.push("main", "v1", f"b-{key}")
    git("fetch", "-q", "origin")
    git("remote", "set-head", "origin", "main")
    git("branch", "-q", "--set-upstream-to=origin/main", "main")
    git("checkout", "-q", "-b", "work")
    story.repo.commit("work.txt", f"unpushed, with {key}\n", "work that is not pushed")
    story.repo.commit("more.txt", "unpushed\n", "more of it")
    git("commit", "-q", "--amend", "-m", "more of it, amended")
    git("worktree", "add", "-q", "-b", "side", str(one.linked), "topic")
    git("worktree", "add", "-q", "--detach", str(one.detached), "main~1")
    story.repo.write("untracked.txt", f"in a stash {key}\n")
    story.repo.write("more.txt", "changed\n")
    git("stash", "-q", "-u")
    story.repo.write("conf.ini", f"[a]\nkey = {key}\nb = 2\n")
    git("stash", "-q")
    story.repo.write(".env", f"K={key}\n")
    story.repo.write("loose.txt", "untracked, and stays\n")
    one.dangling = (
        git("hash-object", "-w", "--stdin", stdin=f"nothing leads to {key}".encode()).decode().strip()
    )
    one.objects = one.all_objects()
    return one


@pytest.fixture
def lived(story: Story) -> Lived:
    return live(story)


def own(story: Story, *words: str, code: int | None = 1) -> str:
    return story.clean("--own-clone", "--strategy", "overlap", *words, code=code).text


def arrived(one: Lived, before: dict[str, str]) -> None:
    """What holds once the clone is cleaned."""
    story = one.story
    assert one.told() == before
    assert [place for place in one.holding() if place.kind != "file"] == []
    assert story.key.encode() not in one.bytes_of()
    one.git("fsck", "--full", "--strict")
    assert one.git("rev-parse", "origin/main") == one.git("rev-parse", "main", cwd=story.remote)
    assert (story.repo.path / "conf.ini").read_text() == f"[a]\nkey = {REMOVED}\nb = 1\n"
    assert (story.repo.path / "loose.txt").read_text() == "untracked, and stays\n"
    assert (one.detached / "conf.ini").read_text() == f"[a]\nkey = {REMOVED}\nb = 1\n"
    for tree in (story.repo.path, one.linked, one.detached):
        assert not list(tree.rglob("*.lock"))
        assert one.git("diff", "HEAD", "--name-only", "--", ".", ":!.gitignore", cwd=tree) == ""
    assert not [
        name for name in one.git("for-each-ref", "--format=%(refname)").split() if "fluxguard/" in name
    ]
    assert list((story.repo.path / ".git").rglob("*.lock")) == []
    one.git("push", "-q", "--dry-run", "origin", "work")


def backed_up(one: Lived) -> Path:
    (folder,) = one.story.incident.glob("backup-*")
    assert stat.S_IMODE(one.story.incident.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert one.all_objects(folder) >= one.objects
    assert f"nothing leads to {one.story.key}" in one.git("cat-file", "blob", one.dangling, cwd=folder)
    one.git("fsck", "--full", cwd=folder)
    return folder


def test_the_own_clone_is_cleaned_and_nothing_is_lost(lived: Lived) -> None:
    before, story = lived.told(), lived.story
    said = own(story)
    arrived(lived, before)
    folder = backed_up(lived)
    left = "\n".join(json.loads(story.run("respond", "report", "--format", "json").out)["left"])
    assert f"in which the key still stands: {folder}" in left
    assert str(folder) in said
    assert "Your own clone" in story.run("respond", "report").out
    story.run("respond", "forget", code=2)
    assert folder.exists()
    story.run("respond", "forget", "--yes")
    assert not folder.exists()
    left = "\n".join(json.loads(story.run("respond", "report", "--format", "json").out)["left"])
    assert "backup" not in left
    story.nowhere()


def test_without_the_word_nothing_of_it_changes(lived: Lived) -> None:
    story = lived.story
    words = ("--clean-history", "--push", "--own-clone", "--strategy", "overlap")
    story.start(*words, code=3)
    story.run("respond", "resume", "--yes", "--leave-clone", code=1)
    before = lived.told()
    assert lived.all_objects() >= lived.objects
    assert lived.told() == before
    assert [place for place in lived.holding() if place.kind == "blob"]
    assert not list(story.incident.glob("backup-*"))
    left = "\n".join(json.loads(story.run("respond", "report", "--format", "json").out)["left"])
    assert "In your own clone: blob" in left
    story.nowhere()


def test_it_needs_its_own_words(story: Story) -> None:
    assert "--clean-history" in story.start("--own-clone", code=2).err
    assert "Add --push" in story.start("--own-clone", "--clean-history", code=2).err
    steps = json.loads(own_plan(story))["steps"]
    assert [one["step"] for one in steps if one["step"].startswith("own")] == [
        "own-backup", "own-rewrite", "own-move", "own",
    ]  # fmt: skip


def own_plan(story: Story) -> str:
    return story.start("--clean-history", "--push", "--own-clone", "--plan", "--format", "json").out


def _merge(one: Lived) -> Callable[[], object]:
    one.git("checkout", "-q", "-b", "other", "main")
    one.story.repo.commit("work.txt", "another\n", "another")
    one.git("checkout", "-q", "work")
    assert one.story.repo.try_git("merge", "-q", "other").returncode
    return lambda: one.git("merge", "--abort")


def _dirty(one: Lived) -> Callable[[], object]:
    (one.linked / "settings.py").write_text("changed\n")
    return lambda: one.git("checkout", "-q", "--", "settings.py", cwd=one.linked)


def _kept(one: Lived) -> Callable[[], object]:
    one.git("repack", "-a", "-d", "-q")
    (pack,) = (one.story.repo.path / ".git/objects/pack").glob("*.pack")
    keep = pack.with_suffix(".keep")
    keep.write_text("")
    return keep.unlink


def _away(one: Lived) -> Callable[[], object]:
    elsewhere = one.story.folder / "elsewhere"
    one.linked.rename(elsewhere)
    return lambda: elsewhere.rename(one.linked)


def _hidden(one: Lived) -> Callable[[], object]:
    one.git("update-index", "--assume-unchanged", "more.txt")
    return lambda: one.git("update-index", "--no-assume-unchanged", "more.txt")


def _programs(one: Lived) -> Callable[[], object]:
    """What a stranger wrote into the configuration of an unpacked folder; git would start it at the first look."""
    started = one.story.folder / "started"
    one.git("config", "filter.x.clean", f"touch {started}; cat")
    one.git("config", "filter.lfs.process", "git-lfs filter-process")
    (one.story.repo.path / ".git/info/attributes").write_text("* filter=x\n")
    os.utime(one.story.repo.path / "more.txt")

    def undo() -> None:
        assert not started.exists()
        one.git("config", "--remove-section", "filter.x")

    return undo


def _locked(one: Lived) -> Callable[[], object]:
    lock = one.story.repo.path / ".git/index.lock"
    lock.write_text("")
    return lock.unlink


def _replaced(one: Lived) -> Callable[[], object]:
    one.git("replace", "main", "main~1")
    return lambda: one.git("replace", "-d", one.git("rev-parse", "main").strip())


def _broken(one: Lived) -> Callable[[], object]:
    path = one.story.repo.path / ".git/objects" / one.dangling[:2] / one.dangling[2:]
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"no object")
    return lambda: path.write_bytes(data)


@pytest.mark.parametrize(
    ("hinder", "words"),
    [
        (_merge, "a merge is under way"), (_dirty, "changes that are not committed"), (_kept, "marked to be kept"),
        (_away, "a linked working tree is not there"), (_hidden, "does not see their changes"), (_locked, "Another git is at work"),
        (_replaced, "it has replacements"), (_programs, "filter.x.clean"), (_broken, "git fsck finds fault"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_and_waited_for(
    lived: Lived, hinder: Callable[[Lived], Callable[[], object]], words: str
) -> None:
    before, story = lived.told(), lived.story
    mend = hinder(lived)
    objects = lived.all_objects()
    refs = lived.git("for-each-ref", "refs/heads", "refs/tags", "refs/stash")
    said = own(story, code=3)
    assert words in said
    assert "--leave-clone" in said or words == "Another git is at work"
    assert lived.git("for-each-ref", "refs/heads", "refs/tags", "refs/stash") == refs
    assert lived.all_objects() >= objects
    mend()
    if hinder is _merge:
        before = lived.told()
    story.resume("--yes", code=1)
    arrived(lived, before)


def test_without_room_nothing_is_begun(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_clone = clone.opened(story.repo.path)
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(FluxguardError, match="no room to clean your clone safely"):
        backup.make(own_clone, tmp_path / "backup-1")
    assert not list(tmp_path.glob("*backup*"))


def test_a_shallow_clone_is_left(story: Story) -> None:
    story.repo.git("fetch", "-q", "--depth=1", f"file://{story.remote}", "main")
    assert "it is shallow" in own(story, code=3)
    story.run("respond", "resume", "--yes", "--leave-clone", code=1)


def test_a_repository_that_is_its_own_remote(story: Story) -> None:
    """Nothing else has it: cleaned in place, with a backup; there is nothing to push to."""
    one = live(story)
    story.repo.git("remote", "remove", "origin")
    said = story.start("--clean-history", "--own-clone", "--yes", "--strategy", "overlap")
    assert [place for place in one.holding() if place.kind != "file"] == []
    assert backed_up(one).exists()
    assert "Move your own clone over" in said.out
    one.git("fsck", "--full", "--strict")
    assert len(one.git("stash", "list").splitlines()) == 2


def test_a_clone_of_sha256(untold: Story) -> None:
    untold.create()
    untold.leak("--object-format=sha256")
    untold.repo.commit("more.txt", "unpushed\n", "not pushed")
    own(untold)
    report = audit(str(untold.repo.path), Config(), full=True)
    assert [one for one in report.findings if one.secret == Secret(untold.key.encode())] == []
    assert untold.repo.git("log", "-1", "--format=%s") == b"not pushed\n"


def test_what_is_committed_meanwhile_is_carried_over(lived: Lived) -> None:
    """Behind the backup, and again behind the rewrite: it begins with what is there now."""
    story = lived.story
    story.start("--clean-history", "--push", "--own-clone", "--strategy", "overlap", code=3)
    for number, behind in enumerate(("own-backup", "own-rewrite")):
        killed(story, f"{behind}\tjournal: done")
        story.repo.commit(f"late-{number}.txt", f"late, and {story.key}\n", f"late {number}")
        before = lived.told()
        said = story.resume("--yes", code=3)
        assert (
            "changed since it was backed up" in said.err
            or "has moved since" in said.err
            or "another commit" in said.err
        )
        assert lived.told() == before
    story.resume("--yes", code=1)
    arrived(lived, before)
    assert lived.git("show", "work:late-1.txt") == f"late, and {REMOVED}\n"
    assert len(list(story.incident.glob("backup-*"))) <= 2


def test_half_moved_there_is_only_the_way_forward(lived: Lived) -> None:
    """Killed behind the transaction: no git commits there, and neither `abort` nor `--leave-clone` leaves it so."""
    story, before = lived.story, lived.told()
    story.start("--clean-history", "--push", "--own-clone", "--strategy", "overlap", code=3)
    killed(story, "own-move\tchild: git update-ref")
    assert story.repo.try_git("commit", "-q", "--allow-empty", "--no-verify", "-m", "no").returncode
    assert "half moved" in story.run("respond", "abort", "--yes", code=2).err
    assert "half moved" in story.resume("--leave-clone", code=2).err
    assert "is open" in story.run("respond", "forget", story.incident.name, "--yes", code=2).err
    story.resume("--yes", code=1)
    arrived(lived, before)
    backed_up(lived)


def test_given_up_in_time_it_is_as_it_was(lived: Lived) -> None:
    """Behind the backup: nothing was changed, and the backup goes."""
    story = lived.story
    objects, refs = lived.all_objects(), lived.git("for-each-ref", "refs/heads", "refs/stash", "refs/tags")
    story.start("--clean-history", "--push", "--own-clone", "--strategy", "overlap", code=3)
    killed(story, "own-rewrite\tjournal: done")
    story.resume("--yes", "--leave-clone", code=1)
    assert lived.git("for-each-ref", "refs/heads", "refs/stash", "refs/tags") == refs
    assert lived.all_objects() >= objects
    assert not list(story.incident.glob("backup-*"))
    assert (
        "backup"
        not in story.run("respond", "report", "--format", "json").out.partition('"left"')[2].partition("]")[0]
    )
    story.nowhere()


def test_a_bare_clone_and_its_other_remotes(story: Story) -> None:
    """Without working trees; HEAD names a branch that gets another name."""
    git, bare = story.repo.git, story.folder / "bare.git"
    git("branch", f"b-{story.key}", "main")
    story.push(f"b-{story.key}")
    git("clone", "-q", "--mirror", str(story.remote), str(bare))
    git("symbolic-ref", "HEAD", f"refs/heads/b-{story.key}", cwd=bare)
    git("remote", "add", "fork", "https://example.org/fork.git", cwd=bare)
    own(story, "--repo", str(bare), "--no-new-key")
    assert git("symbolic-ref", "HEAD", cwd=bare) == f"refs/heads/b-{REMOVED}\n".encode()
    assert Lived(story).holding(bare) == []
    git("fsck", "--full", "--strict", cwd=bare)
    left = json.loads(story.run("respond", "report", "--format", "json").out)["left"]
    assert any("Remote fork of your own clone was not cleaned" in line for line in left)


def killed(story: Story, wanted: str, number: int = 0) -> list[str]:
    """Resumes, and kills behind the first boundary that ends so, or behind the n-th. Returns the boundaries."""
    log = story.folder / "boundaries.log"
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", warm.KILLED, str(number), str(log), "respond", "resume", "--yes"]
    done = warm.run(argv, PROJECT, {**story.environment, "KILL_BEHIND": wanted}, timeout=300)
    story.said.append((done.stdout + done.stderr).decode())
    assert done.returncode == (-9 if wanted or number else 1), done.stderr.decode()
    return [line.partition("\t")[2] for line in log.read_text().splitlines()]


@pytest.mark.slow
def test_killed_anywhere_in_it(lived: Lived) -> None:
    """At each moment all that was there is in the clone or in the backup; and resumed, it arrives."""
    story, before = lived.story, lived.told()
    story.start("--clean-history", "--push", "--own-clone", "--strategy", "overlap", code=3)
    names = [
        path.name for path in story.folder.iterdir() if path.name not in ("boundaries.log", "cache", "home")
    ]
    aside = story.folder / "aside"
    aside.mkdir()
    for name in names:
        shutil.copytree(story.folder / name, aside / name, symlinks=True)
    passed = killed(story, "")
    arrived(lived, before)
    mine = [number for number, one in enumerate(passed, 1) if one.startswith("own")]
    assert len(mine) > 60
    every, rows = int(os.environ.get("FLUXGUARD_KILLS_OWN", "13")), []
    for number in mine[::every]:
        for name in names:
            shutil.rmtree(story.folder / name)
            shutil.copytree(aside / name, story.folder / name, symlinks=True)
        reached = killed(story, "", number)
        try:
            there = lived.all_objects()
            for folder in story.incident.glob("backup-*"):
                there |= lived.all_objects(folder)
            assert there >= lived.objects
            moved = lived.git("rev-parse", "origin/main") == lived.git("rev-parse", "main", cwd=story.remote)
            known = len(story.records())
            story.resume("--yes", code=1)
            arrived(lived, before)
            backed_up(lived)
        except AssertionError as error:
            raise AssertionError(f"killed at {number}, {reached[-1]}: {error}") from error
        did = ", ".join(one["step"] for one in story.records()[known:] if one["phase"] == "done")
        step, _, what = reached[-1].partition("\t")
        rows.append(f"| {number} | {step} | {what} | {'moved' if moved else 'as it was'} | {did} |\n")
    if "FLUXGUARD_KILLS" in os.environ:
        with Path(os.environ["FLUXGUARD_KILLS"]).open("a") as stream:
            stream.write(
                "\n## the own clone\n\n| n | step | killed behind | refs of the clone | resume |\n|--:|---|---|---|---|\n"
            )
            stream.writelines(rows)
