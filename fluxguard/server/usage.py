"""What keys were used for: the page's usage screen, the timeline, and who is known to use a key."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxguard.server.life import Row
from fluxguard.server.tables import audit, projects, refusals, uses
from fluxguard.wire import DAY, OPERATIONS, to_text

_MINUTES_A_DAY = 1440


def summary(connection: Connection, row: Row, now: int, days: int) -> dict[str, Any]:
    """Requests of the last days: total, average a day, and shares by day (newest first), operation and project.

    The average and the shares are rounded as on the page: 904 in a week are 129 a day; 147 of them are 16 %, and 687 of them 76 %.
    """
    today = now // DAY
    since = (today - days + 1) * _MINUTES_A_DAY
    recent = sa.and_(uses.c.key_id == row["id"], uses.c.minute >= since)
    day = uses.c.minute // _MINUTES_A_DAY
    by_day = {int(number): n for number, n in _sums(connection, day, recent).items()}
    operations = _sums(connection, uses.c.operation, recent)
    by_project = _sums(connection, uses.c.project_id, sa.and_(recent, uses.c.project_id != ""))
    total = sum(operations.values())
    names = _names(connection, row["workspace_id"])
    return {
        "days": days,
        "unusual": unusual(connection, row, now),
        "total": total,
        "avg_per_day": _rounded(total, days),
        "by_day": [
            {"date": (to_text((today - back) * DAY) or "")[:10], "requests": by_day.get(today - back, 0)} for back in range(days)
        ],
        "by_operation": _shares(
            [(name, {"operation": name, "title": OPERATIONS.get(name, name.replace("_", " ").capitalize())}) for name in operations],
            operations, total,
        ),
        "by_project": _shares(
            [(name, {"project_id": name, "title": names.get(name, name)}) for name in by_project], by_project,
            sum(by_project.values()),
        ),
    }  # fmt: skip


def unusual(connection: Connection, row: Row, now: int) -> list[dict[str, Any]]:
    """What the page's "Monitor usage" asks to look out for, in the last day: `kind`, `detail` in words, and its figures.

    A new address: not seen in the 30 days before. Volume: more than three times the daily average of the week before, and
    more than 50 requests. Failed attempts: requests with this key that were turned away.
    """
    day, month = (now - DAY) // 60_000, (now - 31 * DAY) // 60_000
    mine = uses.c.key_id == row["id"]
    recent = set(
        connection.execute(sa.select(uses.c.address).where(mine, uses.c.minute >= day).distinct()).scalars()
    )
    before = sa.and_(mine, uses.c.minute >= month, uses.c.minute < day)
    known = set(connection.execute(sa.select(uses.c.address).where(before).distinct()).scalars())
    found: list[dict[str, Any]] = []
    fresh = sorted(recent - known) if known else []
    found += [
        {"kind": "new-address", "detail": f"Used from a new address: {one}", "address": one} for one in fresh
    ]
    today = _total(connection, sa.and_(mine, uses.c.minute >= day))
    week = _total(connection, sa.and_(mine, uses.c.minute >= (now - 8 * DAY) // 60_000, uses.c.minute < day))
    if today > 50 and today > 3 * week / 7 and known:
        detail = f"{today:,} requests in a day, where {week // 7:,} were usual"
        found.append({"kind": "volume", "detail": detail, "requests": today, "usual": week // 7})
    refused = sa.select(sa.func.sum(refusals.c.n)).where(
        refusals.c.key_id == row["id"], refusals.c.minute >= day
    )
    failed = int(connection.execute(refused).scalar() or 0)
    if failed:
        found.append(
            {
                "kind": "failed-attempts",
                "detail": f"{failed:,} requests were turned away in a day",
                "requests": failed,
            }
        )
    return found


def _total(connection: Connection, condition: Any) -> int:
    return int(connection.execute(sa.select(sa.func.sum(uses.c.n)).where(condition)).scalar() or 0)


def _sums(connection: Connection, column: Any, condition: Any) -> dict[Any, int]:
    query = sa.select(column, sa.func.sum(uses.c.n)).where(condition).group_by(column)
    return {value: int(n) for value, n in connection.execute(query)}


def _shares(
    named: list[tuple[str, dict[str, Any]]], counts: dict[Any, int], total: int
) -> list[dict[str, Any]]:
    ordered = sorted(named, key=lambda item: (-counts[item[0]], item[0]))
    return [
        {**fields, "requests": counts[name], "percent": _rounded(100 * counts[name], total)}
        for name, fields in ordered
    ]


def _rounded(number: int, by: int) -> int:
    """To the nearest whole number; the half goes up."""
    return (2 * number + by) // (2 * by)


def _names(connection: Connection, workspace: str) -> dict[str, str]:
    query = sa.select(projects.c.id, projects.c.name).where(projects.c.workspace_id == workspace)
    return {row.id: row.name for row in connection.execute(query)}


def known_clients(connection: Connection, key_id: str) -> list[dict[str, str]]:
    """Where a key was used from so far: address and user agent, the most frequent first."""
    query = (
        sa.select(uses.c.address, uses.c.user_agent)
        .where(uses.c.key_id == key_id)
        .group_by(uses.c.address, uses.c.user_agent)
        .order_by(sa.func.sum(uses.c.n).desc())
        .limit(1000)
    )
    return [{"address": row.address, "user_agent": row.user_agent} for row in connection.execute(query)]


def timeline(connection: Connection, row: Row, since: int) -> list[dict[str, Any]]:
    """Uses by minute, refusals and changes, in order of time."""
    minute = since // 60_000
    used = sa.select(uses).where(uses.c.key_id == row["id"], uses.c.minute >= minute)
    refused = sa.select(refusals).where(refusals.c.key_id == row["id"], refusals.c.minute >= minute)
    changed = sa.select(audit).where(
        audit.c.workspace_id == row["workspace_id"], audit.c.target == row["id"], audit.c.at >= since
    )
    events = [
        *(_use(one) for one in connection.execute(used).mappings()),
        *(_refusal(one) for one in connection.execute(refused).mappings()),
        *(_change(one) for one in connection.execute(changed).mappings()),
    ]
    return sorted(events, key=lambda event: (event["t"], event["type"]))


def _use(one: Any) -> dict[str, Any]:
    return {
        "t": to_text(one["minute"] * 60_000), "type": "used", "address": one["address"], "user_agent": one["user_agent"],
        "operation": one["operation"], "project": one["project_id"] or None, "count": one["n"],
    }  # fmt: skip


def _refusal(one: Any) -> dict[str, Any]:
    return {
        "t": to_text(one["minute"] * 60_000), "type": "refused", "address": one["address"], "reason": one["reason"],
        "count": one["n"],
    }  # fmt: skip


def _change(one: Any) -> dict[str, Any]:
    return {
        "t": to_text(one["at"]), "type": one["action"], "actor": one["actor"], "address": one["address"],
        "detail": json.loads(one["detail"]),
    }  # fmt: skip
