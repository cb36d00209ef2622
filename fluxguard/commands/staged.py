"""The staged scan, as the hook and `scan --staged` run it. Everything on the way of a clean commit is light."""

from __future__ import annotations

import os
import sys
import time

from fluxguard import settings
from fluxguard.errors import GitError
from fluxguard.repo import index, layout, run
from fluxguard.scan import FEW, Scan
from fluxguard.sources import staged
from fluxguard.words import count, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxguard.config import Config
    from fluxguard.model import Report
    from fluxguard.repo.ahead import Ahead


def check(names: Sequence[bytes], ahead: Ahead | None = None, hook: str = "") -> int:
    """What a hook does: prints one line when clean, else the report. Returns the exit code.

    hook: its name, "" for `scan --staged`.
    """
    root = layout.root()
    config = _configured(root)
    started = time.perf_counter()
    seen = look(names, config, ahead)
    if seen.scan.clean:
        sys.stdout.write(clean_line(seen, len(names)))
        return 0
    from fluxguard.commands.blocked import refuse

    return refuse(report(seen, root, started), hook)


def _configured(root: str | None) -> Config | None:
    if not settings.any_for(root):
        return None
    from fluxguard.config import load_config

    return load_config(root)


class Look:
    """What a staged scan looked at. whole: the framework named files beside those, as with `run --all-files`.

    start: the commit from which on it asked for a range of commits, or "".
    """

    def __init__(self, config: Config | None) -> None:
        self.config = config
        self.scan = Scan(config)
        self.changed: list[index.Change] = []
        self.whole = False
        self.start = ""


def look(names: Sequence[bytes], config: Config | None, ahead: Ahead | None = None) -> Look:
    """Looks at the staged changes, and at the files that the framework names beside them."""
    limit = settings.LARGEST if config is None else config.largest
    seen = Look(config)
    try:
        seen.changed = index.changes(started=ahead)
    except GitError:
        if not names or layout.root() is not None:
            raise
        # The framework's hosted service may run on files without a repository around them.
        from fluxguard.sources import named

        seen.whole = True
        seen.scan.run(named.on_disk(names, limit))
        return seen
    if layout.root() is None:
        raise GitError(
            "This repository is bare: nothing is ever staged in it.", "Scan a clone of it instead."
        )
    seen.scan.run(staged.branch_name())
    seen.scan.run(staged.identity())
    covered = {change.path for change in seen.changed if change.status != "D"} if names else set()
    others = [name for name in names if name not in covered]
    if others and _merging():
        from fluxguard.sources import named

        seen.changed += named.unchanged(others)
        others = []
    _contents(seen.scan, seen.changed, limit)
    if others:
        from fluxguard.sources import named

        seen.whole = True
        seen.scan.run(named.contents(names, seen.changed, _revision(), limit))
    if "PRE_COMMIT_FROM_REF" in os.environ and (start := _revision("FROM")) and (end := _revision()):
        from fluxguard.sources import named

        seen.whole = True
        seen.start = start
        seen.scan.run(named.history(start, end, limit))
    return seen


def _contents(scan: Scan, changed: list[index.Change], limit: int) -> None:
    if len(changed) < FEW:
        scan.run(staged.contents(changed, limit))
        return
    scan.names(change.path for change in changed if change.status != "D")
    scan.run(staged.unmerged(changed))
    wanted = staged.blobs(changed)
    ids = list(wanted)
    read = staged.reader(ids)
    if read is not None:
        paths = [b"\n".join(change.path for change in wanted[id]) for id in ids]
        left = scan.sift(paths, lambda number: read(ids[number]))
        wanted = {ids[number]: wanted[ids[number]] for number in left}
    scan.run(staged.read(wanted, limit))


def _merging() -> bool:
    """Whether git is about to commit a merge: then all that is named has to do with that commit."""
    hooked = "GIT_INDEX_FILE" in os.environ
    return hooked and run.try_output("rev-parse", "--verify", "--quiet", "MERGE_HEAD") is not None


def _revision(which: str = "TO") -> str:
    """The commit up to which the framework was asked to look (`--to-ref`), or FROM which on, if it was."""
    revision = os.environ.get(f"PRE_COMMIT_{which}_REF", "")
    return revision if revision.strip("0") else ""


def clean_line(seen: Look, named: int) -> str:
    """The one line that a clean commit prints. named: how many files the framework named."""
    what = count(named, "named file") if seen.whole else count(len(seen.changed), "staged file")
    return f"fluxguard: no key in {what} ({size(seen.scan.bytes)} read).\n"


def report(seen: Look, root: str | None, started: float, whole_files: bool = False) -> Report:
    """The report of a staged scan that found or skipped something."""
    from dataclasses import replace

    from fluxguard.findings import Collector
    from fluxguard.model import Stats

    scan = seen.scan
    collector = scan.collector or Collector(seen.config)
    if not whole_files:
        suspects = [
            change for change in seen.changed if change.path in collector.paths() and change.status != "D"
        ]
        collector.forget_known(staged.base_of(suspects))
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    command = "hook pre-commit" if seen.whole else "scan --staged"
    found = collector.report(command, root or "", scan.skipped, stats, whole=False)
    from fluxguard.commands.merged import inherited
    from fluxguard.repo import occasion

    born = run.try_output("rev-parse", "--verify", "--quiet", "HEAD") is not None
    when = occasion.COMMIT if seen.whole else occasion.of_content()
    theirs = inherited(found, occasion.merged(), collector.config) if when == occasion.MERGE else ()
    return replace(found, born=born, occasion=when, inherited=theirs, start=seen.start)
