"""Lists of keys, a page at a time, newest first: a list of a hundred thousand is no one answer.

A page goes on behind a place, the moment and the id of the last key that was looked at. So keys that are made meanwhile move nothing, and a
late page costs no more than the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import problems
from fluxguard.server.life import ENDED, Row
from fluxguard.server.tables import keys

MOST = 1000  # keys on a page
LOOKED_AT = 5000  # keys that one page looks at, where most of them may not be seen
_PLACE = re.compile(r"(-?\d{1,16})\.([0-9A-Za-z_]{1,40})\Z")
Place = tuple[int, str]


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


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys, and where the next page goes on: "" where there is none. A page may be short, and another one follow."""

    rows: list[Row]
    after: str


def page(
    connection: Connection, wanted: Wanted, now: int, limit: int, after: str = "",
    may_see: Callable[[Row], bool] = lambda row: True,
) -> Page:  # fmt: skip
    """One page. after: as the page before said. Raises: Problem 422 for another one."""
    size, place = max(limit + 1, 100), _place(after)
    query = _query(wanted, now).limit(size)
    found: list[Row] = []
    for _ in range(0, LOOKED_AT, size):
        rows = connection.execute(_behind(query, place)).mappings().all()
        for row in rows:
            if len(found) == limit:
                return Page(found, _cursor(place))
            place = row["created_at"], row["id"]
            if may_see(dict(row)):
                found.append(dict(row))
        if len(rows) < size:
            return Page(found, "")
    return Page(found, _cursor(place))


def every(
    connection: Connection, wanted: Wanted, now: int, may_see: Callable[[Row], bool] = lambda row: True
) -> Iterator[Row]:
    """All of them, for whoever knows no pages."""
    after = ""
    while True:
        one = page(connection, wanted, now, MOST, after, may_see)
        yield from one.rows
        after = one.after
        if not after:
            return


def must_be_sound(limit: int, states: tuple[str, ...] = (), environment: str = "", text: str = "") -> None:
    """Raises: Problem 422 for a page of no size, for what no key is, and for a key in the text that is searched for: links would repeat it."""
    if veiled(text) != text:
        raise problems.invalid("This text holds a key; a key stands nowhere but where it is used.", "/q")
    if not 1 <= limit <= MOST:
        raise problems.invalid("limit lies between 1 and 1,000.", "/limit")
    if not set(states) <= {"", *wire.STATES}:
        raise problems.invalid(f"state is one of: {', '.join(wire.STATES)}.", "/state")
    if environment not in ("", *wire.ENVIRONMENTS):
        raise problems.invalid(f"environment is one of: {', '.join(wire.ENVIRONMENTS)}.", "/environment")


def state_in_sql(now: int) -> sa.ColumnElement[str]:
    """`life.state_of` for the database, which leaves out what does not fit before it hands anything over."""
    c = keys.c
    return sa.case(
        (c.state.in_(sorted(ENDED)), c.state),
        (c.ends_at <= now, "revoked"),
        (c.expires_at <= now, "expired"),
        (sa.and_(c.confirmed_at.is_(None), c.pending_until <= now), "lapsed"),
        (c.state == "pending", "pending"),
        (c.quarantine.is_not(None), "quarantined"),
        (c.ends_at.is_not(None), "grace"),
        else_="active",
    )


def _query(wanted: Wanted, now: int) -> sa.Select[Any]:
    c, states = keys.c, wanted.states
    query = sa.select(keys).where(c.workspace_id == wanted.workspace)
    if wanted.unused:
        states = (states or frozenset(wire.STATES)) & (wire.ALIVE | {"pending"})
        query = query.where(c.confirmed_at.is_(None))
    if states or wanted.unused:
        query = query.where(state_in_sql(now).in_(sorted(states)))
    if "deleted" not in states:
        query = query.where(c.state != "deleted")
    if wanted.project:
        named = (sa.literal(" ") + c.scope + " ").contains(f" {wanted.project} ", autoescape=True)
        query = query.where(sa.or_(c.scope == "all", named))
    if wanted.confined:
        query = query.where(c.scope != "all")
    if wanted.only:
        query = query.where(c.id == wanted.only)
    if wanted.environment:
        query = query.where(c.environment == wanted.environment)
    if wanted.q:
        query = query.where(
            sa.or_(c.name.icontains(wanted.q, autoescape=True), c.name.contains(wanted.q, autoescape=True))
        )
    return query.order_by(c.created_at.desc(), c.id)


def _behind(query: sa.Select[Any], place: Place | None) -> sa.Select[Any]:
    if place is None:
        return query
    moment, key_id = place
    # The first condition alone is what the index can use.
    return query.where(keys.c.created_at <= moment, sa.or_(keys.c.created_at < moment, keys.c.id > key_id))


def _cursor(place: Place | None) -> str:
    return "" if place is None else f"{place[0]}.{place[1]}"


def _place(text: str) -> Place | None:
    if not text:
        return None
    match = _PLACE.match(text)
    if match is None:
        raise problems.invalid("This cursor was made by no page before: begin without one.", "/cursor")
    return int(match[1]), match[2]
