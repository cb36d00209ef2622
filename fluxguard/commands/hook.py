"""What the hook scripts call: `fluxguard hook pre-commit` and its like."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace

from fluxguard.chunk import Chunk, Origin
from fluxguard.commands import staged
from fluxguard.commands.blocked import show
from fluxguard.config import load_config
from fluxguard.errors import UsageError
from fluxguard.findings import Collector
from fluxguard.model import Stats
from fluxguard.repo import layout, occasion
from fluxguard.repo import run as run_git
from fluxguard.scan import Scan
from fluxguard.sources.message import message

HELP = "what the git hooks call"
KINDS = ("pre-commit", "pre-merge-commit", "pre-applypatch", "commit-msg")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard hook` takes."""
    parser.add_argument("kind", choices=KINDS, metavar="HOOK", help=", ".join(KINDS))
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="ARGUMENT",
        help="what git, or the pre-commit framework, hands to the hook",
    )


def run(args: argparse.Namespace) -> int:
    """Runs one hook."""
    if args.kind == "commit-msg":
        return _commit_message(args.arguments)
    code = staged.check([os.fsencode(name) for name in args.arguments])
    if args.kind == "pre-applypatch" and code == 0:
        return _applied_message()
    return code


def _applied_message() -> int:
    """The message that `git am` is about to commit: it runs no commit-msg hook."""
    path = run_git.try_output("rev-parse", "--git-path", "rebase-apply/final-commit")
    name = os.fsdecode((path or b"").rstrip(b"\n"))
    return _commit_message([name], _patch_author(name)) if os.path.isfile(name) else 0


def _patch_author(message: str) -> bytes:
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


def _commit_message(names: list[str], author: bytes = b"") -> int:
    if len(names) != 1:
        raise UsageError(
            "commit-msg takes one argument, the file with the message.", "git hands it over by itself."
        )
    started = time.perf_counter()
    root = layout.root()
    config = load_config(root)
    scan = Scan(config)
    scan.run(message(names[0]))
    scan.run([_identity(author)])
    if scan.clean:
        return 0
    collector = scan.collector or Collector(config)
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    report = collector.report("hook commit-msg", root or "", scan.skipped, stats, whole=False)
    return show(replace(report, occasion=occasion.of_message(names[0])), hook=True)
