"""What a commit of a thousand files costs. The goal: no slower than the fastest peer."""

from __future__ import annotations

import random
from pathlib import Path

from programs import arguments, found_code, git, installed, repository
from sidebyside import measure, proven, table

WORDS = [
    "import",
    "return",
    "class",
    "value",
    "config",
    "request",
    "session",
    "token",
    "user",
    "path",
    "for",
    "while",
    "if",
    "else",
    "None",
    "self",
    "data",
]


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, rounds=15)
    parser.add_argument("--files", type=int, default=1000, help="how many files are staged (default: 1000)")
    args = parser.parse_args()
    programs = installed(args.home)
    folder = repository(programs.home / "staged")
    size = fill(folder, args.files)
    control = folder / "package39" / "zz.py"
    control.write_bytes(programs.control())
    git(folder, "add", "--all")
    commands = proven(programs.staged(), folder, programs.environment, found_code)
    control.unlink()
    git(folder, "add", "--all")
    series = measure(commands, folder, args.rounds, programs.environment)
    print(table(f"{args.files:,} files staged, {size / 1e6:.1f} MB", series))


def fill(folder: Path, files: int) -> int:
    """Writes files that look like source, of 0.5 to 20 kB, always the same. Returns their size in all."""
    chance = random.Random(1)
    size = 0
    for number in range(files):
        lines = [
            " " * chance.choice((0, 4, 8)) + " ".join(chance.choices(WORDS, k=chance.randint(2, 12)))
            for _ in range(chance.randint(10, 400))
        ]
        text = "\n".join(lines) + "\n"
        place = folder / f"package{number % 40}"
        place.mkdir(exist_ok=True)
        (place / f"module{number}.py").write_text(text)
        size += len(text)
    return size


if __name__ == "__main__":
    main()
