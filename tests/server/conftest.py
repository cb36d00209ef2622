"""The platform under test: in process with a clock that can be moved, on both databases; or as the real server."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from fluxguard import wire
from fluxguard.server import life, people
from fluxguard.server.app import create_app
from fluxguard.server.platform import Platform, open_platform
from fluxguard.server.settings import Settings
from tests.server.real import Server

START = 1_764_000_000_000  # a day in November 2025
EMAIL, PASSWORD = "owner@example.org", "correct horse battery staple"
DATABASES = ("sqlite", "postgresql")
_NUMBERS = itertools.count(1)


@dataclass
class Clock:
    """Milliseconds since 1970 that stand still until they are moved."""

    now: int = START

    def __call__(self) -> int:
        return self.now

    def forward(self, milliseconds: int) -> None:
        self.now += milliseconds


@dataclass
class House:
    """A platform with its owner and a first key, and a client for it. keys: all that were shown, in clear."""

    platform: Platform
    client: TestClient
    clock: Clock
    first: str = field(repr=False)
    first_id: str = ""
    keys: list[str] = field(default_factory=list, repr=False)

    def call(
        self, method: str, path: str, key: str | None = None, status: int | None = None, **how: Any
    ) -> Any:
        """A request with a key (the first one, unless named). Returns the answer's JSON; the status may be asked for."""
        headers = {"Authorization": f"Bearer {key or self.first}", **how.pop("headers", {})}
        answer = self.client.request(method, path, headers=headers, **how)
        assert status is None or answer.status_code == status, (answer.status_code, _shy(answer.text))
        return answer.json() if answer.content else None

    def create(self, status: int = 201, key: str | None = None, **wish: Any) -> Any:
        self.clock.forward(1000)
        body = {
            "name": "A key", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"], **wish,
        }  # fmt: skip
        made = self.call("POST", "/api/v1/keys", key, status, json=body)
        self.seen(made)
        return made

    def mint(self, key_id: str, action: str, status: int = 201, name: str | None = None, **body: Any) -> Any:
        """regenerate or rotate, with an idempotency key of its own."""
        headers = {"Idempotency-Key": name or f"i{next(_NUMBERS)}"}
        made = self.call("POST", f"/api/v1/keys/{key_id}/{action}", status=status, json=body, headers=headers)
        self.seen(made)
        return made

    def seen(self, made: Any) -> None:
        if isinstance(made, dict) and isinstance(made.get("key"), str):
            self.keys.append(made["key"])

    def state(self, key_id: str) -> str:
        state: str = self.call("GET", f"/api/v1/keys/{key_id}", status=200)["state"]
        return state

    def project(self, name: str) -> str:
        made: str = self.call("POST", "/api/projects", status=201, json={"name": name})["id"]
        return made

    def use(self, key: str, status: int = 200, **how: Any) -> Any:
        """One metered request."""
        return self.call("GET", "/api/scenarios", key, status, **how)


def _shy(text: str) -> str:
    from fluxguard.display import safe

    return safe(text)[:500]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL, from PyPI; its URL."""
    import pgserver

    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="fluxguard-pg-")
    server = pgserver.get_server(folder, cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off")  # this machine does not lose its power
    server.psql("SELECT pg_reload_conf()")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    # At once: to write down what hundreds of databases hold, which nobody needs any more, takes half a minute.
    os.kill(int((Path(folder) / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
    server.cleanup()
    # That takes half a minute of the disk's, and nobody waits for it.
    subprocess.Popen(["rm", "-rf", folder], start_new_session=True)


@dataclass(frozen=True)
class Furnished:
    """A platform that was set up once, to be copied: its database, its folder with all files of it, its first key."""

    database: str
    folder: Path
    first: str = field(repr=False)
    first_id: str

    def copied(self, folder: Path) -> str:
        """Puts its files into a folder; returns the URL of a copy of its database."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        url = sa.engine.make_url(self.database)
        if url.drivername == "sqlite":
            return f"sqlite:///{folder / 'platform.db'}"
        beside = url.set(database="postgres").render_as_string(hide_password=False)
        return empty_database(beside, f" TEMPLATE {url.database}")


def furnish(database: str, folder: Path) -> Furnished:
    with founded(database, folder) as made:
        return Furnished(database, folder, made.first, made.first_id)


@pytest.fixture(scope="session")
def furnished_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    folder = tmp_path_factory.mktemp("furnished")
    return furnish(f"sqlite:///{folder / 'platform.db'}", folder)


@pytest.fixture(scope="session")
def furnished_postgresql(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    return furnish(empty_database(postgres), tmp_path_factory.mktemp("furnished"))


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind; of one that is set up where the test asks for a `house`."""
    if "house" in request.fixturenames:
        furnished: Furnished = request.getfixturevalue(f"furnished_{request.param}")
        return furnished.copied(tmp_path)
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'platform.db'}"
    return empty_database(request.getfixturevalue("postgres"))


def empty_database(url: str, more: str = "") -> str:
    """A new database on the server of `url`; its own URL. more: further words of its making."""
    name = f"t{secrets.token_hex(8)}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}{more}")
    engine.dispose()
    return str(sa.engine.make_url(url).set(database=name).render_as_string(hide_password=False))


Houses = Callable[..., House]


@pytest.fixture
def house(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[House]:
    """A platform that is set up."""
    kind = "sqlite" if database.startswith("sqlite") else "postgresql"
    with founded(database, tmp_path, request.getfixturevalue(f"furnished_{kind}")) as made:
        yield made


class founded:
    """A platform with its owner, for a `with`. furnished: of which its database and its folder are copies."""

    def __init__(
        self, database: str, folder: Path, furnished: Furnished | None = None, **settings: Any
    ) -> None:
        self.clock = Clock()
        self.furnished = furnished
        self.settings = Settings(database=database, secret=folder / "secret", clock=self.clock, **settings)

    def __enter__(self) -> House:
        platform = open_platform(self.settings)
        first_id, secret = self._first(platform)
        self.client = TestClient(create_app(platform), client=("192.0.2.1", 50000))
        self.client.__enter__()
        self.platform = platform
        return House(platform, self.client, self.clock, secret, first_id, [secret])

    def _first(self, platform: Platform) -> tuple[str, str]:
        if self.furnished is not None:
            return self.furnished.first_id, self.furnished.first
        with platform.store.write() as connection:
            actor = people.found(connection, platform, EMAIL, PASSWORD)
            wish = life.Wish("First key", "dev", tuple(wire.PERMISSIONS), None, None, hourly_limit=1_000_000)
            row, secret = life.create(connection, platform, actor, wish)
        return row["id"], secret

    def __exit__(self, *error: object) -> None:
        self.client.__exit__(None, None, None)
        self.platform.close()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A platform that is set up, to be copied."""
    made = Server(tmp_path_factory.mktemp("prepared"))
    made.init()
    return made


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    """The real server on the embedded database, set up and started."""
    with prepared.copied(tmp_path / "platform") as made:
        yield made


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. On a machine without one, it is installed; see .ci/run."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise AssertionError("there is no Chromium: apt-get install chromium")
