"""The short way to a route finds what the long one finds."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.testclient import TestClient

from fluxguard.server.straight import Straight
from tests.server.conftest import House


def _named(name: str) -> object:
    async def answer(request: Request) -> Response:
        return PlainTextResponse(f"{name} {dict(request.path_params)}")

    return answer


def _router() -> Router:
    return Router([
        Route("/keys/new", _named("form")),  # type: ignore[arg-type]
        Route("/keys/{id}", _named("one"), methods=["GET"]),  # type: ignore[arg-type]
        Route("/keys/all", _named("hidden behind the one before"), methods=["GET"]),  # type: ignore[arg-type]
        Route("/keys/all", _named("making"), methods=["POST"]),  # type: ignore[arg-type]
    ])  # fmt: skip


def test_it_finds_what_going_through_all_routes_finds() -> None:
    long, straight = _router(), _router()
    straight.middleware_stack = Straight(straight)
    for method in ("GET", "HEAD", "POST", "DELETE"):
        for path in ("/keys/new", "/keys/all", "/keys/x", "/nothing", "/keys/all/"):
            answers = [TestClient(one).request(method, path) for one in (long, straight)]
            assert answers[0].status_code == answers[1].status_code, (method, path)
            assert answers[0].text == answers[1].text, (method, path)


def test_each_route_of_the_platform_is_reached(house: House) -> None:
    """Nothing answers 404 or 405 that the description has, whichever way leads there."""
    described = house.client.get("/openapi.json").json()["paths"]
    for path, methods in described.items():
        for method in methods:
            status = house.client.request(method, path.replace("{", "").replace("}", "")).status_code
            assert status not in (404, 405, 500), (method, path, status)
