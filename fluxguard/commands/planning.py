"""What `respond start --plan` says: what a response would do, as JSON and in lines. It looks, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluxguard.respond.course import Run

LOOKS = ("verify", "assess", "choose")  # the steps that only look


@dataclass(frozen=True, slots=True)
class Plan:
    """found: what the steps that only look found. steps: those that would be taken, name and title. places: files that hold the old key.

    unread: what was not looked at. targets, rights: what was asked for, as it may be shown. cleaning: what is foreseen of it.
    """

    masked: str
    found: Mapping[str, Mapping[str, Any]]
    steps: tuple[tuple[str, str], ...]
    places: tuple[Mapping[str, Any], ...]
    unread: tuple[str, ...]
    targets: tuple[str, ...]
    rights: Mapping[str, Any]
    narrower: str
    cleaning: Mapping[str, Any]

    @property
    def renews(self) -> bool:
        """Whether a new key would be made."""
        return any(name == "reissue" for name, _ in self.steps)


def look(run: Run) -> Plan:
    """Raises: FluxguardError."""
    from fluxguard.respond import assessing, clearing, narrowing, runner
    from fluxguard.respond.veil import shown

    works = (assessing.verify, assessing.assess, assessing.choose_strategy)
    for name, work in zip(LOOKS, works, strict=True):
        run.journal.add(name, "done", **work(run))
    steps = tuple((step.name, step.title) for step in runner.plan(run))
    places, unread = _holding(run)
    wishes = run.incident.wishes
    return Plan(
        run.incident.masked, {name: run.known(name) for name in LOOKS}, steps, places, unread,
        tuple(shown(one, run.old) for one in wishes.targets),
        {"permissions": list(wishes.permissions), "projects": list(wishes.projects), "expires": wishes.expires},
        narrowing.in_words(wishes), clearing.foreseen(run) if wishes.clean else {},
    )  # fmt: skip


def _holding(run: Run) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """The files of this machine that hold the old key, and what was not looked at."""
    from fluxguard.respond import course, distributing, places

    found, unread = places.find(distributing.trees_of(run), run.old, run.home)
    rows = tuple(
        {
            "place": course.run_safe(run, os.fsencode(one.path)), "tracked": one.tracked,
            "why": course.run_safe(run, os.fsencode(one.why)),
        } for one in found
    )  # fmt: skip
    return rows, tuple(course.run_safe(run, os.fsencode(one)) for one in unread)


def document(plan: Plan) -> dict[str, Any]:
    """`fluxguard.plan/1`."""
    return {
        "schema": "fluxguard.plan/1", **plan.found, "places": list(plan.places), "targets": list(plan.targets),
        **({"rights": plan.rights} if plan.narrower else {}), "unread": list(plan.unread),
        "steps": [{"step": name, "title": title} for name, title in plan.steps],
        **({"cleaning": plan.cleaning} if plan.cleaning else {}),
    }  # fmt: skip


def lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """In lines, each with its indent."""
    from fluxguard.respond import telling

    chosen = plan.found["choose"]
    yield "", f"Key {plan.masked}: {plan.found['verify']['status']}"
    yield from (("  ", one) for one in telling.told("assess", plan.found["assess"]))
    yield "", f"Strategy: {chosen['strategy']}, for: {chosen['reason']}."
    for part in (_rights(plan), _where(plan), _cleaning(plan.cleaning)):
        yield from (("  ", one) for one in part)


def _rights(plan: Plan) -> Iterator[str]:
    """The new key's rights: those that were asked for, and those that nobody needed so far."""
    from fluxguard.respond import narrowing

    if not plan.renews:
        return
    if plan.narrower:
        yield f"the new key is narrower than the old one: {plan.narrower}"
    may = plan.rights["permissions"] or plan.found["verify"].get("permissions", ())
    idle = [name for name in plan.found["assess"].get("unused", ()) if name in may]
    if advice := narrowing.advice(idle, may):
        yield advice


def _where(plan: Plan) -> Iterator[str]:
    """Where the new key would go, by itself and by hand."""
    goes = _goes(plan)
    for one in plan.places:
        yield f"by hand: {one['place']} ({one['why']})" if one["why"] else f"{goes} {one['place']}"
    yield from (f"not looked at: {one}" for one in plan.unread)
    to = "the new key goes to" if plan.renews else "no new key is made, so none goes to"
    yield from (f"{to} {one}" for one in plan.targets)
    if plan.renews and not plan.targets and all(one["why"] for one in plan.places):
        yield "the new key goes nowhere by itself: the run will wait until you fetch it, or name a --target; or use --no-new-key"


def _goes(plan: Plan) -> str:
    """What is said of a file that the old key stands in."""
    if plan.renews:
        return "the new key goes to"
    guided = plan.found["choose"]["strategy"] == "guided"
    return "you put the new key into" if guided else "the key dies, and no new one goes to"


def _cleaning(cleaning: Mapping[str, Any]) -> Iterator[str]:
    for one in cleaning.get("whole", ()):
        yield f"replaced whole, for the key can't be cut out of it: {one}"
    for one, what in cleaning.get("anew", {}).items():
        broken = f", but for what no longer fits ({what})" if what else ""  # what vouched for it as it was
        yield f"made anew without the key, all else of it as it is{broken}: {one}"
    for one in cleaning.get("hindrances", ()):
        yield f"your own clone can't be cleaned as it stands: {one}"
    for one in cleaning.get("others", ()):
        yield f"remote {one} would be neither cleaned nor looked at"
