"""What is kept how long: it goes when its time is over, not before, and the trail's proof stays whole. On both databases."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fluxguard.errors import UsageError
from fluxguard.server import chores, retention
from fluxguard.server.platform import Platform
from fluxguard.server.settings import settings
from fluxguard.server.tables import (
    attempts,
    audit,
    devices,
    idempotency,
    keys,
    leaks,
    refusals,
    sessions,
    tokens,
    uses,
)
from fluxguard.wire import DAY
from tests.server.conftest import EMAIL, PASSWORD, House
from tests.server.real import Server

HOUR, MINUTE = 3_600_000, 60_000


def count(house: House, table: sa.Table) -> int:
    with house.platform.store.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0


def later(house: House, milliseconds: int) -> None:
    house.clock.forward(milliseconds)
    chores.turn(house.platform)


def flushed(house: House) -> None:
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]


def uses_of(house: House, days: range, key_id: str = "key_a") -> None:
    with house.platform.store.write() as connection:
        connection.execute(uses.insert(), [
            {
                "key_id": key_id, "minute": (house.clock.now - day * DAY) // MINUTE, "operation": "pull_scenarios",
                "project_id": "", "address": "192.0.2.1", "user_agent": "ci", "n": 1,
            }
            for day in days
        ])  # fmt: skip


def test_use_and_refusals_go_when_their_time_is_over(house: House) -> None:
    made = house.create(hourly_limit=1)
    house.use(made["key"])
    house.use(made["key"], 429)
    flushed(house)
    assert (count(house, uses) > 0, count(house, refusals)) == (True, 1)
    later(house, 90 * DAY)
    assert count(house, refusals) == 1
    later(house, DAY + MINUTE)
    assert (count(house, uses) > 0, count(house, refusals)) == (True, 0)
    later(house, 308 * DAY)
    kept = count(house, uses)
    later(house, DAY + MINUTE)
    assert (kept > 0, count(house, uses)) == (True, 0)
    told = house.call("GET", "/api/v1/audit?type=retention.applied", status=200)
    assert [record["detail"]["what"] for record in told] == ["refusals", "uses"]
    assert told[0]["detail"]["rows"] == 1
    assert house.call("GET", "/api/v1/audit/verify?full=true")["intact"] is True
    flushed(house)
    shown = house.call("GET", f"/api/v1/keys/{made['id']}", status=200)
    assert shown["last_used_at"] is not None  # the key itself remembers when it was used last


def test_what_has_ended_goes_and_what_is_good_stays(house: House) -> None:
    client = house.client
    client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    client.post("/sign-in", data={"email": EMAIL, "password": "wrong wrong wrong"})
    client.post("/api/cli-connect/start", json={})
    house.mint(house.create()["id"], "rotate", name="once")
    with house.platform.store.write() as connection:
        user = connection.execute(sa.select(sessions.c.user_id)).scalar()
        connection.execute(tokens.insert(), [
            {
                "access": bytes([n]) * 32, "refresh": bytes([n + 100]) * 32, "user_id": user, "device": "d",
                "created_at": house.clock.now, "expires_at": house.clock.now + HOUR,
                "refresh_expires_at": house.clock.now + 30 * DAY, "ended_at": ended,
            }
            for n, ended in ((1, None), (2, house.clock.now))
        ])  # fmt: skip
    short_lived = (sessions, devices, idempotency, attempts)
    later(house, HOUR)
    assert [count(house, table) > 0 for table in short_lived] == [True] * 4
    assert client.get("/settings/api-keys", follow_redirects=False).status_code == 200  # the session goes on
    later(house, DAY + HOUR)
    assert [count(house, table) for table in short_lived] == [0] * 4
    assert count(house, tokens) == 1
    later(house, 30 * DAY)
    assert count(house, tokens) == 0
    assert count(house, keys) == 3


def test_a_repeated_request_within_a_day_is_still_the_same(house: House) -> None:
    old = house.create()
    house.mint(old["id"], "rotate", name="once")
    later(house, DAY - MINUTE)
    house.mint(old["id"], "rotate", 409, name="once")  # known, and not shown twice


def test_keys_leaks_and_the_trail_are_kept_for_good(house: House) -> None:
    made = house.create(expires="30d")
    house.client.post("/api/v1/leaks", json=[{"token": made["key"], "url": "https://example.org/a"}])
    house.call("DELETE", f"/api/v1/keys/{made['id']}", status=200, params={"confirm_name": made["name"]})
    before = {table.name: count(house, table) for table in (keys, leaks, audit)}
    for _ in range(3):
        later(house, 1000 * DAY)
    assert {table.name: count(house, table) for table in (keys, leaks)} == {
        "keys": before["keys"], "leaks": before["leaks"],
    }  # fmt: skip
    assert count(house, audit) >= before["audit"]
    assert house.call("GET", "/api/v1/audit/verify?full=true")["intact"] is True


def test_many_rows_go_in_lots_and_only_the_old_ones(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOT", 7)
    monkeypatch.setattr(retention, "BREATH", 0)
    for name in ("key_a", "key_b"):
        uses_of(house, range(380, 430), name)
    retention.let_go(house.platform)
    with house.platform.store.read() as connection:
        oldest = connection.execute(sa.select(sa.func.min(uses.c.minute))).scalar() or 0
    assert oldest * MINUTE >= house.clock.now - 400 * DAY - MINUTE
    assert count(house, uses) == 42
    told = house.call("GET", "/api/v1/audit?type=retention.applied")
    assert sum(record["detail"]["rows"] for record in told) == 58


def test_a_worker_that_dies_in_the_middle_is_followed_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOT", 10)

    def dies(_: float) -> None:
        raise KeyboardInterrupt

    uses_of(house, range(410, 450))
    monkeypatch.setattr(retention.time, "sleep", dies)
    with pytest.raises(KeyboardInterrupt):
        retention.let_go(house.platform)
    assert count(house, uses) == 30
    monkeypatch.setattr(retention.time, "sleep", lambda _: None)
    retention.let_go(house.platform)
    assert count(house, uses) == 0
    told = house.call("GET", "/api/v1/audit?type=retention.applied")
    assert sum(record["detail"]["rows"] for record in told) == 40  # each lot with its record


def test_all_workers_at_once_let_go_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.server.test_strength import at_once

    monkeypatch.setattr(retention, "LOT", 20)
    uses_of(house, range(410, 610))
    at_once(lambda _: retention.let_go(house.platform), 4)  # even where the claim would not keep them apart
    assert count(house, uses) == 0
    told = house.call("GET", "/api/v1/audit?type=retention.applied")
    assert sum(record["detail"]["rows"] for record in told) == 200
    assert house.call("GET", "/api/v1/audit/verify?full=true")["intact"] is True


def test_the_times_are_chosen(house: House) -> None:
    chosen = dataclasses.replace(house.platform.settings, keep_usage=None, keep_refusals=2 * DAY)
    platform = Platform(chosen, house.platform.store, house.platform.vault)
    uses_of(house, range(500, 510))
    with house.platform.store.write() as connection:
        connection.execute(refusals.insert(), [
            {"minute": (house.clock.now - day * DAY) // MINUTE, "address": "", "key_id": "", "reason": "x", "n": 1}
            for day in (1, 3)
        ])  # fmt: skip
    retention.let_go(platform)
    assert (count(house, uses), count(house, refusals)) == (10, 1)


@pytest.mark.parametrize(
    ("text", "length"), [("", 400 * DAY), ("2y", 730 * DAY), ("31d", 31 * DAY), ("forever", None)]
)
def test_the_environment_names_them(monkeypatch: pytest.MonkeyPatch, text: str, length: int | None) -> None:
    monkeypatch.setenv("FLUXGUARD_KEEP_USAGE", text)
    assert settings("sqlite:////tmp/none.db").keep_usage == length


@pytest.mark.parametrize("text", ["30d", "0", "long", "-1d", "never"])
def test_what_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FLUXGUARD_KEEP_USAGE", text)
    with pytest.raises(UsageError, match="KEEP_USAGE"):
        settings("sqlite:////tmp/none.db")


def test_the_server_takes_them_from_the_command_line(server: Server, tmp_path: Path) -> None:
    import subprocess

    from tests.server.real import COMMAND

    def tried(*words: str) -> Any:
        return subprocess.run(
            [COMMAND, "serve", *words], env=server.environment, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip

    done = tried("--keep-refusals", "1d")
    assert done.returncode == 2
    assert "2 days at the least" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_layout_of_an_older_version_is_brought_up_to_date(house: House, tmp_path: Path) -> None:
    """The migrations end where the tables say, from nothing and from the first layout."""
    from alembic import command
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from fluxguard.server import migrate
    from fluxguard.server.tables import metadata

    engine = house.platform.store.engine
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        command.downgrade(migrate.configuration(connection), "0001")
        connection.commit()
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert house.call("GET", "/api/v1/audit/verify", status=200)["intact"] is True
