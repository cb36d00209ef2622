"""The git process of a staged scan, started before the rest of fluxguard is even imported.

While git reads its index, Python reads its modules: on a clean commit git costs no time of its own.
"""

from __future__ import annotations

from fluxguard.repo import run

STAGED = (
    "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", "--full-index",
    "--ignore-submodules=none", "--ita-invisible-in-index", "HEAD", "--",
)  # fmt: skip


class Ahead:
    """`staged` lists the staged changes."""

    def __init__(self) -> None:
        self.staged: run.Running | None = run.start(*STAGED)

    def take_staged(self) -> run.Running | None:
        """The list of staged changes, the first time."""
        running, self.staged = self.staged, None
        return running

    def close(self) -> None:
        """Ends what was not used."""
        if self.staged is not None:
            self.staged.kill()
            self.staged.finish()
            self.staged = None
