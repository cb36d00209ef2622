"""Catches up: what came into the repository by a door without a hook (cherry-pick, rebase, stash, --no-verify ...).

It never refuses the commit at hand, which may be innocent: it says what it found, and by which commit, until that is
gone from here or is on a remote. What would be pushed of it, pre-push refuses.
"""

from __future__ import annotations

import os
import sys

from fluxguard.errors import FluxguardError
from fluxguard.repo import seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxguard.model import Report
    from fluxguard.push import Look

_NAMED = 5  # commits that are named before the rest is only counted
SHORT = 10
_DOORS = "cherry-pick, rebase, stash, --no-verify and the like call none"


def passed() -> None:
    """What a hook does that lets a commit pass: it catches up where that is needed, and notes that it passed."""
    git = os.environ.get("FLUXGUARD_GIT", "")
    state = seen.state()
    try:
        if state is None and git:
            state = _begun()
        if state is None:
            return
        if state.moved:
            catch_up(state)
        seen.passed(state, git)
    except FluxguardError as error:
        sys.stderr.write(f"fluxguard: could not catch up on what no hook had seen: {error.what}\n")
    except OSError as error:
        sys.stderr.write(f"fluxguard: could not note what was seen: {error.strerror}\n")


def _begun() -> seen.State | None:
    """A hook of ours that came with the template directory has been here from the start: nothing was seen yet."""
    from fluxguard.repo import layout

    common = layout.common_dir()
    if common is not None:
        seen.begin(common, [])
    return seen.state()


def catch_up(state: seen.State) -> None:
    """Looks at all that is new since the last time, says what it is, and what was found there."""
    from fluxguard import push
    from fluxguard.commands.configured import configured
    from fluxguard.repo import layout, outgoing

    tips = seen.tips()
    before = state.ids if state.before is None else state.before
    wanted = [tip.decode() for tip in tips]
    # What is on a remote is no news to anybody: a pull brings commits of others, which were public before.
    listing = outgoing.Listing(wanted, _text(before), ("--not", "--remotes"))
    done = push.look([], listing.read(), configured(layout.root()))
    if done.scan.clean:
        seen.close(state.common)
        if done.seen.commits and state.before is None:
            sys.stdout.write(f"fluxguard: no key in {unseen(done.seen.commits)}.\n")
    else:
        _found(done, state, before)
    seen.advance(state.common, tips)


def _found(done: Look, state: seen.State, before: list[bytes]) -> None:
    """Tells of it in full the first time, and then in a line."""
    report = _report(done)
    if report.exit_code == 0:
        seen.close(state.common)
        return
    commits = sorted({commit.encode() for commit in _commits(report)})
    if state.before is not None and set(commits) <= set(state.told):
        named = ", ".join(id.decode()[:SHORT] for id in commits[:_NAMED]) or "see fluxguard audit"
        sys.stderr.write(f"fluxguard: still to be dealt with, found in this repository before: {named}\n")
        return
    _tell(report, done)
    seen.leave_open(state.common, before, commits)


def _commits(report: Report) -> list[str]:
    places = [place for finding in report.findings if finding.blocks for place in finding.locations]
    return [place.trace.commit for place in places if place.trace and place.trace.commit]


def _text(ids: Sequence[bytes]) -> list[str]:
    return [id.decode("ascii", "replace") for id in ids]


def unseen(commits: Sequence[str]) -> str:
    """Names commits that no hook had seen, the newest first."""
    named = ", ".join(id[:SHORT] for id in commits[:_NAMED])
    more = f" and {len(commits) - _NAMED:,} more" if len(commits) > _NAMED else ""
    what = "1 commit" if len(commits) == 1 else f"{len(commits):,} commits"
    return f"{what} that no hook had seen: {named}{more}"


def _report(done: Look) -> Report:
    import time

    from fluxguard import tracing

    return tracing.report(done, "catch-up", "", time.perf_counter())


def _tell(report: Report, done: Look) -> None:
    from fluxguard.commands.output import deliver
    from fluxguard.reports import pushed, text

    lines = pushed.caught_up(report, unseen(done.seen.commits), _DOORS)
    deliver(report, sys.stderr, lambda: text.write_lines(lines, sys.stderr))


def unseen_of(commits: Sequence[str], tips: Sequence[str]) -> str:
    """Of commits that are pushed, those that no hook had seen before, in words; "" where there are none, or nothing is kept."""
    from fluxguard.repo import outgoing

    state = seen.state()
    if state is None or all(state.knows(tip.encode()) for tip in tips):
        return ""
    listing = outgoing.Listing(tips, _text(state.ids), ("--not", "--remotes"))
    new = {id for id, path in listing.read().objects}
    named = [id for id in commits if id in new]
    return unseen(named) if named else ""


def pushed(tips: Sequence[str]) -> None:
    """What was pushed has been looked at."""
    state = seen.state()
    new = [tip.encode() for tip in tips if state is not None and not state.knows(tip.encode())]
    if state is not None and new:
        seen.add(state.common, new)
