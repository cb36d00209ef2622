"""The web application: what it is made of, how errors are told, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

import fluxguard
from fluxguard.server import chores, problems, trouble
from fluxguard.server.api import audit, devices, keys, leaks, machines, resources, vendor
from fluxguard.server.description import describe
from fluxguard.server.door import Straight
from fluxguard.server.envelope import Envelope
from fluxguard.server.gate import Gate
from fluxguard.server.pages import devices as console_devices
from fluxguard.server.pages import keys as console_keys
from fluxguard.server.pages import others, signing
from fluxguard.server.pages.console import FOLDER, SignInFirst, render, sign_in_first
from fluxguard.server.platform import Platform
from fluxguard.server.problems import MEDIA, Problem

FLUSH = 1.0  # seconds between writings of what was counted
ROUTERS = (
    resources.router, machines.router, keys.router, audit.router, leaks.router, vendor.router, devices.router,
    signing.router, console_keys.router, others.router, console_devices.router,
)  # fmt: skip
log = logging.getLogger("fluxguard.server")


class KeyPlatform(FastAPI):
    """FastAPI's application, with the doors of the API in front of it: what is asked there does not go through its layers."""

    def open_doors(self) -> None:
        """Once all routes are there."""
        rest, routes = super().__call__, self.routes
        self._front = Straight(self, rest, routes, lambda door: Envelope(door, _page_if_wanted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._front(scope, receive, send)


def create_app(platform: Platform) -> FastAPI:
    """The application for one platform."""
    app = KeyPlatform(
        title="fluxguard key platform",
        version=fluxguard.__version__,
        lifespan=_lifespan,
        redirect_slashes=False,  # the way there would be made of whatever Host says
        docs_url=None,
        redoc_url=None,
    )
    app.state.platform = platform
    for router in ROUTERS:  # flat: a router that is included is gone through twice for each request
        app.router.routes.extend(router.routes)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    app.add_exception_handler(SignInFirst, _sign_in)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in (sa.exc.SQLAlchemyError, sqlite3.Error):
        app.add_exception_handler(kind, _trouble)
    app.add_middleware(Envelope, page=_page_if_wanted)
    app.open_doors()
    describe(app)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gate = app.state.gate = Gate(app.state.platform)
    ending = asyncio.Event()
    writing = asyncio.create_task(_write_counts(gate, ending))
    doing = asyncio.create_task(_do_chores(app.state.platform))
    try:
        yield
    finally:
        doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await doing
        ending.set()  # a writing that is cut short would be written by half, or twice
        await writing
        gate.close()


async def _do_chores(platform: Platform) -> None:
    while True:
        await asyncio.sleep(chores.TURN)
        await run_in_threadpool(chores.turn, platform)


async def _write_counts(gate: Gate, ending: asyncio.Event) -> None:
    written = True
    while not ending.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), FLUSH)
        try:
            await gate.flush_soon()
            written = True
        except Exception:
            if written:  # once, not each second: the log may lie on the same full disk
                log.error("what was counted can't be written; it is kept and tried again each second")
            written = False


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    if _is_page(request):
        return _page(request, error)
    return JSONResponse(error.to_json(), error.status, error.headers, media_type=MEDIA)


async def _trouble(request: Request, error: Exception) -> Response:
    """A database that fails, as a page for a person. Everything else goes on to the envelope, which knows what to say."""
    problem = trouble.told(error) if _is_page(request) else None
    if problem is None:
        raise error
    return _page(request, problem)


def _is_page(request: Request) -> bool:
    """Whether a person looks at the answer. What machines ask for lies under `/api`."""
    return not request.url.path.startswith("/api") and "text/html" in request.headers.get("accept", "")


def _page_if_wanted(request: Request, error: Problem) -> Response | None:
    return _page(request, error) if _is_page(request) else None


def _page(request: Request, error: Problem) -> Response:
    page = render(
        "message.html", request.app.state.platform, None, error.status, title=error.title, text=error.detail
    )
    page.headers.update(error.headers)
    return page


async def _sign_in(request: Request, error: Exception) -> Response:
    assert isinstance(error, SignInFirst)
    return sign_in_first(error.wanted if request.method == "GET" else "")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = problems.unfit(error.errors())
    if _is_page(request):
        return _page(request, problem)
    return JSONResponse(problem.to_json(), 422, media_type=MEDIA)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _problem(request, problems.not_found())
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    slug = {405: "method-not-allowed"}.get(error.status_code, "http-error")
    return await _problem(request, Problem(error.status_code, slug, str(error.detail), headers=headers))


def _methods(request: Request) -> list[str]:
    """All that may be asked of this path: the framework names those of one route of several."""
    fitting = [
        one
        for one in request.app.routes
        if isinstance(one, Route) and one.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for one in fitting for method in one.methods or ()}) or ["GET", "HEAD"]  # files
