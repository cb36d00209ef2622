"""Looks for keys in files and folders, in what is staged, or in standard input."""

from __future__ import annotations

import argparse
import os
import sys
import time

from fluxguard import display
from fluxguard.chunk import Skipped
from fluxguard.commands import output, staged
from fluxguard.config import Config, load_config
from fluxguard.errors import UsageError
from fluxguard.findings import Collector
from fluxguard.model import Report, Stats
from fluxguard.repo import layout
from fluxguard.scan import Scan
from fluxguard.sources import worktree
from fluxguard.sources.stdin import stdin

HELP = "look for keys in files, in what is staged, or in standard input"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard scan` takes."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="files and folders (default: the repository's files)"
    )
    parser.add_argument("--staged", action="store_true", help="exactly what the next commit would contain")
    parser.add_argument(
        "--whole-files", action="store_true", help="with --staged: lines that are at HEAD already block, too"
    )
    parser.add_argument("--stdin", action="store_true", help="standard input")
    parser.add_argument("--stdin-name", metavar="NAME", default="<stdin>", help="the path to show for it")
    parser.add_argument("--no-ignore", action="store_true", help="files that git ignores, too")
    parser.add_argument(
        "--write-baseline",
        metavar="FILE",
        nargs="?",
        const="",
        help="take what is found for known: write its fingerprints to FILE",
    )
    output.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the scan and reports."""
    if args.staged + args.stdin + bool(args.paths) > 1:
        raise UsageError(
            "PATH, --staged and --stdin exclude one another.", "Run fluxguard scan once for each."
        )
    started = time.perf_counter()
    root = layout.root()
    config = load_config(root, args.config, trust_repository=not args.no_repo_config)
    if args.staged:
        report = staged.report(staged.look([], config), root, started, args.whole_files)
    else:
        report = _files(args, config, started)
    if args.write_baseline is not None:
        return _write_baseline(report, args, root)
    return output.emit(report, args)


def _files(args: argparse.Namespace, config: Config, started: float) -> Report:
    scan = Scan(config)
    if args.stdin:
        scan.run(stdin(os.fsencode(args.stdin_name), config.largest))
        target = args.stdin_name
    else:
        targets = args.paths or [layout.root() or "."]
        target = " ".join(targets) if args.paths else "."
        for path in targets:
            _scan_path(scan, path, args, config.largest)
    collector = scan.collector or Collector(config)
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    whole = not args.paths and not args.stdin
    return collector.report("scan", target, scan.skipped, stats, whole)


def _scan_path(scan: Scan, path: str, args: argparse.Namespace, limit: int) -> None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{path} does not exist.", "Check the name; a path that begins with - goes behind --."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or "the name is no name of a file"
        scan.skipped.append(Skipped(os.fsencode(path), f"can't be reached: {reason.lower()}"))
        return
    if os.path.isdir(path):
        names, skipped = worktree.below(_relative(path), args.no_ignore)
        scan.skipped += skipped
    else:
        names = [(os.fsencode(os.path.realpath(path)), os.fsencode(path))]
    scan.names(shown for _, shown in names)
    scan.run(worktree.contents(names, limit))


def _relative(path: str) -> str:
    """The folder as a person would name it from here, where that is shorter."""
    here = os.path.realpath(".")
    real = os.path.realpath(path)
    if real == here:
        return "."
    return os.path.relpath(real, here) if real.startswith(here + os.sep) else path


def _write_baseline(report: Report, args: argparse.Namespace, root: str | None) -> int:
    from fluxguard.baseline import write

    path = args.write_baseline or os.path.join(root or ".", ".fluxguard-baseline.json")
    written, left_out = write(report, path, whole=not (args.paths or args.stdin or args.staged))
    sys.stdout.write(
        f"fluxguard: the fingerprints of what was found, {written} in all, are in\n"
        f"  {display.safe(os.path.relpath(path))}\n"
        "  Fill in a `reason` for each, and commit that file.\n"
    )
    if left_out:
        sys.stdout.write(
            f"  {left_out} value(s) were left out: their fingerprints could be guessed back. Allow them with a\n"
            "  fluxguard:allow comment on their line, or by path in .fluxguard.toml.\n"
        )
    return 0 if report.complete else 3
