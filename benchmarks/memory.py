"""How much memory a first audit takes at the most: of all of its processes together, pages that they share counted once.

Give it git directories. Every few milliseconds the `Pss` of each process (proc(5), smaps_rollup: a page that n processes
have counts with one nth in each) is added up, and the largest sum is told, with the largest of any one process beside
it. Pages of a pack that was mapped count, although the system takes them back when it needs them: so what of that sum
is `Pss_Anon`, memory that is the process's own, is told as well. Linux only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EVERY = 0.02  # seconds


def main() -> None:
    """Measures and prints."""
    for folder in sys.argv[1:]:
        total, own, single = (number >> 10 for number in peak(folder))
        print(f"{folder}: {total} MiB in all, {own} MiB of it anonymous; {single} MiB in one process")


def peak(folder: str) -> tuple[int, int, int]:
    """The largest sums, in KiB: of all pages, of anonymous ones at that time, and of one process's."""
    best = (0, 0)
    single = 0
    with tempfile.TemporaryDirectory() as cache:
        program = str(Path(sys.executable).with_name("fluxguard"))
        process = subprocess.Popen(
            [program, "audit", "--no-repo-config", "--full", folder],
            env={**os.environ, "FLUXGUARD_CACHE_DIR": cache},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            each = [_proportional(pid) for pid in _family(process.pid)]
            best = max(best, (sum(pss for pss, _ in each), sum(own for _, own in each)))
            single = max(single, *(pss for pss, _ in each))
            time.sleep(EVERY)
    return best[0], best[1], single


def _family(pid: int) -> list[int]:
    """A process, and all that it started."""
    found = [pid]
    for each in found:
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text()
        except OSError:
            continue
        found += map(int, children.split())
    return found


def _proportional(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    fields = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return fields.get("Pss:", 0), fields.get("Pss_Anon:", 0)


if __name__ == "__main__":
    main()
