"""The door that every route of the API has: FastAPI describes the route, and what it would do around each request is left out.

A route says in FastAPI's way what it takes: the request, dependencies that take the request alone, parameters, one JSON body. Nothing else;
whoever declares more is told at the start. Console pages, with forms and cookies, are routes of FastAPI's own.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

import fastapi
from fastapi import Depends, Header
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxguard.errors import UsageError
from fluxguard.server import problems

Errors = list[dict[str, Any]]
REQUIRED = object()


class Door(APIRoute):
    """A route that reads what it declares, and answers. Its errors are Problems, told by the envelope."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        needs = self.dependant
        declared = (
            ("path", needs.path_params),
            ("query", needs.query_params),
            ("header", needs.header_params),
        )
        self._parameters = [
            (place, [(field, _default(field)) for field in fields]) for place, fields in declared if fields
        ]
        self._body = (self.body_field, _default(self.body_field)) if self.body_field is not None else None
        self._dependencies = [(one.name, one.call) for one in needs.dependencies]  # no name: it only lets in
        self._on_loop = inspect.iscoroutinefunction(self.endpoint)
        _must_be_simple(self)
        self.app = self.answer

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Who asks is known before anything is read of what was sent. Raises: Problem."""
        request = Request(scope, receive)
        values: dict[str, Any] = {}
        for name, dependency in self._dependencies:
            value = await dependency(request)  # type: ignore[misc]
            if name is not None:
                values[name] = value
        errors = self._read(request, values)
        if self._body is not None:
            errors += _read_body(*self._body, await request.body(), request, values)
        if errors:
            raise problems.unfit(errors)
        if self.dependant.request_param_name:
            values[self.dependant.request_param_name] = request
        result = await (
            self.endpoint(**values) if self._on_loop else run_in_threadpool(self.endpoint, **values)
        )
        response = result if isinstance(result, Response) else self._response(result)
        await response(scope, receive, send)

    def _read(self, request: Request, values: dict[str, Any]) -> Errors:
        errors: Errors = []
        for place, fields in self._parameters:
            sent = _sent(place, request)
            for field, default in fields:
                value = sent.get(field.alias)
                if value is None and default is not REQUIRED:
                    values[field.name] = default
                else:
                    errors += _take(field, value, (place, field.alias), values)
        return errors

    def _response(self, result: Any) -> Response:
        if self.status_code == 204:
            return Response(status_code=204)
        return JSONResponse(result, self.status_code or 200)


def _must_be_simple(route: Door) -> None:
    """Raises: TypeError for a route that declares what its door does not know."""
    needs = route.dependant
    odd = (
        needs.cookie_params, needs.response_param_name, needs.background_tasks_param_name, needs.body_params[1:],
        [one for one in needs.dependencies if _is_odd(one)],
    )  # fmt: skip
    if any(odd):
        raise TypeError(f"{route.path}: no parameter of this kind comes through the API's door")


def _is_odd(dependency: Any) -> bool:
    """Whether it takes more than the request, or blocks."""
    taken = set(inspect.signature(dependency.call).parameters)
    return taken != {dependency.request_param_name} or not inspect.iscoroutinefunction(dependency.call)


def _sent(place: str, request: Request) -> Mapping[str, str]:
    if place == "path":
        return request.path_params
    if place == "header":
        return request.headers
    text = request.scope["query_string"].decode("latin-1")
    return dict(parse_qsl(text, keep_blank_values=True)) if text else {}


def _default(field: Any) -> Any:
    """What a parameter is where nothing was sent: the same for every request, for nobody changes it."""
    return REQUIRED if field.field_info.is_required() else field.get_default()


def _take(field: Any, value: Any, where: tuple[str, ...], values: dict[str, Any]) -> Errors:
    """Puts a value where it belongs. Returns what is wrong with it."""
    if value is None:
        return [{"loc": where, "msg": "Field required"}]
    values[field.name], errors = field.validate(value, {}, loc=where)
    return list(errors or ())


def _read_body(field: Any, default: Any, raw: bytes, request: Request, values: dict[str, Any]) -> Errors:
    """Raises: Problem 400 for what is no text, or nested beyond measure."""
    sent: Any = raw or None
    if raw and _is_json(request.headers.get("content-type", "")):
        try:
            sent = json.loads(raw)
        except json.JSONDecodeError:
            return [{"loc": ("body",), "msg": "JSON decode error"}]
        except (ValueError, RecursionError):
            raise problems.Problem(400, "http-error", "There was an error parsing the body") from None
    if sent is None and default is not REQUIRED:
        values[field.name] = default
        return []
    return _take(field, sent, ("body",), values)


def _is_json(media: str) -> bool:
    kind = media.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def must_fit() -> None:
    """Tries the door on one route that has everything it reads. Raises: UsageError where FastAPI describes that otherwise."""
    try:
        fits = asyncio.run(_tried())
    except Exception:
        fits = False
    if not fits:
        raise UsageError(
            f"FastAPI {fastapi.__version__} does not describe routes as the platform reads them.",
            "Run: pip install --upgrade 'fluxguard[server]', which brings a version that does.",
        )


class _Wish(BaseModel):
    name: str
    number: int = 3


async def _who(request: Request) -> str:
    return request.headers["x-who"]


def _trial(
    id: str, wish: _Wish, who: Annotated[str, Depends(_who)], request: Request, limit: int = 7, page: int = 1,
    if_match: Annotated[str | None, Header()] = None,
) -> list[Any]:  # fmt: skip
    return [id, wish.name, wish.number, who, request.method, limit, page, if_match]


def _ending(id: str) -> None:
    """What answers with nothing."""


async def _tried() -> bool:
    door = Door("/{id}", _trial, methods=["POST"])
    Door("/{id}", _ending, methods=["DELETE"], status_code=204)
    right = await _sending(door, b'{"name": "a"}', b"limit=5")
    try:
        await _sending(door, b'{"name": 1}', b"limit=many")
    except problems.Problem as problem:
        wrong = [one["pointer"] for one in problem.more["errors"]]
        return json.loads(right) == ["x", "a", 3, "me", "POST", 5, 1, "1"] and wrong == ["/limit", "/name"]
    return False


async def _sending(door: Door, body: bytes, query: bytes) -> bytes:
    """What the door answers to a request. Raises: Problem."""
    headers = [(b"content-type", b"application/json"), (b"x-who", b"me"), (b"if-match", b"1")]
    scope = {
        "type": "http", "method": "POST", "path": "/x", "query_string": query, "path_params": {"id": "x"}, "headers": headers,
    }  # fmt: skip
    answer: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        answer.append(message)

    await door.answer(scope, receive, send)
    sent: bytes = answer[-1]["body"]
    return sent


class Straight:
    """The way to the doors, before the framework's own search and layers: looked up, in place of trying one route after the other.

    For paths without a parameter, and for those whose last part is the only one; the others are found the long way. Routes come in the
    order in which the search would try them, and one that it would find first is never passed by.
    """

    def __init__(
        self, owner: Any, app: ASGIApp, routes: Iterable[Any], around: Callable[[ASGIApp], ASGIApp]
    ) -> None:
        """owner: what handlers know as `request.app`. app: for all that is no door. around: what stands around each door."""
        self._owner, self._app, self._around = owner, app, around
        self._whole: dict[tuple[str, str], ASGIApp] = {}
        self._last: dict[tuple[str, str], tuple[ASGIApp, str]] = {}
        for route in routes:
            for method in (route.methods or ()) if isinstance(route, Door) else ():
                self._learn(route, method)

    def _learn(self, route: Door, method: str) -> None:
        names = list(route.param_convertors)
        folder, _, last = route.path.rpartition("/")
        if not names and (method, folder) not in self._last:
            self._whole.setdefault((method, route.path), self._around(route.answer))
        elif names and last == f"{{{names[0]}}}" and len(names) == 1:
            self._last.setdefault((method, folder), (self._around(route.answer), names[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._found(scope) if scope["type"] == "http" and not scope.get("root_path") else None
        if door is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._owner
        await door(scope, receive, send)

    def _found(self, scope: Scope) -> ASGIApp | None:
        method, path = scope["method"], scope["path"]
        door = self._whole.get((method, path))
        if door is not None:
            scope["path_params"] = {}
            return door
        folder, _, last = path.rpartition("/")
        if not last or (method, folder) not in self._last:
            return None
        door, name = self._last[method, folder]
        scope["path_params"] = {name: last}
        return door
