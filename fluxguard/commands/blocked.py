"""Shows the report of a hook, and what to do next."""

from __future__ import annotations

import os
import sys

from fluxguard.commands.output import deliver
from fluxguard.model import Report
from fluxguard.reports import text


def show(report: Report, hook: bool, format: str = "text") -> int:
    """Prints the report where the person looks, and returns its exit code."""
    stream = sys.stderr if hook else sys.stdout
    return deliver(report, stream, lambda: text.write(report, stream, advice=True))


def refuse(report: Report, hook: str) -> int:
    """As `show`, for a hook that somebody may bypass, with a reason. hook: its name, "" where it is none."""
    code = show(report, hook=True)
    if code not in (1, 3) or not hook:
        return code
    import datetime

    from fluxguard.commands import bypass

    reason = bypass.asked(os.environ)
    if reason is None:
        return code
    bypass.grant(report, hook, reason, datetime.datetime.now(datetime.UTC))
    return 0
