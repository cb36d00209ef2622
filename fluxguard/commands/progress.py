"""How far a long audit has come, on the terminal of standard error alone."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from fluxguard import display
from fluxguard.words import count

if TYPE_CHECKING:
    from types import TracebackType

    from fluxguard.audit.run import Watch

PATIENCE = 0.4  # seconds before anything is shown: a short audit shows nothing
_EVERY = 0.1  # seconds between two pictures


class Progress:
    """A bar with objects, rate, time left and keys so far, which is gone when it ends. Nothing where no terminal is.

    It is drawn when news come, not by a thread of its own: the audit forks.
    """

    def __init__(self, quiet: bool, no_color: bool) -> None:
        self._wanted = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._no_color = no_color or "NO_COLOR" in os.environ
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._over = 0.0  # when the last object was read
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watch(self, name: str, number: int, count: int) -> Watch:
        """Who watches the audit of one repository of several."""
        what = f"[{number}/{count}] {os.path.basename(display.safe(name))[:24]}" if count > 1 else "reading"

        def watch(done: int, total: int, keys: int) -> None:
            now = time.monotonic()
            if self._wanted and total < 0:  # which is said only where it will take a while
                self._draw("opening", 0, None, keys)
                return
            over = done >= total
            if not self._wanted or now - self._begun <= PATIENCE:
                return
            if now - self._drawn > _EVERY or (over and not self._over):
                self._over = self._over or now if over else 0.0
                self._drawn = now
                self._draw(f"tracing {now - self._over:.0f} s" if over else what, done, total, keys)

        return watch

    def _draw(self, what: str, done: int, total: int | None, keys: int) -> None:
        if self._bar is None:
            self._bar, self._task = _made(self._no_color)
        self._bar.update(self._task, description=what, completed=done, total=total, found=count(keys, "key"))
        self._bar.start()  # with something to show; again, it does nothing
        self._bar.refresh()


def _made(no_color: bool) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.progress import Task as Job
    from rich.text import Text

    class Objects(ProgressColumn):
        """Objects read, of how many, and how many in a second."""

        def render(self, task: Job) -> Text:
            if task.total is None:
                return Text("counting objects")
            speed = task.finished_speed or task.speed or 0
            return Text(f"{task.completed:,.0f} of {task.total:,.0f} objects, {speed:,.0f}/s")

    console = Console(stderr=True, no_color=no_color, markup=False, emoji=False, highlight=False)
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(14),
        Objects(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[found]}", markup=False),
        console=console,
        auto_refresh=False,
        transient=True,
    )
    return bar, bar.add_task("", total=None, found="")
