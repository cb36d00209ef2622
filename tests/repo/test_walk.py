"""A walk over loose objects, beside git's own list of what a remote lacks: it may name more, and never less."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Repo

from fluxguard.repo.walk import Walk, walked


@pytest.fixture
def here(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository, in which this process stands."""
    monkeypatch.chdir(repo.path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    return repo


def id_of(repo: Repo, name: str) -> str:
    return repo.git("rev-parse", name).decode().strip()


def listed(repo: Repo, wanted: list[str], held: list[str]) -> set[str]:
    words = ["rev-list", "--objects", "--no-object-names", *wanted, *(f"^{id}" for id in held)]
    return set(repo.git(*words).decode().split())


def ids(walk: Walk) -> set[str]:
    found = [id for id, _ in walk.objects]
    assert len(found) == len(set(found)), "an object is listed twice"
    return set(found)


class Grower:
    """Grows a history by commits that do what people do to files and folders."""

    def __init__(self, repo: Repo, seed: int) -> None:
        self.repo = repo
        self.chance = random.Random(seed)

    def grow(self, commits: int) -> None:
        for number in range(commits):
            for _ in range(self.chance.randrange(1, 4)):
                self._change(number)
            self.repo.git("add", "-A")
            self.repo.git("commit", "-q", "--allow-empty", "-m", f"change {number}")
            if self.chance.random() < 0.25:
                self._merge(number)

    def _change(self, number: int) -> None:
        top = self.repo.path
        files = [path for path in top.rglob("*") if path.is_file() and ".git" not in path.parts]
        what = self.chance.randrange(6)
        if what <= 2 or not files:
            place = "/".join(self.chance.choice("abc") for _ in range(self.chance.randrange(1, 4)))
            path = top / (place + self.chance.choice(["", ".d", "0", "-x"])) / f"f{self.chance.randrange(4)}"
            if not any(parent.is_file() for parent in path.parents) and not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{self.chance.random()}\n")
            return
        path = self.chance.choice(files)
        if what == 3:
            path.unlink()
        elif what == 4:
            path.rename(path.with_name(path.name + "-moved"))
        else:
            path.chmod(0o755)

    def _merge(self, number: int) -> None:
        repo, name = self.repo, f"side{self.chance.random()}"
        repo.git("checkout", "-q", "-b", name, "HEAD~1")
        repo.commit(f"side/{name}", f"{name}\n")
        repo.git("checkout", "-q", "main")
        repo.git("merge", "-q", "--no-edit", "-s", "ours" if self.chance.random() < 0.3 else "ort", name)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "what the remote has is packed"])
def test_it_names_all_that_git_names(here: Repo, seed: int, packed: bool) -> None:
    grower = Grower(here, seed)
    grower.grow(3)
    held = id_of(here, "HEAD")
    if packed:
        here.git("repack", "-adq")
    grower.grow(8)
    here.git("tag", "-a", "-m", "a tag", "v1")
    wanted = [id_of(here, "HEAD"), id_of(here, "refs/tags/v1")]
    walk = walked(wanted, [held])
    assert walk is not None
    found, exact = ids(walk), listed(here, wanted, [held])
    assert exact <= found
    kinds = here.git("cat-file", "--batch-check=%(objecttype)", stdin="\n".join(found - exact).encode())
    assert set(kinds.split()) <= {b"blob", b"tree"}, "a commit too many"
    for id, (kind, data) in walk.at_hand.items():
        assert here.git("cat-file", kind, id) == data


def test_plain_changes_are_named_exactly(here: Repo) -> None:
    held = id_of(here, "HEAD")
    for number in range(5):
        here.commit(f"src/part{number % 2}/file{number}", f"{number}\n")
    here.commit("src/part0/file0", "changed\n")
    walk = walked([id_of(here, "HEAD")], [held])
    assert walk is not None
    assert ids(walk) == listed(here, ["HEAD"], [held])
    assert dict(walk.objects)[id_of(here, "HEAD:src/part0/file0")] == b"src/part0/file0"


def test_the_first_push_of_all(here: Repo) -> None:
    here.commit("a/b", "text\n")
    walk = walked([id_of(here, "HEAD")], [])
    assert walk is not None
    assert ids(walk) == listed(here, ["HEAD"], [])


def test_nothing_that_git_would_have_to_fetch_or_unpack_is_guessed(here: Repo) -> None:
    held = id_of(here, "HEAD")
    here.commit("a", "text\n")
    head = id_of(here, "HEAD")
    assert walked([head], ["0" * 39 + "1"]) is None, "it went past what is held, down to the first commit"
    assert walked([id_of(here, "HEAD^{tree}")], [held]) is None
    here.git("repack", "-adq")
    assert walked([head], [held]) is None, "a commit in a pack"


def _shallow(repo: Repo) -> None:
    (repo.path / ".git/shallow").write_text(id_of(repo, "HEAD~1") + "\n")


def _grafts(repo: Repo) -> None:
    (repo.path / ".git/info/grafts").write_text(id_of(repo, "HEAD") + "\n")


def _truncated(repo: Repo) -> None:
    id = id_of(repo, "HEAD^{tree}")
    path = repo.path / ".git/objects" / id[:2] / id[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-3])


def _gone(repo: Repo) -> None:
    id = id_of(repo, "HEAD^{tree}")
    (repo.path / ".git/objects" / id[:2] / id[2:]).unlink()


@pytest.mark.parametrize("break_it", [_shallow, _grafts, _truncated, _gone])
def test_what_is_odd_is_left_to_git(break_it: Callable[[Repo], None], here: Repo) -> None:
    held = id_of(here, "HEAD")
    here.commit("a", "text\n")
    here.commit("b", "text\n")
    break_it(here)
    assert walked([id_of(here, "HEAD")], [held]) is None


@pytest.mark.parametrize(
    "text",
    [b"", b"tree ", b"tree xyz\n", b"parent " + b"0" * 40 + b"\n", b"tree " + b"A" * 40 + b"\n"],
    ids=["empty", "cut off", "no id", "no tree", "capitals"],
)
def test_a_commit_that_is_none(text: bytes, here: Repo) -> None:
    held = id_of(here, "HEAD")
    made = here.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=text)
    assert walked([made.decode().strip()], [held]) is None


def test_a_submodule_is_not_entered(here: Repo) -> None:
    held = id_of(here, "HEAD")
    entry = f"160000,{'1' * 40},sub"
    here.git("update-index", "--add", "--cacheinfo", entry)
    here.git("commit", "-q", "-m", "a submodule")
    walk = walked([id_of(here, "HEAD")], [held])
    assert walk is not None
    assert ids(walk) == listed(here, ["HEAD"], [held])


def test_a_folder_where_a_file_was_and_the_other_way(here: Repo) -> None:
    here.commit("one", "a file\n")
    here.commit("two/inner", "a folder\n")
    held = id_of(here, "HEAD")
    here.git("rm", "-rq", "one", "two")
    here.commit("one/inner", "now a folder\n")
    here.commit("two", "now a file\n")
    walk = walked([id_of(here, "HEAD")], [held])
    assert walk is not None
    assert ids(walk) == listed(here, ["HEAD"], [held])


def test_a_repository_with_long_ids(make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch) -> None:
    repo = make_repo("long", "--object-format=sha256")
    repo.commit("a", "text\n")
    monkeypatch.chdir(repo.path)
    assert walked([id_of(repo, "HEAD")], []) is None


def test_a_push_starts_no_git_and_sees_every_place(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real hook, with a git that must not be called."""
    start = id_of(repo, "HEAD")
    for number in range(30):
        repo.commit(f"src/part{number % 3}/file{number}", f"{number}\n")
    told = f"refs/heads/main {id_of(repo, 'HEAD')} refs/heads/main {start}\n".encode()
    barred = tmp_path / "bin"
    barred.mkdir()
    (barred / "git").write_text("#!/bin/sh\nexit 9\n")
    (barred / "git").chmod(0o755)
    env = {**repo.env, "PATH": f"{barred}:{repo.env['PATH']}"}
    done = subprocess.run(
        ["fluxguard", "hook", "pre-push", "origin", "x"],
        cwd=repo.path,
        env=env,
        input=told,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"no key in 30 commits" in done.stdout
