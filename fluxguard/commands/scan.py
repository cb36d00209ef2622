"""Looks for keys in files and folders, in what is staged, or in standard input."""

from __future__ import annotations

import argparse
import os
import sys
import time

from fluxguard import display
from fluxguard.commands import files, output, staged
from fluxguard.config import Config, load_config
from fluxguard.errors import UsageError
from fluxguard.findings import Collector
from fluxguard.model import Report, Stats
from fluxguard.repo import layout
from fluxguard.scan import Scan
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
    if not args.stdin:
        return files.report(files.look(args.paths, config, args.no_ignore), config, args.paths, started)
    scan = Scan(config)
    scan.run(stdin(os.fsencode(args.stdin_name), config.largest))
    collector = scan.collector or Collector(config)
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    return collector.report("scan", args.stdin_name, scan.skipped, stats, whole=False)


def _write_baseline(report: Report, args: argparse.Namespace, root: str | None) -> int:
    from fluxguard.baseline import write

    path = args.write_baseline or os.path.join(root or ".", ".fluxguard-baseline.json")
    written, left_out = write(report, path, whole=not (args.paths or args.stdin or args.staged))
    sys.stdout.write(
        f"fluxguard: the fingerprints of what was found, {written} in all, are in\n"
        f"  {display.safe(os.path.relpath(path))}\n"
        "  Fill in a `reason` for each, and commit that file.\n"
    )
    for name in _untracked(report, root):
        sys.stdout.write(f"  Taken for known, too, from a file that git does not track: {name}\n")
    if left_out:
        sys.stdout.write(
            f"  {left_out} value(s) were left out: their fingerprints could be guessed back. Allow them with a\n"
            "  fluxguard:allow comment on their line, or by path in .fluxguard.toml.\n"
        )
    return 0 if report.complete else 3


def _untracked(report: Report, root: str | None) -> list[str]:
    """The files with findings that are not in the index, as they may be shown."""
    from fluxguard.repo import index
    from fluxguard.reports.names import Names

    if root is None:
        return []
    top = os.path.realpath(os.fsencode(root))
    tracked = {os.path.join(top, path) for _, _, _, path in index.tracked(root)}
    found = {place.path for finding in report.findings for place in finding.locations if place.kind == "file"}
    names = Names(report)
    return [names(path) for path in sorted(found) if os.path.realpath(path) not in tracked]
