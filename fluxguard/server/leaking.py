"""What happens when a key is reported as leaked: by the policy of its environment, notify, quarantine or revoke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.secret import Secret, veiled
from fluxguard.server import life, mint, trail, usage
from fluxguard.server.platform import Platform
from fluxguard.server.tables import keys, leaks, policies
from fluxguard.server.trail import Actor
from fluxguard.wire import ALIVE

ACTIONS = ("notify", "quarantine", "revoke")
MOST_OF_ONE_KEY = 100  # reports that are written down: whoever holds a key could fill the disk with places


@dataclass(frozen=True, slots=True)
class Leak:
    """One report. token: the key in clear, as it came. source, url: where it was seen. reporter: who says so."""

    token: str
    source: str
    url: str
    reporter: str
    address: str = ""
    user_agent: str = ""

    def __repr__(self) -> str:
        return f"Leak({Secret(self.token.encode('utf-8', 'surrogatepass'))})"


def policy(connection: Connection, platform: Platform, workspace: str) -> dict[str, str]:
    """What is done with a leaked key, by environment."""
    query = sa.select(policies).where(policies.c.workspace_id == workspace, policies.c.name.like("leak.%"))
    chosen = {row.name.removeprefix("leak."): row.value for row in connection.execute(query)}
    return {**platform.settings.leak_policy, **chosen}


def set_policy(
    connection: Connection, platform: Platform, actor: Actor, changes: Mapping[str, str]
) -> dict[str, str]:
    """Changes the policy. changes: environment to one of ACTIONS."""
    before = policy(connection, platform, actor.workspace)
    for environment, value in changes.items():
        if before.get(environment) == value:
            continue
        same = (policies.c.workspace_id == actor.workspace, policies.c.name == f"leak.{environment}")
        connection.execute(policies.delete().where(*same))
        connection.execute(
            policies.insert().values(workspace_id=actor.workspace, name=f"leak.{environment}", value=value)
        )
        detail = {"environment": environment, "from": before.get(environment), "to": value}
        trail.record(
            connection, platform.vault, platform.now(), actor, "policy.changed", f"leak.{environment}", detail
        )
    return policy(connection, platform, actor.workspace)


def report(connection: Connection, platform: Platform, leak: Leak) -> bool:
    """Does what the policy says, and writes down what was done. Returns whether the key is ours.

    The same report again changes nothing. What is recorded is the outcome, not the intention.
    """
    row = _owned(connection, platform, leak.token)
    if row is None:
        return False
    leak = replace(leak, source=veiled(leak.source)[:64], url=veiled(leak.url)[:2000])
    known = sa.select(leaks.c.id).where(
        leaks.c.key_id == row["id"], leaks.c.source == leak.source, leaks.c.url == leak.url
    )
    if connection.execute(known).first():
        return True
    reports = sa.select(sa.func.count()).where(leaks.c.key_id == row["id"])
    if (connection.execute(reports).scalar() or 0) >= MOST_OF_ONE_KEY:
        return True
    now = platform.now()
    actor = Actor("system", row["workspace_id"], leak.address, leak.user_agent)
    done = _act(connection, platform, actor, row, leak)
    connection.execute(leaks.insert().values(
        id=mint.identifier("lek"), key_id=row["id"], workspace_id=row["workspace_id"], source=leak.source,
        url=leak.url, reporter=leak.reporter[:200], action=done, at=now,
    ))  # fmt: skip
    detail = {
        "source": leak.source,
        "url": leak.url,
        "reporter": leak.reporter[:200],
        "done": done,
    }
    trail.record(connection, platform.vault, now, actor, "key.leaked", row["id"], detail)
    return True


def _owned(connection: Connection, platform: Platform, token: str) -> life.Row | None:
    """The key, by all of it: an id alone never gets a key revoked."""
    if not wire.well_formed(token):
        return None
    query = sa.select(keys).where(keys.c.lookup == platform.vault.lookup(token.encode()))
    if not platform.settings.embedded:
        query = query.with_for_update()
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def _act(connection: Connection, platform: Platform, actor: Actor, row: life.Row, leak: Leak) -> str:
    now = platform.now()
    wanted = policy(connection, platform, row["workspace_id"])[row["environment"]]
    state = life.state_of(row, now)
    if wanted == "revoke" and (state in ALIVE or state == "pending"):
        life.revoke(connection, platform, actor, row, f"reported as leaked by {leak.reporter[:100]}")
        return "revoke"
    if wanted == "quarantine" and state == "pending":
        # Nobody has used it, so there is nobody to go on; its predecessor is still good.
        life.revoke(connection, platform, actor, row, f"reported as leaked by {leak.reporter[:100]}")
        return "revoke"
    if wanted == "quarantine" and state in ("active", "grace"):
        terms = {
            "allow": usage.known_clients(connection, row["id"]),
            "drop_permissions": ["manage_keys", "delete_scenarios"],
            "until": None,
        }
        life.quarantine(connection, platform, actor, row, terms)
        return "quarantine"
    return "notify" if state in ALIVE else "none"


def listed(connection: Connection, workspace: str, limit: int = 200) -> list[dict[str, Any]]:
    """Reports, newest first, with the keys' names and masks."""
    query = (
        sa.select(leaks, keys.c.name, keys.c.masked, keys.c.environment)
        .join(keys, keys.c.id == leaks.c.key_id)
        .where(leaks.c.workspace_id == workspace)
        .order_by(leaks.c.at.desc(), leaks.c.id)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]
