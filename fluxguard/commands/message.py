"""The commit-msg hook. On the way of a clean message everything is light, as for what is staged."""

from __future__ import annotations

import os
import time

from fluxguard.chunk import Chunk, Origin
from fluxguard.commands.configured import configured
from fluxguard.errors import UsageError
from fluxguard.repo import layout
from fluxguard.repo import run as run_git
from fluxguard.scan import Scan
from fluxguard.sources.message import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def check(names: Sequence[str], author: bytes = b"") -> int:
    """What the hook does. names: the file with the message, as git hands it over. author: of a patch. Returns the exit code."""
    if len(names) != 1:
        raise UsageError(
            "commit-msg takes one argument, the file with the message.", "git hands it over by itself."
        )
    started = time.perf_counter()
    root = layout.root()
    config = configured(root)
    scan = Scan(config)
    scan.run(message(names[0]))
    scan.run([_identity(author)])
    if scan.clean:
        return 0
    from dataclasses import replace

    from fluxguard.commands.blocked import refuse
    from fluxguard.findings import Collector
    from fluxguard.model import Stats
    from fluxguard.repo import occasion

    collector = scan.collector or Collector(config)
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    report = collector.report("hook commit-msg", root or "", scan.skipped, stats, whole=False)
    return refuse(replace(report, occasion=occasion.of_message(names[0])), "commit-msg")


def patch_author(message: str) -> bytes:
    """What `git am` knows of the author of a patch, whose message lies at `message`."""
    try:
        with open(os.path.join(os.path.dirname(message), "author-script"), "rb") as stream:
            return stream.read(1 << 20)
    except OSError:
        return b""


def _identity(author: bytes) -> Chunk:
    """Who will stand in the commit: what git would write, which looks into the environment and the configuration."""
    asked = [run_git.start("var", "GIT_COMMITTER_IDENT")]
    if not author:
        asked.append(run_git.start("var", "GIT_AUTHOR_IDENT"))
    told = [author]
    for running in asked:
        told.append(running.readall())
        running.finish()
    return Chunk(b"\n".join(told), Origin("commit-header"))
