"""`/api/v1/keys`: create, list, show, change, delete; regenerate, rotate, confirm, quarantine, release, revoke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import life, listing, once, problems, sealing
from fluxguard.server.asking import Platforms, Principal, Principals, off_loop
from fluxguard.server.door import Door
from fluxguard.server.platform import Platform

router = APIRouter(prefix="/api/v1/keys", tags=["keys"], route_class=Door)
Idempotency = Annotated[str | None, Header(alias="Idempotency-Key")]
CHOSEN = (
    "project_id",
    "project",
    "environment",
    "state",
    "q",
    "unused",
    "limit",
)  # what a list's next page keeps
SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}


USUAL = 1000  # requests an hour


class Body(BaseModel):
    """What a request may hold: nothing but this."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)


class Projects(Body):
    projects: list[str] = Field(min_length=1, max_length=1000)


Scope = Literal["all"] | Projects
Permission = Literal[
    "read_scenarios",
    "upload_results",
    "create_scenarios",
    "delete_scenarios",
    "manage_projects",
    "manage_keys",
]


class NewKey(Body):
    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=1000)
    environment: Literal["dev", "stg", "prod", "ci"]
    scope: Scope
    permissions: list[Permission] = Field(min_length=1)
    expires: str = Field(default="90d", max_length=40)
    hourly_limit: int | None = Field(default=None, ge=1, le=1_000_000)
    reveal_to: str | None = Field(default=None, max_length=100)


class Change(Body):
    name: str | None = Field(default=None, min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=1000)
    scope: Scope | None = None
    permissions: list[Permission] | None = Field(default=None, min_length=1)
    expires: str | None = Field(default=None, max_length=40)
    hourly_limit: int | None = Field(default=None, ge=1, le=1_000_000)


class Regeneration(Body):
    reveal_to: str | None = Field(default=None, max_length=100)


class Rotation(Body):
    overlap: str = Field(default="24h", max_length=10)
    pending_ttl: str = Field(default="1h", max_length=10)
    expires: str | None = Field(default=None, max_length=40)
    reveal_to: str | None = Field(default=None, max_length=100)


class Reason(Body):
    reason: str = Field(default="", max_length=500)


class Known(Body):
    address: str = Field(max_length=64)
    user_agent: str = Field(max_length=200)


class Terms(Body):
    """allow: who may go on using the key; absent, those that used it before now."""

    allow: list[Known] | None = Field(default=None, max_length=1000)
    drop_permissions: list[Permission] = Field(default_factory=list)
    until: str | None = Field(default=None, max_length=40)


@router.post("", status_code=201)
def create(
    body: NewKey, request: Request, platform: Platforms, who: Principals, key: Idempotency = None
) -> JSONResponse:
    """Makes a key, and shows it this once."""
    who.must_manage()
    who.must_not_be_contained()
    box = sealing.public_key(body.reveal_to) if body.reveal_to else None
    wish = life.Wish(
        name=body.name, environment=body.environment, permissions=tuple(body.permissions), projects=_projects(body.scope),
        expires_at=_end_of_new(who, body, platform.now()), description=body.description,
        hourly_limit=limit_of_new(who, body.hourly_limit),
    )  # fmt: skip
    must_not_exceed(who, frozenset(wish.permissions), wish.projects)
    with platform.store.write() as connection:

        def work() -> tuple[once.Answer, dict[str, Any]]:
            must_not_outlast(who, wish.permissions, wish.expires_at, platform.now())
            must_not_ask_more(who, wish.hourly_limit)
            row, secret = life.create(connection, platform, who.actor, wish)
            return revealed(row, secret, box, platform.now())

        status, answer = once.perform(
            connection, platform, who.actor.name, "POST /keys", key, body.model_dump(mode="json"), work
        )
    return shown(status, answer, {**SECRET, "Location": f"/api/v1/keys/{answer['id']}"})


@router.get("", response_model=list[dict[str, Any]])
async def keys(
    request: Request,
    platform: Platforms,
    who: Principals,
    project_id: str = "",
    project: str = "",
    environment: str = "",
    state: str = "",
    q: str = "",
    unused: bool = False,
    limit: int = 100,
    cursor: str = "",
) -> Response:
    """The workspace's keys, newest first. Where there are more, `Link` with `rel="next"` leads on; a page may be shorter than asked for."""
    listing.must_be_sound(limit, (state,), environment, q + project_id + project)
    wanted = wanted_by(
        who, project=project_id or project, environment=environment, states=frozenset({state} - {""}), q=q,
        unused=unused,
    )  # fmt: skip
    return await listed(request, platform, who, wanted, limit, cursor)


def wanted_by(who: Principal, **chosen: Any) -> listing.Wanted:
    """What a list may hold for whoever asks, as far as the database can tell; `visible` says the rest."""
    itself_alone = who.caller is not None and "manage_keys" not in who.caller.permissions
    return listing.Wanted(
        who.actor.workspace, only=who.caller.id if who.caller and itself_alone else "",
        confined=who.projects is not None and not itself_alone, **chosen,
    )  # fmt: skip


async def listed(
    request: Request, platform: Platform, who: Principal, wanted: listing.Wanted, limit: int | None, cursor: str
) -> Response:  # fmt: skip
    """A page, or all of them where there is no limit. What takes more than a moment keeps nobody else waiting."""

    def work() -> Response:
        now, select = platform.now(), platform.store.select
        if limit is None:
            page = listing.Page(list(listing.every(select, wanted, now, lambda row: visible(who, row))), "")
        else:
            page = listing.page(select, wanted, now, limit, cursor, lambda row: visible(who, row))
        return _page(request, page, now)

    return await off_loop(platform, work, wanted.plain and limit is not None and limit <= listing.SHORT)


def _page(request: Request, page: listing.Page, now: int) -> Response:
    """A page, and the next one's address (RFC 8288), relative, for the Host header is a stranger's to choose."""
    headers = {}
    if page.after:
        chosen = {name: value for name, value in request.query_params.items() if name in CHOSEN}
        query = urlencode({**chosen, "cursor": page.after})
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    text = ",".join([life.shown(row, now) for row in page.rows])
    return Response(f"[{text}]".encode(), headers=headers, media_type="application/json")


@router.get("/{key_id}")
async def show(key_id: str, platform: Platforms, who: Principals) -> Response:
    row = await life.seen(platform, who.actor.workspace, key_id)
    if not visible(who, row):
        raise problems.not_found()
    return one(row, platform.now())


@router.patch("/{key_id}")
def change(
    key_id: str,
    body: Change,
    platform: Platforms,
    who: Principals,
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Changes what is named; the rest stays. `If-Match` with the ETag guards against somebody else's change between."""
    who.must_manage()
    who.must_not_be_contained()
    named = body.model_dump(exclude_unset=True)
    changes: dict[str, Any] = {
        name: named[name] for name in ("name", "description", "hourly_limit") if named.get(name) is not None
    }
    if body.scope is not None:
        chosen = _projects(body.scope)
        changes["scope"] = "all" if chosen is None else " ".join(chosen)
    if body.permissions is not None:
        changes["permissions"] = " ".join(name for name in wire.PERMISSIONS if name in body.permissions)
    if body.expires is not None:
        changes["expires_at"] = _expiry(body.expires, platform.now())
    with platform.store.write() as connection:
        row = found(connection, who, key_id, lock=True)
        must_match(row, if_match)
        wanted = {**row, **changes}
        must_not_exceed(who, frozenset(wanted["permissions"].split()), _scope(wanted["scope"]))
        _must_not_widen(who, row, wanted, platform.now())
        row = life.update(connection, platform, who.actor, row, changes)
    return one(row, platform.now())


@router.delete("/{key_id}")
def delete(
    key_id: str,
    platform: Platforms,
    who: Principals,
    confirm_name: str = "",
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Deletes a key whose name is given. This cannot be undone."""
    who.must_manage()
    who.must_not_be_contained(key_id)
    with platform.store.write() as connection:
        row = found(connection, who, key_id, lock=True)
        must_match(row, if_match)
        if confirm_name != row["name"]:
            raise problems.conflict(
                "confirmation-mismatch", "Give the key's name as confirm_name: it is deleted for good."
            )
        row = life.delete(connection, platform, who.actor, row)
    return one(row, platform.now())


@router.post("/{key_id}/regenerate", status_code=201)
def regenerate(
    key_id: str,
    platform: Platforms,
    who: Principals,
    body: Regeneration | None = None,
    key: Idempotency = None,
) -> JSONResponse:
    """A new key with the same rights; the old one is dead at once."""
    body = body or Regeneration()

    def work(connection: Connection) -> tuple[once.Answer, dict[str, Any]]:
        row = found(connection, who, key_id, lock=True)
        must_not_exceed(who, frozenset(row["permissions"].split()), _scope(row["scope"]))
        fresh, secret = life.regenerate(connection, platform, who.actor, row)
        return revealed(fresh, secret, _box(body.reveal_to), platform.now())

    return _minting(platform, who, key_id, "regenerate", key, body, work)


@router.post("/{key_id}/rotate", status_code=201)
def rotate(
    key_id: str, platform: Platforms, who: Principals, body: Rotation | None = None, key: Idempotency = None
) -> JSONResponse:
    """A successor, pending until it is used or confirmed; the old key then lives on for the overlap."""
    body = body or Rotation()
    overlap, ttl = _span(body.overlap, "/overlap"), _span(body.pending_ttl, "/pending_ttl")

    def work(connection: Connection) -> tuple[once.Answer, dict[str, Any]]:
        now = platform.now()
        row = found(connection, who, key_id, lock=True)
        must_not_exceed(who, frozenset(row["permissions"].split()), _scope(row["scope"]))
        ends = like = life.successor_expiry(row, now)
        if body.expires:
            ends = _expiry(body.expires, now)
            if _is_later(ends, like):
                must_not_outlast(who, row["permissions"].split(), ends, now)
        fresh, secret, old = life.rotate(
            connection, platform, who.actor, row, overlap=overlap, pending_ttl=ttl, expires_at=ends
        )
        (status, answer), kept = revealed(fresh, secret, _box(body.reveal_to), now)
        more = {"successor": life.view(fresh, now).to_json(), "predecessor": life.view(old, now).to_json()}
        return (status, {**answer, **more}), {**kept, **more}

    return _minting(platform, who, key_id, "rotate", key, body, work)


def _minting(
    platform: Platform, who: Principal, key_id: str, action: str, key: str | None, body: Body, work: Any
) -> JSONResponse:
    """Whatever mints in place of another key: once for an idempotency key, which it has to have."""
    who.must_manage()
    who.must_not_be_contained(key_id)  # itself it may replace: that is how a leak ends
    if key is None:
        raise problems.Problem(
            400, "idempotency-key-required", "Idempotency key required",
            "Send an Idempotency-Key, so that a lost answer can be asked for again.",
        )  # fmt: skip
    with platform.store.write() as connection:
        status, answer = once.perform(
            connection,
            platform,
            who.actor.name,
            f"POST /keys/{key_id}/{action}",
            key,
            body.model_dump(mode="json"),
            lambda: work(connection),
        )
    return shown(status, answer, {**SECRET, "Location": f"/api/v1/keys/{answer['id']}"})


@router.post("/{key_id}/confirm")
def confirm(key_id: str, platform: Platforms, who: Principals) -> Response:
    """The new key has arrived safely: called by a person, or by the key itself."""
    with platform.store.write() as connection:
        row = found(connection, who, key_id, lock=True)
        itself = who.caller is not None and who.caller.id == key_id
        if not itself:
            who.must_manage()
            who.must_not_be_contained()
        row = life.confirm(connection, platform, who.actor, row, "proof" if itself else "said")
    return one(row, platform.now())


@router.post("/{key_id}/quarantine")
def quarantine(key_id: str, platform: Platforms, who: Principals, body: Terms | None = None) -> Response:
    """Contains a key: only those that used it before now go on."""
    from fluxguard.server import usage

    who.must_manage()
    who.must_not_be_contained()
    body = body or Terms()
    until = _expiry(body.until, platform.now()) if body.until else None
    with platform.store.write() as connection:
        row = found(connection, who, key_id, lock=True)
        allow = (
            [{name: veiled(text) for name, text in known.model_dump().items()} for known in body.allow]
            if body.allow is not None
            else usage.known_clients(connection, key_id)
        )
        terms = {"allow": allow, "drop_permissions": body.drop_permissions, "until": until}
        row = life.quarantine(connection, platform, who.actor, row, terms)
    return one(row, platform.now())


@router.post("/{key_id}/release")
def release(key_id: str, platform: Platforms, who: Principals) -> Response:
    who.must_manage()
    who.must_not_be_contained()
    with platform.store.write() as connection:
        row = life.release(connection, platform, who.actor, found(connection, who, key_id, lock=True))
    return one(row, platform.now())


@router.post("/{key_id}/revoke")
def revoke(key_id: str, platform: Platforms, who: Principals, body: Reason | None = None) -> Response:
    """Ends a key at once. It is on disk and in force when the answer goes out. Again is the same as once."""
    who.must_manage()
    who.must_not_be_contained(key_id)
    with platform.store.write() as connection:
        row = found(connection, who, key_id, lock=True)
        row = life.revoke(connection, platform, who.actor, row, body.reason if body else "")
    return one(row, platform.now())


@router.get("/{key_id}/usage")
def usage_of(key_id: str, platform: Platforms, who: Principals, days: int = 7) -> dict[str, Any]:
    """How often the key was used, by day, operation and project."""
    from fluxguard.server import usage

    if not 1 <= days <= 400:
        raise problems.invalid("days lies between 1 and 400.", "/days")
    with platform.store.read() as connection:
        row = found(connection, who, key_id)
        return usage.summary(connection, row, platform.now(), days)


@router.get("/{key_id}/timeline")
def timeline(key_id: str, platform: Platforms, who: Principals, since: str = "") -> list[dict[str, Any]]:
    """What happened to the key and with it, in order."""
    from fluxguard.server import usage

    with platform.store.read() as connection:
        row = found(connection, who, key_id)
        return usage.timeline(connection, row, _moment(since))


# What the handlers share.


def found(connection: Connection, who: Principal, key_id: str, lock: bool = False) -> life.Row:
    """The key, if the principal may see it. Raises: Problem 404."""
    row = life.find(connection, who.actor.workspace, key_id, lock)
    if not visible(who, row):
        raise problems.not_found()
    return row


def visible(who: Principal, row: life.Row) -> bool:
    """A key sees itself; one that manages keys sees the others, too: where it is confined to projects, those confined to the same."""
    if who.caller is not None and who.caller.id == row["id"]:
        return True
    if who.caller is not None and "manage_keys" not in who.caller.permissions:
        return False
    if who.projects is None:
        return True
    scope = _scope(row["scope"])
    return scope is not None and set(scope) <= who.projects


def must_not_exceed(who: Principal, permissions: frozenset[str], projects: tuple[str, ...] | None) -> None:
    """Nobody hands on what they do not have. Raises: Problem 403."""
    if not permissions <= who.may:
        raise problems.Problem(
            403, "privilege-escalation", "Permission denied", "A key can't hand on permissions that it lacks.",
            required=sorted(permissions), current=sorted(who.may),
        )  # fmt: skip
    if who.projects is not None and (projects is None or not set(projects) <= who.projects):
        raise problems.forbidden(
            "A key can't hand on projects that are not in its scope.", "privilege-escalation"
        )


def _is_later(end: int | None, other: int | None) -> bool:
    return other is not None and (end is None or end > other)


def latest(who: Principal, permissions: Iterable[str], now: int) -> int | None:
    """When a key has to end that whoever asks makes; None for never.

    A key gives no longer a time than it was given itself, and the right to manage keys not beyond its own end: whoever has found it could
    go on quietly. What takes another key's place (rotate, regenerate) lives as long as that one did; that key's owner sees it end.
    """
    if who.caller is None:
        return None
    if "manage_keys" in permissions:
        return who.caller.ends
    return None if who.caller.term is None else now + who.caller.term


def must_not_outlast(who: Principal, permissions: Iterable[str], ends: int | None, now: int) -> None:
    """Raises: Problem 403."""
    last = latest(who, permissions, now)
    if _is_later(ends, last):
        raise problems.Problem(
            403, "privilege-escalation", "Permission denied",
            f"A key can't hand on more time than it has: what it makes with these permissions ends by {wire.to_text(last)}. Name an earlier end, or ask a person.",
            latest=wire.to_text(last),
        )  # fmt: skip


def must_not_ask_more(who: Principal, limit: int) -> None:
    """Raises: Problem 403."""
    if who.caller is not None and limit > who.caller.limit:
        raise problems.Problem(
            403, "privilege-escalation", "Permission denied",
            f"A key can't hand on a higher limit than its own, {who.caller.limit:,} requests an hour. Ask a person.",
            most=who.caller.limit,
        )  # fmt: skip


def limit_of_new(who: Principal, wanted: int | None) -> int:
    """The limit that is asked for; where none is, the usual one, or as much of it as may be handed on."""
    if wanted is not None:
        return wanted
    return USUAL if who.caller is None else min(USUAL, who.caller.limit)


def _must_not_widen(who: Principal, row: life.Row, wanted: Mapping[str, Any], now: int) -> None:
    """A key gives itself neither more time nor a higher limit, and another one no more than it may hand on. Raises: Problem 403."""
    longer = _is_later(wanted["expires_at"], row["expires_at"])
    higher = wanted["hourly_limit"] > row["hourly_limit"]
    if who.caller is not None and who.caller.id == row["id"] and (longer or higher):
        raise problems.forbidden(
            "A key can't give itself more time or a higher limit. Rotate it, or ask a person.",
            "privilege-escalation",
        )
    permissions = wanted["permissions"].split()
    if longer or not set(permissions) <= set(row["permissions"].split()):
        must_not_outlast(who, permissions, wanted["expires_at"], now)
    if higher:
        must_not_ask_more(who, wanted["hourly_limit"])


def must_match(row: life.Row, if_match: str | None) -> None:
    if if_match is not None and if_match not in ("*", _etag(row)):
        raise problems.Problem(
            412, "precondition-failed", "Precondition failed", "The key was changed since you read it."
        )


def _etag(row: life.Row) -> str:
    return f'"{row["version"]}"'


def one(row: life.Row, now: int) -> Response:
    return Response(
        life.shown(row, now).encode(), headers={"ETag": _etag(row)}, media_type="application/json"
    )


def shown(status: int, answer: dict[str, Any], headers: dict[str, str]) -> JSONResponse:
    """The answer to something that minted. One that is repeated, and was not sealed, can't show the key any more."""
    if "key" not in answer and "sealed_key" not in answer:
        raise problems.conflict(
            "key-already-revealed",
            "This request was answered before, and a key is shown only once.",
            id=answer["id"],
        )
    return JSONResponse(answer, status, headers)


def revealed(row: life.Row, secret: str, box: Any, now: int) -> tuple[once.Answer, dict[str, Any]]:
    """The answer that shows a new key, and as much of it as may be kept."""
    plain = life.view(row, now).to_json()
    if box is None:
        return (201, {**plain, "key": secret}), plain
    answer = {**plain, "sealed_key": sealing.sealed(secret, box)}
    return (201, answer), answer


def _box(text: str | None) -> Any:
    return sealing.public_key(text) if text else None


def _projects(scope: Scope) -> tuple[str, ...] | None:
    return None if scope == "all" else tuple(dict.fromkeys(scope.projects))


def _scope(text: str) -> tuple[str, ...] | None:
    return None if text == "all" else tuple(text.split())


def _end_of_new(who: Principal, body: NewKey, now: int) -> int | None:
    """The end that is asked for; where none is, 90 days, or as much of them as may be handed on."""
    ends = _expiry(body.expires, now)
    if "expires" in body.model_fields_set:
        return ends
    last = latest(who, body.permissions, now)
    return last if _is_later(ends, last) else ends


def _expiry(text: str, now: int) -> int | None:
    try:
        return wire.expiry(text, now)
    except wire.WireError as error:
        raise problems.invalid(str(error), "/expires") from None


def _span(text: str, pointer: str) -> int:
    try:
        return wire.to_span(text)
    except wire.WireError as error:
        raise problems.invalid(str(error), pointer) from None


def _moment(text: str) -> int:
    try:
        return wire.to_moment(text) or 0 if text else 0
    except wire.WireError as error:
        raise problems.invalid(str(error), "/since") from None
