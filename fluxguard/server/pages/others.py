"""Projects, the audit trail, and leaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form
from fastapi.responses import Response, StreamingResponse

from fluxguard import wire
from fluxguard.server import leaking, life, listing, people, trail, watch
from fluxguard.server.api.resources import new_project
from fluxguard.server.asking import Platforms
from fluxguard.server.pages.console import HEADERS, Acting, Changing, Visitor, Visitors, go, render
from fluxguard.server.platform import Platform
from fluxguard.server.problems import Problem
from fluxguard.server.tables import projects

router = APIRouter(include_in_schema=False)
PAGE = 50
LAST = 2**63 - 1  # the largest number that a database takes
UNUSED = 20  # keys that the leaks page names
Text = Annotated[str, Form()]


@router.get("/")
def start(session: Visitors) -> Response:
    return go("/settings/api-keys")


@router.get("/projects")
def list_projects(platform: Platforms, session: Visitors) -> Response:
    return _projects(platform, session)


def _projects(platform: Platform, session: Visitor, problem: str = "", status: int = 200) -> Response:
    query = (
        sa.select(projects)
        .where(projects.c.workspace_id == session.who.actor.workspace)
        .order_by(projects.c.name)
    )
    with platform.store.read() as connection:
        rows = connection.execute(query).mappings().all()
    return render("projects.html", platform, session, status, here="projects", projects=rows, problem=problem)


@router.post("/projects")
def create_project(platform: Platforms, session: Changing, name: Text = "") -> Response:
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        return _projects(platform, session, "A name has 1 to 100 characters, on one line.", 422)
    try:
        with platform.store.write() as connection:
            new_project(connection, platform, session.who.actor, name)
    except Problem as problem:
        return _projects(platform, session, problem.detail, problem.status)
    return go("/projects")


@router.get("/audit")
def audit(platform: Platforms, session: Visitors, before: int = 0, done: str = "") -> Response:
    with platform.store.read() as connection:
        look = watch.look(connection, platform)
        known = people.names(connection, session.who.actor.workspace)
        rows = trail.records(
            connection, platform.vault, session.who.actor.workspace, after=min(max(0, before), LAST), limit=PAGE, newest_first=True
        )  # fmt: skip
    return render(
        "audit.html", platform, session, here="audit", look=look, older=rows[-1]["seq"] if len(rows) == PAGE else 0,
        audit=rows, people=known, wrong=[row["seq"] for row in rows if not row["proved"]],
        done="Every record was checked." if done else "",
    )  # fmt: skip


@router.post("/audit/check")
def check(platform: Platforms, session: Acting) -> Response:
    """Checks every record, now. Whoever may look may ask for it."""
    with platform.store.read() as connection:
        found = watch.whole(connection, platform)
    watch.seal_whole(platform, found)
    return go("/audit?done=1")


@router.get("/audit/export")
def export(platform: Platforms, session: Visitors) -> Response:
    """All records, one object a line, with their proofs."""

    def lines() -> Iterator[str]:
        after = 0
        while True:
            with platform.store.read() as connection:
                rows = trail.records(
                    connection, platform.vault, session.who.actor.workspace, after=after, limit=1000
                )
            for row in rows:
                yield json.dumps({**row, "at": wire.to_text(row["at"])}, ensure_ascii=False) + "\n"
            if len(rows) < 1000:
                return
            after = rows[-1]["seq"]

    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(lines(), media_type="application/jsonl", headers=headers)


@router.get("/leaks")
def leaks(platform: Platforms, session: Visitors, done: str = "") -> Response:
    now = platform.now()
    with platform.store.read() as connection:
        found = leaking.listed(connection, session.who.actor.workspace)
        policy = leaking.policy(connection, platform, session.who.actor.workspace)
    wanted = listing.Wanted(session.who.actor.workspace, unused=True)
    unused = listing.page(platform.store.select, wanted, now, UNUSED)
    return render(
        "leaks.html", platform, session, here="leaks", leaks=found, policy=policy,
        unused=[life.view(row, now) for row in unused.rows], more=unused.after != "", done="Saved." if done else "",
    )  # fmt: skip


@router.post("/leaks/policy")
def policy(
    platform: Platforms, session: Changing, dev: Text = "", stg: Text = "", prod: Text = "", ci: Text = ""
) -> Response:
    named = {"dev": dev, "stg": stg, "prod": prod, "ci": ci}
    changes = {name: value for name, value in named.items() if value in leaking.ACTIONS}
    with platform.store.write() as connection:
        leaking.set_policy(connection, platform, session.who.actor, changes)
    return go("/leaks?done=1")
