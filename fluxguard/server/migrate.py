"""Brings a database to the newest layout: Alembic's migrations, applied at the start, by one process at a time."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.engine import Connection, Engine

from fluxguard.errors import UsageError

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x666C7578  # any number that is always the same


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, for a connection that is open already."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Applies what is missing. Raises: UsageError where the database is newer than this program."""
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        if sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
        try:
            command.upgrade(configuration(connection), "head")
        except CommandError:
            raise UsageError(
                "The database was written by a newer fluxguard.",
                "Start the newer version, or name another database.",
            ) from None
        if sqlite:
            connection.exec_driver_sql("COMMIT")
        else:
            connection.commit()


def newest() -> str | None:
    """The layout that this program needs."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def current(connection: Connection) -> str | None:
    """The layout that the database has."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
