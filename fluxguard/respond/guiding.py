"""Where the platform offers no call to end a key: a person does it on its page, step by step, and it is tried here whether the key is dead."""

from __future__ import annotations

import os

from fluxguard.platform.errors import PAGE
from fluxguard.respond import distributing, narrowing, places, trying
from fluxguard.respond.course import Data, Run, Waiting, run_safe


def guided(run: Run) -> Data:
    """Waits while somebody is at the terminal; otherwise the run ends here, and `resume` tries the key."""
    if not trying.opens(run):
        return _dead(run) if _answers_for_it(run) else _by_their_word(run)
    todo, alive = _todo(run), "the old key still opens the platform"
    page = PAGE if run.api.address.public else ""
    while run.pause(f"{alive[0].upper()}{alive[1:]}. Do this now:", todo, page):
        if not trying.opens(run):
            return _dead(run)
        alive = "tried just now: the old key still opens the platform"
    raise Waiting(f"{alive}; a person has to end it on the platform's page", todo=todo)


def _answers_for_it(run: Run) -> bool:
    """Whether a 401 here says that the key is dead: not where the platform said before that it never heard of it."""
    return bool(run.known("verify").get("public"))


def _by_their_word(run: Run) -> Data:
    """Only who issued the key can tell whether it is alive; until somebody has seen to that, nothing is done that tells the world of it."""
    if not any(one.step == "guided" and one.data.get("ended") for one in run.journal.records):
        raise Waiting(
            f"{run.api.address.url} does not know this key, so its 401 proves nothing: whoever issued it may still let it in",
            todo=(
                "Find out which platform issued the key",
                f"If fluxguard can ask that one: fluxguard respond abort {run.incident.id}, then start again with --api-url",
                f"If not: end the key there by hand, then fluxguard respond resume {run.incident.id} --ended",
            ),
        )
    return {
        **_dead(run),
        "state": "not known",
        "how": "ended by hand, by your word: it could not be tried here",
    }


def _todo(run: Run) -> tuple[str, ...]:
    """What to click and where to put the new key. The old one goes last: until then nothing that uses it stops."""
    page = PAGE if run.api.address.public else f"the page for API keys of {run.api.address.url}"
    found, _ = _holding(run)
    named = [f"{run_safe(run, os.fsencode(one.path))}" for one in found if not one.tracked]
    where = (
        ", ".join(named)
        if named
        else "wherever the old one is used (it stands in no file that was found here)"
    )
    variables = [name for name, value in run.environment.items() if value.encode() == run.old.reveal()]
    return (
        f"Open {page}",
        f"Create a new key {_rights(run)}, and copy it: it is shown once",
        f"Put it in the place of {run.old.masked} in {where}; and in CI and on servers, where they have it",
        *(f"In this shell: unset {name}" for name in variables),
        f"On the page, click Delete next to {run.old.masked}, and type its name (do this first where somebody else uses it already)",
    )  # fmt: skip


def _rights(run: Run) -> str:
    """What the new key is to have: what was asked for, which nobody here can check."""
    narrower = narrowing.in_words(run.incident.wishes)
    return (
        f"with these rights ({narrower}), if the old one has no fewer" if narrower else "with the same rights"
    )


def _holding(run: Run) -> tuple[list[places.Place], list[str]]:
    return places.find(distributing.trees_of(run), run.old, run.home)


def _dead(run: Run) -> Data:
    """It opens nothing. Where it still stands, it is named: what uses it is broken now."""
    how = f"tried: {run.api.address.url} answers 401"
    found, unread = _holding(run)
    rows = [
        {"place": run_safe(run, os.fsencode(one.path)), "done": "manual", "why": _why(one)} for one in found
    ]
    return {
        "state": "dead",
        "how": how,
        "places": rows,
        "unread": [run_safe(run, os.fsencode(one)) for one in unread],
    }


def _why(place: places.Place) -> str:
    if place.tracked:
        return (
            "git has this file, or would commit it: take the key out of it, and read it from the environment"
        )
    return "the dead key still stands there: put the new one in its place"
