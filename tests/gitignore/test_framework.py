"""`fluxguard-gitignore` through the real pre-commit framework: on a commit, and with `pre-commit run --all-files`."""

from __future__ import annotations

import pytest
from conftest import Repo, Run
from hook.conftest import Framework, framework

__all__ = ["framework"]
pytestmark = pytest.mark.framework


def test_a_commit_and_a_run_over_all_files(repo: Repo, framework: Framework, run: Run) -> None:
    framework.alone(repo, "fluxguard-gitignore", "pre-commit")
    repo.stage("app.py", "pass\n")
    before = repo.head
    refused = repo.try_git("commit", "-m", "while paths are open")
    assert refused.returncode != 0
    assert repo.head == before
    assert b".gitignore leaves " in refused.stderr + refused.stdout
    assert b"fluxguard gitignore --fix" in refused.stderr + refused.stdout
    everything = framework.run(repo, "--all-files")
    assert everything.returncode != 0
    assert b".gitignore leaves " in everything.stdout

    assert run("gitignore", "--fix", cwd=repo.path).code == 0
    repo.git("add", ".gitignore")
    passed = repo.try_git("commit", "-m", "covered")
    assert passed.returncode == 0, passed.stderr.decode()
    assert repo.head != before
    assert framework.run(repo, "--all-files").returncode == 0

    # A file that was forced in, and one whose line was taken away: whatever else is committed.
    repo.stage("docs.md", "words\n")
    repo.write("server.key", "words\n")
    repo.git("add", "-f", "server.key")
    forced = repo.try_git("commit", "-m", "with a forced one")
    assert forced.returncode != 0
    assert b"server.key" in forced.stderr + forced.stdout
    assert framework.run(repo, "--all-files").returncode != 0
    repo.git("rm", "-q", "--cached", "server.key")
    assert repo.try_git("commit", "-m", "without it").returncode == 0


def test_a_change_of_gitignore_that_is_not_staged_does_not_count(
    repo: Repo, framework: Framework, run: Run
) -> None:
    """The framework puts away what is not staged: what would be committed is what is asked about."""
    framework.alone(repo, "fluxguard-gitignore", "pre-commit")
    repo.stage(".gitignore", "# empty\n")
    assert run("gitignore", "--fix", cwd=repo.path).code == 0
    assert repo.try_git("commit", "-m", "the lines are not staged").returncode != 0
    repo.git("add", ".gitignore")
    assert repo.try_git("commit", "-m", "now they are").returncode == 0
