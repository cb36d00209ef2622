"""What a scan of a large repository's working tree costs. The goal: no slower than the fastest peer.

Give it a repository without keys: its HEAD is checked out anew, with the git directory outside of the folder, so that
every program reads the same files and none reads packs. Without one, it makes a tree of 20,000 files.
--without leaves out files that a program can't call clean (damaged archives, say); they are left out for all.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from programs import arguments, checkout, found_code, git, installed, repository
from sidebyside import measure, proven, table
from staged import fill


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("path", type=Path, nargs="?", help="the repository whose working tree is scanned")
    parser.add_argument("--without", action="append", default=[], metavar="FILE", help="a file to leave out")
    args = parser.parse_args()
    programs = installed(args.home)
    folder = _given(args, programs.home) if args.path else _made(programs.home / "worktree")
    control = folder / "zz-control.py"
    control.write_bytes(programs.control())
    commands = proven(programs.worktree(), folder, programs.environment, found_code)
    control.unlink()
    series = measure(commands, folder, args.rounds, programs.environment)
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files if ".git" not in path.parts)
    print(table(f"Working tree {folder.name}: {len(files):,} files, {size / 1e6:.0f} MB", series))


def _given(args: argparse.Namespace, home: Path) -> Path:
    folder = checkout(args.path.resolve(), home / "checkout")
    for name in args.without:
        (folder / name).unlink()
    return folder


def _made(folder: Path) -> Path:
    shutil.rmtree(folder.with_name("worktree.git"), ignore_errors=True)
    repository(folder)
    (folder / ".git").rename(folder.with_name("worktree.git"))
    (folder / ".git").write_text(f"gitdir: {folder.with_name('worktree.git')}\n")
    fill(folder, 20_000)
    git(folder, "add", "--all")
    return folder


if __name__ == "__main__":
    main()
