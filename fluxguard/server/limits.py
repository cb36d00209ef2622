"""How often an address may ask what needs no key: counted in the database, so it holds for every worker."""

from __future__ import annotations

import sqlalchemy as sa

from fluxguard.server import problems
from fluxguard.server.platform import Platform

# The window begins with its first request.
COUNT = sa.text("""
    INSERT INTO attempts (what, start, n) VALUES (:what, :now, 1) ON CONFLICT (what) DO UPDATE SET
        n = CASE WHEN excluded.start - attempts.start >= :window THEN 1 ELSE attempts.n + 1 END,
        start = CASE WHEN excluded.start - attempts.start >= :window OR excluded.start < attempts.start
            THEN excluded.start ELSE attempts.start END
    RETURNING n, start
""")


def at_most(platform: Platform, what: str, limit: int, window: int) -> None:
    """Counts one request. window: milliseconds. Raises: Problem 429."""
    now = platform.now()
    with platform.store.write() as connection:
        n, start = connection.execute(COUNT, {"what": what[:400], "now": now, "window": window}).one()
    if n > limit:
        seconds = max(1, -(-(start + window - now) // 1000))
        raise problems.Problem(
            429, "too-many-requests", "Too many requests", "Too many requests from this address.",
            headers={"Retry-After": str(seconds)}, retry_after=seconds,
        )  # fmt: skip
