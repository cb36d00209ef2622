"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header-07): the same request twice does its work once.

Kept with the answer, in the transaction of the work: a lost answer can be asked for again. A key in clear is never kept; an answer
that held one can be repeated only as a sealed key, which only the client can open.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard.server import problems
from fluxguard.server.platform import Platform
from fluxguard.server.tables import idempotency
from fluxguard.wire import DAY

KEPT = DAY  # milliseconds
Answer = tuple[int, dict[str, Any]]


def perform(
    connection: Connection, platform: Platform, actor: str, route: str, key: str | None, request: Any,
    work: Callable[[], tuple[Answer, dict[str, Any]]],
) -> Answer:  # fmt: skip
    """Does `work` once for an idempotency key. `work` returns the answer, and its body as it may be kept.

    Raises: Problem 422 where the key was used for another request.
    """
    if key is None:
        return work()[0]
    if not 1 <= len(key) <= 255:
        raise problems.invalid("An Idempotency-Key has 1 to 255 characters.", status=400)
    key = platform.vault.request(key.encode()).hex()  # it may be anything, even a key of ours
    digest = platform.vault.request(json.dumps(request, sort_keys=True).encode())
    known = _known(connection, platform, actor, route, key)
    if known is not None:
        if bytes(known.request) != digest:
            raise problems.Problem(
                422,
                "idempotency-mismatch",
                "Idempotency key reused",
                "This Idempotency-Key came with another request before.",
            )
        return known.status, json.loads(known.body)
    answer, kept = work()
    connection.execute(idempotency.insert().values(
        actor=actor, route=route, key=key, request=digest, status=answer[0], body=json.dumps(kept), at=platform.now()
    ))  # fmt: skip
    return answer


def _known(connection: Connection, platform: Platform, actor: str, route: str, key: str) -> Any:
    """What is kept for the key. On PostgreSQL a second request under it waits here until the first is through."""
    if not platform.settings.embedded:
        lock = platform.vault.request(f"{actor}\0{route}\0{key}".encode())
        connection.execute(
            sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": int.from_bytes(lock[:8], "big", signed=True)}
        )
    same = (idempotency.c.actor == actor, idempotency.c.route == route, idempotency.c.key == key)
    connection.execute(idempotency.delete().where(*same, idempotency.c.at < platform.now() - KEPT))
    return connection.execute(sa.select(idempotency).where(*same)).first()
