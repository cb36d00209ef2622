"""Starting the platform: for a script (`init`), and as a server (`serve`)."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import sqlalchemy as sa
from fastapi import FastAPI

from fluxguard import wire
from fluxguard.errors import UsageError
from fluxguard.server import life, links, people, trouble
from fluxguard.server.app import create_app
from fluxguard.server.platform import Platform, open_platform
from fluxguard.server.settings import settings
from fluxguard.server.store import StoreError
from fluxguard.server.trail import Actor


@contextmanager
def _opened(database: str | None) -> Iterator[Platform]:
    """The platform, for a command. Raises: FluxguardError, where its disk or its database fails, too."""
    try:
        platform = open_platform(settings(database))
        try:
            yield platform
        finally:
            platform.close()
    except sa.exc.SQLAlchemyError as error:
        problem = trouble.of(error)
        if problem is None:
            raise
        raise StoreError(problem.detail, "Then run the same command again.") from None


def init(database: str | None, owner: str, password: str) -> dict[str, str]:
    """Sets a platform up: database, owner, a first key with every permission, in one transaction.

    Raises: UsageError where it has an owner already, or e-mail or password will not do.
    """
    with _opened(database) as platform:
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


def users(database: str | None, what: str, email: str, role: str, password: str) -> list[dict[str, object]]:
    """Accounts, changed as asked (`add`, `disable`, `enable`, `password`, `list`). Returns all of them.

    Raises: UsageError for what can't be: nobody of that name, a password that will not do, the last owner.
    """
    with _opened(database) as platform, platform.store.write() as connection:
        workspace = people.workspace_of_owner(connection)
        actor = Actor("system", workspace)
        if what == "add":
            if people.by_email(connection, email) is not None:
                raise UsageError("There is an account of that e-mail address already.")
            people.add(connection, platform, actor, email, password, role)
        elif what != "list":
            people.change(connection, platform, actor, email, what, password)
        return people.listed(connection, workspace)


def _without_password(url: str) -> str:
    return sa.engine.make_url(url).render_as_string(hide_password=True)


@dataclass(frozen=True, slots=True)
class Where:
    """How a server is reached, and what it keeps. proxy: whose X-Forwarded-For counts. keep: as settings.KEEP_USAGE and so on."""

    host: str
    port: int
    workers: int = 1
    public_url: str = ""
    proxy: str = "127.0.0.1"
    keep: Mapping[str, str] = field(default_factory=dict)


def serve(database: str | None, where: Where, said: TextIO) -> int:
    """Runs the platform until it is told to stop. Returns the exit code. Raises: FluxguardError, with what to do."""
    import uvicorn

    os.environ.update({name: value for name, value in where.keep.items() if value})
    with _opened(database) as platform:
        with platform.store.read() as connection:
            owned = people.has_owner(connection)
        if platform.settings.embedded:
            platform.store.tally  # noqa: B018 - says now what would end each worker
        said.write(f"fluxguard: the key platform, on http://{where.host}:{where.port}\n")
        said.write(
            f"  database  {_without_password(platform.settings.database)}\n  secret    {platform.settings.secret}\n"
        )
        said.write(f"  links     begin with {where.public_url or _links(where)}\n")
        if not owned:
            said.write("  It has no owner yet. Run: fluxguard serve init --owner you@example.org\n")
        said.flush()
    _must_be_free(where)
    os.environ.update({"FLUXGUARD_PUBLIC_URL": where.public_url} if where.public_url else {})
    os.environ.update({"FLUXGUARD_DATABASE_URL": database} if database else {})
    uvicorn.run(
        "fluxguard.server.running:application", factory=True, host=where.host, port=where.port, workers=where.workers,
        access_log=False, server_header=False, log_level="warning", timeout_graceful_shutdown=10,
        forwarded_allow_ips=where.proxy,
    )  # fmt: skip
    return 0


def _links(where: Where) -> str:
    if where.host in ("0.0.0.0", "::"):  # noqa: S104  asked about, not listened on
        return "the address that was connected to; name the one that people use with --public-url"
    return links.address(where.host, where.port)


def _must_be_free(where: Where) -> None:
    """Raises: UsageError where the address is taken, or is not one of this machine."""
    try:
        family = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((where.host, where.port))
    except OSError as error:
        raise UsageError(
            f"The server can't listen on {where.host}:{where.port}: {error.strerror}.",
            "Choose another --host or --port.",
        ) from None


def application() -> FastAPI:
    """The application of one worker, by the settings of the environment."""
    app = create_app(open_platform(settings(public_url=os.environ.get("FLUXGUARD_PUBLIC_URL", ""))))
    gc.collect()
    gc.freeze()  # what is here now stays: no search for garbage need go through it while requests wait
    return app
