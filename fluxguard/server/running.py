"""Starting the platform: for a script (`init`), and as a server (`serve`)."""

from __future__ import annotations

import os
from typing import TextIO

from fastapi import FastAPI

from fluxguard import wire
from fluxguard.server import life, people
from fluxguard.server.app import create_app
from fluxguard.server.platform import open_platform
from fluxguard.server.settings import settings


def init(database: str | None, owner: str, password: str) -> dict[str, str]:
    """Sets a platform up: database, owner, a first key with every permission, in one transaction.

    Raises: UsageError where it has an owner already, or e-mail or password will not do.
    """
    platform = open_platform(settings(database))
    try:
        with platform.store.write() as connection:
            actor = people.found(connection, platform, owner, password)
            wish = life.Wish(
                "First key", "dev", tuple(wire.PERMISSIONS), None, wire.expiry("90d", platform.now())
            )
            row, secret = life.create(connection, platform, actor, wish)
        return {
            "owner": people.check_email(owner), "workspace": actor.workspace, "id": row["id"], "masked": row["masked"],
            "key": secret, "database": _without_password(platform.settings.database), "secret": str(platform.settings.secret),
        }  # fmt: skip
    finally:
        platform.close()


def _without_password(url: str) -> str:
    import sqlalchemy as sa

    return sa.engine.make_url(url).render_as_string(hide_password=True)


def serve(database: str | None, host: str, port: int, workers: int, said: TextIO) -> int:
    """Runs the platform until it is told to stop. Returns the exit code."""
    import uvicorn

    platform = open_platform(settings(database))
    try:
        with platform.store.read() as connection:
            owned = people.has_owner(connection)
        said.write(
            f"fluxguard: the key platform, on http://{host}:{port}\n  {_without_password(platform.settings.database)}\n"
        )
        if not owned:
            said.write("  It has no owner yet. Run: fluxguard serve init --owner you@example.org\n")
        said.flush()
    finally:
        platform.close()
    if database:
        os.environ["FLUXGUARD_DATABASE_URL"] = database
    uvicorn.run(
        "fluxguard.server.running:application", factory=True, host=host, port=port, workers=workers, access_log=False,
        server_header=False, log_level="warning", timeout_graceful_shutdown=10,
    )  # fmt: skip
    return 0


def application() -> FastAPI:
    """The application of one worker, by the settings of the environment."""
    return create_app(open_platform(settings()))
