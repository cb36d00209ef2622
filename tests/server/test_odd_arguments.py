"""`fluxguard apikeys` and `auth` with what nobody means to type: bytes that are no text, addresses that are none, ids that are keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from fluxguard.model import Secret
from fluxguard.platform import minting
from fluxguard.platform.address import Address
from fluxguard.platform.api import Api
from fluxguard.platform.errors import Unreachable
from fluxguard.server import mint
from tests.server.real import Server, free_port

NO_TEXT = "\udcff"  # the byte 0xff, as the system hands it over


def refused(done: subprocess.CompletedProcess[str], server: Server) -> None:
    """Exit 2 and a sentence."""
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert server.key not in done.stderr


def test_arguments_that_are_no_text(server: Server) -> None:
    refused(server.command("apikeys", "create", "--name", NO_TEXT, "--scope", "all"), server)
    refused(server.command("apikeys", "create", "--name", "n", "--scope", NO_TEXT), server)
    refused(server.command("apikeys", "show", "--key-id", NO_TEXT), server)
    assert "Nothing is outstanding" in server.command("apikeys", "resume").stdout


@pytest.mark.parametrize("key_id", ["", ".", "..", "a/b", "a\nb", "x;y", "x" * 101])
def test_ids_that_are_none_go_nowhere(prepared: Server, key_id: str) -> None:
    refused(prepared.command("apikeys", "revoke", "--yes", "--key-id", key_id), prepared)
    refused(prepared.command("apikeys", "rotate", "--key-id", key_id, "--every", "90d"), prepared)


def test_a_key_is_no_id(prepared: Server) -> None:
    done = prepared.command("apikeys", "show", "--key-id", prepared.key)
    refused(done, prepared)
    assert "that is a key" in done.stderr


@pytest.mark.parametrize(
    "url", ["http://[", "http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://127.0.0.1\n:1", "https://"]
)
def test_addresses_that_are_none(prepared: Server, url: str) -> None:
    refused(prepared.command("apikeys", "list", "--api-url", url, FLUXLOOP_API_KEY=prepared.key), prepared)
    refused(prepared.command("auth", "status", FLUXLOOP_API_URL=url, FLUXLOOP_API_KEY=prepared.key), prepared)


def test_a_key_of_the_environment_that_is_no_text(prepared: Server) -> None:
    for words in (("apikeys", "list"), ("auth", "status")):
        done = prepared.command(*words, FLUXLOOP_API_KEY=NO_TEXT)
        assert done.returncode == 4
        assert "is no API key" in done.stderr


@pytest.mark.parametrize("every", ["0", "0d", "1h", "soon"])
def test_less_than_a_day_is_no_schedule(prepared: Server, every: str) -> None:
    refused(prepared.command("apikeys", "rotate", "--key-id", "key_1", "--every", every), prepared)


def test_a_schedule_in_a_folder_with_a_percent_sign(prepared: Server, tmp_path: Path) -> None:
    """cron ends a command at a bare `%`."""
    folder = tmp_path / "100%"
    folder.mkdir()
    done = prepared.command("apikeys", "rotate", "--key-id", "key_1", "--every", "1w", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.count("%") == done.stdout.count("\\%") == 3
    assert "\\% 7 ))" in done.stdout


def test_a_platform_that_is_gone_keeps_no_other_one_s_keys_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXGUARD_STATE_DIR", str(server.folder / "state"))
    wish = {
        "name": "lost", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"], "expires": "1d",
    }  # fmt: skip
    gone = minting.intend("create", "", wish, Address(f"http://127.0.0.1:{free_port()}", "test"))
    minting.intend("create", "", wish, Address(server.url, "test"))
    done = server.command("apikeys", "resume", FLUXLOOP_API_KEY=server.key)
    assert "Name: lost" in done.stdout
    assert done.returncode == 4
    assert "can't be reached" in done.stderr
    assert [one.path for one in minting.unsettled()] == [gone.path]


def test_an_answer_that_is_nonsense_loses_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for stays written down, so that it can be asked for again."""
    monkeypatch.setenv("FLUXGUARD_STATE_DIR", str(tmp_path))
    odd = {"id": "key_1", "key": mint.key("dev"), "hourly_limit": "many"}
    answering = httpx.MockTransport(lambda request: httpx.Response(201, json=odd))
    address = Address("https://keys.example.org", "test")
    api = Api(address, Secret(mint.key("dev").encode()), transport=answering)
    intent = minting.intend("create", "", {"name": "n"}, address)
    with pytest.raises(Unreachable, match="not what it should be"):
        minting.ask(api, intent)
    assert [one.path for one in minting.unsettled()] == [intent.path]
