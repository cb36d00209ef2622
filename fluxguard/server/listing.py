"""Lists of keys, a page at a time, newest first: a list of a hundred thousand is no one answer.

A page goes on behind a place, the moment and the id of the last key that was looked at. So keys that are made meanwhile move nothing, and a
late page costs no more than the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import problems
from fluxguard.server.life import ENDED, VIEWED, Row

MOST = 1000  # keys on a page
LONGEST = 200  # characters that are searched for, together
SHORT = 100  # keys that are found and shown in a millisecond
LOOKED_AT = 5000  # keys that one page looks at, where most of them may not be seen
_PLACE = re.compile(r"(-?\d{1,16})\.([0-9A-Za-z_]{1,40})\Z")
Place = tuple[int, str]
Rows = list[tuple[Any, ...]]
# `life.state_of` for the database, which leaves out what does not fit before it hands anything over.
STATE = f"""
    CASE WHEN state IN ({", ".join(f"'{one}'" for one in sorted(ENDED))}) THEN state
        WHEN ends_at <= :now THEN 'revoked' WHEN expires_at <= :now THEN 'expired'
        WHEN confirmed_at IS NULL AND pending_until <= :now THEN 'lapsed' WHEN state = 'pending' THEN 'pending'
        WHEN quarantine IS NOT NULL THEN 'quarantined' WHEN ends_at IS NOT NULL THEN 'grace' ELSE 'active' END
"""
ALL = f"SELECT {', '.join(VIEWED)} FROM keys WHERE workspace_id = :workspace"  # noqa: S608
BEHIND = "created_at <= :moment AND (created_at < :moment OR id > :id)"  # the first is what the index can use


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which keys of a workspace. "" leaves a field out. Deleted ones come only by their state.

    project: an id, for the keys that are good for it. q: part of the name. unused: alive or pending, and neither used nor confirmed.
    only: the one key that whoever asks may see. confined: never those of all projects.
    """

    workspace: str
    project: str = ""
    environment: str = ""
    states: frozenset[str] = frozenset()
    q: str = ""
    unused: bool = False
    only: str = ""
    confined: bool = False

    @property
    def plain(self) -> bool:
        """Whether an index leads to them, one by one: no key is looked at in vain."""
        chosen = self.project or self.environment or self.states or self.q or self.unused or self.confined
        return bool(self.only or not chosen)


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys, and where the next page goes on: "" where there is none. A page may be short, and another one follow."""

    rows: list[Row]
    after: str


def page(
    select: Callable[..., Rows], wanted: Wanted, now: int, limit: int, after: str = "",
    may_see: Callable[[Row], bool] = lambda row: True,
) -> Page:  # fmt: skip
    """One page, of rows as `life.view` takes them. select: as `Store.select`. after: as the page before said.

    Raises: Problem 422 for another one.
    """
    size, place = limit + 1 if wanted.plain else max(limit + 1, 100), _place(after)
    conditions, values = _question(wanted, now)
    found: list[Row] = []
    for _ in range(0, LOOKED_AT, size):
        rows = select(_sql(conditions, place), **values, **_from(place), size=size)
        for one in rows:
            row = dict(zip(VIEWED, one, strict=True))
            if len(found) == limit:
                return Page(found, _cursor(place))
            place = row["created_at"], row["id"]
            if may_see(row):
                found.append(row)
        if len(rows) < size:
            return Page(found, "")
    return Page(found, _cursor(place))


def every(
    select: Callable[..., Rows], wanted: Wanted, now: int, may_see: Callable[[Row], bool] = lambda row: True
) -> Iterator[Row]:
    """All of them, for whoever knows no pages."""
    after = ""
    while True:
        one = page(select, wanted, now, MOST, after, may_see)
        yield from one.rows
        after = one.after
        if not after:
            return


def must_be_sound(limit: int, states: tuple[str, ...] = (), environment: str = "", text: str = "") -> None:
    """Raises: Problem 422 for a page of no size, for what no key is, and for a key in the text that is searched for: links would repeat it."""
    if len(text) > LONGEST:
        raise problems.invalid(f"What is searched for has at most {LONGEST} characters.", "/q")
    if veiled(text) != text:
        raise problems.invalid("This text holds a key; a key stands nowhere but where it is used.", "/q")
    if not 1 <= limit <= MOST:
        raise problems.invalid("limit lies between 1 and 1,000.", "/limit")
    if not set(states) <= {"", *wire.STATES}:
        raise problems.invalid(f"state is one of: {', '.join(wire.STATES)}.", "/state")
    if environment not in ("", *wire.ENVIRONMENTS):
        raise problems.invalid(f"environment is one of: {', '.join(wire.ENVIRONMENTS)}.", "/environment")


def _question(wanted: Wanted, now: int) -> tuple[list[str], dict[str, Any]]:
    """Which conditions hold of what is wanted, and their values."""
    states, conditions, values = wanted.states, [], {"workspace": wanted.workspace, "now": now}
    if wanted.unused:
        states = (states or frozenset(wire.STATES)) & (wire.ALIVE | {"pending"})
        conditions.append("confirmed_at IS NULL")
    if states or wanted.unused:
        named = {f"state{n}": state for n, state in enumerate(sorted(states))}
        conditions.append(f"{STATE} IN ({', '.join(f':{name}' for name in named) or 'NULL'})")
        values |= named
    if "deleted" not in states:
        conditions.append("state <> 'deleted'")
    if wanted.confined:
        conditions.append("scope <> 'all'")
    for text, name, condition in (
        (wanted.project and f"% {_plain(wanted.project)} %", "project",
            "(scope = 'all' OR ' ' || scope || ' ' LIKE :project ESCAPE '/')"),
        (wanted.only, "only", "id = :only"),
        (wanted.environment, "environment", "environment = :environment"),
        (wanted.q and f"%{_plain(wanted.q)}%", "name",
            "(lower(name) LIKE lower(:name) ESCAPE '/' OR name LIKE :name ESCAPE '/')"),
    ):  # fmt: skip
        if text:
            conditions.append(condition)
            values[name] = text
    return conditions, values


def _plain(text: str) -> str:
    """Text that LIKE takes as it stands."""
    return re.sub("([%_/])", r"/\1", text)


def _sql(conditions: list[str], place: Place | None) -> str:
    behind = [] if place is None else [BEHIND]
    return " AND ".join((ALL, *conditions, *behind)) + " ORDER BY created_at DESC, id LIMIT :size"


def _from(place: Place | None) -> dict[str, Any]:
    return {} if place is None else {"moment": place[0], "id": place[1]}


def _cursor(place: Place | None) -> str:
    return "" if place is None else f"{place[0]}.{place[1]}"


def _place(text: str) -> Place | None:
    if not text:
        return None
    match = _PLACE.match(text)
    if match is None:
        raise problems.invalid("This cursor was made by no page before: begin without one.", "/cursor")
    return int(match[1]), match[2]
