"""What a scan of a large repository's working tree costs. The goal: no slower than the fastest peer.

Give it a checkout without keys in it: every program has to end with 0. Without one, it makes a tree of 20,000 files.
The peers scan the folder, ours the tracked and the untracked, not ignored, files in it: in a clean checkout the same.
"""

from __future__ import annotations

from pathlib import Path

from programs import arguments, git, installed, repository
from sidebyside import measure, table
from staged import fill


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("path", type=Path, nargs="?", help="the working tree to scan")
    args = parser.parse_args()
    programs = installed(args.home)
    folder = args.path.resolve() if args.path else _made(programs.home / "worktree")
    series = measure(programs.worktree(), folder, args.rounds, programs.environment)
    print(table(f"Working tree {folder.name}", series))


def _made(folder: Path) -> Path:
    repository(folder)
    fill(folder, 20_000)
    git(folder, "add", "--all")
    return folder


if __name__ == "__main__":
    main()
