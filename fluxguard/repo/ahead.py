"""The two git processes of a staged scan, started before the rest of fluxguard is even imported.

While git reads its index, Python reads its modules: on a clean commit this saves the time of both processes.
"""

from __future__ import annotations

from fluxguard.repo import run

STAGED = (
    "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", "--full-index",
    "--ignore-submodules=none", "--ita-invisible-in-index", "HEAD", "--",
)  # fmt: skip
BATCH = ("cat-file", "--batch", "--buffer")


class Ahead:
    """`staged` lists the staged changes; `batch` waits to be told which objects to show."""

    def __init__(self) -> None:
        self.staged: run.Running | None = run.start(*STAGED)
        self.batch: run.Feeding | None = run.Feeding(*BATCH)

    def take_staged(self) -> run.Running | None:
        """The list of staged changes, the first time."""
        running, self.staged = self.staged, None
        return running

    def take_batch(self, asked: bytes) -> run.Running | None:
        """The answer to `asked`, the first time and where it is short enough for a pipe."""
        if self.batch is None or len(asked) > run.Feeding.MOST:
            return None
        batch, self.batch = self.batch, None
        return batch.feed(asked)

    def close(self) -> None:
        """Ends what was not used."""
        if self.batch is not None:
            self.batch.feed(b"").finish()
            self.batch = None
        if self.staged is not None:
            self.staged.readall()
            self.staged.finish()
            self.staged = None
