"""What strangers and broken clients send: origins, searches, names and keys that are none, long bodies, connections that end, two things at once."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from fluxguard.server import envelope, people
from fluxguard.server.pages import signing
from fluxguard.server.tables import devices, keys, sessions
from fluxguard.server.trail import Actor
from tests.server.conftest import EMAIL, PASSWORD, House
from tests.server.real import Server

BEARER = "Authorization"


def bearer(key: str) -> dict[str, str]:
    return {BEARER: f"Bearer {key}"}


@pytest.mark.parametrize(
    "origin", ["http://[::1", "null", "", "http://evil.example", "http://testserver@evil"]
)
@pytest.mark.parametrize("host", ["testserver", ""])
def test_an_origin_that_is_none_is_another_site(house: House, origin: str, host: str) -> None:
    form = {"email": EMAIL, "password": PASSWORD}
    answer = house.client.post("/sign-in", data=form, headers={"Origin": origin, "Host": host})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_search_has_an_end(house: House) -> None:
    """SQLite takes no pattern of more than 50,000 characters, and said so as if it were broken."""
    for name in ("q", "project_id", "project"):
        house.call("GET", f"/api/v1/keys?{name}={'a' * 50_001}", status=422)
    house.call("GET", f"/api/api-keys?project_id={'a' * 50_001}", status=422)
    house.call("GET", f"/api/v1/keys?q={'%25' * 100}", status=200)


@pytest.mark.parametrize(
    "name", ["\u200b", "\u00a0", "a\nb", "a\0", "a\u202eb", "\u2066a", "a\u2028b", "\x1b[31m"]
)
def test_a_name_can_be_seen(house: House, name: str) -> None:
    house.call("POST", "/api/projects", status=422, json={"name": name})
    project = house.project("Ame\u0301lie \u0645\u06cc\u200c\u0631\u0648\u062f \U0001f468\u200d\U0001f467")
    wish = {"project_id": project, "name": name}
    house.call("POST", "/api/scenarios", status=422, json=wish)
    house.create(422, name=name)


@pytest.mark.parametrize("point", [0, 1, 2**255 - 19 - 1])
def test_nothing_is_sealed_to_a_key_that_everybody_has(house: House, point: int) -> None:
    """Points of low order (RFC 7748, section 6.1): whatever is sealed to them, anybody can open."""
    reveal_to = base64.b64encode(point.to_bytes(32, "little")).decode()
    house.create(422, reveal_to=reveal_to)
    made = house.create()
    house.mint(made["id"], "rotate", 422, reveal_to=reveal_to)
    assert house.state(made["id"]) == "active"
    with house.platform.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar() == 2


def test_a_long_body_of_a_stranger_is_not_read(house: House) -> None:
    """Not even as far as to say what is wrong with it."""
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(60):
            read += 1
            yield b"[" * 65536

    typed = {"Content-Type": "application/json"}
    for path in ("/api/projects", "/api/scenarios", "/api/sync/pull", "/api/sync/upload"):
        for key in ("flux_dev_none", "fluxlogin_none", house.create()["key"][:-1]):
            answer = house.client.post(path, content=b"[" * 200_000, headers={**typed, **bearer(key)})
            assert answer.status_code == 401, path
            answer = house.client.post(path, content=endless(), headers={**typed, **bearer(key)})
            assert answer.status_code == 401, path
        assert house.client.post(path, content=endless(), headers=typed).status_code == 401
    whole = b'{"name": "long", "more": "' + b"x" * 100_000 + b'"}'
    house.call("POST", "/api/projects", status=201, content=whole, headers=typed)
    used = house.call("GET", f"/api/v1/keys/{house.first_id}/usage", status=200)
    assert used["total"] <= 1, "to be recognised is no use of a key"


@pytest.mark.parametrize(
    "path", ["/api/cli-connect/start", "/api/cli-connect/refresh", "/api/v1/liveness", "/api/projects"]
)
def test_where_little_is_sent_little_is_taken(house: House, path: str) -> None:
    headers = {"Content-Type": "application/json", **bearer(house.first)}
    answer = house.client.post(path, content=b"x" * (envelope.LARGEST_FORM + 1), headers=headers)
    assert answer.status_code == 413


def test_tokens_are_stored_by_nobody_on_the_way(house: House) -> None:
    started = house.client.post("/api/cli-connect/start", json={})
    code = {"device_code": started.json()["device_code"]}
    for answer in (started, house.client.post("/api/cli-connect/complete", json=code)):
        assert answer.headers["cache-control"] == "no-store"


def test_a_network_has_so_many_sign_ins_under_way(house: House) -> None:
    """Whoever has one address of IPv6 has 2**64 of them."""
    from fastapi.testclient import TestClient

    app = house.client.app
    addresses = (f"2001:db8::{n:x}" for n in itertools.count(1))
    codes = [
        TestClient(app, client=(next(addresses), 5000)).post("/api/cli-connect/start", json={}).status_code
        for _ in range(22)
    ]
    assert codes == [200] * 20 + [429] * 2
    with house.platform.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(devices)).scalar() == 20


@pytest.mark.parametrize("what", ["password", "disable"])
def test_a_sign_in_that_was_under_way_does_not_outlast_the_change(
    house: House, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password takes a while to check. Meanwhile the account got another one, or was disabled, and all its sessions ended."""
    fits = people.password_fits

    def slowly(row: Any, password: str) -> bool:
        right = fits(row, password)
        with house.platform.store.write() as connection:
            actor = Actor("system", people.workspace_of_owner(connection))
            people.add(connection, house.platform, actor, "second@example.org", PASSWORD, "owner")
            people.change(connection, house.platform, actor, EMAIL, what, "another long password")
        return right

    monkeypatch.setattr(signing.people, "password_fits", slowly)
    form = {"email": EMAIL, "password": PASSWORD}
    answer = house.client.post("/sign-in", data=form, follow_redirects=False)
    assert answer.status_code == 401
    assert "fluxguard" not in answer.cookies
    with house.platform.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar() == 0


def test_files_name_what_may_be_asked_of_them(house: House) -> None:
    answer = house.client.request("DELETE", "/static/style.css")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_whoever_hangs_up_in_the_middle_fills_no_log(server: Server) -> None:
    import socket
    import time
    from urllib.parse import urlsplit

    address = urlsplit(server.url)
    head = f"POST /api/projects HTTP/1.1\r\nHost: x\r\n{BEARER}: Bearer {server.key}\r\nContent-Length: 50\r\n\r\nabc"
    for _ in range(3):
        with socket.create_connection((address.hostname, address.port)) as one:
            one.sendall(head.encode())
            time.sleep(0.1)
    server.ask("GET", "/api/v1/self", 200)
    server.stop()
    assert "failed" not in server.log()
