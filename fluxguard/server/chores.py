"""What the platform does by itself, beside the requests: it watches over the audit trail, and lets go of what was kept long enough.

Any number of workers and machines may try: a chore is claimed in the database, by whoever comes first when it is due. One that dies
in the middle is done again at its next time; each step is a transaction by itself, and doing it twice does no harm.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard.server.platform import Platform
from fluxguard.server.tables import chores

TURN = 60.0  # seconds between two looks at what is due
log = logging.getLogger("fluxguard.server")

# A time that lies ahead is one of a clock that was set back.
CLAIM = sa.text("""
    INSERT INTO chores (name, at, note, seal) VALUES (:name, :now, '', :none) ON CONFLICT (name) DO UPDATE SET at = excluded.at
        WHERE chores.at <= excluded.at - :every OR chores.at > excluded.at
    RETURNING name
""")


def turn(platform: Platform) -> None:
    """Does what is due. What fails is written into the log and tried again when it is due the next time."""
    from fluxguard.server import retention, watch

    due: tuple[tuple[str, int, Callable[[Platform], None]], ...] = (
        ("watch", watch.EVERY, watch.turn),
        ("tidying", retention.TIDYING, retention.tidy),
        ("retention", retention.EVERY, retention.let_go),
    )
    for name, every, work in due:
        try:
            if _claimed(platform, name, every):
                work(platform)
        except Exception as error:
            log.error("%s failed: %s", name, type(error).__name__)


def _claimed(platform: Platform, name: str, every: int) -> bool:
    now = platform.now()
    with platform.store.read() as connection:
        at = connection.execute(sa.select(chores.c.at).where(chores.c.name == name)).scalar()
    if at is not None and now - every < at <= now:
        return False  # which most turns of most workers find out without writing
    with platform.store.write() as connection:
        values = {"name": name, "now": now, "every": every, "none": b""}
        return connection.execute(CLAIM, values).first() is not None


def touch(platform: Platform, name: str) -> None:
    """Writes the moment down and nothing else, which shows that the database takes a change."""
    with platform.store.write() as connection:
        connection.execute(CLAIM, {"name": name, "now": platform.now(), "every": 0, "none": b""})


def remembered(connection: Connection, platform: Platform, name: str) -> dict[str, Any]:
    """What was noted down for the next time; nothing where there is no note, or one that somebody else has made."""
    row = connection.execute(sa.select(chores).where(chores.c.name == name)).first()
    if row is None or not row.note or _seal(platform, name, row.note) != bytes(row.seal):
        return {}
    note: dict[str, Any] = json.loads(row.note)
    return note


def remember(platform: Platform, name: str, note: Mapping[str, Any]) -> None:
    """Notes something down for the next time, sealed."""
    text = json.dumps(note, sort_keys=True)
    values = {"note": text, "seal": _seal(platform, name, text)}
    with platform.store.write() as connection:
        if not connection.execute(chores.update().where(chores.c.name == name).values(**values)).rowcount:
            connection.execute(chores.insert().values(name=name, at=platform.now(), **values))


def _seal(platform: Platform, name: str, text: str) -> bytes:
    return platform.vault.note(f"{name}\0{text}".encode())
