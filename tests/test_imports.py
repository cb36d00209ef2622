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
THEIRS = {"__future__", "_sha1", "binascii", "time", "zlib"}
THEIRS |= {"select"}  # only where git is slower than we are, and has to be waited for
PROGRAM = """
import sys
before = set(sys.modules)
from fluxguard.cli import main
code = main(["hook", "pre-commit"])
print(code, *sorted(set(sys.modules) - before))
"""


def test_a_clean_commit_loads_only_what_is_listed(repo: Repo) -> None:
    repo.stage("app.py", "print('hello')\n")
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM], cwd=repo.path, env=repo.env, capture_output=True, text=True
    )
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    unlisted = set(loaded) - OURS - THEIRS
    assert not unlisted, f"the commit hook now imports {sorted(unlisted)}"
