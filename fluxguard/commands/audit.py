"""Looks for keys in everything that a repository holds, and traces each to who brought it."""

from __future__ import annotations

import argparse

from fluxguard.commands import output
from fluxguard.config import load_config
from fluxguard.repo import layout

HELP = "look for keys in everything that a repository holds"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard audit` takes."""
    parser.add_argument(
        "repository", metavar="REPO", nargs="?", default=".", help="the repository (default: this one)"
    )
    output.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Audits and reports."""
    from fluxguard.audit.run import audit

    config = load_config(layout.root(args.repository), args.config, trust_repository=not args.no_repo_config)
    return output.emit(audit(args.repository, config), args)
