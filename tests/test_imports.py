"""What the way of a clean commit may import. Each module more is milliseconds at every commit of everybody."""

from __future__ import annotations

import subprocess
import sys

from conftest import Repo

OURS = {
    "fluxguard",
    "fluxguard.chunk",
    "fluxguard.cli",
    "fluxguard.commands",
    "fluxguard.commands.staged",
    "fluxguard.detect",
    "fluxguard.detect.triggers",
    "fluxguard.errors",
    "fluxguard.repo",
    "fluxguard.repo.ahead",
    "fluxguard.repo.index",
    "fluxguard.repo.layout",
    "fluxguard.repo.loose",
    "fluxguard.repo.objects",
    "fluxguard.repo.run",
    "fluxguard.scan",
    "fluxguard.settings",
    "fluxguard.sources",
    "fluxguard.sources.staged",
    "fluxguard.sources.worktree",
    "fluxguard.words",
}
# Of the standard library: C modules, and what Python itself has loaded on most systems.
THEIRS = {"__future__", "_sha1", "binascii", "gc", "time", "zlib"}
THEIRS |= {"select"}  # only where git is slower than we are, and has to be waited for
PROGRAM = """
import sys
before = set(sys.modules)
from fluxguard.cli import main
code = main(sys.argv[1:])
print(code, *sorted(set(sys.modules) - before))
"""


def _loaded(repo: Repo, *words: str) -> set[str]:
    """What a clean run with these words imports."""
    command = [sys.executable, "-I", "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=repo.path, env=repo.env, capture_output=True, text=True)
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(loaded)


def test_a_clean_commit_loads_only_what_is_listed(repo: Repo) -> None:
    repo.stage("app.py", "print('hello')\n")
    unlisted = _loaded(repo, "hook", "pre-commit") - OURS - THEIRS
    assert not unlisted, f"the commit hook now imports {sorted(unlisted)}"


def test_a_clean_working_tree_loads_no_rules(repo: Repo) -> None:
    """Not for symbolic links either, in whichever of the two processes."""
    for number in range(400):
        repo.write(f"plain/{number}", "nothing\n")
        (repo.path / f"link{number}").symlink_to(f"plain/{number}")
    assert "fluxguard.detect.engine" not in _loaded(repo, "scan")
