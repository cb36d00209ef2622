"""Watching over the audit trail, so that a look at it need not read all of it, and tampering with an old record shows all the same.

Three checks together stand for a whole one at each look:

- *The end*: all behind the last sealed place is recomputed at each look. A place is sealed by the watch, under the secret, once the chain
  was found good up to it. A chain that was cut off before it, or that leads to another proof there, is found out.
- *What is shown*: each record on a page is recomputed by itself.
- *The round*: the watch goes through the whole chain again and again, a piece at a time, and remembers, sealed, when it last
  came to the end and what it found. A look repeats that.

Without notes, or with forged ones, the end begins at the first record: a look is slow then, never wrong. Whoever can write the database
can put an older note in place of a newer one, and so hide what a round has found until the next round comes by; a whole check, which can
be asked for at any time, believes no note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from fluxguard.server import chores, trail
from fluxguard.server.platform import Platform
from fluxguard.server.trail import Place, Verdict

EVERY = 60_000  # milliseconds between two pieces
PIECE = 10_000  # records
ROUND = 3_600_000  # milliseconds between the end of a round and the begin of the next
STEP = 500  # records behind the sealed place that make a new one worth it
_END, _ROUND = "watch.end", "watch.round"


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of the chain. checked_from: the first record that was recomputed just now. round: what the watch found, or nothing yet."""

    verdict: Verdict
    checked_from: int
    round: Mapping[str, Any]

    @property
    def broken_at(self) -> int | None:
        """The first record that is known not to be as it was written."""
        found = [one for one in (self.verdict.broken_at, self.round.get("broken_at")) if one is not None]
        return min(found) if found else None

    @property
    def whole_at(self) -> int | None:
        """When the watch last came to the end, in milliseconds since 1970."""
        return self.round.get("done_at")


def look(connection: Connection, platform: Platform) -> Look:
    """Checks the end, and says what the watch has found in all the rest."""
    place = _place(chores.remembered(connection, platform, _END))
    verdict = trail.verify(connection, platform.vault, place)
    return Look(verdict, place.seq + 1, chores.remembered(connection, platform, _ROUND))


def whole(connection: Connection, platform: Platform) -> Look:
    """Checks everything, now."""
    return Look(trail.verify(connection, platform.vault), 1, {"done_at": platform.now()})


def seal_whole(platform: Platform, found: Look) -> None:
    """Remembers what a whole check has found, as if the watch had come to the end."""
    _remember_round(platform, found.verdict)
    if found.broken_at is None:
        chores.remember(platform, _END, _noted(found.verdict.place))


def turn(platform: Platform) -> None:
    """One piece of each: on to the end, and on in the round."""
    _on_to_the_end(platform)
    _on_in_the_round(platform)


def _on_to_the_end(platform: Platform) -> None:
    with platform.store.read() as connection:
        sealed = _place(chores.remembered(connection, platform, _END))
        verdict = trail.verify(connection, platform.vault, sealed, PIECE)
    if verdict.broken_at is None and verdict.place.seq >= sealed.seq + STEP:
        chores.remember(platform, _END, _noted(verdict.place))


def _on_in_the_round(platform: Platform) -> None:
    with platform.store.read() as connection:
        note = chores.remembered(connection, platform, _ROUND)
        place = _place(note)
        if (
            place.seq == 0
            and 0 <= platform.now() - note.get("done_at", -ROUND) < ROUND
            and not note.get("broken_at")
        ):
            return
        verdict = trail.verify(connection, platform.vault, place, PIECE)
    if verdict.broken_at is None and verdict.place.seq == place.seq + PIECE:
        kept: dict[str, Any] = {
            name: note[name] for name in ("done_at", "records", "broken_at") if name in note
        }
        chores.remember(platform, _ROUND, {**kept, **_noted(verdict.place)})
    else:
        _remember_round(platform, verdict)


def _remember_round(platform: Platform, found: Verdict) -> None:
    """A round has ended, at the last record or at one that is not as it was written. The next one begins at the first."""
    done = {"done_at": platform.now(), "records": found.place.seq, "broken_at": found.broken_at}
    chores.remember(platform, _ROUND, {**done, **_noted(Place())})


def _place(note: Mapping[str, Any]) -> Place:
    return Place(note["seq"], bytes.fromhex(note["proof"])) if note else Place()


def _noted(place: Place) -> dict[str, Any]:
    return {"seq": place.seq, "proof": place.proof.hex()}
