"""FluxLoop's own client, fluxloop-cli from PyPI, unchanged, against our platform."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.server.real import EMAIL, PASSWORD, Server

VERSION = "0.4.0"
KEY = re.compile(r"flux_[a-z]+_[0-9A-Za-z]{36}")


@pytest.fixture(scope="session")
def fluxloop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in an environment of its own, installed once for all the workers of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "fluxloop-cli"
    with open(shared / "fluxloop-cli.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "fluxloop-cli.ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
            pip = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                folder,
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            subprocess.run([*pip, f"fluxloop-cli=={VERSION}"], check=True, timeout=600)
            (shared / "fluxloop-cli.ready").touch()
    return folder / "bin" / "fluxloop"


class Person:
    """Somebody at a terminal in a folder, and in a browser."""

    def __init__(self, server: Server, fluxloop: Path, folder: Path) -> None:
        self.server, self.fluxloop, self.folder = server, fluxloop, folder
        (folder / ".fluxloop").mkdir()
        self.environment = {
            **server.environment,
            "FLUXLOOP_API_URL": server.url,
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    def types(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [self.fluxloop, *words], capture_output=True, text=True, cwd=self.folder, env=self.environment, timeout=120,
            check=False,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert done.returncode == code, KEY.sub("***", text)
        return text

    def signs_in(self) -> None:
        """`auth login`, approved in the console by the code that the terminal shows."""
        process = subprocess.Popen(
            [self.fluxloop, "auth", "login", "--no-browser"], stdout=subprocess.PIPE, text=True, cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        said = ""
        while "CODE:" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        url = re.search(r"URL: +(\S+)", said)
        assert url is not None
        with httpx.Client(base_url=self.server.url, follow_redirects=True) as browser:
            page = browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
            assert page.status_code == 200
            page = browser.get(url[1])
            fields = dict(re.findall(r'name="(csrf|code)"[^>]*value="([^"]*)"', page.text))
            page = browser.post("/connect", data={**fields, "answer": "allow"})
            assert "The device is connected" in page.text
        assert process.wait(60) == 0
        assert f"LOGIN_SUCCESS: {EMAIL}" in process.stdout.read()


@pytest.fixture
def person(server: Server, fluxloop: Path, tmp_path: Path) -> Person:
    folder = tmp_path / "work"
    folder.mkdir()
    return Person(server, fluxloop, folder)


def test_sign_in_make_a_project_a_key_and_pull(person: Person, server: Server) -> None:
    person.signs_in()
    person.types("projects", "create", "--name", "customer-support-bot")
    assert "customer-support-bot" in person.types("projects", "list")

    made = person.types("apikeys", "create", "--name", "CI/CD Pipeline")
    shown = KEY.search(made)
    assert shown is not None
    saved = (person.folder / ".fluxloop" / ".env").read_text()
    assert saved == f"FLUXLOOP_SYNC_API_KEY={shown[0]}\n"
    assert "CI/CD Pipeline" in person.types("apikeys", "list")

    person.types("scenarios", "create", "--name", "refunds", "--goal", "get the money back")
    pulled = person.types("sync", "pull", "--scenario", "refunds")
    assert "refunds" in pulled

    time.sleep(1.5)  # what was counted is written within a second
    keys = server.ask("GET", "/api/v1/keys", 200)
    assert isinstance(keys, list)
    mine = next(key for key in keys if key["name"] == "CI/CD Pipeline")
    assert mine["last_used"]["operation"] == "pull_scenarios"
    assert mine["state"] == "active"
    usage = server.ask("GET", f"/api/v1/keys/{mine['id']}/usage", 200)
    assert isinstance(usage, dict)
    assert [one["title"] for one in usage["by_operation"]] == ["Pull scenarios"]


def test_its_errors_say_what_was_wrong(person: Person, server: Server) -> None:
    person.signs_in()
    person.types("projects", "create", "--name", "bot")
    person.types("apikeys", "create")
    assert "Failed to create API key" in person.types("apikeys", "create", "--name", "x" * 101, code=1)
    mine = server.ask("GET", "/api/v1/keys", 200)
    assert isinstance(mine, list)
    server.ask("POST", f"/api/v1/keys/{mine[0]['id']}/revoke", 200)
    person.types("scenarios", "create", "--name", "refunds", "--goal", "g")
    assert "Authentication required" in person.types("sync", "pull", "--scenario", "refunds", code=1)


def test_a_lost_answer_leaves_no_key_that_nobody_has_seen(server: Server) -> None:
    """The client asks again when an answer was lost, and sends nothing by which that could be told."""
    project = server.ask("POST", "/api/projects", 201, json={"name": "bot"})
    assert isinstance(project, dict)
    body = {"project_id": project["id"], "name": "cli-generated"}
    lost = server.ask("POST", "/api/api-keys", 201, json=body)
    came = server.ask("POST", "/api/api-keys", 201, json=body)
    assert isinstance(lost, dict)
    assert isinstance(came, dict)
    states = {key["id"]: key["state"] for key in server.ask("GET", "/api/v1/keys", 200)}  # type: ignore[attr-defined]
    assert states[lost["id"]] == "lapsed"
    assert states[came["id"]] == "active"
    server.ask("GET", "/api/scenarios", 401, key=lost["key"], params={"project_id": project["id"]})
    server.ask("GET", "/api/scenarios", 200, key=came["key"], params={"project_id": project["id"]})
    another = server.ask("POST", "/api/api-keys", 201, json=body)
    assert isinstance(another, dict)
    states = {key["id"]: key["state"] for key in server.ask("GET", "/api/v1/keys", 200)}  # type: ignore[attr-defined]
    assert states[came["id"]] == "active"
