"""What must hold when much happens at once, when the process is killed, and wherever a key could leave a trace."""

from __future__ import annotations

import base64
import concurrent.futures
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.server.conftest import House
from tests.server.real import PASSWORD, Server


def at_once(work: Callable[[int], Any], times: int) -> list[Any]:
    """Runs `work` in as many threads, which start together."""
    ready = threading.Barrier(times)

    def one(number: int) -> Any:
        ready.wait()
        return work(number)

    with concurrent.futures.ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def post(house: House, path: str, key: str | None = None, **how: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key or house.first}", **how.pop("headers", {})}
    return house.client.post(path, headers=headers, **how)


def test_of_many_rotations_at_once_one_wins(house: House) -> None:
    old = house.create()
    codes = at_once(
        lambda n: (
            post(house, f"/api/v1/keys/{old['id']}/rotate", headers={"Idempotency-Key": f"n{n}"}).status_code
        ),
        8,
    )
    assert sorted(codes) == [201] + [409] * 7


def test_the_same_idempotency_key_at_once_makes_one_key(house: House) -> None:
    body = {"name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"]}
    answers = at_once(
        lambda _: post(house, "/api/v1/keys", json=body, headers={"Idempotency-Key": "same"}), 8
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(house.call("GET", "/api/v1/keys")) == 2


def test_the_quota_holds_to_the_request(house: House) -> None:
    made = house.create(hourly_limit=20)
    headers = {"Authorization": f"Bearer {made['key']}"}
    codes = at_once(
        lambda _: [house.client.get("/api/scenarios", headers=headers).status_code for _ in range(5)], 8
    )
    assert sum(code == 200 for some in codes for code in some) == 20


def test_after_a_revocation_is_answered_no_later_request_gets_in(house: House) -> None:
    made = house.create(hourly_limit=100_000)
    house.use(made["key"])
    revoked_at: list[float] = []
    history: list[tuple[float, int]] = []

    def using(number: int) -> None:
        if number == 0:
            time.sleep(0.2)
            assert post(house, f"/api/v1/keys/{made['id']}/revoke").status_code == 200
            revoked_at.append(time.monotonic())
            return
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            begun = time.monotonic()
            code = house.client.get(
                "/api/scenarios", headers={"Authorization": f"Bearer {made['key']}"}
            ).status_code
            history.append((begun, code))

    at_once(using, 4)
    assert any(code == 200 for begun, code in history)
    assert all(code == 401 for begun, code in history if begun > revoked_at[0])


def test_the_audit_chain_does_not_fork(house: House) -> None:
    at_once(lambda n: post(house, "/api/projects", json={"name": f"p{n}"}), 8)
    verdict = house.call("GET", "/api/v1/audit/verify", status=200)
    assert verdict["intact"] is True


@pytest.mark.parametrize("harm", ["UPDATE audit SET actor = 'user:me' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2",
                                  "UPDATE audit SET detail = '{}' WHERE seq = 1"])  # fmt: skip
def test_tampering_shows(house: House, harm: str) -> None:
    house.create()
    assert house.call("GET", "/api/v1/audit/verify")["intact"] is True
    with house.platform.store.engine.begin() as connection:
        if house.platform.settings.embedded:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql(harm)
        if house.platform.settings.embedded:
            connection.exec_driver_sql("COMMIT")
    verdict = house.call("GET", "/api/v1/audit/verify")
    assert verdict["intact"] is False
    assert verdict["broken_at"] in (1, 2)


def test_a_refusal_is_in_the_same_transaction_as_nothing(house: House) -> None:
    """What fails leaves neither a key nor a record."""
    before = house.call("GET", "/api/v1/audit/verify")["records"]
    house.create(422, scope={"projects": ["prj_none"]})
    assert house.call("GET", "/api/v1/audit/verify")["records"] == before


# Killed at random, every acknowledged change is there.


def test_what_was_acknowledged_survives_being_killed(server: Server) -> None:
    server.raise_limits()
    said: dict[str, str] = {}
    keys: dict[str, str] = {}
    chance = random.Random("killed")
    for _ in range(4):
        moment = time.monotonic() + chance.uniform(0.3, 1.5)
        killer = threading.Timer(moment - time.monotonic(), server.kill)
        killer.start()
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=5
        ) as client:
            try:
                while True:
                    body = {
                        "name": "k",
                        "environment": "dev",
                        "scope": "all",
                        "permissions": ["read_scenarios"],
                    }
                    made = client.post("/api/v1/keys", json=body)
                    if made.status_code == 429:
                        break
                    assert made.status_code == 201
                    said[made.json()["id"]] = "active"
                    keys[made.json()["id"]] = made.json()["key"]
                    if chance.random() < 0.5:
                        victim = chance.choice(list(said))
                        if client.post(f"/api/v1/keys/{victim}/revoke").status_code == 200:
                            said[victim] = "revoked"
            except httpx.HTTPError:
                pass
        killer.join()
        server.start()
        shown = {one["id"]: one["state"] for one in server.ask("GET", "/api/v1/keys?limit=1000", 200)}  # type: ignore[attr-defined]
        for key_id, state in said.items():
            assert shown[key_id] == state or (state == "active" and shown[key_id] == "revoked"), key_id
    verdict = server.ask("GET", "/api/v1/audit/verify", 200)
    assert isinstance(verdict, dict)
    assert verdict["intact"] is True
    assert len(said) > 10


def test_a_revocation_is_on_disk_before_its_answer(server: Server, tmp_path: Path) -> None:
    """A copy of the files as they are when the answer comes has the revocation."""
    made = server.ask("POST", "/api/v1/keys", 201, json={
        "name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"],
    })  # fmt: skip
    assert isinstance(made, dict)
    server.ask("POST", f"/api/v1/keys/{made['id']}/revoke", 200)
    copy = tmp_path / "copy"
    shutil.copytree(server.folder / "server", copy)
    with sqlite3.connect(copy / "platform.db") as connection:
        assert connection.execute("SELECT state FROM keys WHERE id = ?", (made["id"],)).fetchone() == (
            "revoked",
        )


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_the_log_of_writes_is_synced_between_request_and_answer(server: Server, tmp_path: Path) -> None:
    """What a power cut would take is what was never synced: a revocation is, before it is acknowledged."""
    made = server.ask("POST", "/api/v1/keys", 201, json={
        "name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"],
    })  # fmt: skip
    assert isinstance(made, dict)
    assert server.process is not None
    log = tmp_path / "trace"
    tracer = subprocess.Popen(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync,sendto,write,writev",
            "-o",
            log,
            "-p",
            str(server.process.pid),
        ],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1.5)
    server.ask("POST", f"/api/v1/keys/{made['id']}/revoke", 200)
    tracer.terminate()
    tracer.wait(20)
    lines = log.read_text("utf-8", "replace").splitlines()
    answered = next((n for n, line in enumerate(lines) if '"HTTP/1.1 200' in line), None)
    synced = next((n for n, line in enumerate(lines) if "sync(" in line and "-wal" in line), None)
    if answered is None:
        pytest.skip("strace may not attach here")
    assert synced is not None
    assert synced < answered


# No key in any log, row, file or answer but the one that shows it.


def forms(key: str) -> list[bytes]:
    raw = key.encode()
    body = raw.rpartition(b"_")[2]
    encoded = [base64.b64encode(b"x" * n + raw)[4 if n else 0 : -4] for n in range(3)]
    return [raw, body, body[4:-5], raw.hex().encode(), raw.decode().encode("utf-16-le"), *encoded]


def test_no_key_is_left_in_any_file_of_the_platform(server: Server) -> None:
    keys = [server.key]
    project = server.ask("POST", "/api/projects", 201, json={"name": "p"})
    assert isinstance(project, dict)
    for number in range(3):
        made = server.ask("POST", "/api/v1/keys", 201, json={
            "name": f"k{number}", "environment": "prod", "scope": "all", "permissions": ["read_scenarios"],
        })  # fmt: skip
        assert isinstance(made, dict)
        keys.append(made["key"])
        server.ask("GET", "/api/scenarios", 200, key=made["key"], headers={"User-Agent": made["key"]})
        server.ask("POST", "/api/sync/upload", 403, key=made["key"], json={"bundle_version_id": made["key"]})
        server.ask("GET", f"/api/v1/keys/{made['key']}", 404)
        server.ask("POST", "/api/v1/keys", 422, json={"name": made["key"], "surprise": made["key"]})
    rotated = server.ask("POST", f"/api/v1/keys/{made['id']}/rotate", 201, headers={"Idempotency-Key": "r"})
    assert isinstance(rotated, dict)
    keys.append(rotated["key"])
    httpx.post(
        f"{server.url}/api/v1/leaks",
        json=[{"token": keys[1], "type": "t", "url": f"https://x/{keys[1]}", "source": "s"}],
    )
    httpx.get(
        f"{server.url}/settings/api-keys/{keys[1]}?key={keys[1]}",
        headers={"Accept": "text/html", "User-Agent": keys[1]},
    )
    time.sleep(1.5)
    server.stop()
    for path in server.folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        for number, key in enumerate(keys):
            for form in forms(key):
                assert form not in data, f"key {number} in {path.name}"
        assert PASSWORD.encode() not in data, path


def test_answers_never_repeat_what_was_sent(house: House) -> None:
    secret = house.create()["key"]
    headers = {"Authorization": f"Bearer {house.first}", "Content-Type": "application/json"}
    for method, path, body in (
        ("POST", "/api/v1/keys", f'{{"name": "{secret}", "environment": "{secret}"}}'),
        ("POST", "/api/v1/keys", f'{{"{secret}": 1'),
        ("GET", f"/api/v1/keys/{secret}", ""),
        ("GET", f"/api/v1/keys?state={secret}", ""),
        ("POST", "/api/v1/liveness", f'{{"prefixes": ["{secret}"]}}'),
        ("POST", "/api/v1/leaks", f'["{secret}"]'),
        ("POST", "/api/cli-connect/complete", f'{{"device_code": "{secret}"}}'),
        (
            "POST",
            "/api/v1/keys",
            f'{{"name": "x", "environment": "dev", "scope": "{secret}", "permissions": ["{secret}"]}}',
        ),
    ):
        answer = house.client.request(method, path, content=body, headers=headers)
        for form in forms(secret):
            assert form not in answer.content, (method, path.replace(secret, "***"))


def test_the_secret_is_private_and_nothing_works_without_it(house: House, tmp_path: Path) -> None:
    from fluxguard.errors import UsageError
    from fluxguard.server.secret import open_vault

    path = house.platform.settings.secret
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(UsageError, match="Others may read"):
        open_vault(path)
    other = open_vault(tmp_path / "other")
    assert other.lookup(house.first.encode()) != house.platform.vault.lookup(house.first.encode())
    with house.platform.store.read() as connection:
        kept = connection.execute(sa.text("SELECT lookup FROM keys")).scalars().all()
    assert all(len(bytes(one)) == 32 for one in kept)
