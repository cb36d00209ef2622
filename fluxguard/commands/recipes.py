"""`install --ci`: writes the recipe for a CI system into a repository, and says what is left to do."""

from __future__ import annotations

import sys

from fluxguard import ci
from fluxguard.errors import ExitCode
from fluxguard.reports import text

_DONE = {ci.WRITE: "written", ci.SAME: "there already", ci.DIFFERS: "yours: left as it is"}
_TO_DO = {**_DONE, ci.WRITE: "would be written"}
_NEXT = {
    "github": "Commit it and push. The findings are shown on the lines, in the job's summary and in code scanning.",
    "gitlab": "Commit it and push. Give the variable with FluxLoop's key an environment as its scope, masked and protected.",
    "circleci": "Commit it and push. Keep FluxLoop's key in a context, not among the project's variables.",
}


def put(system: str, folder: str, plan_only: bool = False) -> int:
    """Writes the recipe for `system` (one of `ci.SYSTEMS`) into the repository whose top is `folder`; returns the exit code.

    It is 1 where a person has to add lines to a file of their own first.
    """
    planned = ci.plan(system, folder) if plan_only else ci.write_recipe(system, folder)
    said = _TO_DO if plan_only else _DONE
    lines = [("", f"  {one.path}: {said[one.state]}") for one in planned]
    missing = ci.to_add(planned)
    if missing:
        lines += [("", ""), ("bold", "Add this to it, or the recipe is not run:")]
        lines += [("bold", f"       {line}") for line in missing]
    lines += [("", ""), *(("", line) for line in text.wrapped(_NEXT[system], ""))]
    text.write_lines(lines, sys.stdout)
    return ExitCode.FOUND if missing else ExitCode.CLEAN
