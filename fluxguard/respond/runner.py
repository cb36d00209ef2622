"""Goes through the steps of an incident from wherever it stands: intent on disk, work, outcome on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fluxguard.errors import BrokenRepository, FluxguardError
from fluxguard.masks import Masks
from fluxguard.platform.errors import PlatformError
from fluxguard.respond.course import ITSELF, Overtaken, Run, Waiting
from fluxguard.respond.steps import STEPS, Step
from fluxguard.respond.veil import masks_of

SCHEMA = "fluxguard.event/1"


@dataclass(frozen=True, slots=True)
class Event:
    """state: `started`, `done`, `waiting`, `failed`, `skipped`, `said`."""

    incident: str
    step: str
    title: str
    state: str
    time: str
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "time": self.time, "incident": self.incident, "step": self.step, "state": self.state,
            "data": dict(self.data),
        }  # fmt: skip


Watch = Callable[[Event], None]


def go_on(run: Run, watch: Watch, now: Callable[[], str]) -> str:
    """Does every step that is not done. Returns `closed` or `waiting`. Raises: FluxguardError; then `resume` tries the step again."""

    def tell(step: Step, state: str, data: Mapping[str, Any] | None = None) -> None:
        watch(Event(run.incident.id, step.name, step.title, state, now(), _veiled(data or {}, run)))

    if run.vault.get("old") is not None and run.api.asks_with(run.old):
        run.journal.add("run", "note", asks=ITSELF)
    for step in STEPS:
        if run.journal.outcome(step.name) is not None:
            continue
        if not step.needed(run):
            continue
        tell(step, "started")
        run.say = lambda text, step=step: tell(step, "said", {"text": text})  # type: ignore[misc]
        run.journal.add(step.name, "intent")
        try:
            data = _veiled(step.do(run), run)
        except Waiting as waiting:
            told = {"reason": waiting.reason, "until": waiting.until, "todo": list(waiting.todo)}
            run.journal.add(step.name, "waiting", **_veiled(told, run))
            tell(step, "waiting", told)
            return "waiting"
        except FluxguardError as error:
            _say_which_key(error, run)
            if isinstance(error, BrokenRepository) and not run.repository.is_dir():
                error.hint = "This incident is about the clone that was there: bring it back to that place, then resume."
            for name in error.steps if isinstance(error, Overtaken) else ():
                run.journal.add(name, "stale", what=error.what)
            run.journal.add(step.name, "failed", **_veiled({"what": error.what, "hint": error.hint}, run))
            tell(step, "failed", {"what": error.what, "hint": error.hint})
            raise
        run.journal.add(step.name, "done", **data)
        tell(step, "done", data)
    return "closed"


def _say_which_key(error: FluxguardError, run: Run) -> None:
    """A key that is not let in is the one that asks; the platform's own words ("regenerate it") would be read as about the leaked or the new one."""
    ours = [one for name in ("old", "new") if (one := run.vault.secret(name)) is not None]
    if not isinstance(error, PlatformError) or error.status != 401 or any(map(run.api.asks_with, ours)):
        return
    error.page = ()
    error.what = (
        "There is no key to ask the platform with but the leaked one, which is not used."
        if run.api.anonymous
        else "The platform does not let in the key with which fluxguard asks; that is neither the leaked key nor the new one."
    )
    error.hint = "Log in with a key that may manage keys: fluxguard auth login   (or set FLUXLOOP_API_KEY). Then resume."


def _veiled(value: Any, run: Run) -> Any:
    """What goes to the journal, the reports and the screen, with any key in it masked: what a step forgot ends here."""
    return _masked(
        value, masks_of(*filter(None, (run.vault.secret(name) for name in ("old", "new", "lapsed"))))
    )


def _masked(value: Any, masks: Masks) -> Any:
    if isinstance(value, str):
        return masks.hide(value)
    if isinstance(value, Mapping):
        return {_masked(name, masks): _masked(one, masks) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(one, masks) for one in value]
    return value


def plan(run: Run) -> Iterator[Step]:
    """The steps that would be taken, as far as it is known before any."""
    chosen = run.strategy
    early = {"verify", "assess", "choose", "close", "prevent", "rewrite", "push", "prove"}
    yield from (step for step in STEPS if (chosen or step.name in early) and step.needed(run))
