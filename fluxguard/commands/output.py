"""The flags that every reporting command takes, and where its report goes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TextIO

from fluxguard.errors import ExitCode, Undelivered, UsageError
from fluxguard.model import Report
from fluxguard.reports import FORMATS, writer
from fluxguard.writing import is_full, whole


def add_flags(parser: argparse.ArgumentParser) -> None:
    """--format, --output, --config, --quiet, --no-color."""
    group = parser.add_argument_group("report")
    group.add_argument(
        "--format", choices=FORMATS, default="text", help="how the report is written (default: text)"
    )
    group.add_argument(
        "--output", metavar="FILE", help="write the report to FILE; text still goes to the terminal"
    )
    group.add_argument("--config", metavar="FILE", help="your own configuration file")
    group.add_argument(
        "--no-repo-config",
        action="store_true",
        help="ignore the configuration, baseline and exceptions that the repository brings",
    )
    group.add_argument(
        "--quiet", action="store_true", help="say nothing when clean, and findings without advice"
    )
    group.add_argument("--no-color", action="store_true", help="no colours (as with NO_COLOR)")


def emit(report: Report, args: argparse.Namespace) -> int:
    """Writes the report as the flags say; returns its exit code."""
    if args.output:
        try:
            _to_file(report, args.format, args.output)
        finally:
            code = _to_terminal(report, args)
        return code
    if args.format == "text":
        return _to_terminal(report, args)
    return deliver(report, sys.stdout, lambda: writer(args.format)(report, sys.stdout))


def deliver(report: Report, stream: TextIO, write: Callable[[], None]) -> int:
    """Has `write` write the report to `stream`, and returns its exit code: never 0 where it did not get through."""
    try:
        write()
        stream.flush()
    except OSError as error:
        # What is still in the stream's buffer goes nowhere, or Python would complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read went away, as `head` does
            return report.exit_code or ExitCode.INCOMPLETE
        raise Undelivered(
            f"The report could not be written in full: {error.strerror}.",
            "Run it again with more room; what it did not say does not count as clean.",
            report.exit_code,
        ) from None
    return report.exit_code


def _to_terminal(report: Report, args: argparse.Namespace) -> int:
    if args.quiet and args.output and report.exit_code == 0:
        return 0
    return show(report, args.quiet, args.no_color)


def show(report: Report, quiet: bool, no_color: bool) -> int:
    """Writes the report for a person; returns its exit code."""
    if quiet and report.exit_code == 0 and not report.findings:
        return 0
    from fluxguard.reports import text

    color = False if no_color else None
    return deliver(report, sys.stdout, lambda: text.write(report, sys.stdout, advice=not quiet, color=color))


def _to_file(report: Report, format: str, path: str) -> None:
    try:
        whole(path, lambda stream: writer(format)(report, stream))
    except OSError as error:
        what = f"The report can't be written to {path}: {error.strerror}."
        if is_full(error):
            raise Undelivered(what, "Make room, and run it again.", report.exit_code) from None
        raise UsageError(what, "Name another file with --output.") from None
