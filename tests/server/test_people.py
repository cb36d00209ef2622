"""Accounts: added, disabled, given another password, by whoever runs the machine; and what an auditor may do."""

from __future__ import annotations

import json
import re

import httpx

from tests.server.real import EMAIL, PASSWORD, Server

SECOND, WORD = "second@example.org", "another long password"


def user(server: Server, *words: str, password: str = "", code: int = 0) -> list[dict[str, object]]:
    done = server.command(
        "serve", "user", *words, "--password-stdin", "--format", "json", input=password + "\n"
    )
    assert done.returncode == code, done.stderr
    assert WORD not in done.stdout + done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout) if code == 0 else []
    return found


def signed_in(server: Server, email: str, password: str) -> httpx.Client:
    client = httpx.Client(base_url=server.url)
    client.post("/sign-in", data={"email": email, "password": password})
    return client


def test_an_auditor_looks_and_changes_nothing(server: Server) -> None:
    known = user(server, "add", "--email", SECOND, "--role", "auditor", password=WORD)
    assert [(one["email"], one["role"]) for one in known] == [(EMAIL, "owner"), (SECOND, "auditor")]
    with httpx.Client(base_url=server.url) as client:
        client.post("/sign-in", data={"email": SECOND, "password": WORD})
        page = client.get("/settings/api-keys")
        assert page.status_code == 200
        assert "Create New API Key" not in page.text
        assert client.get("/audit").status_code == 200
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token is not None
        data = {
            "csrf": token[1],
            "name": "x",
            "scope": "all",
            "permissions": "read_scenarios",
            "expires": "90d",
            "once": "1",
        }
        assert client.post("/settings/api-keys", data=data).status_code == 403
        assert client.get("/settings/api-keys/new").status_code == 403


def test_whoever_is_disabled_is_signed_out(server: Server) -> None:
    user(server, "add", "--email", SECOND, "--role", "admin", password=WORD)
    with httpx.Client(base_url=server.url) as client:
        client.post("/sign-in", data={"email": SECOND, "password": WORD})
        assert client.get("/settings/api-keys").status_code == 200
        user(server, "disable", "--email", SECOND)
        assert client.get("/settings/api-keys").status_code == 303
        assert signed_in(server, SECOND, WORD).get("/settings/api-keys").status_code == 303
        user(server, "enable", "--email", SECOND)
        assert signed_in(server, SECOND, WORD).get("/settings/api-keys").status_code == 200


def test_what_can_not_be(server: Server) -> None:
    user(server, "disable", "--email", EMAIL, code=2)
    user(server, "disable", "--email", "nobody@example.org", code=2)
    user(server, "add", "--email", EMAIL, password=WORD, code=2)
    user(server, "add", "--email", SECOND, password="short", code=2)
    user(server, "password", "--email", EMAIL, password=WORD)
    assert signed_in(server, EMAIL, PASSWORD).get("/settings/api-keys").status_code == 303
    assert signed_in(server, EMAIL, WORD).get("/settings/api-keys").status_code == 200
