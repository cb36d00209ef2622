"""The staged scan, as the hook and `scan --staged` run it. Everything on the way of a clean commit is light."""

from __future__ import annotations

import os
import sys
import time

from fluxguard import settings
from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.errors import GitError
from fluxguard.repo import index, layout, run
from fluxguard.scan import FEW, Scan
from fluxguard.sources import staged
from fluxguard.words import count, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fluxguard.config import Config
    from fluxguard.model import Report
    from fluxguard.repo.ahead import Ahead


def check(names: Sequence[bytes], ahead: Ahead | None = None) -> int:
    """What the hook does: prints one line when clean, else the report. Returns the exit code."""
    root = layout.root()
    config = _configured(root)
    started = time.perf_counter()
    scan, changed = look(names, config, ahead)
    if scan.clean:
        sys.stdout.write(clean_line(scan, len(changed)))
        return 0
    from fluxguard.commands.blocked import show

    return show(report(scan, changed, root, started), hook=True)


def _configured(root: str | None) -> Config | None:
    if not settings.any_for(root):
        return None
    from fluxguard.config import load_config

    return load_config(root)


def look(
    names: Sequence[bytes], config: Config | None, ahead: Ahead | None = None
) -> tuple[Scan, list[index.Change]]:
    """Looks at the staged changes, and at the files that the framework names beside them."""
    limit = settings.LARGEST if config is None else config.largest
    scan = Scan(config)
    try:
        changed = index.changes(started=ahead)
    except GitError:
        # The framework's hosted service may run on files without a repository around them.
        if not names or layout.root() is not None:
            raise
        changed = []
    else:
        if layout.root() is None:
            raise GitError(
                "This repository is bare: nothing is ever staged in it.", "Scan a clone of it instead."
            )
    scan.run(staged.branch_name())
    _contents(scan, changed, limit)
    if names:
        covered = {change.path for change in changed if change.status != "D"}
        others = [name for name in names if name not in covered]
        scan.run(named(others, limit))
    return scan, changed


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


def named(names: Sequence[bytes], limit: int) -> Iterator[Chunk | Skipped]:
    """The files that the framework names (`run --all-files`, `--files`, `--from-ref`): as committed, and as on disk."""
    wanted = set(names)
    entries: list[index.Change] = []
    if layout.root() is not None and names:
        entries = [
            index.Change("A", path, mode, id, "", "0")
            for mode, id, stage, path in index.tracked()
            if path in wanted and stage == 0
        ]
        revision = os.environ.get("PRE_COMMIT_TO_REF")
        if revision and not revision.startswith("-") and revision.strip("0"):
            have = {(entry.path, entry.id) for entry in entries}
            entries += [
                index.Change("A", path, mode, id, "", "0")
                for mode, id, path in index.tree_entries(revision, list(names))
                if (path, id) not in have
            ]
    yield from staged.contents(entries, limit)
    in_index = {entry.path for entry in entries}
    from fluxguard.sources import worktree

    yield from worktree.contents(((name, name) for name in names), limit)
    for name in wanted - in_index:
        yield Chunk(name, Origin("path", name))


def clean_line(scan: Scan, changes: int) -> str:
    """The one line that a clean commit prints."""
    return f"fluxguard: no key in {count(changes, 'staged file')} ({size(scan.bytes)} read).\n"


def report(
    scan: Scan, changed: Sequence[index.Change], root: str | None, started: float, whole_files: bool = False
) -> Report:
    """The report of a staged scan that found or skipped something."""
    from dataclasses import replace

    from fluxguard.findings import Collector
    from fluxguard.model import Stats

    collector = scan.collector or Collector(None)
    if not whole_files:
        suspects = [change for change in changed if change.path in collector.paths() and change.status != "D"]
        collector.forget_known(staged.base_of(suspects))
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    found = collector.report("scan --staged", root or "", scan.skipped, stats, whole=False)
    return replace(found, born=run.try_output("rev-parse", "--verify", "--quiet", "HEAD") is not None)
