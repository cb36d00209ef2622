"""What is kept how long: use and refusals for the time that the settings name, what has ended for a day, the audit trail for good.

Rows go a few at a time, each lot in a transaction of its own, so that nobody waits for it. The trail says what went, in the same
transaction; of the trail itself nothing ever goes, nor of keys and leaks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard.server import once, trail
from fluxguard.server.platform import Platform
from fluxguard.server.settings import HOUR, MINUTE
from fluxguard.server.tables import (
    attempts,
    devices,
    idempotency,
    refusals,
    sessions,
    tokens,
    uses,
    workspaces,
)
from fluxguard.wire import DAY, to_text

TIDYING = HOUR  # milliseconds between two times
EVERY = DAY
LOT = 2000  # rows of one transaction
BREATH = 0.01  # seconds for others between two of them


def tidy(platform: Platform) -> None:
    """Lets go of what has ended: nobody can use it any more, and what happened stands in the trail."""
    now, idle = platform.now(), platform.settings.session_idle
    ended = (
        (sessions, sa.or_(sessions.c.expires_at <= now, sessions.c.seen_at <= now - idle)),
        (tokens, sa.or_(tokens.c.refresh_expires_at <= now, tokens.c.ended_at <= now - DAY)),
        (devices, devices.c.expires_at <= now - DAY),
        (idempotency, idempotency.c.at <= now - max(once.KEPT, platform.settings.session_ttl)),
        (attempts, attempts.c.start <= now - DAY),
    )
    for table, condition in ended:
        _clear(platform, table, condition)


def let_go(platform: Platform) -> None:
    """Lets go of use and refusals that are older than they have to be."""
    now = platform.now()
    for table, kept in ((uses, platform.settings.keep_usage), (refusals, platform.settings.keep_refusals)):
        if kept is not None:
            _clear(platform, table, table.c.minute < (now - kept) // MINUTE, to_text(now - kept))


def _clear(
    platform: Platform, table: sa.Table, condition: sa.ColumnElement[bool], told: str | None = None
) -> None:
    """Deletes the rows that fit, in lots. told: the moment before which they lie, for the trail; None leaves no record."""
    names = [column.name for column in table.primary_key.columns]
    which = (
        sa.select(*table.primary_key.columns).where(condition).order_by(*table.primary_key.columns).limit(LOT)
    )
    each = table.delete().where(*(table.c[name] == sa.bindparam(f"p_{name}") for name in names), condition)
    while True:
        with platform.store.read() as connection:  # the search holds up no writer
            rows = connection.execute(which).all()
        if rows:
            with platform.store.write() as connection:
                gone = connection.execute(each, [_named(names, row) for row in rows]).rowcount
                if told:
                    _record(connection, platform, table, gone, told)
        if len(rows) < LOT:
            return
        time.sleep(BREATH)


def _named(names: Sequence[str], row: Sequence[object]) -> dict[str, object]:
    return {f"p_{name}": value for name, value in zip(names, row, strict=True)}


def _record(connection: Connection, platform: Platform, table: sa.Table, gone: int, told: str) -> None:
    workspace = connection.execute(
        sa.select(workspaces.c.id).order_by(workspaces.c.created_at).limit(1)
    ).scalar()
    actor = trail.Actor("system", workspace or "")
    detail = {"what": table.name, "before": told, "rows": gone}
    trail.record(connection, platform.vault, platform.now(), actor, "retention.applied", "", detail)
