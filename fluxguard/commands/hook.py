"""What the hook scripts call: `fluxguard hook pre-commit` and its like."""

from __future__ import annotations

import argparse
import os

from fluxguard.commands import catchup, message, staged
from fluxguard.repo import run as run_git

HELP = "what the git hooks call"
KINDS = (
    "pre-commit",
    "pre-merge-commit",
    "pre-applypatch",
    "commit-msg",
    "pre-push",
    "pre-receive",
    "update",
    "reference-transaction",
)


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
        return message.check(args.arguments)
    if args.kind == "pre-push":
        from fluxguard.commands import push

        return push.check(args.arguments)
    if args.kind in ("pre-receive", "update"):
        from fluxguard.commands import receive

        return receive.pre_receive() if args.kind == "pre-receive" else receive.update(args.arguments)
    if args.kind == "reference-transaction":
        from fluxguard.commands import references

        return references.check(args.arguments)
    code = staged.check([os.fsencode(name) for name in args.arguments], hook=args.kind)
    if args.kind == "pre-applypatch" and code == 0:
        code = _applied_message()
    if code == 0 and "FLUXGUARD_GIT" in os.environ:
        catchup.passed()
    return code


def _applied_message() -> int:
    """The message that `git am` is about to commit: it runs no commit-msg hook."""
    path = run_git.try_output("rev-parse", "--git-path", "rebase-apply/final-commit")
    name = os.fsdecode((path or b"").rstrip(b"\n"))
    return message.check([name], message.patch_author(name)) if os.path.isfile(name) else 0
