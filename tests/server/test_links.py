"""Where links in answers lead: to the platform, whatever a stranger writes into the Host header."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from fluxguard.errors import UsageError
from fluxguard.server.app import create_app
from fluxguard.server.links import checked
from fluxguard.server.platform import Platform
from tests.server.conftest import House
from tests.server.real import Server

STRANGER = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}


def start(client: httpx.Client) -> str:
    url: str = client.post("/api/cli-connect/start", headers=STRANGER, json={}).json()["verification_url"]
    return url


def test_a_strangers_host_header_chooses_no_link(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        assert start(client).startswith(f"{server.url}/connect?code=")


def test_the_public_url_is_what_links_begin_with(house: House) -> None:
    settings = dataclasses.replace(house.platform.settings, public_url="https://keys.example.org")
    platform = Platform(settings, house.platform.store, house.platform.vault)
    with TestClient(create_app(platform)) as client:
        assert start(client).startswith("https://keys.example.org/connect?code=")


@pytest.mark.parametrize(
    "text",
    ["keys.example.org", "javascript:alert(1)", "https://", "https://a b", "https://me@x.org", "https://x.org:99999", "https://x.org?a"],
)  # fmt: skip
def test_a_public_url_has_to_be_one(text: str) -> None:
    with pytest.raises(UsageError, match="public-url"):
        checked(text)


def test_a_public_url_loses_its_last_slash() -> None:
    assert checked("https://keys.example.org/") == "https://keys.example.org"
    assert checked("") == ""


def test_the_first_lines_say_what_links_begin_with(server: Server, tmp_path: Path) -> None:
    assert f"links     begin with {server.url}\n" in server.log()
