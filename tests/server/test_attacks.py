"""What a stranger, a thief with a key, and a day on which everything breaks would try."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from fluxguard import wire
from fluxguard.errors import UsageError
from fluxguard.server.platform import open_platform
from tests.server.conftest import Clock, House
from tests.server.real import COMMAND, Server

MANAGER = ["read_scenarios", "manage_keys"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# A thief with a key.


def test_a_key_gives_itself_neither_time_nor_a_higher_limit(house: House) -> None:
    made = house.create(permissions=MANAGER, expires="30d", hourly_limit=50)
    path = f"/api/v1/keys/{made['id']}"
    for wish in (
        {"expires": "never"},
        {"expires": "1y"},
        {"hourly_limit": 51},
        {"permissions": list(wire.PERMISSIONS)},
    ):
        told = house.call("PATCH", path, made["key"], 403, json=wish)
        assert told["type"].endswith("privilege-escalation")
    house.call("PATCH", path, made["key"], 200, json={"hourly_limit": 40, "expires": "1d"})
    house.call("PATCH", path, status=200, json={"hourly_limit": 60})


def test_a_key_makes_none_that_has_more_time_or_a_higher_limit(house: House) -> None:
    """What it makes lives no longer than it was given itself, and manages keys not beyond its own end: it can't go on quietly."""
    maker = house.create(permissions=MANAGER, expires="30d", hourly_limit=50)
    house.clock.forward(10 * wire.DAY)
    for wish, member in (
        ({"expires": "never"}, "latest"),
        ({"expires": "31d"}, "latest"),
        ({"expires": "21d", "permissions": MANAGER}, "latest"),
        ({"hourly_limit": 51}, "most"),
    ):
        told = house.create(403, maker["key"], **wish)
        assert told["type"].endswith("privilege-escalation")
        assert member in told
    made = house.create(key=maker["key"], expires="30d", hourly_limit=50)
    manager = house.create(key=maker["key"], expires="19d", hourly_limit=50, permissions=MANAGER)
    house.clock.forward(19 * wire.DAY)
    assert [house.state(one["id"]) for one in (maker, made, manager)] == ["active", "active", "expired"]
    house.clock.forward(2 * wire.DAY)
    assert [house.state(one["id"]) for one in (maker, made)] == ["expired", "active"]


def test_the_time_that_making_takes_is_taken_from_no_key(house: House) -> None:
    """Between asking for a key and having made it some time passes, now more and now less of it."""
    pace = [40]  # milliseconds from one look at the clock to the next

    def now(clock: Clock) -> int:
        clock.forward(pace[0])
        return clock.now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(house.clock), "__call__", now)
        maker = house.create(permissions=MANAGER, expires="30d")
        made = house.create(expires="30d")
        pace[0] = 1
        house.create(key=maker["key"], expires="30d")
        pace[0] = 400
        for _ in range(5):
            made = house.mint(made["id"], "regenerate")
    given = wire.to_moment(made["expires_at"]) - wire.to_moment(made["created_at"])  # type: ignore[operator]
    assert 0 <= 30 * wire.DAY - given < 2000


def test_where_nothing_is_said_a_key_makes_one_that_has_as_much_as_it_may_give(house: House) -> None:
    project = house.project("p")
    maker = house.create(permissions=MANAGER, expires="30d", hourly_limit=50)
    wish = {"name": "n", "environment": "dev", "scope": "all", "permissions": MANAGER}
    made = house.call("POST", "/api/v1/keys", maker["key"], 201, json=wish)
    house.seen(made)
    assert (made["expires_at"], made["hourly_limit"]) == (maker["expires_at"], 50)
    usual = house.call("POST", "/api/v1/keys", status=201, json=wish)
    house.seen(usual)
    assert usual["hourly_limit"] == 1000
    both = house.create(permissions=[*MANAGER, "upload_results"], expires="30d", hourly_limit=50)
    vendors = house.call("POST", "/api/api-keys", both["key"], 201, json={"project_id": project})
    house.seen(vendors)
    assert (vendors["expires_at"], vendors["hourly_limit"]) == (both["expires_at"], 50)


def test_a_key_gives_no_other_one_more_than_it_may_hand_on(house: House) -> None:
    maker = house.create(permissions=MANAGER, expires="30d", hourly_limit=50)
    other = house.create(expires="1d", hourly_limit=40)
    forever = house.create(expires="never", hourly_limit=60)
    path = f"/api/v1/keys/{other['id']}"
    for wish in (
        {"expires": "never"},
        {"expires": "31d"},
        {"hourly_limit": 51},
        {"expires": "31d", "permissions": MANAGER},
    ):
        told = house.call("PATCH", path, maker["key"], 403, json=wish)
        assert told["type"].endswith("privilege-escalation")
    house.call("PATCH", path, maker["key"], 200, json={"expires": "29d", "hourly_limit": 50})
    # What it does not widen it may change, whoever gave that more.
    forever_path = f"/api/v1/keys/{forever['id']}"
    house.call("PATCH", forever_path, maker["key"], 200, json={"name": "n", "hourly_limit": 55})
    told = house.call("PATCH", forever_path, maker["key"], 403, json={"permissions": MANAGER})
    assert told["latest"] == maker["expires_at"]


def test_a_successor_lives_as_long_as_the_key_that_it_replaces(house: House) -> None:
    maker = house.create(permissions=MANAGER, expires="30d")
    forever = house.create(expires="never")
    headers = {"Idempotency-Key": "one"}
    for wish in ({"expires": "never"}, {"expires": "31d"}):
        house.call(
            "POST", f"/api/v1/keys/{maker['id']}/rotate", maker["key"], 403, headers=headers, json=wish
        )
    made = house.call(
        "POST", f"/api/v1/keys/{maker['id']}/rotate", maker["key"], 201, headers=headers, json={}
    )
    house.seen(made)
    assert made["expires_at"] == wire.to_text(house.clock.now + 30 * wire.DAY)
    for action in ("rotate", "regenerate"):
        again = house.create(expires="never") if action == "regenerate" else forever
        made = house.call(
            "POST", f"/api/v1/keys/{again['id']}/{action}", maker["key"], 201, headers=headers, json={}
        )
        house.seen(made)
        assert made["expires_at"] is None


def test_a_weaker_key_takes_no_stronger_ones_place(house: House) -> None:
    strong = house.create(permissions=list(wire.PERMISSIONS))
    weak = house.create(permissions=MANAGER)
    for action in ("rotate", "regenerate"):
        headers = {"Idempotency-Key": action}
        house.call(
            "POST", f"/api/v1/keys/{strong['id']}/{action}", weak["key"], 403, headers=headers, json={}
        )
    house.call("PATCH", f"/api/v1/keys/{strong['id']}", weak["key"], 403, json={"name": "mine"})


def test_a_key_that_manages_none_sees_itself_alone(house: House) -> None:
    plain = house.create()
    assert [one["id"] for one in house.call("GET", "/api/v1/keys", plain["key"], 200)] == [plain["id"]]
    house.call("GET", f"/api/v1/keys/{house.first_id}/timeline", plain["key"], 404)
    house.call("GET", f"/api/v1/keys/{house.first_id}/usage", plain["key"], 404)
    house.call("POST", f"/api/v1/keys/{house.first_id}/confirm", plain["key"], 404)


def test_a_key_in_quarantine_decides_about_no_quarantine(house: House) -> None:
    thief = house.create(permissions=MANAGER)
    house.use(thief["key"])
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    path = f"/api/v1/keys/{thief['id']}"
    house.call("POST", f"{path}/quarantine", status=200)
    house.use(thief["key"])  # it is known from here, and goes on
    for action in ("release", "quarantine"):
        house.call("POST", f"{path}/{action}", thief["key"], 403)
    house.create(403, key=thief["key"])
    assert house.state(thief["id"]) == "quarantined"


def test_a_new_key_is_no_fresh_hour(house: House) -> None:
    made = house.create(permissions=MANAGER, hourly_limit=5)
    for _ in range(4):
        house.use(made["key"])
    fresh = house.mint(made["id"], "regenerate")
    house.use(fresh["key"])
    house.use(fresh["key"], 429)


def test_an_answer_is_repeated_to_nobody_else(house: House) -> None:
    other = house.create(permissions=list(wire.PERMISSIONS))
    body = {"name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"]}
    headers = {"Idempotency-Key": "same"}
    first = house.call("POST", "/api/v1/keys", status=201, json=body, headers=headers)
    again = house.call("POST", "/api/v1/keys", other["key"], 201, json=body, headers=headers)
    assert again["id"] != first["id"]


def test_a_pending_key_that_leaked_is_not_waited_for(house: House) -> None:
    old = house.create(environment="prod")
    fresh = house.mint(old["id"], "rotate")
    house.client.post("/api/v1/leaks", json=[{"token": fresh["key"], "url": "https://example.org/a"}])
    house.use(fresh["key"], 401)
    house.use(old["key"])


def test_a_leak_report_fills_no_disk(house: House) -> None:
    made = house.create()
    for page in range(2):
        report = [{"token": made["key"], "url": f"https://example.org/{page}/{n}"} for n in range(80)]
        assert house.client.post("/api/v1/leaks", json=report).status_code == 202
    assert len(house.call("GET", "/api/v1/leaks", status=200)) == 100


def test_an_id_is_no_proof_that_a_key_leaked(house: House) -> None:
    made = house.create(environment="prod")
    for token in (made["id"], made["masked"], made["fingerprint"], made["key"][:-1]):
        house.client.post("/api/v1/leaks", json=[{"token": token}])
    assert house.state(made["id"]) == "active"


# A stranger.


def test_liveness_answers_look_alike_and_take_no_wildcards(house: House) -> None:
    short, long = house.create(name="a"), house.create(name="b" * 90, permissions=list(wire.PERMISSIONS))
    sizes = set()
    for made in (short, long):
        prefix = made["fingerprint"][4:9]
        found = house.client.post("/api/v1/liveness", json={"prefixes": [prefix]}).json()["matches"]
        sizes |= {len(one["payload"]) for one in found}
    assert len(sizes) == 1
    for prefix in ("%%%%%", "_____", "FFFFF", ""):
        assert house.client.post("/api/v1/liveness", json={"prefixes": [prefix]}).status_code == 422


HUGE = 99_999_999_999_999_999_999


@pytest.mark.parametrize(("method", "path", "content"), [
    ("GET", f"/api/v1/audit?after={HUGE}", ""),
    ("GET", "/api/v1/audit?actor=%00", ""),
    ("GET", "/api/v1/keys/%00", ""),
    ("GET", f"/api/bundles?limit={HUGE}", ""),
    ("GET", f"/api/v1/keys/KEY/usage?days={HUGE}", ""),
    ("GET", "/api/v1/keys/KEY/timeline?since=0001-01-01T00:00:00%2B23:59", ""),
    ("GET", "/api/scenarios?project_id=%00", ""),
    ("GET", "/api/scenarios?project_id=%ff%fe", ""),
    ("POST", "/api/projects", '{"name": "a\\u0000b"}'),
    ("POST", "/api/projects", '{"name": "\\ud800"}'),
    ("POST", "/api/v1/keys", '{"name": "a\\u0000b", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"]}'),
    ("POST", "/api/scenarios", '{"project_id": "PROJECT", "name": "n", "config_snapshot": {"a": NaN}}'),
    ("POST", "/api/scenarios", '{"project_id": "PROJECT", "name": "n", "config_snapshot": {"a": 1e999}}'),
    ("POST", "/api/scenarios", '{"project_id": "PROJECT", "name": "n", "config_snapshot": {"a": "\\ud800"}}'),
    ("POST", "/api/scenarios", '{"project_id": "PROJECT", "name": "n", "config_snapshot": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}"),
    ("POST", "/api/scenarios", '{"project_id": "PROJECT", "name": "n", "config_snapshot": {"a": ' + "9" * 5000 + "}}"),
    ("POST", "/api/cli-connect/start", '{"device_name": "\\u0000"}'),
    ("GET", "/static/%00", ""),
    ("GET", "/static/..%2f..%2fapp.py", ""),
    ("GET", "/static/" + "a" * 5000, ""),
])  # fmt: skip
def test_odd_values_are_refused_in_words(house: House, method: str, path: str, content: str) -> None:
    project = house.project("p")
    path, content = path.replace("KEY", house.first_id), content.replace("PROJECT", project)
    headers = {**bearer(house.first), "Content-Type": "application/json"}
    answer = house.client.request(method, path, content=content, headers=headers)
    assert answer.status_code < 500, answer.text[:300]
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json")
    house.call("GET", f"/api/scenarios?project_id={project}", status=200)  # nobody else's answer is spoilt


def test_a_defect_ends_in_a_problem_without_a_trace(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fluxguard.server.api import keys

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"with {house.first} in its words")

    monkeypatch.setattr(keys.listing, "page", broken)
    answer = house.client.get("/api/v1/keys", headers=bearer(house.first))
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    for text in (answer.text, caplog.text):
        assert "Traceback" not in text
        assert house.first not in text
    assert answer.headers["x-request-id"] in caplog.text


def test_too_much_is_refused_before_anybody_asks_who_sends_it(house: House) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(400):
            yield b"x" * 65536

    for path, kind in (("/api/v1/keys", "application/json"), ("/sign-in", "multipart/form-data; boundary=b")):
        headers = {"Content-Type": kind}
        announced = house.client.post(path, content=b"x" * (9 << 20), headers=headers)
        assert announced.status_code == 413
        headers |= bearer(house.first)
        assert house.client.post(path, content=endless(), headers=headers).status_code == 413
    stranger = house.client.post(
        "/api/v1/keys", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert stranger.status_code == 401, "of whom nothing is read"


def test_no_redirect_goes_where_host_says(house: House) -> None:
    for path in ("/api/v1/keys/", "/sign-in/", "/projects/", "//evil.example/x"):
        answer = house.client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert "evil.example" not in answer.headers.get("location", "")


def test_an_address_is_an_address(house: House) -> None:
    from fluxguard.server.asking import _address

    assert _address("2001:DB8::1") == "2001:db8::1"
    assert _address(house.first) == ""


def test_tries_at_once_are_counted_one_by_one(house: House) -> None:
    from tests.server.test_strength import at_once

    form = {"email": "owner@example.org", "password": "wrong wrong wrong"}
    codes = at_once(lambda _: house.client.post("/sign-in", data=form).status_code, 14)
    assert codes.count(401) == 10
    assert codes.count(429) == 4


def test_a_body_that_never_comes_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from fluxguard.server import envelope

    monkeypatch.setattr(envelope, "SLOWEST", 0.2)

    async def slow() -> list[dict[str, object]]:
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            await asyncio.sleep(3600)
            return {}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/sign-in", "raw_path": b"/sign-in", "query_string": b"", "scheme": "http",
            "headers": [(b"content-type", b"application/x-www-form-urlencoded")], "client": ("192.0.2.1", 1),
            "server": ("127.0.0.1", 8400), "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"},
        }  # fmt: skip
        await house.client.app(scope, receive, send)  # type: ignore[arg-type]
        return sent

    assert asyncio.run(asyncio.wait_for(slow(), 20))[0]["status"] == 408


# A day on which things break.


def test_a_clock_that_is_set_back_gives_and_takes_no_quota(house: House) -> None:
    made = house.create(hourly_limit=3)
    house.use(made["key"])
    house.use(made["key"])
    house.clock.forward(-24 * 3_600_000)
    house.use(made["key"])
    told = house.use(made["key"], 429)
    assert told["retry_after"] <= 3600
    house.clock.forward(3_600_000)
    house.use(made["key"])


@pytest.mark.parametrize("what", ["missing", "another"])
def test_another_secret_is_found_out_at_the_start(house: House, what: str) -> None:
    path = house.platform.settings.secret
    kept = path.read_text()
    if what == "missing":
        path.unlink()
    else:
        path.write_text("ab" * 32)
    with pytest.raises(UsageError, match="missing" if what == "missing" else "not the one"):
        open_platform(house.platform.settings)
    assert path.exists() is (what == "another")  # none is made in its place
    path.write_text(kept)
    path.chmod(0o600)
    open_platform(house.platform.settings).close()


def test_one_record_that_was_touched_stops_no_start(house: House) -> None:
    with house.platform.store.write() as connection:
        connection.execute(sa.text("UPDATE audit SET detail = '{}' WHERE seq = 1"))
    open_platform(house.platform.settings).close()


def test_a_newer_database_is_left_alone(house: House) -> None:
    with house.platform.store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="newer"):
        open_platform(house.platform.settings)


def test_a_database_that_is_locked_or_full_is_said_to_be(server: Server) -> None:
    path = server.folder / "server" / "platform.db"
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        answer = httpx.get(f"{server.url}/api/scenarios", headers=bearer(server.key), timeout=30)
        connection.execute("ROLLBACK")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    server.ask("GET", "/api/scenarios", 200)
    assert "Traceback" not in server.log()


def test_two_platforms_on_one_file_are_one(server: Server, prepared: Server) -> None:
    second = Server(server.folder, key=server.key)
    try:
        second.start()
        made = second.ask("POST", "/api/v1/keys", 201, json={
            "name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"], "hourly_limit": 4,
        })  # fmt: skip
        assert isinstance(made, dict)
        codes = [
            httpx.get(f"{one.url}/api/scenarios", headers=bearer(made["key"])).status_code
            for _ in range(3)
            for one in (server, second)
        ]
        assert codes == [200] * 4 + [429] * 2
        server.ask("POST", f"/api/v1/keys/{made['id']}/revoke", 200)
        assert httpx.get(f"{second.url}/api/scenarios", headers=bearer(made["key"])).status_code == 401
    finally:
        second.kill()


def test_a_worker_that_is_killed_takes_nothing_with_it(prepared: Server, tmp_path: Path) -> None:
    import shutil

    server = Server(tmp_path / "platform", key=prepared.key, workers=2)
    shutil.copytree(prepared.folder, server.folder)
    said = []
    try:
        server.start()
        assert server.process is not None
        for _ in range(3):
            children = (
                Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
            )
            workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            for _ in range(3):
                said.append(server.ask("POST", "/api/projects", 201, json={"name": f"p{len(said)}"})["id"])  # type: ignore[index]
            os.kill(int(workers[0]), signal.SIGKILL)
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    server.ask("GET", "/api/projects", 200)
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
        shown = {one["id"] for one in server.ask("GET", "/api/projects", 200)}  # type: ignore[attr-defined]
        assert set(said) <= shown
        assert server.ask("GET", "/api/v1/audit/verify", 200)["intact"] is True  # type: ignore[index]
    finally:
        server.kill()


def test_a_server_without_its_secret_does_not_start(server: Server) -> None:
    server.stop()
    (server.folder / "server" / "secret").unlink()
    done = subprocess.run(
        [COMMAND, "serve", "--port", str(server.port)], env=server.environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "secret is missing" in done.stderr
