"""The API's door: the short way to a route finds what the long one finds, and a route is run as FastAPI would run it."""

from __future__ import annotations

from typing import Annotated, Any

import fastapi
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from fluxguard.errors import ExitCode
from fluxguard.server import door
from fluxguard.server.door import Door, Straight
from fluxguard.server.envelope import Envelope
from fluxguard.server.problems import Problem
from tests.server.conftest import House


class Wish(BaseModel):
    name: str = Field(max_length=5)
    number: int = 3


async def whoever(request: Request) -> str:
    return request.headers.get("x-who", "nobody")


Who = Annotated[str, Depends(whoever)]


def _answers(router: APIRouter) -> None:
    @router.get("/keys/new")
    async def form() -> dict[str, Any]:
        return {"is": "form"}

    @router.get("/keys/{id}")
    def one(id: str, who: Who, request: Request, limit: int = 7) -> dict[str, Any]:
        return {"is": "one", "id": id, "who": who, "limit": limit, "path": request.url.path}

    @router.get("/keys/all")
    async def hidden() -> dict[str, Any]:
        return {"is": "hidden behind the one before"}

    @router.post("/keys/all", status_code=201)
    async def making(wish: Wish, if_match: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        return {"is": "making", **wish.model_dump(), "match": if_match}

    @router.post("/keys/{id}/end")
    async def end(id: str, number: int, wish: Wish | None = None) -> dict[str, Any]:
        return {"is": "end", "id": id, "number": number, "name": wish.name if wish else None}

    @router.delete("/keys/{id}", status_code=204)
    async def delete(id: str) -> None:
        return None


async def _places(request: Request, error: Exception) -> JSONResponse:
    """Where FastAPI finds something wrong, without what was sent: a NaN can't be sent back."""
    assert isinstance(error, RequestValidationError)
    return JSONResponse([one["loc"] for one in error.errors()], 422)


@pytest.fixture(scope="module")
def both() -> tuple[TestClient, TestClient]:
    """The same routes as FastAPI runs them, and behind the door with its short way."""
    plain, ours = APIRouter(), APIRouter(route_class=Door)
    _answers(plain)
    _answers(ours)
    theirs, app = FastAPI(), FastAPI()
    theirs.add_exception_handler(RequestValidationError, _places)
    theirs.router.routes.extend(plain.routes)
    app.router.routes.extend(ours.routes)
    app.add_middleware(Envelope, page=_no_page)
    front = Straight(app, app, app.routes, lambda one: Envelope(one, _no_page))
    return TestClient(theirs, raise_server_exceptions=False), TestClient(front)


def _no_page(request: Request, problem: Problem) -> None:
    return None


PATHS = (
    "/keys/new", "/keys/all", "/keys/x", "/keys/x%20y", "/keys/", "/keys", "/nothing", "/keys/all/", "/keys/x?limit=4",
    "/keys/x?limit=4&limit=5", "/keys/x?limit=many", "/keys/x?limit=", "/keys/x/end", "/keys/x/end?number=1", "/keys/a/b/end?number=1",
)  # fmt: skip


def test_it_answers_as_fastapi_does(both: tuple[TestClient, TestClient]) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE", "PUT"):
        for path in PATHS:
            theirs, ours = (one.request(method, path, headers={"X-Who": "me"}) for one in both)
            assert ours.status_code == theirs.status_code, (method, path)
            if theirs.status_code < 400:
                assert ours.content == theirs.content, (method, path)


@pytest.mark.parametrize("path", ["/keys/all", "/keys/x/end?number=2"])
@pytest.mark.parametrize(
    "media", ["application/json", "application/problem+json; charset=utf-8", "text/plain", ""]
)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"null", b'{"name": "a"}', b'{"name": "a", "number": "5"}', b'{"name": "too long"}', b"[1]", b'{"name": NaN}',
        b'{"name"', b"\xff\xfe\xfd", b"[" * 100_000, b'{"name": "a", "number": 1e400}', b'{"name": "\\ud800"}',
    ],
)  # fmt: skip
def test_it_reads_a_body_as_fastapi_does(
    both: tuple[TestClient, TestClient], path: str, media: str, body: bytes
) -> None:
    headers = {"If-Match": '"1"', **({"Content-Type": media} if media else {})}
    theirs, ours = (one.post(path, content=body, headers=headers) for one in both)
    assert ours.status_code == theirs.status_code, theirs.text[:200]
    if theirs.status_code < 400:
        assert ours.content == theirs.content
    elif theirs.status_code == 422 and body != b'{"name"':  # FastAPI names the byte at which it is no JSON
        places = ["/".join(str(part) for part in ("", *one[1:])) for one in theirs.json()]
        assert [one["pointer"] for one in ours.json()["errors"]] == places


def test_who_asks_is_known_before_the_body_is_read(house: House) -> None:
    for body in (b"{", b"[]", b""):
        answer = house.client.post("/api/v1/keys", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 401


def test_what_the_door_does_not_know_is_told_at_the_start() -> None:
    def blocking(request: Request) -> str:
        return ""

    async def demanding(request: Request, more: int = 0) -> str:
        return ""

    router = APIRouter(route_class=Door)
    for dependency in (blocking, demanding):
        with pytest.raises(TypeError, match="/x"):
            router.add_api_route("/x", lambda who: {}, dependencies=[Depends(dependency)])


@pytest.mark.parametrize("part", ["validate", "get_default"])
def test_a_framework_that_describes_routes_otherwise_is_told_at_the_start(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastapi._compat import ModelField

    from fluxguard import cli

    door.must_fit()
    monkeypatch.delattr(ModelField, part)
    assert cli.main(["serve", "user", "list"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert f"FastAPI {fastapi.__version__} does not describe routes" in told
    assert "pip install" in told
    assert "Traceback" not in told


def test_a_wrong_method_is_told_all_right_ones(house: House) -> None:
    for path, methods in (
        ("/api/projects", "GET, POST"),
        ("/api/v1/keys/key_1", "DELETE, GET, PATCH"),
        ("/healthz", "GET"),
        ("/sign-in", "GET, POST"),
    ):
        answer = house.client.put(path, headers={"Authorization": f"Bearer {house.first}"})
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
        assert answer.headers["content-type"] == "application/problem+json"


def test_each_route_of_the_platform_is_reached(house: House) -> None:
    """Nothing answers 404 or 405 that the description has, whichever way leads there."""
    described = house.client.get("/openapi.json").json()["paths"]
    for path, methods in described.items():
        for method in methods:
            status = house.client.request(method, path.replace("{", "").replace("}", "")).status_code
            assert status not in (404, 405, 500), (method, path, status)
