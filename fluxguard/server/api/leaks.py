"""`/api/v1/liveness`: is a key alive, without sending it. `/api/v1/leaks`: keys that were found where they should not be.

Reports come in the form that GitHub's secret scanning sends to its partners: a JSON array of `token`, `type`, `url`, `source`, with an ECDSA
P-256 signature over the raw body. https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from fluxguard import wire
from fluxguard.server import leaking, life, limits, problems, sealing, trail
from fluxguard.server.api.keys import Body
from fluxguard.server.asking import Platforms, Principal, Principals, address_of, agent_of, network_of
from fluxguard.server.door import Door
from fluxguard.server.leaking import Leak
from fluxguard.server.platform import Platform
from fluxguard.server.settings import HOUR
from fluxguard.server.tables import keys, signers

router = APIRouter(prefix="/api/v1", tags=["leaks"], route_class=Door)
QUESTIONS = 600  # of one address in an hour
REPORTS = 60
MOST = 1000  # reports in one request
LARGEST = 4 << 20  # bytes
Prefix = Annotated[str, Field(pattern="^[0-9a-f]{5}$")]


class Question(Body):
    prefixes: list[Prefix] = Field(min_length=1, max_length=100)


class Item(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    token: str = Field(max_length=500)
    type: str = Field(default="", max_length=100)
    url: str = Field(default="", max_length=2000)
    source: str = Field(default="", max_length=64)


ITEMS = TypeAdapter(Annotated[list[Item], Field(max_length=MOST)])
Action = Literal["notify", "quarantine", "revoke"]


class Policy(Body):
    dev: Action | None = None
    stg: Action | None = None
    prod: Action | None = None
    ci: Action | None = None


class Signer(Body):
    id: str = Field(min_length=1, max_length=80)
    name: str = Field(min_length=1, max_length=100)
    public_key: str = Field(max_length=2000)


@router.post("/liveness")
def liveness(body: Question, request: Request, platform: Platforms) -> dict[str, Any]:
    """For each prefix of a fingerprint (five hex digits) the keys that it may be about; each answer opens for its key alone."""
    limits.at_most(platform, f"liveness:{network_of(request)}", QUESTIONS, HOUR)
    now = platform.now()
    wanted = sa.or_(*(_beginning(prefix) for prefix in set(body.prefixes)))
    with platform.store.read() as connection:
        rows = connection.execute(sa.select(keys).where(wanted)).mappings().all()
    return {
        "matches": [{"payload": sealing.locked(_status(dict(row), now), bytes(row["seal"]))} for row in rows]
    }


def _beginning(prefix: str) -> sa.ColumnElement[bool]:
    """Fingerprints that begin so, as a range: the index finds it, where LIKE would read a million rows."""
    after = f"{int(prefix, 16) + 1:05x}" if prefix != "fffff" else "g"
    return sa.and_(keys.c.fingerprint >= f"fg1:{prefix}", keys.c.fingerprint < f"fg1:{after}")


def _status(row: life.Row, now: int) -> dict[str, Any]:
    return {
        "status": life.state_of(row, now), "key_id": row["id"], "name": row["name"], "environment": row["environment"],
        "permissions": row["permissions"].split(), "expires_at": wire.to_text(row["expires_at"]),
        "last_used_at": wire.to_text(row["last_used_at"]),
    }  # fmt: skip


@router.post("/leaks", openapi_extra={
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}}}}
}, responses={200: {"description": "What each key is to us, for a signed report"}, 202: {"description": "Taken, without comment"}})  # fmt: skip
async def report(
    request: Request, platform: Platforms,
    identifier: Annotated[str | None, Header(alias="Github-Public-Key-Identifier")] = None,
    signature: Annotated[str | None, Header(alias="Github-Public-Key-Signature")] = None,
) -> Response:  # fmt: skip
    """Leaked keys in bulk. Whoever holds a key may report it; a signed report is told which keys are ours."""
    raw = await _body(request)
    return await run_in_threadpool(_report, platform, request, raw, identifier, signature)


async def _body(request: Request) -> bytes:
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > LARGEST:
            raise problems.Problem(413, "too-large", "Too large", "This is more than 4 MiB.")
    return raw


def _report(
    platform: Platform, request: Request, raw: bytes, identifier: str | None, signature: str | None
) -> Response:
    signer = _signer(platform, raw, identifier, signature) if identifier or signature else ""
    if not signer:
        limits.at_most(platform, f"leaks:{network_of(request)}", REPORTS, HOUR)
    try:
        items = ITEMS.validate_json(raw)
    except ValidationError:
        raise problems.invalid(
            "Send a JSON array of objects with token, type, url and source; at most 1,000."
        ) from None
    feedback = []
    for item in items:
        leak = Leak(
            item.token,
            item.source or "unknown",
            item.url,
            signer or "its holder",
            address_of(request),
            agent_of(request),
        )
        ours = False
        if wire.well_formed(item.token):
            with platform.store.write() as connection:
                ours = leaking.report(connection, platform, leak)
        digest = hashlib.sha256(item.token.encode("utf-8", "surrogatepass")).hexdigest()
        feedback.append({
            "token_hash": digest, "token_type": item.type, "label": "true_positive" if ours else "false_positive",
        })  # fmt: skip
    return JSONResponse(feedback) if signer else Response(status_code=202)


def _signer(platform: Platform, raw: bytes, identifier: str | None, signature: str | None) -> str:
    """Who signed. Raises: Problem 400 for a signature that is not right, or not of a current key."""
    wrong = problems.Problem(400, "bad-signature", "Bad signature", "The report's signature is not right.")
    with platform.store.read() as connection:
        row = connection.execute(
            sa.select(signers).where(signers.c.id == (identifier or ""), signers.c.current)
        ).first()
    if row is None or not signature:
        raise wrong
    try:
        key = load_pem_public_key(row.public_key.encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(base64.b64decode(signature, validate=True), raw, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        raise wrong from None
    return str(row.name)


@router.get("/leaks")
def listing(platform: Platforms, who: Principals) -> list[dict[str, Any]]:
    _all_of_it(who)
    with platform.store.read() as connection:
        found = leaking.listed(connection, who.actor.workspace)
    return [{**one, "at": wire.to_text(one["at"])} for one in found]


@router.get("/policies/leaks")
def show_policy(platform: Platforms, who: Principals) -> dict[str, str]:
    _all_of_it(who)
    with platform.store.read() as connection:
        return leaking.policy(connection, platform, who.actor.workspace)


@router.patch("/policies/leaks")
def change_policy(body: Policy, platform: Platforms, who: Principals) -> dict[str, str]:
    """What happens to a leaked key, by environment."""
    _all_of_it(who)
    changes = {name: value for name, value in body.model_dump().items() if value is not None}
    with platform.store.write() as connection:
        return leaking.set_policy(connection, platform, who.actor, changes)


@router.get("/signers")
def list_signers(platform: Platforms, who: Principals) -> list[dict[str, Any]]:
    _all_of_it(who)
    with platform.store.read() as connection:
        rows = connection.execute(sa.select(signers).order_by(signers.c.id)).mappings().all()
    return [{"id": row["id"], "name": row["name"], "current": row["current"]} for row in rows]


@router.post("/signers", status_code=201)
def add_signer(body: Signer, platform: Platforms, who: Principals) -> dict[str, Any]:
    """A public key whose reports are answered: ECDSA on P-256, PEM."""
    _all_of_it(who)
    for text, pointer in ((body.id, "/id"), (body.name, "/name")):
        problems.must_hold_no_key(text, pointer)
    try:
        key = load_pem_public_key(body.public_key.encode())
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise problems.invalid("public_key is the PEM of a P-256 public key.", "/public_key")
    with platform.store.write() as connection:
        if connection.execute(sa.select(signers.c.id).where(signers.c.id == body.id)).first():
            raise problems.conflict("signer-exists", "There is a signer of this id already.")
        connection.execute(signers.insert().values(
            id=body.id, name=body.name, public_key=body.public_key, current=True, created_at=platform.now()
        ))  # fmt: skip
        trail.record(
            connection,
            platform.vault,
            platform.now(),
            who.actor,
            "signer.added",
            body.id,
            {"name": body.name},
        )
    return {"id": body.id, "name": body.name, "current": True}


@router.delete("/signers/{signer_id}", status_code=204)
def remove_signer(signer_id: str, platform: Platforms, who: Principals) -> None:
    _all_of_it(who)
    with platform.store.write() as connection:
        done = connection.execute(
            signers.update().where(signers.c.id == signer_id, signers.c.current).values(current=False)
        )
        if not done.rowcount:
            raise problems.not_found()
        trail.record(connection, platform.vault, platform.now(), who.actor, "signer.removed", signer_id)


def _all_of_it(who: Principal) -> None:
    """For what concerns the whole workspace. Raises: Problem 403."""
    who.must_manage()
    who.must_not_be_contained()
    if who.projects is not None:
        raise problems.forbidden("This is for keys of all projects.")
