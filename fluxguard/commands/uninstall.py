"""Takes the hooks out again: every hook that was there before is back, byte for byte."""

from __future__ import annotations

import argparse
import os
import sys

from fluxguard.commands.install import refuse_foreign_folder
from fluxguard.errors import ExitCode, FluxguardError
from fluxguard.guard import place, plan, template
from fluxguard.guard.plan import Step
from fluxguard.repo import seen
from fluxguard.reports import text
from fluxguard.reports.text import Line

HELP = "take the git hooks out of a repository again"
_DONE = {plan.REMOVE: "taken out", plan.RESTORE: "taken out; the hook from before is back"}
_TO_DO = {
    plan.REMOVE: "would be taken out",
    plan.RESTORE: "would be taken out; the hook from before would be back",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard uninstall` takes."""
    parser.add_argument(
        "repo", metavar="REPO", nargs="?", default=".", help="the repository (default: the one around here)"
    )
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--global", dest="everywhere", action="store_true", help="out of git's template directory"
    )
    parser.add_argument("--shared", action="store_true",
                        help="also where core.hooksPath leads to a folder that is not this repository's alone")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Plans, does, checks."""
    if args.everywhere:
        found = template.find()
        lines = _taken(plan.to_uninstall(found.hooks), args.plan)
        if not args.plan:
            template.forget(found)
    else:
        where = place.of(args.repo)
        steps = plan.to_uninstall(where.folder)
        if steps:
            refuse_foreign_folder(where, args.shared)
        lines = _taken(steps, args.plan)
        if not args.plan:
            seen.end(where.common)
    text.write_lines(lines, sys.stdout)
    return ExitCode.CLEAN


def _taken(steps: list[Step], planned: bool) -> list[Line]:
    if not steps:
        return [("", "There is no hook of fluxguard's here.")]
    for step in [] if planned else steps:
        try:
            plan.do(step)
        except OSError as error:
            raise FluxguardError(
                f"{step.path} could not be taken out: {error.strerror}.", "Mend that, and run it again."
            ) from None
        if not plan.holds(step):
            raise FluxguardError(
                f"{step.path} is still there.", "Does anything else write there? Run it again."
            )
    said = _TO_DO if planned else _DONE
    return [("", f"  {os.path.basename(step.path):22} {said[step.how]}") for step in steps]
