"""Looks for keys in everything that a repository holds, and traces each to who brought it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import astuple, replace
from typing import Any

from fluxguard import settings
from fluxguard.commands import bypass, output
from fluxguard.commands.aside import Aside
from fluxguard.commands.progress import Progress
from fluxguard.errors import FluxguardError, GitError, UsageError
from fluxguard.model import Report, Uncovered
from fluxguard.repo import gitdir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.audit.several import Configure, Targets
    from fluxguard.config import Config

HELP = "look for keys in everything that repositories hold"
_PREFIX = re.compile(r"(?:fg1:)?([0-9a-fA-F]{8,64})\Z")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard audit` takes."""
    parser.add_argument(
        "repositories",
        metavar="REPO",
        nargs="*",
        default=["."],
        help="repositories, or folders of clones (default: the repository around the current folder)",
    )
    parser.add_argument(
        "--explain",
        metavar="FINGERPRINT",
        help="tell one key's story: who brought it, who can see it; the first 8 digits of its fingerprint suffice",
    )
    parser.add_argument(
        "--full", action="store_true", help="read everything, whatever an earlier audit knows"
    )
    output.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Audits and reports."""
    from fluxguard.audit.several import audit_each, targets

    explain = fingerprint(args.explain) if args.explain is not None else ""
    wanted = targets(args.repositories)

    def configure(tree: str | None) -> Config | None:
        if args.config is None and not settings.any_for(None if args.no_repo_config else tree):
            return None
        from fluxguard.config import load_config

        return load_config(tree, args.config, trust_repository=not args.no_repo_config)

    with Aside(lambda: _gaps(wanted, configure)) as open_:
        with Progress(args.quiet, args.no_color) as progress:
            report = audit_each(wanted, configure, progress.watch, args.full, explain)
        report = replace(report, notes=(*report.notes, *_bypasses(wanted)))
        if not report.interrupted:
            report = _with_gaps(report, open_.answer())
    return output.emit(report, args)


def _bypasses(wanted: Targets) -> Iterator[str]:
    """What was let pass in the repositories, by their own logs."""
    for target in wanted.each:
        try:
            common = gitdir.locate(target.name).common
        except GitError:
            continue
        yield from (f"{'' if wanted.alone else target.name + ': '}{text}" for text in bypass.told(common))


def _gaps(wanted: Targets, configure: Configure) -> tuple[list[tuple[Any, ...]], list[str]]:
    """What .gitignore leaves open in each repository, as fields of Uncovered; and in words what could not be found out."""
    from fluxguard.gitignore.open import Place, gaps

    found: list[tuple[Any, ...]] = []
    notes: list[str] = []
    for target in wanted.each:
        name = "" if wanted.alone else target.name
        if target.problem:
            continue
        try:
            located = gitdir.locate(target.name)
            open_ = gaps(Place(located, located.tree or None), configure(target.tree))
            found += (astuple(replace(gap, repository=name)) for gap in open_)
        except (FluxguardError, OSError) as error:
            what = error.what if isinstance(error, FluxguardError) else "a file could not be read"
            notes.append(
                f"What .gitignore covers{' in ' + name if name else ''} could not be found out: {what}"
            )
    return found, notes


def _with_gaps(report: Report, answer: tuple[list[tuple[Any, ...]], list[str]]) -> Report:
    """The report with what .gitignore leaves open: information, which changes no exit code."""
    found, notes = answer
    return replace(
        report,
        uncovered=tuple(Uncovered(*fields) for fields in found),
        notes=(*report.notes, *notes),
    )


def fingerprint(text: str, flag: str = "--explain") -> str:
    """A fingerprint, or the beginning of one, as reports write it."""
    match = _PREFIX.match(text.strip().removesuffix("..."))
    if match is None:
        raise UsageError(
            f"{flag} takes a fingerprint, or at least 8 hex digits of its beginning.",
            "The report lists them: fluxguard audit",
        )
    return f"fg1:{match[1].lower()}"
