"""Sign in, sign out, and connect a device that wants to sign in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from fluxguard.secret import veiled
from fluxguard.server import people, trail
from fluxguard.server.api import vendor
from fluxguard.server.asking import Platforms, address_of, agent_of, network_of
from fluxguard.server.pages import recognised
from fluxguard.server.pages.console import (
    Acting,
    Visitors,
    cookie_name,
    go,
    local_path,
    must_be_ours,
    render,
    sign_in_first,
)  # fmt: skip
from fluxguard.server.platform import Platform
from fluxguard.server.trail import Actor

router = APIRouter(include_in_schema=False)
TOO_MANY = "Too many tries. Wait a quarter of an hour, or use a browser in which you signed in before."


@router.get("/sign-in")
def sign_in_page(platform: Platforms, next: str = "") -> Response:
    return _sign_in(platform, next)


def _sign_in(
    platform: Platform, next: str, problem: str = "", email: str = "", status: int = 200
) -> Response:
    email = veiled(email)  # a key that was typed into the wrong field is not sent back
    with platform.store.read() as connection:
        owned = people.has_owner(connection)
    return render(
        "sign_in.html", platform, None, status, next=next, problem=problem, email=email, owned=owned
    )


@router.post("/sign-in")
def sign_in(
    request: Request, platform: Platforms, email: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",
) -> Response:  # fmt: skip
    """A new session for the right password. Who tries too often waits, whatever the password.

    A browser that signed in to the account before has tries of its own: strangers who use up those for the name keep its owner out of nowhere.
    """
    must_be_ours(request)
    address, name = address_of(request), email.strip().lower()
    browser = recognised.browser(request, platform, name)
    tries = (f"browser:{browser}",) if browser else (f"email:{name}", f"address:{network_of(request)}")
    with platform.store.write() as connection:
        allowed = people.may_try(connection, platform, tries)
    if not allowed:
        return _sign_in(platform, next, TOO_MANY, email, 429)
    with platform.store.read() as connection:
        user = people.by_email(connection, email)
    fits = people.password_fits(user, password)
    with platform.store.write() as connection:
        fits = fits and user is not None and people.is_as_it_was(connection, user)
        if not fits or user is None:
            actor = Actor("system", user["workspace_id"] if user else "", address, agent_of(request))
            trail.record(
                connection,
                platform.vault,
                platform.now(),
                actor,
                "session.refused",
                user["id"] if user else "",
            )
        else:
            actor = Actor(
                f"user:{user['id']}",
                user["workspace_id"],
                address,
                agent_of(request),
                request.state.request_id,
            )
            people.forget_tries(connection, platform, tries)
            cookie, _ = people.open_session(connection, platform, user, actor)
    if not fits or user is None:
        return _sign_in(platform, next, "E-mail address or password is wrong.", email, 401)
    answer = go(local_path(next))
    answer.set_cookie(
        cookie_name(request), cookie, max_age=platform.settings.session_ttl // 1000, path="/", httponly=True,
        secure=request.url.scheme == "https", samesite="lax",
    )  # fmt: skip
    recognised.remember(answer, request, platform, name)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, platform: Platforms, session: Acting) -> Response:
    with platform.store.write() as connection:
        people.end_session(connection, platform, session.cookie)
        trail.record(
            connection, platform.vault, platform.now(), session.who.actor, "session.closed", session.who.user
        )
    answer = sign_in_first("")
    answer.delete_cookie(
        cookie_name(request), path="/", httponly=True, secure=request.url.scheme == "https", samesite="lax"
    )
    return answer


@router.get("/connect")
def connect_page(platform: Platforms, session: Visitors, code: str = "") -> Response:
    return render("connect.html", platform, session, code=code[:20])


@router.post("/connect")
def connect(
    platform: Platforms,
    session: Acting,
    code: Annotated[str, Form()] = "",
    answer: Annotated[str, Form()] = "deny",
) -> Response:
    with platform.store.write() as connection:
        known = vendor.approve(
            connection, platform, session.who.actor, session.who.user, code, allowed=answer == "allow"
        )
    if not known:
        problem = "No sign-in is under way by this code. It may have run out; start again in the terminal."
        return render("connect.html", platform, session, 404, code="", problem=problem)
    said = (
        "The device is connected. Go back to the terminal. It can be ended under Devices."
        if answer == "allow"
        else "The device was turned away."
    )
    return render("message.html", platform, session, title="Connect a device", text=said)
