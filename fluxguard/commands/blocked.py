"""Shows the report of a hook, and what to do next."""

from __future__ import annotations

import sys

from fluxguard.commands.output import deliver
from fluxguard.model import Report
from fluxguard.reports import text


def show(report: Report, hook: bool, format: str = "text") -> int:
    """Prints the report where the person looks, and returns its exit code."""
    stream = sys.stderr if hook else sys.stdout
    return deliver(report, stream, lambda: text.write(report, stream, advice=True))
