"""Repositories that are broken or odd: what can be read is read, what can't is said, and nothing is called clean."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, Mint, Repo, Run, call

from fluxguard.audit.run import audit
from fluxguard.config import Config

Make = Callable[..., Repo]


@dataclass
class Answer:
    code: int
    report: dict[str, Any]
    text: str

    @property
    def found(self) -> int:
        return len(self.report["findings"])

    @property
    def skipped(self) -> str:
        return "\n".join(f"{one['where']}: {one['reason']}" for one in self.report["skipped"])


@pytest.fixture
def ask(run: Run) -> Callable[[Repo | Path], Answer]:
    def ask(where: Repo | Path) -> Answer:
        path = where.path if isinstance(where, Repo) else where
        outcome = run("audit", path, "--format", "json", timeout=120)
        return Answer(outcome.code, json.loads(outcome.out), outcome.text)

    return ask


Ask = Callable[[Repo | Path], Answer]


@pytest.fixture
def three(make_repo: Make, mint: Mint) -> Repo:
    """Three keys in history, none of them at the tip or in the working tree."""
    repo = make_repo("three")
    for number in range(3):
        repo.commit(f"dir{number}/f.txt", f"line\nKEY={mint.key()}\n")
    for number in range(3):
        repo.commit(f"dir{number}/f.txt", "nothing\n")
    return repo


def path_of(repo: Repo, name: str) -> Path:
    id = repo.git("rev-parse", name).strip().decode()
    return repo.path / ".git" / "objects" / id[:2] / id[2:]


def incomplete(answer: Answer, found: int, *words: str) -> None:
    assert answer.found == found
    assert answer.code == (1 if found else 3)
    assert answer.report["complete"] is False
    for word in words:
        assert word in answer.skipped


def test_healthy(three: Repo, ask: Ask) -> None:
    answer = ask(three)
    assert (answer.code, answer.found, answer.report["complete"]) == (1, 3, True)


def test_a_corrupt_loose_blob(three: Repo, ask: Ask) -> None:
    path = path_of(three, "HEAD~3:dir1/f.txt")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-6])
    incomplete(ask(three), 2, path.parent.name + path.name, "git fetch --refetch")


def test_a_loose_blob_with_another_content(three: Repo, ask: Ask) -> None:
    path = path_of(three, "HEAD~3:dir1/f.txt")
    path.chmod(0o644)
    path.write_bytes(zlib.compress(b"blob 8\0harmless"))
    incomplete(ask(three), 2, "its content is not what its id says")


@pytest.mark.parametrize("name", ["HEAD~3^{tree}", "HEAD~3:dir1", "HEAD~3", "HEAD~4:dir1/f.txt"])
def test_something_is_missing(three: Repo, ask: Ask, name: str) -> None:
    path = path_of(three, name)
    path.unlink()
    incomplete(ask(three), 2 if "f.txt" in name else 3, path.parent.name + path.name, "git fetch")


def test_a_truncated_pack(three: Repo, ask: Ask) -> None:
    three.git("repack", "-adq")
    pack = next((three.path / ".git/objects/pack").glob("*.pack"))
    pack.chmod(0o644)
    count = len(three.git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    size = pack.stat().st_size
    with pack.open("rb+") as stream:
        stream.truncate(size * 3 // 4)
    answer = ask(three)
    assert answer.code in (1, 3)
    assert answer.report["complete"] is False
    assert "outside the pack" in answer.skipped
    certificate = audit(str(three.path), Config()).certificates[0]
    assert certificate.read < sum(certificate.objects.values()) == count


def test_a_pack_cut_to_its_header(three: Repo, ask: Ask) -> None:
    three.git("repack", "-adq")
    pack = next((three.path / ".git/objects/pack").glob("*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:10])
    incomplete(ask(three), 0, pack.name)


def test_flipped_bytes_in_a_pack(three: Repo, ask: Ask) -> None:
    three.git("repack", "-adq")
    pack = next((three.path / ".git/objects/pack").glob("*.pack"))
    pack.chmod(0o644)
    blob = three.git("rev-parse", "HEAD~3:dir1/f.txt").strip()
    rows = three.git("verify-pack", "-v", str(pack.with_suffix(".idx"))).splitlines()
    row = next(row.split() for row in rows if row.startswith(blob))
    data = bytearray(pack.read_bytes())
    at = int(row[4]) + int(row[3]) // 2
    data[at] ^= 0xFF
    pack.write_bytes(data)
    incomplete(ask(three), 2, blob.decode())


def filtered(three: Repo, make_repo: Make) -> Repo:
    three.git("config", "uploadpack.allowFilter", "true")
    clones = make_repo("clones")
    clones.git("clone", "-q", "--bare", "--filter=blob:none", f"file://{three.path}", "clone")
    return Repo(clones.path / "clone", clones.env, clones.mint)


@pytest.mark.parametrize("gone", [True, False])
def test_a_partial_clone(three: Repo, make_repo: Make, ask: Ask, gone: bool) -> None:
    """Nothing is fetched behind the user's back; the command that the report names completes it."""
    clone = filtered(three, make_repo)
    if gone:
        three.path.rename(three.path.with_name("away"))
    before = sorted(clone.path.rglob("*"))
    answer = ask(clone)
    assert sorted(clone.path.rglob("*")) == before
    incomplete(answer, 0, "4 objects", "git fetch --refetch --no-filter")
    assert len(answer.report["skipped"]) == 1
    if not gone:
        clone.git("fetch", "-q", "--refetch", "--no-filter")
        answer = ask(clone)
        assert (answer.code, answer.found, answer.report["complete"]) == (1, 3, True)


def test_a_shallow_clone(three: Repo, make_repo: Make, ask: Ask) -> None:
    clones = make_repo("clones")
    clones.git("clone", "-q", "--depth", "1", f"file://{three.path}", "clone")
    clone = Repo(clones.path / "clone", clones.env, clones.mint)
    answer = ask(clone)
    incomplete(answer, 0, "git fetch --unshallow")
    assert len(answer.report["skipped"]) == 1
    clone.git("fetch", "-q", "--unshallow")
    answer = ask(clone)
    assert (answer.code, answer.found, answer.report["complete"]) == (1, 3, True)


def test_a_repository_of_sha256(make_repo: Make, mint: Mint, ask: Ask) -> None:
    repo = make_repo("new", "--object-format=sha256")
    for number in range(3):
        repo.commit(f"f{number}", f"{mint.key()}\n")
    repo.git("tag", "-a", "v1", "-m", mint.key())
    repo.git("gc", "-q")
    repo.commit("loose", mint.key())
    answer = ask(repo)
    assert (answer.code, answer.found, answer.report["complete"]) == (1, 5, True)
    assert {
        len(one["object"]) for f in answer.report["findings"] for one in f["locations"] if one["object"]
    } == {64}


def test_a_linked_worktree(three: Repo, ask: Ask) -> None:
    three.git("worktree", "add", "-q", "--detach", "../linked", "HEAD")
    answer = ask(three.path.parent / "linked")
    assert (answer.code, answer.found, answer.report["complete"]) == (1, 3, True)


def test_a_linked_worktree_whose_folder_is_gone(three: Repo, ask: Ask) -> None:
    three.git("worktree", "add", "-q", "--detach", "../linked", "HEAD")
    shutil.rmtree(three.path.parent / "linked")
    incomplete(ask(three), 3, "worktrees/linked", "git worktree prune")
    three.git("worktree", "prune")
    assert ask(three).report["complete"] is True


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_an_owner_that_git_distrusts(three: Repo, environment: dict[str, str], mint: Mint) -> None:
    for folder in (three.path, *three.path.parents):
        if folder == Path("/tmp") or folder == Path("/"):
            break
        folder.chmod(0o755)
    home = Path(environment["HOME"])
    os.chown(home, 12345, 12345)
    argv = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", str(COMMAND)]
    if subprocess.run([*argv, "--version"], capture_output=True, env=environment).returncode:
        pytest.skip("another user can't run the command here")
    outcome = call([*argv, "audit", str(three.path), "--format", "json"], Path("/"), environment, mint)
    answer = Answer(outcome.code, json.loads(outcome.out), outcome.text)
    incomplete(answer, 3, "does not trust", "safe.directory")


def test_a_name_with_a_tab(make_repo: Make, mint: Mint, ask: Ask) -> None:
    repo = make_repo("tab")
    repo.commit("with\ttab", mint.key())
    for number in range(5):
        repo.commit(f"f{number}", mint.key())
    answer = ask(repo)
    assert (answer.code, answer.found, answer.report["complete"]) == (1, 6, True)


def test_grafts(three: Repo, ask: Ask) -> None:
    head = three.head.decode()
    (three.path / ".git/info").mkdir(exist_ok=True)
    (three.path / ".git/info/grafts").write_text(f"{head}\n")
    incomplete(ask(three), 3, "git replace --convert-graft-file")
    three.git("replace", "--convert-graft-file")
    assert ask(three).report["complete"] is True


def test_a_tag_whose_target_is_missing(three: Repo, ask: Ask) -> None:
    id = three.git("hash-object", "-w", "--stdin", stdin=b"tagged").strip().decode()
    three.git("tag", "-a", "-m", "x", "v1", id)
    (three.path / ".git/objects" / id[:2] / id[2:]).unlink()
    incomplete(ask(three), 3, id)


def test_a_ref_that_points_nowhere(three: Repo, ask: Ask) -> None:
    (three.path / ".git/refs/heads/nowhere").write_text("12" * 20 + "\n")
    incomplete(ask(three), 3, "refs/heads/nowhere", "12" * 20)
    traces = [place.trace for one in audit(str(three.path), Config()).findings for place in one.locations]
    assert {trace.refs for trace in traces if trace} == {(b"refs/heads/main",)}


def test_a_ref_of_garbage(three: Repo, ask: Ask) -> None:
    (three.path / ".git/refs/heads/garbage").write_bytes(b"\0\xff rubbish")
    incomplete(ask(three), 3, "refs/heads/garbage")


def test_an_index_entry_whose_blob_is_missing(three: Repo, ask: Ask) -> None:
    three.stage("x.txt", "x\n")
    path = path_of(three, ":x.txt")
    path.unlink()
    incomplete(ask(three), 3, path.parent.name + path.name, "x.txt")


def test_a_pack_without_an_index(three: Repo, ask: Ask) -> None:
    three.git("repack", "-adq")
    index = next((three.path / ".git/objects/pack").glob("*.idx"))
    index.unlink()
    incomplete(ask(three), 3, "git index-pack")
    three.git("index-pack", str(index.with_suffix(".pack")))
    assert ask(three).report["complete"] is True


def test_an_index_without_a_pack(three: Repo, ask: Ask) -> None:
    three.git("repack", "-q")
    next((three.path / ".git/objects/pack").glob("*.pack")).unlink()
    incomplete(ask(three), 3, "is not there")


def test_an_index_of_a_pack_full_of_garbage(three: Repo, ask: Ask) -> None:
    three.git("repack", "-adq")
    index = next((three.path / ".git/objects/pack").glob("*.idx"))
    index.chmod(0o644)
    index.write_bytes(b"garbage" * 400)
    incomplete(ask(three), 3, "git index-pack")


def test_a_pack_whose_entries_lie(three: Repo, ask: Ask) -> None:
    three.git("repack", "-adq")
    index = next((three.path / ".git/objects/pack").glob("*.idx"))
    index.chmod(0o644)
    data = bytearray(index.read_bytes())
    count = struct.unpack(">I", data[8 + 1020 : 8 + 1024])[0]
    at = 8 + 1024 + count * 24
    data[at : at + 4] = struct.pack(">I", 1 << 30)
    index.write_bytes(data)
    answer = ask(three)
    assert answer.report["complete"] is False
    assert "outside the pack" in answer.skipped


@pytest.mark.parametrize("name", ["objects/12/tmp_obj_abc", "objects/pack/tmp_pack_abc", "objects/tmp_obj_x"])
def test_what_git_did_not_finish(three: Repo, ask: Ask, name: str) -> None:
    path = three.path / ".git" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(b"blob 3\0abc")[:9])
    incomplete(ask(three), 3, os.path.basename(name), "git gc")


def test_a_pack_that_was_still_being_fetched(three: Repo, ask: Ask, make_repo: Make) -> None:
    """The key is in a pack of which git has only half: that half is read."""
    three.git("repack", "-adq")
    pack = next((three.path / ".git/objects/pack").glob("*.pack"))
    other = make_repo("other")
    raw = pack.read_bytes()
    (other.path / ".git/objects/pack/tmp_pack_XyZ").write_bytes(raw[: len(raw) - 60])
    answer = ask(other)
    assert answer.found == 3
    assert answer.report["complete"] is False


def test_a_garbage_index(three: Repo, ask: Ask) -> None:
    (three.path / ".git/index").write_bytes(b"DIRCgarbage" * 20)
    incomplete(ask(three), 3, "index", "rm -f .git/index")


@pytest.mark.parametrize("text", [b"\0\xffgarbage", b"", b"ref: refs/heads/" + b"x" * 10_000])
def test_a_garbage_head(three: Repo, ask: Ask, text: bytes) -> None:
    (three.path / ".git/HEAD").write_bytes(text)
    incomplete(ask(three), 3, "HEAD")


def test_no_head(three: Repo, ask: Ask) -> None:
    (three.path / ".git/HEAD").unlink()
    incomplete(ask(three), 3, "HEAD")


def test_a_reftable(three: Repo, ask: Ask) -> None:
    three.git("config", "core.repositoryFormatVersion", "1")
    three.git("config", "extensions.refStorage", "reftable")
    answer = ask(three)
    if subprocess.run(["git", "init", "--help"], capture_output=True).stdout.find(b"reftable") < 0:
        incomplete(answer, 3, "reftable", "newer git")


def test_an_empty_repository(make_repo: Make, ask: Ask) -> None:
    answer = ask(make_repo("empty"))
    assert (answer.code, answer.found, answer.report["complete"]) == (0, 0, True)


@pytest.mark.parametrize("make", ["folder", "file", "nothing", "no-store", "pointer"])
def test_what_is_no_repository(run: Run, tmp_path: Path, make: str) -> None:
    place = tmp_path / "x"
    if make != "nothing":
        place.mkdir()
    if make == "file":
        place = place / "f"
        place.write_text("x")
    if make == "no-store":
        (place / ".git").mkdir()
        (place / ".git/HEAD").write_text("ref: refs/heads/main\n")
    if make == "pointer":
        (place / ".git").write_text("gitdir: /nowhere/at/all\n")
    outcome = run("audit", place)
    assert outcome.code in (2, 3)
    assert outcome.err.strip()


# --- nothing of the repository's is run, nothing is fetched ----------------------------------------------------------


def test_nothing_that_the_repository_names_is_run(three: Repo, ask: Ask, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho run >> {canary}\nexit 1\n")
    program.chmod(0o755)
    for name in (
        "core.fsmonitor", "core.sshCommand", "core.editor", "core.pager", "core.gitProxy", "core.askPass",
        "diff.external", "diff.x.textconv", "diff.x.command", "filter.x.clean", "filter.x.smudge",
        "filter.x.process", "gpg.program", "credential.helper", "core.alternateRefsCommand", "uploadpack.packObjectsHook",
        "pager.for-each-ref", "pager.ls-files", "pager.cat-file", "alias.ls-files", "trace2.eventTarget",
    ):  # fmt: skip
        three.git("config", name, str(program))
    three.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for name in (
        "post-index-change",
        "reference-transaction",
        "post-checkout",
        "fsmonitor-watchman",
        "pre-auto-gc",
    ):
        shutil.copy(program, tmp_path / "hooks" / name)
        shutil.copy(program, three.path / ".git/hooks" / name)
    (three.path / ".git/info").mkdir(exist_ok=True)
    (three.path / ".git/info/attributes").write_text("* diff=x filter=x\n")
    three.git("config", "remote.origin.url", f"ext::{program}")
    three.git("config", "remote.origin.promisor", "true")
    three.git("config", "extensions.partialClone", "origin")
    path_of(three, "HEAD~3:dir1/f.txt").unlink()
    canary.unlink(missing_ok=True)
    incomplete(ask(three), 2, "partial clone")
    assert not canary.exists()


@pytest.mark.parametrize(
    "line", ["/nowhere", "../../..", "/dev", '"/quo\\tted"', "\0", "x" * 5000, "/proc/self", ".", "fifo"]
)
def test_alternates_with_odd_paths(three: Repo, ask: Ask, line: str) -> None:
    info = three.path / ".git/objects/info"
    info.mkdir(exist_ok=True)
    if line == "fifo":
        line = str(three.path.parent / "fifo")
        (three.path.parent / "fifo/pack").mkdir(parents=True)
        for name in ("pack-12.pack", "pack-12.idx"):
            os.mkfifo(three.path.parent / "fifo/pack" / name)
        (three.path.parent / "fifo/12").mkdir()
        os.mkfifo(three.path.parent / "fifo/12" / ("34" * 19))
    (info / "alternates").write_text(line + "\n")
    answer = ask(three)
    assert (answer.code, answer.found) == (1, 3)


def test_a_quoted_alternate(three: Repo, make_repo: Make, mint: Mint, ask: Ask) -> None:
    other = make_repo("o\tther")
    other.commit("x", mint.key())
    (three.path / ".git/objects/info").mkdir(exist_ok=True)
    quoted = str(other.path).replace("\t", "\\t")
    (three.path / ".git/objects/info/alternates").write_text(f'"{quoted}/.git/objects"\n')
    answer = ask(three)
    assert (answer.code, answer.found, answer.report["complete"]) == (1, 4, True)


@pytest.mark.parametrize("how", ["object", "path"])
def test_what_may_stay_unread(make_repo: Make, run: Run, ask: Ask, how: str, tmp_path: Path) -> None:
    repo = make_repo("accept")
    repo.commit("a.txt", "nothing\n")
    repo.commit("b.txt", "nothing\n" * 3)
    path = path_of(repo, "HEAD~1:a.txt")
    id = path.parent.name + path.name
    path.chmod(0o644)
    path.write_bytes(b"rubbish")
    assert ask(repo).code == 3
    config = tmp_path / "own.toml"
    named = f'object = "{id}"' if how == "object" else f'path = "object {id}"'
    config.write_text(f'[[accept-unread]]\n{named}\nreason = "known"\n')
    outcome = run("audit", repo.path, "--format", "json", "--config", config)
    assert outcome.code == 0, outcome.text
    report = json.loads(outcome.out)
    assert report["complete"] is True
    assert [one["accepted"] for one in report["skipped"]] == ["known"]


# --- packs that git does not see -------------------------------------------------------------------------------------


def test_an_object_that_git_did_not_finish(three: Repo, ask: Ask, mint: Mint) -> None:
    path = three.path / ".git/objects/ab/tmp_obj_x1"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(b"blob 999\0" + mint.key().encode() + b"\nthe rest is missing" * 9)[:-9])
    incomplete(ask(three), 4, "tmp_obj_x1")


@pytest.mark.parametrize("where", [".git/backup", "backup.bundle", "committed"])
def test_a_bundle(three: Repo, make_repo: Make, run: Run, where: str) -> None:
    other = make_repo("other")
    three.git("bundle", "create", "-q", other.path / "x", "--all")
    data = (other.path / "x").read_bytes()
    (other.path / "x").unlink()
    if where == "committed":
        other.commit("kept.bin", data)
    else:
        (other.path / where).write_bytes(data)
    report = audit(str(other.path), Config())
    assert report.complete
    assert len(report.findings) == 3
    for finding in report.findings:
        assert finding.blocks == (where != "backup.bundle")
        assert all(place.via[0].startswith("bundle:blob ") for place in finding.locations)
        assert {(place.line, place.column) for place in finding.locations} == {(2, 5)}


def test_a_bundle_that_builds_on_what_others_have(three: Repo, make_repo: Make, mint: Mint) -> None:
    """A thin one: deltas whose bases are elsewhere. What they insert is seen, what they make is not."""
    lines = "".join(f"{number * 7919 % 1009} some line\n" for number in range(500))
    three.commit("long.txt", lines)
    base = three.head.decode()
    three.commit("long.txt", lines.replace("\n", f"\nKEY={mint.key()}\n", 1))
    other = make_repo("other")
    three.git("bundle", "create", "-q", other.path / ".git/thin.bundle", f"{base}..main")
    report = audit(str(other.path), Config())
    assert len(report.findings) == 1
    assert "are made from others that are not in it" in report.skipped[0].reason
    assert report.exit_code == 1


def test_a_pack_like_file_of_garbage(make_repo: Make, ask: Ask) -> None:
    repo = make_repo("odd")
    for number, end in enumerate([b"", b"\xff" * 9, b"\0\0\xff\xff" + b"\x9f" * 99, b"\0\0\0\1\x33x"]):
        repo.write(f"p{number}", b"PACK\0\0\0\2" + end)
        repo.write(f"b{number}", b"# v2 git bundle\n" + end)
    answer = ask(repo)
    assert answer.code == 3
    assert len(answer.report["skipped"]) == 8


def test_what_a_reflog_names_is_missing(three: Repo, ask: Ask) -> None:
    """git removes nothing that a reflog names, so this is damage; and once git has forgotten the entry, it is none."""
    three.git("commit", "-q", "--no-verify", "--amend", "-m", "again")
    gone = three.git("rev-parse", "HEAD@{1}").strip().decode()
    (three.path / ".git/objects" / gone[:2] / gone[2:]).unlink()
    answer = ask(three)
    incomplete(answer, 3, "the reflog of HEAD names it")
    assert "git reflog expire --stale-fix" in str(answer.report["skipped"])
    three.git("reflog", "expire", "--stale-fix", "--expire=never", "--all")
    assert ask(three).report["skipped"] == []


# --- repositories inside the working tree ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["clone", "empty", "bare", "ignored", "broken"])
def test_a_repository_inside_the_working_tree(three: Repo, ask: Ask, run: Run, how: str) -> None:
    """What a clone holds is no part of this repository's history: it is named, with the command that audits it."""
    three.commit("a/b.txt", "x\n")
    inner = three.path / "a/vendored"
    three.git("clone", "-q", *(["--bare"] if how == "bare" else []), str(three.path), str(inner))
    if how == "empty":
        for path in inner.iterdir():
            path.unlink() if path.is_file() else None
    if how == "ignored":
        three.write(".gitignore", "a/vendored/\n")
    if how == "broken":
        shutil.rmtree(inner / ".git")
        (inner / ".git").write_text("gitdir: /nowhere\n")
    answer = ask(three)
    [skipped] = answer.report["skipped"]
    assert skipped["where"] == "a/vendored"
    command = skipped["reason"].partition("audit it with: ")[2]
    assert command == f"fluxguard audit {inner}"
    assert answer.code == 1
    assert answer.report["complete"] is False
    assert run(*command.split()[1:]).code == (3 if how == "broken" else 1)


def test_worktrees_and_submodules_inside_the_working_tree_are_audited(
    three: Repo, make_repo: Make, ask: Ask
) -> None:
    other = make_repo("other")
    other.commit("x", "x\n")
    three.git("worktree", "add", "-q", "linked")
    three.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.path), "module")
    assert ask(three).report["skipped"] == []
