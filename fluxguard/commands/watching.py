"""What a person watches while a response runs: on a terminal each step with its live state, in a pipe plain lines; or one JSON object a line."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from fluxguard.commands.alone import Action
from fluxguard.display import safe
from fluxguard.errors import FluxguardError
from fluxguard.respond.telling import told, waits_for

_MOST_LEFT = 12  # lines of it on the screen; the report has them all


class Screen:
    """The one place that writes to the terminal while a run is on, and asks there."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.json = args.format == "json"
        self._yes = args.yes
        self.console: Any = None
        self._live: Any = None
        self._title = ""
        self._opened = False
        if not self.json:
            from rich.console import Console

            self.console = Console(
                no_color=args.no_color or bool(os.environ.get("NO_COLOR")), highlight=False, soft_wrap=True
            )

    def heading(self, incident: Any) -> None:
        if not self.json:
            self.console.print(f"[bold]Incident {incident.id}[/]")
            self.lines([f"key {incident.masked} in {incident.repository}"])

    def show(self, event: Any) -> None:
        if self.json:
            print(json.dumps(event.to_json(), sort_keys=True), flush=True)
            self._args.told = event.state == "failed"
        elif event.state == "started":
            self._begin(event.title)
        elif event.state == "said":
            self._say(event.title, event.data["text"])
        else:
            self._end(event)

    def _begin(self, title: str) -> None:
        self._title = title
        if self.console.is_terminal:
            self._live = self.console.status(f"[bold]{title}[/]", spinner="dots")
            self._live.start()
        else:
            self.console.print(title)

    def _say(self, title: str, text: str) -> None:
        if self._live is not None:
            self._live.update(f"[bold]{title}[/] [dim]{_plain(text)}[/]")
        else:
            self.lines([text])

    def _end(self, event: Any) -> None:
        live = self._live is not None
        self.close()
        if live:
            sign = {"done": "[green]✓[/]", "waiting": "[yellow]⧗[/]"}.get(event.state, "[red]✗[/]")
            self.console.print(f"{sign} [bold]{event.title}[/]")
        if event.state == "done":
            self.lines(told(event.step, event.data))
        elif event.state == "waiting":
            self.lines([f"waiting: {waits_for(event.data)}"])
            self.steps(event.data.get("todo", ()))
        elif not live:  # at a terminal it is said below, with what to do
            self.lines([f"failed: {event.data['what']}"])

    def steps(self, todo: Any) -> None:
        """What a person has to do, numbered."""
        for number, one in enumerate(todo, 1):
            self.lines([one], f"    {number}. ")

    def lines(self, lines: Any, lead: str = "    ") -> None:
        """At a terminal broken between words: a path and a command stay in one piece, and can be copied."""
        for line in lines:
            text = safe(line)
            if self.console.is_terminal:
                text = textwrap.fill(
                    text, max(self.console.width, 40), initial_indent=lead, subsequent_indent=" " * len(lead),
                    break_long_words=False, break_on_hyphens=False,
                )  # fmt: skip
            else:
                text = lead + text
            self.console.print(text, markup=False)

    def agree(self, question: str, word: str) -> bool:
        """Whether the person typed the word; or said --yes."""
        if self._yes:
            return True
        if not sys.stdin.isatty() or self.json:
            return False
        self._stand_still()
        *lines, last = question.splitlines()
        self.lines([*lines, f"{last}:"])
        return self._read("    > ") == word

    def pause(self, reason: str, todo: tuple[str, ...], page: str) -> bool:
        """Shows what is to be done elsewhere, and waits for Enter. False where nobody is there, or they want to go on later.

        page: is opened, once, where there is a browser with a window.
        """
        if self._yes or self.json or not sys.stdin.isatty():
            return False
        self._stand_still()
        if page and not self._opened and _has_windows():
            import webbrowser

            self._opened = webbrowser.open(page)
        self.lines([reason])
        self.steps(todo)
        self.lines(["Enter: it is done, try the key.   q: stop here, and go on later."])
        later = self._read("    > ").lower() in ("q", "quit")
        if not later:
            self._begin(self._title)
        return not later

    def _read(self, prompt: str) -> str:
        try:
            return input(prompt).strip()
        except EOFError:
            return "q"

    def _stand_still(self) -> None:
        """No spinner where a person types."""
        if self._live is not None:
            self.close()
            self.console.print(f"[yellow]⧗[/] [bold]{self._title}[/]")

    def ending(self, incident: Any, state: str, left: Sequence[str]) -> None:
        """left: what the report says is still to be done."""
        if self.json:
            return
        if state == "closed":
            if left:
                self.console.print("\n[bold]What is left:[/]")
                self.lines(left[:_MOST_LEFT], "  - ")
                if len(left) > _MOST_LEFT:
                    self.lines([f"and {len(left) - _MOST_LEFT} more, in the report"], "    ")
            self.console.print("\n[bold green]Closed.[/] The report:")
            self.lines([str(incident.folder / "report.md")])
        else:
            self.console.print("\nNot finished. Go on with:")
            self.lines([f"fluxguard respond resume {incident.id}"])

    def over(self, incident: Any, step: str, words: list[str], **data: Any) -> None:
        """What came of an action that is no run: in lines, or as one event."""
        if not self.json:
            self.lines(words, "")
            return
        from fluxguard.respond.incident import now
        from fluxguard.respond.runner import Event

        self.show(Event(incident.id, step, words[0], "done", now(), data))

    def close(self) -> None:
        """The cursor comes back, whatever happened."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def said_as_asked(run: Action) -> Action:
    """The action, which says by an event, too, why it ended, where events were asked for: also before there is an incident."""

    @functools.wraps(run)
    def saying(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except FluxguardError as error:
            if args.format == "json" and not getattr(args, "told", False):
                from fluxguard.respond.incident import now
                from fluxguard.respond.runner import Event

                data = {"what": safe(error.what), "hint": safe(error.hint)}
                event = Event(
                    getattr(args, "incident", "") or "", run.__name__.strip("_"), "", "failed", now(), data
                )
                print(json.dumps(event.to_json(), sort_keys=True), flush=True)
            raise

    return saying


def _has_windows() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(safe(text))
