"""Every way to commit, for real: with a key it is refused, without one it passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import PROJECT, Mint, Repo

from hook.conftest import Framework
from hook.stories import BASES, GIT_ALONE, STORIES, Scene, attempt

HARMLESS = "no key at all"


def _tell(name: str, repo: Repo, text: str) -> tuple[bytes, bytes, int]:
    """Tells a story: what was said, whether there is a new commit, the exit code."""
    scene = Scene(repo, text, repo.path)
    command = STORIES[name](scene)
    before = repo.try_git("rev-parse", "--verify", "-q", "HEAD", cwd=scene.at, **scene.env).stdout
    done = attempt(scene, command)
    after = repo.try_git("rev-parse", "--verify", "-q", "HEAD", cwd=scene.at, **scene.env).stdout
    return done.stdout + done.stderr, after if after != before else b"", done.returncode


def _holds(name: str, repo: Repo, mint: Mint, with_key: bool) -> None:
    said, commit, code = _tell(name, repo, mint.key() if with_key else HARMLESS)
    if with_key:
        if name != "commit -p":  # there git itself shows the person their own change
            assert not mint.leaked(said), mint.leaked(said)
        shown = said.decode("utf-8", "replace")
        assert not commit, f"the commit was made: {shown}"
        assert code != 0
        assert "flux_prod_" in shown, f"refused, but not for the key: {shown}"
        assert "Traceback" not in shown, shown
        assert "What to do now" in shown, shown
    else:
        # Some git versions die of a missing order file themselves, when they sum up the commit.
        assert commit or b"orderfile" in said, f"the commit was refused: {said.decode('utf-8', 'replace')}"


@pytest.mark.parametrize("with_key", [True, False], ids=["key", "control"])
@pytest.mark.parametrize("name", STORIES)
def test_git_hook(name: str, with_key: bool, make_repo: Callable[..., Repo], mint: Mint) -> None:
    repo = make_repo("repo", *BASES[name])
    repo.commit("README", "A project.\n", "start")
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    _holds(name, repo, mint, with_key)


@pytest.mark.framework
@pytest.mark.parametrize("with_key", [True, False], ids=["key", "control"])
@pytest.mark.parametrize("name", [name for name in STORIES if name not in GIT_ALONE])
def test_framework(
    name: str, with_key: bool, make_repo: Callable[..., Repo], mint: Mint, framework: Framework
) -> None:
    repo = make_repo("repo", *BASES[name])
    repo.commit("README", "A project.\n", "start")
    framework.into(repo)
    _holds(name, repo, mint, with_key)
