"""What a database that fails says about itself, in words for whoever asked: full, read-only, broken, or just not now.

Codes: https://www.sqlite.org/rescode.html, https://www.postgresql.org/docs/current/errcodes-appendix.html. Words of the driver's own go to the
log alone, and of those only the first line.
"""

from __future__ import annotations

import logging
import sqlite3

import sqlalchemy as sa

from fluxguard.server import problems
from fluxguard.server.problems import Problem

FULL, READ_ONLY = "53100", "25006"  # of PostgreSQL
log = logging.getLogger("fluxguard.server")


def told(error: BaseException) -> Problem | None:
    """As `of`, and writes the driver's reason into the log."""
    problem = of(error)
    if problem is not None:
        log.error("the database can't be used: %s", _reason(getattr(error, "orig", None) or error))
    return problem


def of(error: BaseException) -> Problem | None:
    """The problem to answer with (503), or None where the database is not what failed."""
    if not isinstance(error, sa.exc.DBAPIError | sa.exc.TimeoutError | sqlite3.Error):
        return None
    away = sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError | sqlite3.OperationalError
    return by_code(getattr(error, "orig", None) or error) or (
        problems.busy() if isinstance(error, away) else None
    )


def by_code(error: BaseException) -> Problem | None:
    """The same for an error of a driver, where its code says more than that it failed."""
    code, state = getattr(error, "sqlite_errorcode", None), getattr(error, "sqlstate", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL or state == FULL:
        return problems.full()
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or state == READ_ONLY:
        return problems.read_only()
    if primary in (
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ):
        return problems.broken()
    return None


def _reason(error: BaseException) -> str:
    """The driver's own first line, for the platform's keeper: that a disk is full, that a server is gone."""
    words = str(error).strip().splitlines()
    return words[0][:200] if words else type(error).__name__
