"""Places for the new key that are not on this machine, spoken to as their published APIs say."""

from __future__ import annotations

import base64
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from conftest import Mint
from nacl.public import PrivateKey, SealedBox

from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Secret
from fluxguard.respond import remote

TOKENS = {"GITHUB_TOKEN": "gh-token", "GITLAB_TOKEN": "gl-token", "CIRCLE_TOKEN": "cc-token"}
Answer = Callable[[httpx.Request], httpx.Response]


class Service:
    """Answers, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer
        self.transport = httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)


def _github(box: PrivateKey, kept: dict[str, bytes]) -> Answer:
    """docs.github.com/rest/actions/secrets: get a public key, get, create or update a repository secret."""
    root = "/repos/acme/shop/actions/secrets"
    times = {"n": 0}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer gh-token"
        path = request.url.path
        if (request.method, path) == ("GET", f"{root}/public-key"):
            key = base64.b64encode(bytes(box.public_key)).decode()
            return httpx.Response(200, json={"key_id": "568250167242549743", "key": key})
        if not path.startswith(f"{root}/"):
            return httpx.Response(404, json={"message": "Not Found"})
        name = path.rpartition("/")[2]
        if request.method == "PUT":
            body = json.loads(request.content)
            assert body["key_id"] == "568250167242549743"
            there = name in kept
            kept[name] = SealedBox(box).decrypt(base64.b64decode(body["encrypted_value"]))
            times["n"] += 1
            return httpx.Response(204 if there else 201, json=None if there else {})
        if name not in kept:
            return httpx.Response(404, json={"message": "Not Found"})
        when = f"2026-01-01T00:00:{times['n']:02d}Z"
        return httpx.Response(
            200, json={"name": name, "created_at": "2026-01-01T00:00:00Z", "updated_at": when}
        )

    return answer


@pytest.mark.parametrize("there", [True, False])
def test_github_gets_a_sealed_box_that_opens(mint: Mint, there: bool) -> None:
    secret = Secret(mint.checked().encode())
    kept = {"FLUXLOOP_API_KEY": b"old"} if there else {}
    service = Service(_github(PrivateKey.generate(), kept))
    seen = remote.deliver(
        remote.parse("github:acme/shop:FLUXLOOP_API_KEY"), secret, TOKENS, service.transport
    )
    assert kept == {"FLUXLOOP_API_KEY": secret.reveal()}
    assert "updated at" in seen
    for request in service.asked:
        assert not mint.leaked(request.content + str(request.url).encode())


def _gitlab(variables: list[dict[str, object]]) -> Answer:
    """docs.gitlab.com/api/project_level_variables: list (paged), create, update with filter[environment_scope]."""
    root = "/api/v4/projects/acme%2Fshop/variables"

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["PRIVATE-TOKEN"] == "gl-token"
        path = request.url.raw_path.decode().partition("?")[0]
        if not path.startswith(root):
            return httpx.Response(404, json={"message": "404 Project Not Found"})
        if request.method == "GET":
            page, size = int(request.url.params.get("page", 1)), int(request.url.params.get("per_page", 20))
            rows = variables[(page - 1) * size : page * size]
            following = str(page + 1) if page * size < len(variables) else ""
            return httpx.Response(200, json=rows, headers={"X-Next-Page": following})
        body = json.loads(request.content)
        if request.method == "POST":
            variables.append({"environment_scope": "*", **body})
            return httpx.Response(201, json=variables[-1])
        name, scope = unquote(path.rpartition("/")[2]), request.url.params["filter[environment_scope]"]
        (one,) = (row for row in variables if (row["key"], row["environment_scope"]) == (name, scope))
        one.update(body)
        return httpx.Response(200, json=one)

    return answer


def test_gitlab_gets_it_in_every_scope(mint: Mint) -> None:
    secret = Secret(mint.checked().encode())
    others = [{"key": f"V{n}", "value": "x", "environment_scope": "*"} for n in range(130)]
    mine = [{"key": "K", "value": "old", "environment_scope": scope} for scope in ("*", "production/eu")]
    variables = [*others, *mine]
    service = Service(_gitlab(variables))
    remote.deliver(remote.parse("gitlab:acme/shop:K"), secret, TOKENS, service.transport)
    assert [one["value"] for one in variables if one["key"] == "K"] == [secret.reveal().decode()] * 2
    assert {one["value"] for one in variables if one["key"] != "K"} == {"x"}


def test_gitlab_gets_a_new_variable_masked(mint: Mint) -> None:
    secret = Secret(mint.checked().encode())
    variables: list[dict[str, object]] = []
    remote.deliver(remote.parse("gitlab:acme/shop:K"), secret, TOKENS, Service(_gitlab(variables)).transport)
    assert variables[0]["masked"] is True


def _circleci(kept: dict[str, str]) -> Answer:
    """circleci.com/docs/api/v2: create an environment variable, get a masked one."""
    root = "/api/v2/project/gh/acme/shop/envvar"

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Circle-Token"] == "cc-token"
        if request.url.path == root and request.method == "POST":
            body = json.loads(request.content)
            kept[body["name"]] = body["value"]
            return httpx.Response(201, json={"name": body["name"], "value": f"xxxx{body['value'][-4:]}"})
        name = request.url.path.removeprefix(f"{root}/")
        if name not in kept:
            return httpx.Response(404, json={"message": "Not found"})
        return httpx.Response(200, json={"name": name, "value": f"xxxx{kept[name][-4:]}"})

    return answer


def test_circleci_gets_it_and_shows_its_end(mint: Mint) -> None:
    secret = Secret(mint.checked().encode())
    kept: dict[str, str] = {"K": "old"}
    seen = remote.deliver(
        remote.parse("circleci:gh/acme/shop:K"), secret, TOKENS, Service(_circleci(kept)).transport
    )
    assert kept == {"K": secret.reveal().decode()}
    assert not mint.leaked(seen.encode())


@pytest.mark.parametrize("text", ["github:acme/shop:K", "gitlab:acme/shop:K", "circleci:gh/acme/shop:K"])
@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_says_what_to_do(mint: Mint, text: str, status: int) -> None:
    secret = Secret(mint.checked().encode())
    service = Service(lambda request: httpx.Response(status, json={"message": secret.reveal().decode()}))
    with pytest.raises(FluxguardError) as raised:
        remote.deliver(remote.parse(text), secret, TOKENS, service.transport)
    assert raised.value.what
    assert not mint.leaked(f"{raised.value.what} {raised.value.hint}".encode())


@pytest.mark.parametrize("text", ["github:acme/shop:K", "gitlab:acme/shop:K", "circleci:gh/acme/shop:K"])
def test_without_a_token_nothing_is_sent(mint: Mint, text: str) -> None:
    service = Service(lambda request: httpx.Response(500))
    with pytest.raises(FluxguardError, match="is not set"):
        remote.deliver(remote.parse(text), Secret(mint.checked().encode()), {}, service.transport)
    assert not service.asked


@pytest.mark.parametrize(
    ("text", "name"), [("github:acme/shop:K", "GITHUB_API_URL"), ("gitlab:acme/shop:K", "GITLAB_API_URL")]
)
def test_no_key_goes_out_in_clear(mint: Mint, text: str, name: str) -> None:
    service = Service(lambda request: httpx.Response(500))
    environment = {**TOKENS, name: "http://gitlab.example.org/api/v4"}
    with pytest.raises(UsageError, match="HTTPS"):
        remote.deliver(remote.parse(text), Secret(mint.checked().encode()), environment, service.transport)
    assert not service.asked


def test_a_command_gets_it_on_standard_input_alone(
    mint: Mint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Secret(mint.checked().encode())
    monkeypatch.setenv("FLUXLOOP_API_KEY", secret.reveal().decode())
    script = tmp_path / "take.py"
    script.write_text(
        "import os, pathlib, sys\nhere = pathlib.Path(__file__).parent\n"
        "(here / 'got').write_bytes(sys.stdin.buffer.read())\n"
        "(here / 'environ').write_text(repr(dict(os.environ)) + repr(sys.argv))\n"
    )
    words = shlex.join([sys.executable, str(script)])
    assert remote.deliver(remote.parse(f"exec:{words}"), secret, {}) == "the command ended with 0"
    assert (tmp_path / "got").read_bytes() == secret.reveal()
    assert not mint.leaked((tmp_path / "environ").read_bytes())


@pytest.mark.parametrize("command", ["false", "/nowhere/at/all", "'unbalanced"])
def test_a_command_that_fails_is_named(mint: Mint, command: str) -> None:
    with pytest.raises(FluxguardError, match="command of a target"):
        remote.deliver(remote.parse(f"exec:{command}"), Secret(mint.checked().encode()), {})


@pytest.mark.parametrize("text", ["", "exec:", "github:acme", "gitlab::K", "nowhere:a:b"])
def test_what_is_no_target_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        remote.parse(text)
