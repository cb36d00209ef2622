"""The quota's count and the quick ways to the database, under several processes, a kill, a cut line, a full disk."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from fluxguard.server import tally
from fluxguard.server.line import Line
from fluxguard.server.settings import HOUR
from fluxguard.server.store import LineBroke, LineLate
from fluxguard.server.tally import Busy, Tally, Unwritable
from tests.server.conftest import House, empty_database
from tests.server.real import Server

SPAWN = multiprocessing.get_context("spawn")


def count_often(path: str, times: int) -> None:
    book = Tally(path, lambda _: None)
    for number in range(times):
        one_more(book, 1 + number % 3, f"key_{number % 3}")


def one_more(book: Tally, row: int, key_id: str) -> int:
    for _ in range(100_000):
        try:
            return book.count(row, key_id, 1000)[0]
        except Busy:
            time.sleep(0.0001)
    raise AssertionError("nobody lets go of the lock")


def test_every_request_of_several_processes_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "tally")
    crowd = [SPAWN.Process(target=count_often, args=(path, 3000)) for _ in range(3)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
        assert one.exitcode == 0
    book = Tally(path, lambda _: None)
    assert [book.read(1 + n, f"key_{n}") for n in range(3)] == [(3000, 1000)] * 3


def test_who_is_killed_while_counting_stops_nobody_and_forgets_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "tally")
    book, before = Tally(path, lambda _: None), 0
    for _ in range(3):
        other = SPAWN.Process(target=count_often, args=(path, 10_000_000))
        other.start()
        end = time.monotonic() + 30
        while (book.read(1, "key_0") or (0, 0))[0] <= before and time.monotonic() < end:
            time.sleep(0.01)
        assert other.pid is not None
        os.kill(other.pid, signal.SIGKILL)
        other.join(30)
        n = one_more(book, 1, "key_0")
        assert n > before + 1
        before = n


def test_the_hour_begins_with_its_first_request_and_a_clock_set_back_changes_nothing(tmp_path: Path) -> None:
    book = Tally(str(tmp_path / "tally"), lambda _: None)
    assert book.count(1, "key", HOUR) == (1, HOUR)
    assert book.count(1, "key", HOUR + 5) == (2, HOUR)
    assert book.count(1, "key", HOUR - 5) == (3, HOUR - 5)
    assert book.count(1, "key", 2 * HOUR - 6) == (4, HOUR - 5)
    assert book.count(1, "key", 2 * HOUR - 5) == (1, 2 * HOUR - 5)


def test_a_count_begins_with_the_copy_in_the_database(tmp_path: Path) -> None:
    book = Tally(str(tmp_path / "tally"), {"old": (7, 1000)}.get)
    assert book.count(1, "old", 2000) == (8, 1000)
    assert book.count(2, "new", 2000) == (1, 2000)


def test_the_place_of_another_key_is_not_its_count(tmp_path: Path) -> None:
    book = Tally(str(tmp_path / "tally"), lambda _: None)
    book.count(1, "one", 1000)
    assert book.read(1, "two") is None
    assert book.count(1, "two", 1000) == (1, 1000)


def test_the_file_grows_under_those_who_have_it_open(tmp_path: Path) -> None:
    path = str(tmp_path / "tally")
    early, late = Tally(path, lambda _: None), Tally(path, lambda _: None)
    late.count(100_000, "far", 1000)
    assert early.read(100_000, "far") == (1, 1000)
    assert early.count(100_000, "far", 1000) == (2, 1000)
    assert early.read(9_000_000, "nowhere") is None
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_after_a_start_of_the_machine_the_copy_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "tally")
    Tally(path, lambda _: None).count(1, "key", 1000)
    monkeypatch.setattr(tally, "_machine_start", lambda: b"another")
    assert Tally(path, {"key": (40, 900)}.get).count(1, "key", 1000) == (41, 900)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_before_anything_is_mapped(tmp_path: Path) -> None:
    with pytest.raises(Unwritable):
        Tally("/dev/full", lambda _: None)


def test_the_count_is_copied_into_the_database(house: House) -> None:
    made = house.create(hourly_limit=5)
    for _ in range(3):
        house.use(made["key"])
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    with house.platform.store.read() as connection:
        row = connection.execute(
            sa.text("SELECT n FROM windows WHERE key_id = :id"), {"id": made["id"]}
        ).scalar_one()
    assert row == 3


def test_a_successor_begins_with_what_was_counted_a_moment_ago(house: House) -> None:
    made = house.create(hourly_limit=5)
    for _ in range(4):
        house.use(made["key"])
    fresh = house.mint(made["id"], "regenerate")
    house.use(fresh["key"])
    assert house.use(fresh["key"], 429)["used"] == 6


@pytest.fixture
def pair(database: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers on one database, of either kind."""
    url = "" if database.startswith("sqlite") else database.replace("+psycopg", "")
    first = Server(tmp_path / "platform", database=url)
    first.init()
    second = Server(first.folder, database=url, key=first.key)
    try:
        yield first.start(), second.start()
    finally:
        first.kill()
        second.kill()


def test_what_one_process_answered_holds_in_the_other(pair: tuple[Server, Server]) -> None:
    """Revoked, released, limited, confined: the next request at the other one knows, however warm its memory is."""
    here, there = pair
    for _ in range(10):
        made = here.ask("POST", "/api/v1/keys", 201, json={
            "name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"], "hourly_limit": 50,
        })  # fmt: skip
        assert isinstance(made, dict)
        path = f"/api/v1/keys/{made['id']}"
        there.ask("GET", "/api/scenarios", 200, key=made["key"])
        here.ask("PATCH", path, 200, json={"permissions": ["upload_results"]})
        there.ask("GET", "/api/scenarios", 403, key=made["key"])
        here.ask("PATCH", path, 200, json={"permissions": ["read_scenarios"]})
        there.ask("GET", "/api/scenarios", 200, key=made["key"])
        here.ask("POST", f"{path}/revoke", 200)
        there.ask("GET", "/api/scenarios", 401, key=made["key"])


def test_the_quota_holds_to_the_request_across_processes(pair: tuple[Server, Server]) -> None:
    here, there = pair
    made = here.ask("POST", "/api/v1/keys", 201, json={
        "name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"], "hourly_limit": 100,
    })  # fmt: skip
    assert isinstance(made, dict)

    async def use_both() -> list[int]:
        async with httpx.AsyncClient(
            headers={"Authorization": f"Bearer {made['key']}"}, timeout=60
        ) as client:
            answers = await asyncio.gather(
                *(client.get(f"{one.url}/api/scenarios") for _ in range(65) for one in (here, there))
            )
        return [answer.status_code for answer in answers]

    codes = asyncio.run(use_both())
    assert sorted(codes) == [200] * 100 + [429] * 30


def test_killed_while_it_is_used_a_platform_lets_no_more_in(server: Server) -> None:
    """What was counted is counted still, after SIGKILL and a new start."""
    made = server.ask("POST", "/api/v1/keys", 201, json={
        "name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"], "hourly_limit": 10,
    })  # fmt: skip
    assert isinstance(made, dict)
    for _ in range(7):
        server.ask("GET", "/api/scenarios", 200, key=made["key"])
    server.kill()
    server.start()
    codes = [
        httpx.get(
            f"{server.url}/api/scenarios", headers={"Authorization": f"Bearer {made['key']}"}
        ).status_code
        for _ in range(5)
    ]
    assert codes == [200] * 3 + [429] * 2


def test_a_database_that_is_locked_keeps_no_known_key_out(server: Server) -> None:
    """Reading waits for no writer, and the count is no transaction; what was used is written when it can be."""
    server.ask("GET", "/api/scenarios", 200)
    with sqlite3.connect(server.folder / "server" / "platform.db", isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            server.ask("GET", "/api/scenarios", 200)
        connection.execute("ROLLBACK")


def test_a_count_that_can_not_be_kept_is_said_at_the_start(server: Server) -> None:
    server.stop()
    tallied = server.folder / "server" / "platform.db-tally"
    tallied.unlink()
    tallied.mkdir()
    done = server.command("serve", "--port", "1")
    assert done.returncode == 3
    assert "platform.db-tally" in done.stderr
    assert "Traceback" not in done.stderr


# The line to PostgreSQL.


@pytest.fixture
def dsn(postgres: str) -> str:
    return empty_database(postgres).replace("+psycopg", "")


def line(dsn: str) -> Line:
    return Line(psycopg.connect(dsn, autocommit=True))


def test_answers_come_to_those_who_asked(dsn: str) -> None:
    async def ask() -> list[object]:
        one = line(dsn)
        answers = await asyncio.gather(
            *(one.ask("SELECT CAST(:n AS int8), CAST(:text AS text), NULL", {"n": n, "text": f"§{n}"}) for n in range(500))
        )  # fmt: skip
        one.close()
        return [row for rows in answers for row in rows]

    assert asyncio.run(ask()) == [(n, f"§{n}", None) for n in range(500)]


def test_bytes_go_as_they_are(dsn: str) -> None:
    async def ask() -> object:
        one = line(dsn)
        rows = await one.ask(
            "SELECT CAST(encode(CAST(:value AS bytea), 'hex') AS text)", {"value": bytes(range(256))}
        )
        one.close()
        return rows[0][0]

    assert asyncio.run(ask()) == bytes(range(256)).hex()


def test_an_error_closes_the_line_and_tells_all_who_wait(dsn: str) -> None:
    async def ask() -> tuple[list[object], bool]:
        one = line(dsn)
        answers = await asyncio.gather(
            one.ask("SELECT CAST(:n AS int8)", {"n": 1}), one.ask("SELECT nothing", {}), return_exceptions=True
        )  # fmt: skip
        return list(answers), one.open

    answers, still_open = asyncio.run(ask())
    assert [type(answer) for answer in answers] == [LineBroke, LineBroke]
    assert "nothing" in str(answers[1])
    assert not still_open


def test_a_silent_database_is_not_waited_for(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxguard.server.line.LONGEST", 0.2)

    async def ask() -> None:
        await line(dsn).ask("SELECT CAST(pg_sleep(30) AS text)", {})

    with pytest.raises(LineLate):
        asyncio.run(ask())


def test_a_line_that_was_cut_is_replaced_unseen(postgres: str, tmp_path: Path) -> None:
    url = empty_database(postgres)
    server = Server(tmp_path / "platform", database=url.replace("+psycopg", ""))
    server.init()
    try:
        server.start()
        for _ in range(3):
            server.ask("GET", "/api/scenarios", 200)
            with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        server.ask("GET", "/api/scenarios", 200)
    finally:
        server.kill()
