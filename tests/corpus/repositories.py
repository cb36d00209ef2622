"""What `fluxguard scan` says about whole folders, as a table: python tests/corpus/repositories.py FOLDER ...

For trees that have nothing to do with FluxLoop: then each finding is a false one, and each skip has to be right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HEADINGS = ("tree", "files", "MB", "findings", "skips", "seconds")


def report(folder: Path) -> dict[str, Any]:
    """The report on all files of a folder, ignored ones too, by a process of its own."""
    argv = [sys.executable, "-m", "fluxguard", "scan", "--format", "json", "--no-ignore", "--", "."]
    done = subprocess.run(argv, cwd=folder, capture_output=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{folder}: fluxguard ended with {done.returncode}: {done.stderr.decode()}")
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def files(folder: Path) -> int:
    """How many files and links lie below a folder, .git aside."""
    count = 0
    for _, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        count += len(names)
    return count


def details(found: dict[str, Any]) -> list[str]:
    """Each finding and each skip, a line each, for a person to judge."""
    lines = [
        f"  {finding['confidence']:6} {finding['masked']} {place['path']}:{place['line']}:{place['column']} {place['via']}"
        for finding in found["findings"]
        for place in finding["locations"]
    ]
    return lines + [f"  skip   {skip['where']}: {skip['reason']}" for skip in found["skipped"]]


def main(folders: list[str]) -> None:
    """Prints the table, then what is in it one by one."""
    notes: list[str] = []
    print("| " + " | ".join(HEADINGS) + " |\n|---|--:|--:|--:|--:|--:|")
    for folder in sorted(map(Path, folders)):
        found = report(folder)
        stats = found["stats"]
        name = folder.name.replace("+", "/")
        row = (
            name,
            f"{files(folder):,}",
            f"{stats['bytes'] / 1e6:.1f}",
            str(len(found["findings"])),
            str(len(found["skipped"])),
            f"{stats['seconds']:.2f}",
        )
        print("| " + " | ".join(row) + " |", flush=True)
        if lines := details(found):
            notes += [name, *lines]
    print("\n".join(notes))


if __name__ == "__main__":
    main(sys.argv[1:])
