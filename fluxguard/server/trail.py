"""The audit trail: every change and every refusal, in the transaction of the change, each record proving the one before.

A record's proof is HMAC-SHA256 under a key outside of the database, over the proof before it and the record's fields, each
with its length in front. Whoever changes, removes or reorders a row without that key breaks every proof after it; whoever
cuts off the end is found out by an exported head.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard.server.secret import Vault
from fluxguard.server.tables import audit

START = b"\0" * 32


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: `name` is `user:ID`, `key:ID` or `system`, with the workspace they act in, and from where."""

    name: str
    workspace: str
    address: str = ""
    user_agent: str = ""
    request_id: str = ""


def record(
    connection: Connection, vault: Vault, now: int, actor: Actor, action: str, target: str,
    detail: Mapping[str, Any] | None = None,
) -> int:  # fmt: skip
    """Appends one record in the transaction at hand, and returns its number. `detail` never holds a key."""
    _wait_for_the_end_of_the_chain(connection)
    last = connection.execute(
        sa.select(audit.c.seq, audit.c.proof).order_by(audit.c.seq.desc()).limit(1)
    ).first()
    seq, before = (last.seq + 1, bytes(last.proof)) if last else (1, START)
    row = {
        "seq": seq, "at": now, "workspace_id": actor.workspace, "actor": actor.name, "address": actor.address[:64],
        "user_agent": actor.user_agent[:200], "action": action, "target": target,
        "detail": json.dumps(detail or {}, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        "request_id": actor.request_id,
    }  # fmt: skip
    connection.execute(audit.insert().values(**row, proof=vault.audit(_canonical(row, before))))
    return seq


def _wait_for_the_end_of_the_chain(connection: Connection) -> None:
    """Only one transaction at a time may append, or the chain would fork. SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(1718384760)"))


def _canonical(row: Mapping[str, Any], before: bytes) -> bytes:
    parts = [before]
    for name in (
        "seq",
        "at",
        "workspace_id",
        "actor",
        "address",
        "user_agent",
        "action",
        "target",
        "detail",
        "request_id",
    ):
        value = str(row[name]).encode("utf-8", "surrogatepass")
        parts.append(len(value).to_bytes(4, "big") + value)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found. broken_at: the first record whose proof is wrong, or None. head: the last proof."""

    records: int
    broken_at: int | None
    head: str


def verify(connection: Connection, vault: Vault) -> Verdict:
    """Recomputes the whole chain."""
    before, count = START, 0
    for row in connection.execute(sa.select(audit).order_by(audit.c.seq)).mappings():
        if row["seq"] != count + 1 or vault.audit(_canonical(dict(row), before)) != bytes(row["proof"]):
            return Verdict(count, count + 1, before.hex())
        before, count = bytes(row["proof"]), count + 1
    return Verdict(count, None, before.hex())


def begun(connection: Connection) -> bool:
    """Whether anything happened on this platform yet."""
    return connection.execute(sa.select(audit.c.seq).limit(1)).first() is not None


def kept_with(connection: Connection, vault: Vault) -> bool:
    """Whether this secret made the trail: one record that proves itself is enough, for single ones may have been tampered with."""
    seqs = [
        seq
        for order in (audit.c.seq, audit.c.seq.desc())
        for seq in connection.execute(sa.select(audit.c.seq).order_by(order).limit(20)).scalars()
    ]
    return not seqs or any(_proves_itself(connection, vault, seq) for seq in dict.fromkeys(seqs))


def _proves_itself(connection: Connection, vault: Vault, seq: int) -> bool:
    rows = (
        connection.execute(sa.select(audit).where(audit.c.seq.in_([seq - 1, seq])).order_by(audit.c.seq))
        .mappings()
        .all()
    )
    before = bytes(rows[0]["proof"]) if len(rows) == 2 else START
    return vault.audit(_canonical(dict(rows[-1]), before)) == bytes(rows[-1]["proof"])


def records(
    connection: Connection, workspace: str, *, target: str = "", actor: str = "", action: str = "", after: int = 0,
    limit: int = 100, newest_first: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The records of a workspace, as the REST API shows them."""
    query = sa.select(audit).where(audit.c.workspace_id == workspace)
    for column, value in ((audit.c.target, target), (audit.c.actor, actor), (audit.c.action, action)):
        if value:
            query = query.where(column == value)
    if after:
        query = query.where(audit.c.seq < after if newest_first else audit.c.seq > after)
    query = query.order_by(audit.c.seq.desc() if newest_first else audit.c.seq).limit(limit)
    for row in connection.execute(query).mappings():
        yield {**row, "detail": json.loads(row["detail"]), "proof": bytes(row["proof"]).hex()}
