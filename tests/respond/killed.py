"""Runs `fluxguard` and kills it (SIGKILL) at the n-th boundary: `python -m tests.respond.killed N LOG WORDS...`; 0 kills at none.

A boundary lies behind each effect: a record of the journal, an answer of the platform that has come, a file renamed into place, a child that
has ended; and one before the first. KILL_BEHIND=STEP<tab>WHAT kills behind the first that is called so. Each is written to LOG, with the step that the run was in, before anybody is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    number, log, words = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    _arm(_Bomb(number, log))
    from fluxguard.cli import main as fluxguard

    return int(fluxguard(words))


class _Bomb:
    """Counts the boundaries, and goes off."""

    def __init__(self, number: int, log: Path) -> None:
        self._number = number
        self._log = log
        self._count = 0
        self._step = "start"

    def boundary(self, what: str) -> None:
        self._count += 1
        with self._log.open("a") as stream:
            stream.write(f"{self._count}\t{self._step}\t{what}\n")
        if self._count == self._number or f"{self._step}\t{what}" == os.environ.get("KILL_BEHIND"):
            os.kill(os.getpid(), signal.SIGKILL)

    def enters(self, step: str) -> None:
        self._step = step

    def after(self, effect: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def wrapped(*args: Any, **how: Any) -> Any:
            done = effect(*args, **how)
            self.boundary(name(*args))
            return done

        return wrapped


def _arm(bomb: _Bomb) -> None:
    import subprocess

    import httpx

    from fluxguard.respond.journal import Journal

    add = Journal.add

    def added(self: Journal, step: str, phase: str, **data: Any) -> Any:
        if phase == "intent":
            bomb.enters(step)
        done = add(self, step, phase, **data)
        bomb.boundary(f"journal: {phase}")
        return done

    Journal.add = added  # type: ignore[method-assign]
    httpx.Client.request = bomb.after(  # type: ignore[method-assign]
        httpx.Client.request, lambda self, method, path, **how: f"platform: {method} {_shape(path)}"
    )
    os.replace = bomb.after(os.replace, lambda source, target: f"file: {os.path.basename(target)}")
    run = subprocess.run

    def ran(argv: Any, *args: Any, **how: Any) -> Any:
        done = run(argv, *args, **how)
        ours = "core.splitIndex=false" in argv  # a git in the user's own clone
        if ours or "/incidents/" in str(how.get("cwd") or "") or "/incidents/" in str(argv):
            bomb.boundary(f"child: {_child(argv)}")
        return done

    subprocess.run = ran  # type: ignore[assignment]
    time.sleep = lambda seconds: None


def _shape(path: str) -> str:
    return "/".join("ID" if part.startswith("key_") else part for part in str(path).split("/"))


def _child(argv: Any) -> str:
    words = [str(word) for word in argv]
    if "fluxguard.respond.rewriting" in words:
        return "git-filter-repo"
    rest = words[3:] if words[1] == "-C" else words[1:]
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] == "-c" else rest[1:]
    return f"git {rest[0]}"


if __name__ == "__main__":
    sys.exit(main())
