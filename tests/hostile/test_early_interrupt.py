"""Ctrl-C before fluxguard's own code is ready for it, and right behind its end: no traceback of ours."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from fluxguard.cli import program
sys.exit(program())
"""


def interrupted(folder: Path, module: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the program, and interrupts it as it is about to import a module."""
    script = folder / "fluxguard"
    script.write_text(PROGRAM.format(module=module))
    return subprocess.run(
        [sys.executable, str(script), "rules", "list"], cwd=folder, capture_output=True, timeout=60
    )


@pytest.mark.parametrize("module", ["fluxguard.cli", "__future__", "fluxguard.errors"])
def test_before_it_is_ready(module: str, tmp_path: Path) -> None:
    done = interrupted(tmp_path, module)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b""), "which a shell shows as 130"


def test_once_it_is_ready(tmp_path: Path) -> None:
    done = interrupted(tmp_path, "fluxguard.commands.parser")
    assert done.returncode == 130
    assert b"interrupted" in done.stderr
    assert b"Traceback" not in done.stderr
