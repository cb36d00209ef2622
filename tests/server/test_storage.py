"""A disk that is full, that fails, or that can only be read: what the platform answers, and that nothing is half written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from fluxguard.server.tables import audit, keys
from tests.server.conftest import EMAIL, PASSWORD, House, empty_database, founded
from tests.server.real import COMMAND, Server

WISH = {"name": "k", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"]}
FULL, READ_ONLY, FAILED = "storage-full", "storage-read-only", "storage-failed"


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, that can be filled."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a disk can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room that is left. Removed, it gives it back."""
    ballast = folder / "ballast"
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(file, b"x" * 4096):
            pass
    except OSError:
        return ballast
    finally:
        os.close(file)


def is_storage_problem(answer: httpx.Response, slug: str) -> None:
    assert answer.status_code == 503, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{slug}"
    assert answer.json()["detail"].endswith(".")
    assert int(answer.headers["retry-after"]) > 60
    assert "sqlite" not in answer.text.lower()


def create_until_refused(
    ask: Callable[[], httpx.Response], most: int = 2000
) -> tuple[set[str], httpx.Response]:
    """Makes keys until that no longer works. Returns those that were acknowledged, and the refusal."""
    said: set[str] = set()
    for _ in range(most):
        answer = ask()
        if answer.status_code != 201:
            return said, answer
        said.add(answer.json()["id"])
    raise AssertionError("it never ended")


def nothing_is_half_written(house_or_server: Any, said: set[str], known: int) -> None:
    """Every key that was acknowledged is there with its record, and there is none besides."""
    shown = house_or_server("GET", "/api/v1/keys?limit=1000")
    assert said <= {key["id"] for key in shown}
    assert len(shown) == len(said) + known
    verdict = house_or_server("GET", "/api/v1/audit/verify?full=true")
    assert verdict["intact"] is True
    made = house_or_server("GET", "/api/v1/audit?type=key.created&limit=1000")
    assert {record["target"] for record in made} == {key["id"] for key in shown}


# The real server.


@pytest.fixture
def on_a_small_disk(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with disk(tmp_path / "disk", "3m") as folder, prepared.copied(folder / "platform") as server:
        yield server


def test_a_full_disk_refuses_in_words_and_goes_on_when_there_is_room(on_a_small_disk: Server) -> None:
    server = on_a_small_disk
    server.raise_limits()
    ballast = fill(server.folder.parent)
    headers = {"Authorization": f"Bearer {server.key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        said, refused = create_until_refused(lambda: client.post("/api/v1/keys", json=WISH))
        is_storage_problem(refused, FULL)
        assert "is full. Nothing was changed." in refused.json()["detail"]
        is_storage_problem(client.get("/api/scenarios"), FULL)  # what can't be counted is not let in
        time.sleep(2.1)
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "is full" in ready.json()["detail"]
        assert client.get("/healthz").status_code == 200
        page = client.post(
            "/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers={"Accept": "text/html"}
        )
        assert page.status_code == 503
        assert "<h1>No room left</h1>" in page.text
        told = server.command("apikeys", "list", FLUXLOOP_API_KEY=server.key, cwd=Path("/"))
        assert told.returncode == 4
        assert "disk that holds the platform's database is full" in told.stderr

        ballast.unlink()
        time.sleep(2.1)
        assert client.get("/readyz").status_code == 200
    server.ask("POST", "/api/projects", 201, json={"name": "after"})
    nothing_is_half_written(lambda method, path: server.ask(method, path, 200), said, 1)
    assert "Traceback" not in server.log()
    assert server.key not in server.log()


def test_setting_up_on_a_full_disk_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "300k") as folder:
        server = Server(folder / "platform")
        words = [COMMAND, "serve", "init", "--owner", EMAIL, "--password-stdin"]

        def init() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                words, input=PASSWORD + "\n", env=server.environment, capture_output=True, text=True, timeout=60, check=False
            )  # fmt: skip

        failed = init()
        assert failed.returncode == 3
        assert "is full" in failed.stderr
        assert "Key" not in failed.stdout
        subprocess.run(["mount", "-o", "remount,size=5m", folder], check=True)
        server.init()
        server.start()
        server.ask("GET", "/api/v1/self", 200)
        server.kill()


def test_a_disk_that_fails_under_the_server_refuses_in_words(server: Server) -> None:
    """The limit on a file's size makes the real write fail, for anybody and anywhere."""
    server.raise_limits()
    assert server.process is not None
    log = server.folder / "server" / "platform.db-wal"
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    headers = {"Authorization": f"Bearer {server.key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        said, refused = create_until_refused(lambda: client.post("/api/v1/keys", json=WISH))
        is_storage_problem(refused, FAILED)
        time.sleep(2.1)
        assert client.get("/readyz").status_code == 503
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        time.sleep(2.1)
        assert client.get("/readyz").status_code == 200
    nothing_is_half_written(lambda method, path: server.ask(method, path, 200), said, 1)
    assert "Traceback" not in server.log()


def bound_by_modes() -> list[str | Path]:
    """What a command begins with so that a file's mode holds for it: root may write what is read-only, unless it gives that up."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_server_whose_file_or_folder_is_read_only_does_not_start(
    prepared: Server, tmp_path: Path, what: str
) -> None:
    server = Server(tmp_path / "platform", key=prepared.key)
    shutil.copytree(prepared.folder, server.folder)
    folder = server.folder / "server"
    if what == "folder":
        for name in ("platform.db-wal", "platform.db-shm"):
            (folder / name).unlink(missing_ok=True)
    (folder / "platform.db").chmod(0o400 if what == "file" else 0o600)
    folder.chmod(0o500 if what == "folder" else 0o700)
    done = subprocess.run(
        [*bound_by_modes(), COMMAND, "serve", "--port", str(server.port)], env=server.environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    folder.chmod(0o700)
    assert done.returncode in (2, 3), done.stderr
    assert "can't be opened for writing" in done.stderr or "can only be read" in done.stderr
    assert "Traceback" not in done.stderr


TURNED = """
import os, sys
from pathlib import Path
from fastapi.testclient import TestClient
from fluxguard.server.app import create_app
from fluxguard.server.platform import open_platform
from fluxguard.server.settings import settings
folder, key = Path(sys.argv[1]), sys.stdin.readline().strip()
platform = open_platform(settings(f"sqlite:///{folder / 'platform.db'}"))
with TestClient(create_app(platform), raise_server_exceptions=False) as client:
    headers = {"Authorization": f"Bearer {key}"}
    print(client.get("/api/v1/self", headers=headers).status_code)
    for path in folder.iterdir():
        path.chmod(0o400)
    folder.chmod(0o500)
    platform.store.engine.dispose()  # connections that are open keep what they were allowed
    made = client.post("/api/projects", headers=headers, json={"name": "p"})
    print(made.status_code, made.json()["type"])
    ready = client.get("/readyz")
    print(ready.status_code, ready.json()["detail"])
    print(client.get("/api/v1/self", headers=headers).status_code)
    sys.stdout.flush()
    os._exit(0)
"""


def test_a_file_that_becomes_read_only_while_the_platform_runs(prepared: Server, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    shutil.copytree(prepared.folder / "server", folder)
    done = subprocess.run(
        [*bound_by_modes(), sys.executable, "-c", TURNED, folder], input=prepared.key + "\n", capture_output=True, text=True, check=False,
        timeout=60, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    folder.chmod(0o700)
    lines = done.stdout.splitlines()
    assert lines[0] == "200", done.stderr[-2000:]
    assert lines[1] == f"503 /problems/{READ_ONLY}", done.stdout
    assert lines[2].startswith("503 The platform's database can only be read.")
    assert lines[3] == "200"


# On both databases.


def turn_read_only(house: House) -> None:
    """From now on the database takes no change."""
    engine = house.platform.store.engine
    if house.platform.settings.embedded:
        sa.event.listen(engine, "connect", lambda one, _: one.execute("PRAGMA query_only=ON"))
        house.client.app.state.gate.book._writing.execute("PRAGMA query_only=ON")  # type: ignore[attr-defined]
    else:
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on"
            )
            connection.commit()
    engine.dispose()


def test_a_read_only_database_refuses_in_words_and_can_still_be_read(house: House) -> None:
    house.client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    assert house.client.get("/readyz").status_code == 200
    house.client.app.state.readiness = None  # type: ignore[attr-defined]
    turn_read_only(house)
    headers = {"Authorization": f"Bearer {house.first}"}
    for method, path in (
        ("POST", "/api/v1/keys"),
        ("POST", f"/api/v1/keys/{house.first_id}/revoke"),
        ("GET", "/api/scenarios"),
    ):
        body = {"json": WISH} if path == "/api/v1/keys" else {}
        is_storage_problem(house.client.request(method, path, headers=headers, **body), READ_ONLY)  # type: ignore[arg-type]
    ready = house.client.get("/readyz")
    assert ready.status_code == 503
    assert "can only be read" in ready.json()["detail"]
    house.clock.forward(120_000)  # the session would be noted down as seen
    for path in ("/settings/api-keys", "/audit", f"/settings/api-keys/{house.first_id}"):
        assert house.client.get(path, headers={"Accept": "text/html"}).status_code == 200
    assert house.call("GET", "/api/v1/self", status=200)["state"] == "active"
    with house.platform.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar() == 1
        assert (
            connection.execute(
                sa.select(sa.func.count()).select_from(audit).where(audit.c.action == "key.revoked")
            ).scalar()
            == 0
        )


def test_what_was_counted_meanwhile_is_not_lost(house: House) -> None:
    """Uses are kept in memory while the database takes none, and written when it does."""
    if not house.platform.settings.embedded:
        return
    made, gate = house.create(), house.client.app.state.gate  # type: ignore[attr-defined]
    gate.book._writing.execute("PRAGMA query_only=ON")
    house.use(made["key"])
    with pytest.raises(Exception, match="readonly"):
        gate.flush()
    gate.book._writing.execute("PRAGMA query_only=OFF")
    gate.flush()
    assert house.call("GET", f"/api/v1/keys/{made['id']}/usage", status=200)["total"] == 1


def test_the_embedded_database_at_its_largest_size(tmp_path: Path) -> None:
    """SQLite's own limit on pages: the same answer as a full disk, wherever a disk can't be filled."""
    with founded(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path) as house:
        store = house.platform.store
        with store.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        sa.event.listen(
            store.engine, "connect", lambda one, _: one.execute(f"PRAGMA max_page_count={pages + 8}")
        )
        store.engine.dispose()
        headers = {"Authorization": f"Bearer {house.first}"}
        said, refused = create_until_refused(
            lambda: house.client.post("/api/v1/keys", json=WISH, headers=headers)
        )
        is_storage_problem(refused, FULL)
        nothing_is_half_written(lambda method, path: house.call(method, path, status=200), said, 1)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that any account can reach: PostgreSQL runs as one of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fluxguard-"))
    yield folder
    shutil.rmtree(folder)


def test_a_full_disk_below_postgresql(postgres: str, tmp_path: Path, outside: Path) -> None:
    outside.chmod(0o755)
    with disk(outside / "disk", "40m") as folder:
        place = folder / "space"
        place.mkdir()
        engine = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            files = Path(str(connection.exec_driver_sql("SHOW data_directory").scalar()))
            owner = files.stat()
            for path in (folder, place):
                os.chown(path, owner.st_uid, owner.st_gid)
            try:
                connection.exec_driver_sql(f"CREATE TABLESPACE small LOCATION '{place}'")
            except sa.exc.DBAPIError:
                pytest.skip("PostgreSQL may not reach this folder")
        engine.dispose()
        url = empty_database(postgres, " TABLESPACE small")
        with founded(url, tmp_path) as house:
            ballast = fill(folder)
            headers = {"Authorization": f"Bearer {house.first}"}
            said, refused = create_until_refused(
                lambda: house.client.post("/api/v1/keys", json=WISH, headers=headers)
            )
            is_storage_problem(refused, FULL)
            ballast.unlink()
            house.create()
            said |= {key["id"] for key in house.call("GET", "/api/v1/keys?limit=1")}
            nothing_is_half_written(lambda method, path: house.call(method, path, status=200), said, 1)
        with sa.create_engine(postgres, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {sa.engine.make_url(url).database} WITH (FORCE)")
            connection.exec_driver_sql("DROP TABLESPACE small")
