"""The flags that every reporting command takes, and where its report goes."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from fluxguard.errors import UsageError
from fluxguard.model import Report
from fluxguard.reports import FORMATS, writer


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
        _to_file(report, args.format, args.output)
        if args.quiet and report.exit_code == 0:
            return 0
        _to_terminal(report, args)
    elif args.format == "text":
        _to_terminal(report, args)
    else:
        writer(args.format)(report, sys.stdout)
    return report.exit_code


def _to_terminal(report: Report, args: argparse.Namespace) -> None:
    show(report, args.quiet, args.no_color)


def show(report: Report, quiet: bool, no_color: bool) -> int:
    """Writes the report for a person; returns its exit code."""
    if not (quiet and report.exit_code == 0 and not report.findings):
        from fluxguard.reports import text

        text.write(report, sys.stdout, advice=not quiet, color=False if no_color else None)
    return report.exit_code


def _to_file(report: Report, format: str, path: str) -> None:
    """Writes beside the file and renames, so that a full disk leaves no half report."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            _write(report, format, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise UsageError(
            f"The report can't be written to {path}: {error.strerror}.", "Name another file with --output."
        ) from None


def _write(report: Report, format: str, stream: TextIO) -> None:
    writer(format)(report, stream)
