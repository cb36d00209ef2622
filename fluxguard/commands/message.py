"""The commit-msg hook. On the way of a clean message everything is light, as for what is staged."""

from __future__ import annotations

import time

from fluxguard.commands.configured import configured
from fluxguard.errors import UsageError
from fluxguard.repo import layout
from fluxguard.scan import Scan
from fluxguard.sources.message import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def check(names: Sequence[str]) -> int:
    """What the hook does. names: the file with the message, as git hands it over. Returns the exit code."""
    if len(names) != 1:
        raise UsageError(
            "commit-msg takes one argument, the file with the message.", "git hands it over by itself."
        )
    started = time.perf_counter()
    root = layout.root()
    config = configured(root)
    scan = Scan(config)
    scan.run(message(names[0]))
    if scan.clean:
        return 0
    from fluxguard.commands.blocked import refuse
    from fluxguard.findings import Collector
    from fluxguard.model import Stats

    collector = scan.collector or Collector(config)
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    report = collector.report("hook commit-msg", root or "", scan.skipped, stats, whole=False)
    return refuse(report, "commit-msg")
