"""The pre-push hook: everything that the remote lacks. On the way of a clean push, all of it is light."""

from __future__ import annotations

import os
import sys
import time

from fluxguard.commands.configured import configured
from fluxguard.errors import UsageError
from fluxguard.repo import banned, layout, outgoing
from fluxguard.words import count, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxguard.push import Look
    from fluxguard.repo.outgoing import Update

_MOST = 64 << 20  # bytes on standard input: a million refs


def check(words: Sequence[str]) -> int:
    """What the hook does. words: the remote's name and its URL, as git hands them over. Returns the exit code."""
    started = time.perf_counter()
    remote, url = [*words, "", ""][:2]
    updates = outgoing.pushed(standard_input())
    framework = ""
    if not updates and os.environ.get("PRE_COMMIT"):
        framework, remote, url, updates = _from_framework(os.environ)
    if not any(update.new for update in updates):
        return 0  # nothing, or only deletions
    tips = [update.new for update in updates if update.new]
    banned.refuse(layout.common_dir() or os.environ.get("GIT_DIR", "."), tips)
    done = _looked(updates, remote, url)
    unseen = _unseen(done, tips)
    if done.scan.clean:
        sys.stdout.write(clean_line(done, f" Among them {unseen}." if unseen else framework))
        if "FLUXGUARD_GIT" in os.environ:
            from fluxguard.commands import catchup

            catchup.pushed(tips)
        return 0
    from dataclasses import replace

    from fluxguard import tracing
    from fluxguard.commands.blocked import refuse

    # A URL may hold a password; a remote that has a name is called by it.
    target = remote if outgoing.is_name(remote) else "the remote"
    report = tracing.report(done, "hook pre-push", target, started)
    notes = (*report.notes, f"Among what would be pushed are {unseen}.") if unseen else report.notes
    return refuse(replace(report, notes=notes), "pre-push")


def _looked(updates: Sequence[Update], remote: str, url: str) -> Look:
    """The look: at what git lists exactly, unless a quicker list, which holds all of that, is clean."""
    from fluxguard import push

    config = configured(layout.root())
    quick = outgoing.surely_lacked(updates, remote, url)
    if quick is not None:
        done = push.look(updates, quick, config)
        if done.scan.clean:
            return done
    listing = outgoing.lacked_by_remote(updates, remote, url)  # git is at work from here on
    return push.look(updates, listing.read(), config)


def _unseen(done: Look, tips: Sequence[str]) -> str:
    if "FLUXGUARD_GIT" not in os.environ or not done.seen.commits:
        return ""
    from fluxguard.commands import catchup

    return catchup.unseen_of(done.seen.commits, tips)


def standard_input() -> bytes:
    """What git says about the refs. Raises UsageError where nobody would say anything."""
    if os.isatty(0):
        raise UsageError(
            "This hook reads from standard input which refs are pushed; a terminal says nothing.",
            "git calls it by itself: fluxguard install",
        )
    parts: list[bytes] = []
    left = _MOST
    while left and (part := os.read(0, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise UsageError("Standard input is longer than 64 MiB.", "Push fewer refs at once.")
    return b"".join(parts)


def _from_framework(env: Mapping[str, str]) -> tuple[str, str, str, list[Update]]:
    """One ref of the push, which is all that the pre-commit framework hands over, and a word about that."""
    remote, url = env.get("PRE_COMMIT_REMOTE_NAME", ""), env.get("PRE_COMMIT_REMOTE_URL", "")
    source = env.get("PRE_COMMIT_LOCAL_BRANCH", "")
    new = _resolved(env.get("PRE_COMMIT_TO_REF") or source or "HEAD")
    name = env.get("PRE_COMMIT_REMOTE_BRANCH", "") or layout.branch().decode("utf-8", "surrogateescape")
    update = outgoing.Update(os.fsencode(name), "", new, os.fsencode(source))
    base = env.get("PRE_COMMIT_FROM_REF", "")
    if base.strip("0"):
        update.old = _resolved(base)
    told = " The framework hands over one ref of a push; others in it are not looked at."
    return told if remote else "", remote, url, [update]


def _resolved(revision: str) -> str:
    from fluxguard.repo import run

    found = run.try_output("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
    if not found:
        raise UsageError(
            "There is no such commit as the pre-commit framework names.", "Fetch it, and try again."
        )
    return found.decode().strip()


def clean_line(done: Look, more: str = "") -> str:
    """The one line that a clean push prints."""
    commits = count(len(done.seen.commits), "commit")
    objects = count(len(done.lacking.objects), "object")
    return f"fluxguard: no key in {commits} to be pushed ({objects}, {size(done.scan.bytes)} read).{more}\n"
