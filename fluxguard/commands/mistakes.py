"""Under `--format json` a run that fails says so on standard output, too, in one object: unless something else was said there."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = "fluxguard.error/1"
_BY_EVENTS = ("start", "resume", "status", "forget", "abort")  # actions of `respond`
_INTO_FILES = ("--output", "--report")  # then text goes to the terminal


class Watched:
    """Standard output, which knows whether anything was written to it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.used = False

    def write(self, text: str) -> int:
        self.used = self.used or bool(text)
        return int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        self.used = self.used or name == "buffer"
        return getattr(self.stream, name)


def watch(arguments: Sequence[str]) -> None:
    """Watches standard output, where JSON is asked for on it."""
    if isinstance(sys.stdout, Watched):  # of an earlier run in this process
        sys.stdout = sys.stdout.stream
    if _wants_json(arguments):
        sys.stdout = Watched(sys.stdout)


def _wants_json(arguments: Sequence[str]) -> bool:
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(word.split("=")[0] in _INTO_FILES for word in flags):
        return False
    formats = [
        word.partition("=")[2] if "=" in word else after
        for word, after in zip(flags, [*flags[1:], ""], strict=True)
        if word.split("=")[0] == "--format"
    ]
    return formats[-1:] == ["json"]


def tell(what: str, hint: str, code: int, arguments: Sequence[str], last: bool = False) -> None:
    """What went wrong, as an object. what, hint: as they may be shown. code: the exit code. last: also behind other events."""
    stream: Any = sys.stdout
    if not isinstance(stream, Watched) or (stream.used and not (last and _by_events(arguments))):
        return
    said = {"what": what, "hint": hint}
    try:
        print(json.dumps(_object(arguments, code, said), sort_keys=True), flush=True)
    except (OSError, ValueError):  # the exit code says it
        return


def _by_events(arguments: Sequence[str]) -> bool:
    command, action = [*arguments, "", ""][:2]
    return command == "respond" and action in _BY_EVENTS


def _object(arguments: Sequence[str], code: int, said: dict[str, str]) -> dict[str, Any]:
    """An event, where the run speaks by events."""
    command, action = [*arguments, "", ""][:2]
    if _by_events(arguments):
        from fluxguard.respond.incident import now
        from fluxguard.respond.runner import Event

        return Event("", action, "", "failed", now(), said).to_json()
    known = (
        command if re.fullmatch(r"[a-z]{1,12}", command) else ""
    )  # whatever else stands there may be a key
    return {"schema": SCHEMA, "command": known, "exit_code": code, **said}
