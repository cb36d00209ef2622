"""The flags that every reporting command takes, and where its reports go."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TextIO

from fluxguard.errors import ExitCode, FluxguardError, Undelivered, UsageError
from fluxguard.model import Report
from fluxguard.reports import FORMATS, writer
from fluxguard.writing import is_full, whole


def add_flags(parser: argparse.ArgumentParser) -> None:
    """--format, --output, --report, --config, --quiet, --no-color."""
    group = parser.add_argument_group("report")
    group.add_argument(
        "--format", choices=FORMATS, default="text", help="how the report is written (default: text)"
    )
    group.add_argument(
        "--output", metavar="FILE", help="write the report to FILE; text still goes to the terminal"
    )
    group.add_argument(
        "--report",
        metavar="FORMAT=FILE",
        action="append",
        type=_wanted,
        default=[],
        help=f"write the report to FILE in this format, too; several times ({', '.join(FORMATS)})",
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


def _wanted(text: str) -> tuple[str, str]:
    format, _, path = text.partition("=")
    if format not in FORMATS or not path:
        raise argparse.ArgumentTypeError(f"takes FORMAT=FILE, where FORMAT is one of {', '.join(FORMATS)}")
    return format, path


def emit(report: Report, args: argparse.Namespace) -> int:
    """Writes the report as the flags say; returns its exit code. One file that fails does not keep the others back."""
    files = [(args.format, args.output)] if args.output else []
    files += args.report
    _distinct([path for _, path in files])
    formats = {args.format, *(format for format, _ in files)}
    if formats - {"text", "json"}:
        report = _placed(report)
    failed = [error for error in (_try_file(report, *file) for file in files) if error is not None]
    if "github" in formats:
        failed += _summarized(report)
    if args.output or args.format == "text":
        code = _to_terminal(report, args)
    else:
        code = deliver(report, sys.stdout, lambda: writer(args.format)(report, sys.stdout))
    if failed:
        raise failed[0]
    return code


def _distinct(paths: list[str]) -> None:
    named = [os.path.realpath(path) for path in paths]
    if len(set(named)) < len(named):
        raise UsageError(
            "Two reports go to the same file.", "Give each --report and --output a file of its own."
        )


def _placed(report: Report) -> Report:
    """The report with what only some formats ask for: the working copy around it, and the time."""
    from fluxguard.repo import checkout

    folder = report.target if report.command == "audit" and len(report.beside) == 1 else "."
    ended = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = int(ended) if ended.isdecimal() and len(ended) < 12 else int(time.time())
    return replace(report, checkout=checkout.around(folder), ended=now)


def _try_file(report: Report, format: str, path: str) -> FluxguardError | None:
    try:
        _to_file(report, format, path)
    except FluxguardError as error:
        return error
    return None


def _summarized(report: Report) -> list[FluxguardError]:
    """Adds to the job's summary, where GitHub Actions names a file for it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return []
    from fluxguard.reports import github

    try:
        # Never through a link, and never waiting for whoever might read a pipe.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        with open(fd, "w", encoding="utf-8", newline="\n") as stream:
            github.summary(report, stream)
    except OSError as error:
        what = f"The job's summary can't be written: {error.strerror}."
        return [Undelivered(what, "GITHUB_STEP_SUMMARY names its file.", report.exit_code)]
    return []


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
        raise UsageError(what, "Name another file for it.") from None
