"""The page's screens for keys: list, creation, the key shown once, usage, regenerate, rotate, revoke, delete."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Form
from fastapi.responses import Response
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import life, listing, people, problems, trail, usage
from fluxguard.server.asking import Platforms
from fluxguard.server.life import Row
from fluxguard.server.pages.console import Changing, Visitor, Visitors, go, once, render
from fluxguard.server.platform import Platform
from fluxguard.server.problems import Problem
from fluxguard.server.tables import idempotency, projects

router = APIRouter(prefix="/settings/api-keys", include_in_schema=False)
PAGE = 50
STATES = (*wire.STATES, "unused")
Text = Annotated[str, Form()]
Several = Annotated[list[str], Form()]
FRESH = {
    "name": "", "description": "", "environment": "dev", "scope": "projects", "projects": [],
    "permissions": ["read_scenarios", "upload_results"], "expires": "90d", "custom": "", "hourly_limit": 1000,
}  # fmt: skip


@router.get("")
def overview(
    platform: Platforms, session: Visitors, state: str = "", project: str = "", q: str = "", after: str = ""
) -> Response:
    """The keys, a page at a time. state: one of wire.STATES, or `unused`."""
    now, unused = platform.now(), state == "unused"
    listing.must_be_sound(PAGE, ("" if unused else state,), text=q + project)
    wanted = listing.Wanted(
        session.who.actor.workspace, project=project, states=frozenset({state} - {"", "unused"}), q=q.strip()[:100],
        unused=unused,
    )  # fmt: skip
    page = listing.page(platform.store.select, wanted, now, PAGE, after)
    with platform.store.read() as connection:
        names = names_of(connection, session)
    chosen = {name: value for name, value in (("state", state), ("project", project), ("q", q)) if value}
    return render(
        "keys.html", platform, session, here="keys", keys=[life.view(row, now) for row in page.rows], names=names,
        states=STATES, state=state, projects=names, project=project, q=q, chosen=chosen, first=_address(chosen) if after else "",
        further=_address({**chosen, "after": page.after}) if page.after else "",
    )  # fmt: skip


def _address(chosen: Mapping[str, str]) -> str:
    """This page with what was chosen. It begins with a `?`, so that what was chosen before is gone."""
    return f"?{urlencode(chosen)}"


@router.get("/new")
def creation(platform: Platforms, session: Visitors) -> Response:
    session.who.must_manage()
    return _form(platform, session, FRESH)


def _form(
    platform: Platform, session: Visitor, form: Mapping[str, Any], key: wire.Key | None = None, problem: str = "",
    status: int = 200,
) -> Response:  # fmt: skip
    form = {**form, "name": veiled(form["name"]), "description": veiled(form["description"])}
    with platform.store.read() as connection:
        rows = connection.execute(_projects(session)).mappings().all()
    action = f"/settings/api-keys/{key.id}" if key else "/settings/api-keys"
    return render(
        "form.html", platform, session, status, here="keys", form=form, key=key, projects=rows, action=action, once=once(),
        problem=problem,
    )  # fmt: skip


@router.post("")
def create(
    platform: Platforms, session: Changing, name: Text = "", description: Text = "", environment: Text = "dev",
    scope: Text = "projects", projects: Several = [], permissions: Several = [], expires: Text = "90d",  # noqa: B006
    custom: Text = "", hourly_limit: Text = "1000", once: Text = "",
) -> Response:  # fmt: skip
    """Makes the key and shows it. The same form sent twice makes one key."""
    form = {
        "name": name, "description": description, "environment": environment, "scope": scope, "projects": projects,
        "permissions": permissions, "expires": expires, "custom": custom, "hourly_limit": hourly_limit,
    }  # fmt: skip
    try:
        wish = life.Wish(
            name=name.strip(), environment=environment, permissions=tuple(permissions),
            projects=None if scope == "all" else tuple(dict.fromkeys(projects)), expires_at=_expiry(form, platform.now()),
            description=description.strip(), hourly_limit=_limit(hourly_limit),
        )  # fmt: skip
        with platform.store.write() as connection:
            if _sent_before(connection, platform, session, once):
                return go("/settings/api-keys")
            row, secret = life.create(connection, platform, session.who.actor, wish)
    except Problem as problem:
        return _form(platform, session, form, problem=problem.detail, status=problem.status)
    return _shown(platform, session, row, secret, "API Key Created Successfully")


def _sent_before(connection: Connection, platform: Platform, session: Visitor, token: str) -> bool:
    """Whether this form was sent before; remembers it. One that says nothing of itself is a new one. On PostgreSQL the row's uniqueness makes a second one wait and fail."""
    if not token:
        return False
    actor, route, key = session.who.actor.name, "form", platform.vault.request(token.encode()).hex()
    same = (idempotency.c.actor == actor, idempotency.c.route == route, idempotency.c.key == key)
    if connection.execute(sa.select(idempotency.c.at).where(*same)).first():
        return True
    connection.execute(idempotency.insert().values(
        actor=actor, route=route, key=key, request=b"", status=303, body="{}", at=platform.now()
    ))  # fmt: skip
    return False


def _shown(
    platform: Platform, session: Visitor, row: Row, secret: str, title: str, note: str = ""
) -> Response:
    """The one page that ever shows the key."""
    with platform.store.read() as connection:
        names = names_of(connection, session)
    env = base64.b64encode(f"FLUXLOOP_API_KEY={secret}\n".encode()).decode()
    key = life.view(row, platform.now())
    return render(
        "shown.html",
        platform,
        session,
        here="keys",
        title=title,
        secret=secret,
        env=env,
        key=key,
        note=note,
        names=names,
    )


@router.get("/{key_id}")
def show(key_id: str, platform: Platforms, session: Visitors, done: str = "") -> Response:
    now = platform.now()
    with platform.store.read() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id)
        records = trail.records(
            connection,
            platform.vault,
            session.who.actor.workspace,
            target=key_id,
            limit=50,
            newest_first=True,
        )
        unusual = usage.unusual(connection, row, now)
        names = names_of(connection, session)
        known = people.names(connection, session.who.actor.workspace)
    said = {"changed": "Changed.", "confirmed": "Confirmed.", "revoked": "Revoked: the key opens nothing any more.",
            "quarantined": "In quarantine: only those that used the key before go on.", "released": "Released."}.get(done, "")  # fmt: skip
    return render(
        "key.html", platform, session, here="keys", key=life.view(row, now), audit=records,
        people=known, unusual=unusual, names=names,
        done=said,
    )  # fmt: skip


@router.get("/{key_id}/edit")
def edit(key_id: str, platform: Platforms, session: Visitors) -> Response:
    session.who.must_manage()
    key = _key(platform, session, key_id)
    form = {
        **FRESH, "name": key.name, "description": key.description, "environment": key.environment,
        "scope": "all" if key.projects is None else "projects", "projects": key.projects or (),
        "permissions": key.permissions, "expires": "keep", "hourly_limit": key.hourly_limit, "version": str(key.version),
    }  # fmt: skip
    return _form(platform, session, form, key)


@router.post("/{key_id}")
def change(
    key_id: str, platform: Platforms, session: Changing, name: Text = "", description: Text = "", scope: Text = "projects",
    projects: Several = [], permissions: Several = [], expires: Text = "keep", custom: Text = "",  # noqa: B006
    hourly_limit: Text = "1000", version: Text = "",
) -> Response:  # fmt: skip
    """Changes what the form shows, unless somebody else has changed the key since: their change is not taken back unseen."""
    form = {
        "name": name, "description": description, "environment": "", "scope": scope, "projects": projects,
        "permissions": permissions, "expires": expires, "custom": custom, "hourly_limit": hourly_limit, "version": version,
    }  # fmt: skip
    try:
        changes: dict[str, Any] = {
            "name": name.strip(), "description": description.strip(), "hourly_limit": _limit(hourly_limit),
            "permissions": " ".join(one for one in wire.PERMISSIONS if one in permissions),
            "scope": "all" if scope == "all" else " ".join(dict.fromkeys(projects)),
        }  # fmt: skip
        if expires != "keep":
            changes["expires_at"] = _expiry(form, platform.now())
        with platform.store.write() as connection:
            row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
            if version != str(row["version"]):
                raise problems.conflict(
                    "changed-meanwhile",
                    "The key was changed since this form was opened. Nothing was saved; open Change again to see it as it is.",
                )
            life.update(connection, platform, session.who.actor, row, changes)
    except Problem as problem:
        if problem.status == 404:
            raise
        return _form(platform, session, form, _key(platform, session, key_id), problem.detail, problem.status)
    return go(f"/settings/api-keys/{key_id}?done=changed")


@router.get("/{key_id}/usage")
def usage_page(key_id: str, platform: Platforms, session: Visitors) -> Response:
    with platform.store.read() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id)
        figures = usage.summary(connection, row, platform.now(), 7)
    most = max(1, *(day["requests"] for day in figures["by_day"]))
    key = life.view(row, platform.now())
    return render("usage.html", platform, session, here="keys", key=key, usage=figures, most=most)


@router.get("/{key_id}/regenerate")
def regenerate_page(key_id: str, platform: Platforms, session: Visitors) -> Response:
    return _ask(
        platform, session, key_id, "regenerate", "Regenerate API Key",
        "Warning: The old key is immediately deactivated. You must update to the new key.", "Confirm",
    )  # fmt: skip


@router.post("/{key_id}/regenerate")
def regenerate(key_id: str, platform: Platforms, session: Changing, once: Text = "") -> Response:
    with platform.store.write() as connection:
        if _sent_before(connection, platform, session, once):
            return go(f"/settings/api-keys/{key_id}")
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        fresh, secret = life.regenerate(connection, platform, session.who.actor, row)
    return _shown(
        platform,
        session,
        fresh,
        secret,
        "API Key Regenerated",
        "The old key is dead. CI/CD secrets also need updating.",
    )


@router.get("/{key_id}/rotate")
def rotate_page(key_id: str, platform: Platforms, session: Visitors) -> Response:
    return _ask(
        platform, session, key_id, "rotate", "Rotate API Key",
        "A new key is made. The old one stays good until the new one is in use, and for a while longer.", "Rotate",
        overlap=True,
    )  # fmt: skip


@router.post("/{key_id}/rotate")
def rotate(
    key_id: str, platform: Platforms, session: Changing, overlap: Text = "24h", once: Text = ""
) -> Response:
    try:
        length = wire.to_span(overlap)
    except wire.WireError as error:
        raise problems.invalid(str(error), "/overlap") from None
    with platform.store.write() as connection:
        if _sent_before(connection, platform, session, once):
            return go(f"/settings/api-keys/{key_id}")
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        fresh, secret, _ = life.rotate(
            connection, platform, session.who.actor, row, overlap=length, pending_ttl=platform.settings.pending_ttl,
            expires_at=life.successor_expiry(row, platform.now()),
        )  # fmt: skip
    note = "The new key becomes active when it is first used, or when you say that you saved it. Otherwise it lapses within an hour."
    return _shown(platform, session, fresh, secret, "API Key Rotated", note)


@router.post("/{key_id}/confirm")
def confirm(key_id: str, platform: Platforms, session: Changing) -> Response:
    with platform.store.write() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        life.confirm(connection, platform, session.who.actor, row, "said")
    return go(f"/settings/api-keys/{key_id}?done=confirmed")


@router.post("/{key_id}/quarantine")
def quarantine(key_id: str, platform: Platforms, session: Changing) -> Response:
    with platform.store.write() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        terms = {"allow": usage.known_clients(connection, key_id), "drop_permissions": [], "until": None}
        life.quarantine(connection, platform, session.who.actor, row, terms)
    return go(f"/settings/api-keys/{key_id}?done=quarantined")


@router.post("/{key_id}/release")
def release(key_id: str, platform: Platforms, session: Changing) -> Response:
    with platform.store.write() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        life.release(connection, platform, session.who.actor, row)
    return go(f"/settings/api-keys/{key_id}?done=released")


@router.get("/{key_id}/revoke")
def revoke_page(key_id: str, platform: Platforms, session: Visitors) -> Response:
    return _ask(
        platform, session, key_id, "revoke", "Revoke API Key", "The key opens nothing any more, at once and for good.",
        "Revoke", dangerous=True, reason=True,
    )  # fmt: skip


@router.post("/{key_id}/revoke")
def revoke(key_id: str, platform: Platforms, session: Changing, reason: Text = "") -> Response:
    with platform.store.write() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        life.revoke(connection, platform, session.who.actor, row, reason[:500])
    return go(f"/settings/api-keys/{key_id}?done=revoked")


@router.get("/{key_id}/delete")
def delete_page(key_id: str, platform: Platforms, session: Visitors) -> Response:
    return _delete_page(platform, session, key_id)


def _delete_page(
    platform: Platform, session: Visitor, key_id: str, problem: str = "", status: int = 200
) -> Response:
    return _ask(
        platform, session, key_id, "delete", "Delete API Key", "This action cannot be undone.", "Delete", dangerous=True,
        typed=True, problem=problem, status=status,
    )  # fmt: skip


@router.post("/{key_id}/delete")
def delete(key_id: str, platform: Platforms, session: Changing, confirm_name: Text = "") -> Response:
    with platform.store.write() as connection:
        row = life.find(connection, session.who.actor.workspace, key_id, lock=True)
        fits = confirm_name == row["name"]
        if fits:
            life.delete(connection, platform, session.who.actor, row)
    if not fits:
        return _delete_page(
            platform, session, key_id, "That is not the key's name. Nothing was deleted.", 409
        )
    return go("/settings/api-keys")


def _ask(
    platform: Platform, session: Visitor, key_id: str, action: str, title: str, warning: str, button: str, *,
    dangerous: bool = False, typed: bool = False, overlap: bool = False, reason: bool = False, problem: str = "",
    status: int = 200,
) -> Response:  # fmt: skip
    """A page that asks before something happens."""
    session.who.must_manage()
    return render(
        "confirm.html", platform, session, status, here="keys", key=_key(platform, session, key_id), title=title,
        warning=warning, button=button, action=f"/settings/api-keys/{key_id}/{action}", once=once(), dangerous=dangerous,
        typed=typed, overlap=overlap, reason=reason, problem=problem,
    )  # fmt: skip


def _key(platform: Platform, session: Visitor, key_id: str) -> wire.Key:
    with platform.store.read() as connection:
        return life.view(life.find(connection, session.who.actor.workspace, key_id), platform.now())


def _projects(session: Visitor) -> sa.Select[Any]:
    return (
        sa.select(projects)
        .where(projects.c.workspace_id == session.who.actor.workspace)
        .order_by(projects.c.name)
    )


def names_of(connection: Connection, session: Visitor) -> dict[str, str]:
    """Projects' names by id."""
    return {row["id"]: row["name"] for row in connection.execute(_projects(session)).mappings()}


def _expiry(form: Mapping[str, Any], now: int) -> int | None:
    chosen = form["custom"] if form["expires"] == "custom" else form["expires"]
    try:
        return wire.expiry(str(chosen), now)
    except wire.WireError:
        raise problems.invalid(
            "Choose when the key expires: a date that lies ahead, or Never.", "/expires"
        ) from None


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise problems.invalid("A limit lies between 1 and 1,000,000 requests an hour.", "/hourly_limit")
    return int(text)
