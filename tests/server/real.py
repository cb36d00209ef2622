"""The real server: `fluxguard serve` as a process of its own, set up by `serve init`, and what can be asked of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests import warm

COMMAND = warm.COMMAND
EMAIL, PASSWORD = "owner@example.org", "correct horse battery staple"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class Server:
    """A platform in a folder. key: the first one, with every permission."""

    folder: Path
    database: str = ""
    workers: int = 1
    port: int = field(default_factory=free_port)
    key: str = field(default="", repr=False)
    process: subprocess.Popen[bytes] | warm.Started | None = None

    @contextlib.contextmanager
    def copied(self, folder: Path) -> Iterator[Server]:
        """The same platform in another folder, started there."""
        made = Server(folder, key=self.key)
        shutil.copytree(self.folder, folder)
        try:
            yield made.start()
        finally:
            made.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        names = ("PATH", "LANG", "COVERAGE_PROCESS_START")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {
            **kept,
            "HOME": str(home),
            "FLUXGUARD_SERVER_DIR": str(self.folder / "server"),
            "FLUXGUARD_NO_KEYRING": "1",
        }

    def _database(self) -> list[str]:
        return ["--database", self.database] if self.database else []

    def init(self) -> Mapping[str, str]:
        words = ["serve", "init", "--owner", EMAIL, "--password-stdin", "--format", "json", *self._database()]
        done = warm.run([COMMAND, *words], Path.cwd(), self.environment, PASSWORD.encode() + b"\n")
        done.check_returncode()
        made: Mapping[str, str] = json.loads(done.stdout)
        self.key = made["key"]
        return made

    def raise_limits(self) -> None:
        """Lets every key ask a million times an hour; for the embedded database."""
        with sqlite3.connect(self.folder / "server" / "platform.db") as connection:
            connection.execute("UPDATE keys SET hourly_limit = 1000000")

    def add_keys(self, count: int) -> None:
        """Keys that nobody has, copies of the first one; for the embedded database."""
        with sqlite3.connect(self.folder / "server" / "platform.db") as connection:
            connection.row_factory = sqlite3.Row
            row = dict(connection.execute("SELECT * FROM keys ORDER BY created_at LIMIT 1").fetchone())
            names = ", ".join(row)
            for n in range(count):
                new = f"key_{n:020x}"
                row |= {"id": new, "name": f"Key {n:05}", "lookup": new.encode(), "fingerprint": f"fg1:{new}"}
                row["created_at"] += 1
                connection.execute(
                    f"INSERT INTO keys ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
                )

    def start(self) -> Server:
        with (self.folder / "server.log").open("ab") as log:
            argv = [
                COMMAND,
                "serve",
                "--port",
                str(self.port),
                "--workers",
                str(self.workers),
                *self._database(),
            ]
            self.process = warm.start(argv, self.environment, log.fileno())
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2, verify=False).status_code == 200:
                    return self
            except httpx.HTTPError:
                time.sleep(0.02)
            assert self.process.poll() is None, self.log()
        raise AssertionError(f"not ready: {self.log()}")

    def kill(self) -> None:
        """SIGKILL to it and its workers."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            finally:
                self.kill()

    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def ask(
        self, method: str, path: str, status: int | None = None, key: str | None = None, **how: object
    ) -> object:
        headers = {"Authorization": f"Bearer {key or self.key}", **how.pop("headers", {})}  # type: ignore[dict-item]
        answer = httpx.request(method, self.url + path, headers=headers, timeout=30, verify=False, **how)  # type: ignore[arg-type]
        assert status is None or answer.status_code == status, answer.status_code
        return answer.json() if answer.content else None

    def command(
        self, *words: str, input: str = "", cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Our own command, asking this platform."""
        state = {"FLUXGUARD_STATE_DIR": str(self.folder / "state"), "FLUXLOOP_API_URL": self.url}
        env = {**self.environment, **state, **more}
        done = warm.run([COMMAND, *words], cwd or self.folder, env, input.encode(), 120)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )
