"""The audit trail: every change and every refusal, in the transaction of the change, each record proving the one before.

A record's proof is HMAC-SHA256 under a key outside of the database, over the proof before it and the record's fields, each
with its length in front. Whoever changes, removes or reorders a row without that key breaks every proof after it; whoever
cuts off the end is found out by an exported head, or by the place that `watch` has sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard.server.secret import Vault
from fluxguard.server.store import insert, run
from fluxguard.server.tables import audit

START = b"\0" * 32
AT_ONCE = 5000  # records that are read together: a trail of millions does not fit
FIELDS = (
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
)
LAST = "SELECT seq, proof FROM audit ORDER BY seq DESC LIMIT 1"


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
    last = run(connection, LAST)
    seq, before = (last[0][0] + 1, bytes(last[0][1])) if last else (1, START)
    row = {
        "seq": seq, "at": now, "workspace_id": actor.workspace, "actor": actor.name, "address": actor.address[:64],
        "user_agent": actor.user_agent[:200], "action": action, "target": target,
        "detail": json.dumps(detail or {}, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        "request_id": actor.request_id,
    }  # fmt: skip
    proof = vault.audit(_canonical([row[name] for name in FIELDS], before))
    insert(connection, audit, {**row, "proof": proof})
    return seq


def _wait_for_the_end_of_the_chain(connection: Connection) -> None:
    """Only one transaction at a time may append, or the chain would fork. SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(1718384760)"))


def _canonical(values: Sequence[Any], before: bytes) -> bytes:
    """values: as FIELDS names them."""
    parts = [before]
    for value in values:
        text = str(value).encode("utf-8", "surrogatepass")
        parts += (len(text).to_bytes(4, "big"), text)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the chain: the number of a record and its proof. All before it was found as it was written."""

    seq: int = 0
    proof: bytes = START


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found: how far it is good, and the first record that is not as it was written, or None."""

    place: Place
    broken_at: int | None = None

    @property
    def head(self) -> str:
        """The last good proof. Kept elsewhere, it shows later whether the end was cut off."""
        return self.place.proof.hex()


def verify(
    connection: Connection, vault: Vault, since: Place | None = None, most: int | None = None
) -> Verdict:
    """Recomputes the chain, from its beginning or from a place that was found good, to its end or for the `most` next records."""
    place, end = since or Place(), None if most is None else (since or Place()).seq + most
    if not _there(connection, place):
        return Verdict(place, place.seq)
    while end is None or place.seq < end:
        size = AT_ONCE if end is None else min(AT_ONCE, end - place.seq)
        rows = _behind(connection, place.seq, size)
        for *values, proof in rows:
            if values[0] != place.seq + 1 or vault.audit(_canonical(values, place.proof)) != bytes(proof):
                return Verdict(place, place.seq + 1)
            place = Place(values[0], bytes(proof))
        if len(rows) < size:
            break
    return Verdict(place)


def _there(connection: Connection, place: Place) -> bool:
    """Whether the chain still reaches to the place, and has the same proof there. A chain that was cut off before it has not."""
    if place.seq == 0:
        return True
    proof = connection.execute(sa.select(audit.c.proof).where(audit.c.seq == place.seq)).scalar()
    return proof is not None and bytes(proof) == place.proof


def _behind(connection: Connection, seq: int, most: int) -> Sequence[Any]:
    query = sa.select(*(audit.c[name] for name in FIELDS), audit.c.proof).where(audit.c.seq > seq)
    return connection.execute(query.order_by(audit.c.seq).limit(most)).all()


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
    return not seqs or len(unproved(connection, vault, seqs)) < len(set(seqs))


def unproved(connection: Connection, vault: Vault, seqs: Sequence[int]) -> set[int]:
    """Which of these records do not prove themselves: they were changed, or the one before them was removed or changed."""
    wanted = sorted({*seqs, *(seq - 1 for seq in seqs)})
    query = sa.select(*(audit.c[name] for name in FIELDS), audit.c.proof).where(audit.c.seq.in_(wanted))
    rows = {row[0]: row for row in connection.execute(query)}
    proofs = {0: START, **{seq: bytes(row[-1]) for seq, row in rows.items()}}
    return {
        seq
        for seq in seqs
        if seq not in rows
        or seq - 1 not in proofs
        or vault.audit(_canonical(rows[seq][:-1], proofs[seq - 1])) != proofs[seq]
    }


def records(
    connection: Connection, vault: Vault, workspace: str, *, target: str = "", actor: str = "", action: str = "",
    after: int = 0, limit: int = 100, newest_first: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """The records of a workspace, as the REST API shows them. `proved`: whether the record is as it was written."""
    query = sa.select(audit).where(audit.c.workspace_id == workspace)
    for column, value in ((audit.c.target, target), (audit.c.actor, actor), (audit.c.action, action)):
        if value:
            query = query.where(column == value)
    if after:
        query = query.where(audit.c.seq < after if newest_first else audit.c.seq > after)
    query = query.order_by(audit.c.seq.desc() if newest_first else audit.c.seq).limit(limit)
    rows = connection.execute(query).mappings().all()
    wrong = unproved(connection, vault, [row["seq"] for row in rows])
    return [
        {
            **row,
            "detail": _read(row["detail"]),
            "proof": bytes(row["proof"]).hex(),
            "proved": row["seq"] not in wrong,
        }
        for row in rows
    ]


def _read(detail: str) -> Any:
    """What stands in a record. Whoever tampered with it may have left no JSON; it is shown all the same."""
    try:
        read = json.loads(detail)
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"unreadable": detail}
