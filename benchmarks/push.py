"""What a push of 100 commits costs: the whole process, beside the peers that look at the same commits.

The peers get the range that the remote lacks as an argument; fluxguard finds it out by itself, from what git tells its
hook. The files of the commits are made of words, of 4 kB each, in 40 folders.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from programs import arguments, found_code, git, installed, repository
from sidebyside import measure, proven, table

COMMITS = 100
_WHO = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")


def main() -> None:
    """Measures and prints."""
    args = arguments(__doc__, rounds=40).parse_args()
    programs = installed(args.home)
    folder = repository(programs.home / "push")
    start = output(folder, "rev-parse", "HEAD")
    git(folder, "remote", "add", "origin", str(folder))
    git(folder, "update-ref", "refs/remotes/origin/main", start)
    remote = ["origin", str(folder)]
    commit(folder, "control.py", programs.control())
    told = stdin(programs.home / "push.stdin", folder, start)
    scanners = {
        "fluxguard": [
            "/bin/sh",
            "-c",
            'exec "$0" hook pre-push "$@" < ' + str(told),
            str(programs.fluxguard),
            *remote,
        ],
        **programs.pushed(start),
    }
    scanners = proven(scanners, folder, programs.environment, found_code)
    git(folder, "reset", "--quiet", "--hard", start)
    grow(folder)
    stdin(told, folder, start)
    series = measure(scanners, folder, args.rounds, programs.environment)
    print(table(f"A push of {COMMITS} commits", series))
    nothing = {"fluxguard": [*scanners["fluxguard"][:2], scanners["fluxguard"][2].replace(str(told), "/dev/null"), *scanners["fluxguard"][3:]],
               "python3 -c pass": [str(programs.python), "-c", "pass"]}  # fmt: skip
    print(table("A push of nothing new", measure(nothing, folder, args.rounds, programs.environment)))


def grow(folder: Path) -> None:
    """The commits, three files each."""
    chance = random.Random(7)
    words = [f"word{number}" for number in range(3000)]
    for number in range(COMMITS):
        for _ in range(3):
            place = chance.randrange(40)
            path = folder / f"part{place}" / f"file{chance.randrange(20)}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(" ".join(chance.choices(words, k=9)) for _ in range(65)) + "\n")
        git(folder, "add", ".")
        git(folder, *_WHO, "commit", "--quiet", "--no-verify", "-m", f"change {number}")


def commit(folder: Path, name: str, content: bytes) -> None:
    """Commits one file."""
    (folder / name).write_bytes(content)
    git(folder, "add", name)
    git(folder, *_WHO, "commit", "--quiet", "--no-verify", "-m", "change")


def stdin(path: Path, folder: Path, start: str) -> Path:
    """What git would tell the hook."""
    head = output(folder, "rev-parse", "HEAD")
    path.write_text(f"refs/heads/main {head} refs/heads/main {start}\n")
    return path


def output(folder: Path, *words: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
