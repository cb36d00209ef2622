"""What every request and every answer goes through: limits on what is sent, a request id, and an end in words for whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxguard.server import problems, trouble
from fluxguard.server.asking import request_id
from fluxguard.server.problems import MEDIA, Problem
from fluxguard.server.store import LineBroke
from fluxguard.server.tally import Busy, Unwritable

LARGEST = 8 << 20  # bytes of a body, where much is sent
MUCH = ("/api/sync/", "/api/scenarios", "/api/v1/keys", "/api/v1/leaks")
LARGEST_FORM = 256 << 10  # of any other one
SLOWEST = 60.0  # seconds in which a body has to be there
NO_SNIFF = (b"x-content-type-options", b"nosniff")
log = logging.getLogger("fluxguard.server")


class Envelope:
    """What every answer carries: a request id, the rate limit where there is one, and what keeps browsers from guessing.

    Whatever goes wrong inside becomes a problem without a trace. The log says where, in our words: an error's own may hold what was sent.
    page: the same for a person, or nothing where none looks.
    """

    def __init__(self, app: ASGIApp, page: Callable[[Request, Problem], Response | None]) -> None:
        self.app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id()
        begun = False
        body = Body(scope, receive)
        name = state["request_id"].encode()

        async def sending(message: Message) -> None:
            nonlocal begun
            if body.refused is not None and not begun:
                return  # the framework calls it unreadable; we say below what it is
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [
                    *message["headers"], (b"x-request-id", name), NO_SNIFF, *state.get("rate", ())
                ]  # fmt: skip
            await send(message)

        try:
            _must_be_readable(scope)
            await self.app(scope, body.receive, sending)
            if body.refused is not None and not begun:
                raise body.refused
        except ClientDisconnect:
            return  # whoever asked has gone
        except Exception as error:
            problem = _told(error)
            if problem.status == 500:
                log.error("%s failed: %s", state["request_id"], _where(error))
            body.refused = None
            if begun:
                raise ConnectionAbortedError("the answer broke off") from None
            await self._answer(problem, scope, receive, sending)

    async def _answer(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._page(Request(scope), problem)
        if page is not None:
            await page(scope, receive, send)
        else:
            await _answer(problem, send)


def _must_be_readable(scope: Scope) -> None:
    """Raises: Problem 400 for a NUL in path or query, which no name has and some databases refuse; 413 for what is announced too long."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise problems.invalid("A NUL stands in the address.", status=400)
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > _most(scope):
            raise _too_large(scope)


def _most(scope: Scope) -> int:
    return LARGEST if scope["path"].startswith(MUCH) else LARGEST_FORM


def _too_large(scope: Scope) -> Problem:
    return Problem(
        413, "too-large", "Too large", f"A request has at most {_most(scope):,} bytes.",
        headers={"Connection": "close"},
    )  # fmt: skip


class Body:
    """Hands on a body as it comes, and no more of it, nor more slowly, than is allowed: whoever sends it need not be known yet."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.refused: Problem | None = None
        self._scope, self._receive = scope, receive
        self._size, self._over, self._end = 0, scope["method"] in ("GET", "HEAD"), 0.0

    async def receive(self) -> Message:
        """The next part. Raises: Problem 413, 408."""
        if self._over:
            return await self._receive()
        now = time.monotonic()
        self._end = self._end or now + SLOWEST
        try:
            async with asyncio.timeout(max(0.01, self._end - now)):
                message = await self._receive()
        except TimeoutError:
            raise self._refuse(_too_slow()) from None
        self._over = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._size > _most(self._scope):
            raise self._refuse(_too_large(self._scope))
        return message

    def _refuse(self, problem: Problem) -> Problem:
        self.refused, self._over = problem, True
        return problem


def _too_slow() -> Problem:
    return Problem(
        408, "too-slow", "Too slow", "The request did not come in time.", headers={"Connection": "close"}
    )


def _told(error: Exception) -> Problem:
    """An error as a problem, in words that repeat nothing."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, sa.exc.IntegrityError):
        return problems.conflict(
            "at-the-same-time", "Somebody else made the same at the same moment. Look, and try again."
        )
    if isinstance(error, sa.exc.DataError | OverflowError | UnicodeError):
        return problems.invalid(
            "The request holds a number that is too large, or characters that can't be kept."
        )
    problem = trouble.told(error)
    if problem is not None:
        return problem
    if isinstance(error, LineBroke | Busy | Unwritable):
        log.error("the database can't be used: %s", str(error)[:200] or type(error).__name__)
        return problems.full() if isinstance(error, Unwritable) else trouble.by_code(error) or problems.busy()
    return Problem(
        500, "defect", "A defect", "Something went wrong here. The request's id finds it in the server's log."
    )


def _where(error: Exception) -> str:
    """The kind of an error and the lines that led to it, without its words."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return f"{type(error).__name__} at " + " < ".join(
        f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames)
    )


async def _answer(problem: Problem, send: Send) -> None:
    body = json.dumps(problem.to_json()).encode()
    headers = [(b"content-type", MEDIA.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
