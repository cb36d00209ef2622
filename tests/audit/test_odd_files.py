"""Pipes, devices, links, folders and damage in place of git's own files: each is read or named, and nothing hangs."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Mint, Outcome, Repo, Run

HANGING = 30  # seconds
GIT_FILES = [
    "config",
    "HEAD",
    "index",
    "shallow",
    "info/grafts",
    "commondir",
    "packed-refs",
    "refs/heads/main",
    "objects/info/alternates",
    "objects/info/commit-graph",
    "objects/info/commit-graphs/commit-graph-chain",
    "objects/pack/multi-pack-index",
    "objects/pack/pack-1.idx",
    "objects/pack/pack-1.pack",
]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("place", [pipe, device], ids=["pipe", "device"])
@pytest.mark.parametrize("name", GIT_FILES)
def test_in_place_of_a_file_of_gits(place: Callable[[Path], None], name: str, repo: Repo, run: Run) -> None:
    path = repo.path / ".git" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    place(path)
    assert_named(run("audit", repo.path, timeout=HANGING), path.name)


@pytest.mark.parametrize("place", [pipe, device], ids=["pipe", "device"])
@pytest.mark.parametrize("name", ["FETCH_HEAD", "logs/HEAD", "info/exclude", "hooks/x", "objects/info/x"])
def test_in_place_of_a_file_that_is_read_alone(
    place: Callable[[Path], None], name: str, repo: Repo, run: Run
) -> None:
    path = repo.path / ".git" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    place(path)
    assert_named(run("audit", repo.path, timeout=HANGING), path.name)


def assert_named(outcome: Outcome, name: str) -> None:
    assert outcome.code == 3, outcome.text
    assert name in outcome.out


@pytest.mark.parametrize("name", ["config", "index", "refs/heads/main", "objects/info/alternates"])
def test_a_folder_in_place_of_a_file(name: str, repo: Repo, run: Run) -> None:
    path = repo.path / ".git" / name
    path.unlink(missing_ok=True)
    path.mkdir()
    assert run("audit", repo.path, timeout=HANGING).code in (0, 3)


def test_a_pipe_among_loose_objects_and_tags_of_it(repo: Repo, run: Run) -> None:
    repo.git("tag", "-am", "words", "v1")
    id = repo.git("rev-parse", "v1").decode().strip()
    path = repo.path / ".git/objects" / id[:2] / id[2:]
    path.unlink()
    pipe(path)
    assert_named(run("audit", repo.path, timeout=HANGING), id)


def test_what_the_configuration_includes(repo: Repo, run: Run, tmp_path: Path) -> None:
    pipe(tmp_path / "included")
    repo.git("config", "include.path", str(tmp_path / "absent"))
    with (repo.path / ".git/config").open("a") as stream:
        stream.write("[include]\n\tpath = ../../included\n")
    assert_named(run("audit", repo.path, timeout=HANGING), "config")


@pytest.mark.parametrize("name", ["refs/heads/root", "refs", "logs", "info", "modules/x"])
def test_a_link_to_the_whole_disk_is_not_followed(name: str, repo: Repo, run: Run) -> None:
    path = repo.path / ".git" / name
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.symlink_to("/")
    assert_named(run("audit", repo.path, timeout=HANGING), name)


def test_links_to_files_are_read(repo: Repo, run: Run, mint: Mint, tmp_path: Path) -> None:
    repo.git("config", "remote.o.url", f"https://{mint.key()}@host/")
    (repo.path / ".git/config").rename(tmp_path / "elsewhere")
    (repo.path / ".git/config").symlink_to(tmp_path / "elsewhere")
    outcome = run("audit", repo.path)
    assert outcome.code == 1, outcome.text
    assert ".git/config:" in outcome.out


def test_hooks_that_are_kept_elsewhere(repo: Repo, run: Run, mint: Mint, tmp_path: Path) -> None:
    shutil.rmtree(repo.path / ".git/hooks")
    (repo.path / ".git/hooks").symlink_to(tmp_path / "hooks")
    assert run("audit", repo.path).code == 0  # they are not there
    (tmp_path / "hooks/more").mkdir(parents=True)
    assert_named(run("audit", repo.path), "hooks/more")
    (tmp_path / "hooks/more").rmdir()
    assert run("audit", repo.path).code == 0
    (tmp_path / "hooks/pre-push").write_text(f"TOKEN={mint.key()}\n")
    assert run("audit", repo.path).code == 1


def test_hooks_that_are_kept_in_the_working_tree(repo: Repo, run: Run) -> None:
    shutil.rmtree(repo.path / ".git/hooks")
    repo.write("hooks/inner/pre-push", "true\n")
    (repo.path / ".git/hooks").symlink_to("../hooks")
    assert run("audit", repo.path).code == 0


def test_a_directory_made_of_links_as_git_new_workdir_makes_it(
    repo: Repo, run: Run, mint: Mint, tmp_path: Path
) -> None:
    keys = {name: mint.key() for name in ("config", "reflog", "hooks/x", "rr-cache/y/preimage")}
    repo.git("config", "remote.o.url", f"https://{keys['config']}@host/")
    made = repo.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "second").strip()
    repo.git("update-ref", "-m", keys["reflog"], "refs/heads/main", made)
    for name in ("hooks/x", "rr-cache/y/preimage"):
        repo.write(f".git/{name}", f"{keys[name]}\n")
    tree = tmp_path / "tree"
    (tree / ".git/logs").mkdir(parents=True)
    for name in ("config", "refs", "logs/refs", "objects", "info", "hooks", "packed-refs", "rr-cache"):
        (tree / ".git" / name).symlink_to(repo.path / ".git" / name)
    shutil.copy(repo.path / ".git/HEAD", tree / ".git/HEAD")
    repo.git("reset", "-q", cwd=tree)
    outcome = run("audit", tree)
    assert "4 keys found" in outcome.out
    assert "Not read" not in outcome.out


def test_an_index_that_was_cut_off_or_changed(repo: Repo, run: Run) -> None:
    for number in range(9):
        repo.stage(f"file-{number}", "x\n")
    index = repo.path / ".git/index"
    whole = index.read_bytes()
    assert run("audit", repo.path).code == 0
    for damaged in (whole[:-1], whole[:-30], whole.replace(b"file-3", b"file-@"), whole + b"x"):
        index.write_bytes(damaged)
        assert_named(run("audit", repo.path), "index")


def test_an_index_without_a_checksum_and_one_in_two(repo: Repo, run: Run) -> None:
    repo.git("-c", "index.skipHash=true", "update-index", "--force-write-index")
    assert run("audit", repo.path).code == 0
    repo.git("update-index", "--split-index")
    assert run("audit", repo.path).code == 0
    shared = next((repo.path / ".git").glob("sharedindex.*"))
    shared.chmod(0o644)
    shared.write_bytes(shared.read_bytes()[:-1] + b"\0")
    assert_named(run("audit", repo.path), "sharedindex")


@pytest.mark.parametrize("name", ["ORIG_HEAD", "MERGE_HEAD", "FETCH_HEAD"])
def test_names_whose_objects_git_does_not_keep(name: str, repo: Repo, run: Run) -> None:
    repo.commit("b", "b\n")
    gone = repo.head
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.write(f".git/{name}", gone + b"\n")
    repo.git("gc", "-q", "--prune=now")
    repo.git("fsck", "--full")
    outcome = run("audit", repo.path)
    assert outcome.code == 0, outcome.text
    repo.write(".git/HEAD", gone + b"\n")
    assert_named(run("audit", repo.path), gone.decode())


@pytest.mark.parametrize(
    "place",
    ["lost/x", "objects/pack/x", "objects/x", "objects/ab/x.bak", "objects/abX/x", "objects/pack/sub/x"],
)
def test_objects_at_odd_places(place: str, repo: Repo, run: Run, mint: Mint) -> None:
    id = repo.git("hash-object", "-w", "--stdin", stdin=f"{mint.key()}\n".encode()).decode().strip()
    path = repo.path / ".git" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    (repo.path / ".git/objects" / id[:2] / id[2:]).rename(path)
    outcome = run("audit", repo.path)
    assert outcome.code == 1, outcome.text
    assert place in outcome.out


@pytest.mark.parametrize(
    "place",
    [
        "objects/pack/pack-x.bitmap", "objects/pack/pack-x.rev", "objects/pack/pack-x.mtimes",
        "objects/pack/multi-pack-index-x.bitmap", "objects/packs/x", "objects/information/x",
    ],
)  # fmt: skip
def test_text_under_names_that_git_has_for_numbers(place: str, repo: Repo, run: Run, mint: Mint) -> None:
    path = repo.path / ".git" / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{mint.key()}\n")
    outcome = run("audit", repo.path)
    assert outcome.code == 1, outcome.text
    assert place in outcome.out


@pytest.mark.parametrize(
    "place", ["{}/", "refs/heads/{}/", "worktrees/{}/", "modules/{}/", "objects/{}/", "objects/pack/{}/",
              "objects/info/{}"],
)  # fmt: skip
def test_names_of_empty_folders_and_of_what_git_notes(place: str, repo: Repo, run: Run, mint: Mint) -> None:
    """git itself leaves the folder of a branch behind."""
    path = repo.path / ".git" / place.format(mint.key())
    path.parent.mkdir(exist_ok=True)
    if place.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.write_text("nothing\n")
    outcome = run("audit", repo.path)
    assert outcome.code == 1, outcome.text


def pointer(repo: Repo, name: str, content: bytes) -> Path:
    """Commits a pointer as `git lfs` writes it; returns where the object that it stands for would lie."""
    id = hashlib.sha256(content).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize {len(content)}\n"
    repo.commit(name, text, f"add {name}")
    return repo.path / ".git" / "lfs" / "objects" / id[:2] / id[2:4] / id


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_lfs_that_are_not_here_are_told(run: Run, repo: Repo, mint: Mint, packed: bool) -> None:
    """Also by an audit that knows all of the objects from the one before, and no more once they have come."""
    held = {name: f"{name}\n".encode() for name in ("a.bin", "b.bin")}
    places = {name: pointer(repo, name, content) for name, content in held.items()}
    repo.commit("c.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:none\n", "no pointer")
    if packed:
        repo.git("gc", "-q")
    for _ in range(2):
        outcome = run("audit", cwd=repo.path)
        assert outcome.code == 3
        assert "2 of the files that pointers stand for are not here" in outcome.text
        assert "git lfs fetch --all" in outcome.text
    for name, place in places.items():
        place.parent.mkdir(parents=True)
        place.write_bytes(held[name])
    assert run("audit", cwd=repo.path).code == 0
    key = mint.key().encode()
    place = pointer(repo, "d.bin", key)
    assert run("audit", cwd=repo.path).code == 3
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(key)
    outcome = run("audit", cwd=repo.path)
    assert outcome.code == 1
    assert "an object of LFS" in outcome.text


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_objects_of_lfs_that_are_kept_elsewhere(
    where: str, repo: Repo, run: Run, mint: Mint, tmp_path: Path
) -> None:
    folder = tmp_path / "kept" if where == "outside" else repo.path / ".git/kept"
    folder.mkdir()
    (folder / "object").write_text(f"{mint.key()}\n")
    repo.git("config", "lfs.storage", str(folder) if where == "outside" else "kept")
    outcome = run("audit", repo.path)
    assert outcome.code == (3 if where == "outside" else 1), outcome.text
    assert ("lfs.storage" in outcome.text) is (where == "outside")


def test_packs_in_folders_among_packs(repo: Repo, run: Run, mint: Mint) -> None:
    repo.commit("k", f"{mint.key()}\n")
    repo.git("repack", "-adq")
    packs = repo.path / ".git/objects/pack"
    (packs / "sub").mkdir()
    for name in packs.glob("pack-*"):
        name.rename(packs / "sub" / name.name)
    (repo.path / "k").unlink()
    outcome = run("audit", repo.path)
    assert outcome.code == 1, outcome.text
    assert "pack/sub/pack-" in outcome.out
