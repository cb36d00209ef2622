"""The opt-in reference-transaction hook: no door is left that moves a ref, and nothing is lost when one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.conftest import Guarded
from guard.test_catch_up import DOORS


@pytest.fixture
def strict(bare_repo: Guarded) -> Guarded:
    outcome = bare_repo.run("install", "--reference-transaction", cwd=bare_repo.repo.path)
    assert outcome.code == 0, outcome.text
    return bare_repo


REFUSED = "The refs stay as they were."
BY_FORCE = ("commit --no-verify", "cherry-pick", "rebase", "stash", "notes", "an annotated tag", "plumbing")


@pytest.mark.parametrize("name", BY_FORCE)
def test_doors_without_a_hook_are_guarded(
    name: str, strict: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = []

    def git(*words: str, **more: object) -> bytes:
        done = strict.repo.try_git(*words, **more)  # type: ignore[arg-type]
        if done.returncode:
            failures.append(strict.said(done))
            raise RuntimeError
        return done.stdout

    hooks = strict.hooks / "reference-transaction"
    aside = strict.hooks / "aside"
    content = f"TOKEN={strict.repo.mint.key()}\n"
    if name in ("cherry-pick", "rebase"):  # what others pushed comes from a remote
        hooks.rename(aside)
        strict.repo.git("checkout", "-q", "-b", "side")
        strict.repo.commit("app.env", content)
        strict.repo.git("branch", "-q", "keep")
        strict.repo.git("checkout", "-q", "main")
        strict.repo.git("branch", "-q", "-D", "side")
        aside.rename(hooks)
        strict.commit("more.txt", "more\n")
    before = strict.repo.git("for-each-ref", "refs/heads/main", "refs/stash", "refs/notes", "refs/tags")
    monkeypatch.setattr(strict.repo, "git", git)
    with pytest.raises(RuntimeError):
        _go_through(name, strict, content)
    monkeypatch.undo()
    assert REFUSED in failures[0], failures[0]
    assert "flux_prod_" in failures[0]
    assert (
        strict.repo.git("for-each-ref", "refs/heads/main", "refs/stash", "refs/notes", "refs/tags") == before
    )
    if name == "stash":
        assert (strict.repo.path / "app.env").read_text() == content, "the work is still there"


def _go_through(name: str, strict: Guarded, content: str) -> None:
    if name == "cherry-pick":
        strict.repo.git("cherry-pick", "keep")
    elif name == "rebase":
        strict.repo.git("rebase", "main", "keep")
    else:
        DOORS[name](strict, content)


@pytest.mark.parametrize("name", [name for name in DOORS if name != "hooks switched off for a while"])
def test_clean_changes_pass(name: str, strict: Guarded) -> None:
    DOORS[name](strict, "words of no weight\n")
    strict.commit("a.txt", "a\n")


def test_a_rebase_that_was_refused_can_be_taken_back(strict: Guarded) -> None:
    repo = strict.repo
    hook = strict.hooks / "reference-transaction"
    hook.rename(strict.hooks / "aside")
    repo.git("checkout", "-q", "-b", "work")
    repo.commit("app.env", f"TOKEN={repo.mint.key()}\n")
    work = repo.head
    repo.git("checkout", "-q", "main")
    (strict.hooks / "aside").rename(hook)
    strict.commit("more.txt", "more\n")
    strict.refused("rebase", "main", "work")
    assert repo.git("rev-parse", "work").strip() == work
    strict.git("rebase", "--abort")
    strict.passes("checkout", "-q", "main")
    assert repo.git("rev-parse", "work").strip() == work
    assert repo.git("status", "--porcelain") == b""


def test_a_ref_with_a_key_for_a_name(strict: Guarded) -> None:
    done = strict.repo.try_git("branch", strict.repo.mint.key())
    assert done.returncode != 0
    assert b"(the ref's name)" in done.stderr


def test_fetches_and_deletions_are_left_alone(strict: Guarded, tmp_path: Path) -> None:
    repo = strict.repo
    repo.git("clone", "-q", str(repo.path), str(tmp_path / "other"))
    (tmp_path / "other" / "app.env").write_text(f"TOKEN={repo.mint.key()}\n")
    repo.git("add", ".", cwd=tmp_path / "other")
    repo.git("commit", "-q", "-m", "theirs", cwd=tmp_path / "other")
    repo.git("remote", "add", "origin", str(tmp_path / "other"))
    strict.passes("fetch", "-q", "origin")
    strict.passes("merge", "-q", "--ff-only", "origin/main")
    strict.passes("branch", "-q", "old")
    strict.passes("branch", "-q", "-D", "old")
    strict.passes("pack-refs", "--all")
    strict.passes("gc", "-q")


def test_a_hook_that_was_there_hears_of_every_state(bare_repo: Guarded, tmp_path: Path) -> None:
    bare_repo.hooks.mkdir(exist_ok=True)
    hook = bare_repo.hooks / "reference-transaction"
    hook.write_text(f'#!/bin/sh\necho "$1" >>{tmp_path}/log\ncat >>{tmp_path}/log\n')
    hook.chmod(0o755)
    bare_repo.run("install", "--reference-transaction", cwd=bare_repo.repo.path)
    bare_repo.passes("tag", "v1")
    log = (tmp_path / "log").read_text()
    assert "prepared\n" in log
    assert "committed\n" in log
    assert log.count("refs/tags/v1") >= 2
