"""Programs measured side by side: A B C, A B C ..., so that a busy moment of the machine hits them all alike."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OURS = "fluxguard"


@dataclass
class Series:
    """What one program took, round by round: seconds of wall clock and of processor, and its peak memory in bytes."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0


def environment() -> dict[str, str]:
    """The caller's, without what changes how Python starts or which repository git looks at."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIT_"))}


def once(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[float, float]:
    """Runs a program to its end: seconds of wall clock, seconds of processor, its children's included."""
    null = os.open(os.devnull, os.O_RDWR)
    here = os.open(".", os.O_RDONLY)
    os.chdir(cwd)
    try:
        started = time.perf_counter()
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        pid = os.posix_spawn(command[0], command, dict(env), file_actions=actions)
        _, _, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - started
    finally:
        os.fchdir(here)
        os.close(here)
        os.close(null)
    return wall, usage.ru_utime + usage.ru_stime


def peak_memory(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[int, int]:
    """Runs a program once more: exit code, and its peak memory in bytes, its own or its largest child's.

    In a fork, and not in a round that is timed: Linux counts what stood in memory before `exec` as the program's own,
    which is less in a fork than in the measuring process itself. What comes out below 10 MiB may still be our own.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            os.execve(command[0], command, dict(env))
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit


def proven(
    commands: Mapping[str, Sequence[str]], cwd: Path, extra: Mapping[str, str], found: Callable[[str], int]
) -> dict[str, Sequence[str]]:
    """The control: the programs that find the key which now stands in their input. The others measure nothing, and are left out."""
    env = {**environment(), **extra}
    passed = {}
    for name, command in commands.items():
        code, _ = peak_memory(command, cwd, env)
        if code == found(name):
            passed[name] = command
        else:
            print(f"LEFT OUT: {name} ended with {code} where a key stands, not with {found(name)}.")
    return passed


def measure(
    commands: Mapping[str, Sequence[str]], cwd: Path, rounds: int, extra: Mapping[str, str]
) -> dict[str, Series]:
    """One warm-up and then `rounds` of each, in turn. A program that does not call the input clean is left out, and said to be."""
    env = {**environment(), **extra}
    series = {name: Series() for name in commands}
    for name, command in commands.items():
        code, series[name].peak = peak_memory(command, cwd, env)
        if code:
            print(f"LEFT OUT: {name} ended with {code} instead of 0. Its command: {' '.join(command)}")
            del series[name]
    for _ in range(rounds):
        for name in series:
            command = commands[name]
            wall, cpu = once(command, cwd, env)
            series[name].wall.append(wall)
            series[name].cpu.append(cpu)
    return series


def table(title: str, series: Mapping[str, Series], against: str = OURS) -> str:
    """The medians, and each program's wall time as a multiple of `against`'s in the same round."""
    if against not in series:
        raise SystemExit(f"{title}: {against} itself was left out.")
    reference = series[against]
    lines = [
        title,
        f"  {'':<28}{'wall ms':>9}{'best ms':>9}{'cpu ms':>9}{'x ' + against:>19}{'peak MiB':>10}",
    ]
    for name, one in series.items():
        ratio = statistics.median(
            mine / theirs for mine, theirs in zip(one.wall, reference.wall, strict=True)
        )
        lines.append(
            f"  {name:<28}{statistics.median(one.wall) * 1e3:>9.1f}{min(one.wall) * 1e3:>9.1f}"
            f"{statistics.median(one.cpu) * 1e3:>9.1f}{ratio:>19.2f}{one.peak / (1 << 20):>10.1f}"
        )
    return "\n".join(lines) + "\n"
