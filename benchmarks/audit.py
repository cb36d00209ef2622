"""What an audit of a whole history costs: every peer on the same repositories, and git reading all objects and looking at none.

Give it git directories (`git clone --mirror`). The targets: at least 2.5 times faster than the fastest peer, 4 times the
goal, and faster than `git cat-file`. The caches stay empty but for the last rows, which show a second audit.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from programs import Programs, arguments, found_code, git, installed, repository
from sidebyside import measure, proven, table

READ_ALL = ("cat-file", "--batch-all-objects", "--batch", "--buffer", "--unordered")


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("repository", type=Path, nargs="+", help="git directories, without keys in them")
    parser.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="NAME",
        help="a program that is not to be measured",
    )
    args = parser.parse_args()
    programs = installed(args.home)
    works = _proven(programs)
    for path in args.repository:
        folder = path.resolve()
        commands = {name: command for name, command in _commands(programs).items() if name in works}
        commands = {name: command for name, command in commands.items() if name not in args.leave_out}
        # The stored copies of public repositories often lack an object or two: fluxguard says so with 3.
        series = measure(commands, folder, args.rounds, _environment(programs), accepted=(0, 3))
        print(table(f"History of {folder.parent.name if folder.name == 'repo' else folder.name}", series))


def _commands(programs: Programs) -> dict[str, Sequence[str]]:
    return {
        "fluxguard": [str(programs.fluxguard), "audit", "--no-repo-config", "--full", "."],
        **programs.history(),
        "git cat-file (reads only)": [shutil.which("git") or "git", *READ_ALL],
        "fluxguard, second audit": [str(programs.fluxguard), "audit", "--no-repo-config", "."],
    }


def _environment(programs: Programs) -> dict[str, str]:
    return {**programs.environment, "FLUXGUARD_CACHE_DIR": str(programs.home / "fluxguard-cache")}


def _proven(programs: Programs) -> set[str]:
    """The programs that find a key which stands in a history, and git, which looks for none."""
    folder = repository(programs.home / "audit")
    (folder / "settings.py").write_bytes(programs.control())
    git(folder, "add", "settings.py")
    git(
        folder,
        "-c",
        "user.name=b",
        "-c",
        "user.email=b@example.com",
        "commit",
        "-q",
        "--no-verify",
        "-m",
        "key",
    )
    commands = _commands(programs)
    reads_only = {name for name in commands if name.startswith("git ")}
    looking = {name: command for name, command in commands.items() if name not in reads_only}
    return reads_only | set(proven(looking, folder, _environment(programs), found_code))


if __name__ == "__main__":
    main()
