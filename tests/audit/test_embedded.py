"""Repositories inside a working tree: a registered submodule is audited wherever its git directory is; others are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Mint, Repo, Run


@pytest.fixture
def inner(repo: Repo, mint: Mint) -> Repo:
    """A clone in the working tree, with a key in its past and one in its configuration."""
    inner = Repo(repo.path / "lib", repo.env, mint)
    inner.path.mkdir()
    inner.git("init", "-q", "-b", "main")
    inner.commit("k", f"{mint.key()}\n")
    inner.git("rm", "-q", "k")
    inner.git("commit", "-qm", "drop")
    inner.git("config", "remote.o.url", f"https://{mint.key('dev')}@host/")
    return inner


def test_a_submodule_with_its_own_git_folder(repo: Repo, inner: Repo, run: Run) -> None:
    repo.git("submodule", "--quiet", "add", "./lib", "lib")
    repo.git("commit", "-qm", "sub")
    outcome = run("audit", repo.path)
    assert outcome.code == 1, outcome.text
    assert "2 keys found" in outcome.out
    assert "lib/.git/config" in outcome.out
    assert "Not read" not in outcome.out


def test_one_in_another(repo: Repo, inner: Repo, run: Run) -> None:
    shutil.copytree(inner.path, inner.path / "deep/er")
    inner.write(".gitmodules", '[submodule "x"]\n\tpath = deep/er\n')
    repo.write(".gitmodules", '[submodule "lib"]\n\tpath = "lib"\n')
    outcome = run("audit", repo.path)
    assert "lib/deep/er/.git/config" in outcome.out
    assert "Not read" not in outcome.out


@pytest.mark.parametrize("path", ["../away", "lib/../../away", "link", "/etc", ".", ""])
def test_a_registered_path_leads_nowhere_else(
    path: str, repo: Repo, make_repo: Callable[..., Repo], run: Run, mint: Mint, tmp_path: Path
) -> None:
    away = make_repo("away")
    away.commit("k", f"{mint.key()}\n")
    (repo.path / "link").symlink_to(away.path)
    repo.write(".gitmodules", f'[submodule "x"]\n\tpath = {path}\n')
    assert run("audit", repo.path).code == 0


@pytest.mark.parametrize("name", ["lib", "backup", "bare.git"])
def test_what_is_not_registered_is_named(name: str, repo: Repo, inner: Repo, run: Run) -> None:
    if name == "backup":
        inner.path.joinpath(".git").rename(repo.path / "backup")
    if name == "bare.git":
        repo.git("clone", "-q", "--bare", "lib", "bare.git")
        shutil.rmtree(inner.path)
    outcome = run("audit", repo.path)
    assert outcome.code in (1, 3), outcome.text
    assert f"{name}: a repository of its own" in outcome.out
