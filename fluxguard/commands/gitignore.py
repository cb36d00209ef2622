"""Says which secret-bearing paths .gitignore leaves uncovered, or git tracks already; --fix adds the lines."""

from __future__ import annotations

import argparse
import os
import sys

from fluxguard.commands import output
from fluxguard.config import load_config
from fluxguard.errors import BrokenRepository, UsageError
from fluxguard.gitignore.check import check
from fluxguard.gitignore.open import Place
from fluxguard.repo import gitdir, layout
from fluxguard.repo import run as git
from fluxguard.repo.gitdir import GitDir

HELP = "which secret-bearing paths .gitignore leaves uncovered; --fix adds the lines"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard gitignore` takes."""
    parser.add_argument(
        "repository",
        metavar="REPO",
        nargs="?",
        default=".",
        help="the repository (default: the one around the current folder)",
    )
    parser.add_argument(
        "--fix", action="store_true", help="add the missing lines; nothing is taken out of the index"
    )
    parser.add_argument(
        "--diff", action="store_true", help="show what --fix would change, and change nothing"
    )
    parser.add_argument(
        "--required",
        action="store_true",
        help="lines for what has to be covered alone, not for what is advised",
    )
    parser.add_argument(
        "--no-history", action="store_true", help="don't look for secret files in old commits"
    )
    output.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Looks, mends where asked to, and reports."""
    if args.diff and (args.format != "text" or args.output):
        raise UsageError("--diff is text for the terminal.", "For machines: --format json, without --diff.")
    place = locate(args.repository)
    config = load_config(place.tree, args.config, trust_repository=not args.no_repo_config)
    report = check(
        args.repository,
        place,
        config,
        history=not (args.no_history or args.diff),
        fix=args.fix and not args.diff,
        advised=not args.required,
    )
    if args.diff:
        from fluxguard.reports import gaps

        return output.deliver(
            report, sys.stdout, lambda: sys.stdout.writelines(f"{line}\n" for line in gaps.diff(report))
        )
    return output.emit(report, args)


def locate(name: str) -> Place:
    """The repository that is named; for `.`, the one that git would take, in a hook, too. Raises BrokenRepository."""
    try:
        if name != ".":
            located = gitdir.locate(name)
            return Place(located, located.tree or None)
        root = layout.root()
        if root is None:
            located = gitdir.locate(name)
            return Place(located, located.tree or None)
        return Place(_around(root), root, isolated=False)
    except BrokenRepository as error:
        raise BrokenRepository(error.what, "Name a repository: fluxguard gitignore PATH") from None


def _around(root: str) -> GitDir:
    if "GIT_DIR" not in os.environ:
        return gitdir.locate(root)
    words = ("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir")
    path, common = (os.fsdecode(line) for line in git.output(*words, cwd=root).split(b"\n")[:2])
    return GitDir(path, common, root, ".git")
