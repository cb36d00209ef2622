"""What all pages stand on: the session behind the cookie, the CSRF check, templates, and headers that browsers obey."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import sqlalchemy as sa
from fastapi import Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy.engine import Connection

import fluxguard
from fluxguard import wire
from fluxguard.server import people, problems
from fluxguard.server.asking import MANAGERS, Platforms, Principal, person
from fluxguard.server.platform import Platform
from fluxguard.server.tables import sessions
from fluxguard.words import ago, count, date, short_date

FOLDER = Path(__file__).parent.parent
SECURE, PLAIN = "__Host-fluxguard", "fluxguard"  # the cookie on HTTPS, and on loopback without it
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
SEEN = 60_000  # milliseconds after which a session is written down as seen again


class SignInFirst(Exception):
    """A page that wants a session. Turned into the way to the sign-in page."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person, and the session."""

    who: Principal
    email: str
    role: str
    csrf: str
    cookie: str

    @property
    def may_change(self) -> bool:
        return self.role in MANAGERS

    def __repr__(self) -> str:
        return f"Visitor({self.email})"


def cookie_name(request: Request) -> str:
    return SECURE if request.url.scheme == "https" else PLAIN


def visitor(request: Request, platform: Platforms) -> Visitor:
    """Whoever is signed in. Raises: SignInFirst."""
    cookie = request.cookies.get(cookie_name(request), "")
    if not cookie:
        raise SignInFirst(_local(request))
    with platform.store.read() as connection:
        row = people.session_of(connection, platform, cookie)
    if row is None:
        raise SignInFirst(_local(request))
    if platform.now() - row["seen_at"] >= SEEN:
        with suppress(sa.exc.DBAPIError), platform.store.write() as connection:
            _seen(connection, platform, cookie)  # a console that can only be read is better than none
    who = person(request, row["user_id"], row["role"], row["workspace_id"])
    return Visitor(who, row["email"], row["role"], row["csrf"], cookie)


def _local(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _seen(connection: Connection, platform: Platform, cookie: str) -> None:
    mine = sessions.c.token == platform.vault.token(cookie.encode())
    connection.execute(sessions.update().where(mine).values(seen_at=platform.now()))


Visitors = Annotated[Visitor, Depends(visitor)]


def acting(request: Request, session: Visitors, csrf: Annotated[str, Form()] = "") -> Visitor:
    """Whoever is signed in and sent a form of ours. Raises: Problem 403 for a form of somebody else's."""
    must_be_ours(request)
    if not hmac.compare_digest(csrf.encode(), session.csrf.encode()):
        raise problems.forbidden(
            "This form is too old, or was not ours. Go back, reload the page, and send it again."
        )
    return session


def changing(session: Annotated[Visitor, Depends(acting)]) -> Visitor:
    """As `acting`, for what changes something. Raises: Problem 403 for a role that only looks."""
    session.who.must_manage()
    return session


Acting = Annotated[Visitor, Depends(acting)]
Changing = Annotated[Visitor, Depends(changing)]


def must_be_ours(request: Request) -> None:
    """A form comes from a page of ours. Raises: Problem 403 where the browser says that it does not."""
    origin, ours = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and (not ours or _host(origin) != ours):
        raise problems.forbidden("This form came from another site.")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise problems.forbidden("This form came from another site.")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # a bracket that is not closed
        return ""


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"counted": count, "date": date, "moment": moment, "short": short_date}
    environment.filters["ago"] = lambda when: when  # replaced for each page, which knows the time
    return environment


def render(
    name: str,
    platform: Platform,
    session: Visitor | None = None,
    status: int = 200,
    here: str = "",
    **values: Any,
) -> HTMLResponse:
    """A page. values: what its template names."""
    environment = _templates().overlay()
    environment.filters = {**environment.filters, "ago": lambda when: ago(when, platform.now())}
    macros: Any = environment.get_template("macros.html").module
    field = Markup('<input type="hidden" name="csrf" value="{}">').format(session.csrf if session else "")
    names: Mapping[str, str] = values.pop("names", {})
    text = environment.get_template(name).render(
        session=session, here=here, version=fluxguard.__version__, csrf=lambda: field, badge=macros.badge,
        records=macros.records, permissions=wire.PERMISSIONS, scope=lambda key: scope(key, names),
        may_change=session.may_change if session else False,
        **{"problem": "", "done": "", **values},
    )  # fmt: skip
    return HTMLResponse(text, status, HEADERS)


def go(where: str) -> Response:
    """On to another page of ours, by GET."""
    return RedirectResponse(where, 303, HEADERS)


def sign_in_first(wanted: str) -> Response:
    return go(f"/sign-in?next={quote(wanted)}" if wanted not in ("", "/") else "/sign-in")


def local_path(text: str) -> str:
    """A path of ours to go on to; anything that could lead elsewhere is the list of keys."""
    fine = (
        text.startswith("/")
        and not text.startswith(("//", "/\\"))
        and text.isprintable()
        and "\\" not in text
    )
    return text if fine else "/settings/api-keys"


def once() -> str:
    """What makes a form's second sending do nothing."""
    return secrets.token_hex(16)


def scope(key: wire.Key, names: Mapping[str, str]) -> str:
    if key.projects is None:
        return "All Projects"
    return ", ".join(names.get(one, one) for one in key.projects)


def moment(when: int | None) -> str:
    return "never" if when is None else f"{datetime.fromtimestamp(when / 1000, UTC):%Y-%m-%d %H:%M}"
