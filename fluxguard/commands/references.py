"""The reference-transaction hook: whatever a change of refs brings is looked at before it is made, whoever makes it.

So it sees what no other hook does: cherry-pick, rebase, revert, stash, notes, tags, plumbing and `--no-verify`. It costs
a process for each of them, so it is there only where it was asked for.
"""

from __future__ import annotations

import sys
import time

from fluxguard.commands.configured import configured
from fluxguard.commands.push import standard_input
from fluxguard.errors import GitError
from fluxguard.repo import layout, outgoing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LOCAL = (b"refs/heads/", b"refs/tags/", b"refs/notes/", b"refs/stash")


def check(words: Sequence[str]) -> int:
    """words: the state of the transaction; only one that is `prepared` can be refused. Returns the exit code."""
    if list(words) != ["prepared"]:
        return 0
    updates = [
        update
        for update in outgoing.changed(standard_input())
        if update.new and update.new != update.old and update.name.startswith(_LOCAL)
    ]
    if not updates:
        return 0
    listing = outgoing.new_here(updates)
    from fluxguard import push  # git is at work by now

    started = time.perf_counter()
    try:
        lacking = listing.read()
    except GitError as error:
        sys.stderr.write(f"fluxguard: {error.what}\n  {error.hint}\n  The refs stay as they were.\n")
        return error.exit_code
    names = [update for update in updates if not update.old]
    done = push.look(names, lacking, configured(layout.root()))
    if done.scan.clean:
        return 0
    from fluxguard import tracing
    from fluxguard.commands.blocked import refuse

    done.updates = updates
    return refuse(tracing.report(done, "hook reference-transaction", "", started), "reference-transaction")
