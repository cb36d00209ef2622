"""Projects and scenarios, pulled and uploaded: what keys are for, metered, as FluxLoop's published client calls it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.concurrency import run_in_threadpool

from fluxguard import wire
from fluxguard.secret import veiled
from fluxguard.server import mint, problems, trail
from fluxguard.server.asking import Guest, Platforms, admitted, known
from fluxguard.server.door import Door
from fluxguard.server.platform import Platform
from fluxguard.server.store import insert, run
from fluxguard.server.tables import projects, runs, scenarios

router = APIRouter(prefix="/api", tags=["resources"], route_class=Door)
KNOWN = [Depends(known)]  # of routes that take a body
SHOWN = ("id", "project_id", "name", "body", "created_at")
SCENARIOS = """
    SELECT s.id, s.project_id, s.name, s.body, s.created_at FROM scenarios AS s JOIN projects AS p ON p.id = s.project_id
    WHERE p.workspace_id = :workspace
"""
LIST = SCENARIOS + "ORDER BY s.created_at, s.id"
LIST_ONE = SCENARIOS + "AND s.project_id = :project ORDER BY s.created_at, s.id"
NEWEST = SCENARIOS + "AND s.project_id = :project ORDER BY s.created_at DESC, s.id DESC LIMIT 1"
SCENARIO = SCENARIOS + "AND s.id = :id"
WORKSPACES = "SELECT id, name FROM workspaces WHERE id = :workspace"
PROJECTS = "SELECT id, name, workspace_id, created_at FROM projects WHERE workspace_id = :workspace"
PROJECT = PROJECTS + " AND id = :id"
BODY = SHOWN.index("body")
SMALL = 4096  # characters of a scenario that are worth keeping as the text they become
LARGEST = 4 << 20  # bytes of JSON that are kept of one scenario or upload


class Lenient(BaseModel):
    """The published client sends more than is needed here, and newer ones may send more still."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class NewProject(Lenient):
    name: str = Field(min_length=1, max_length=100)
    workspace_id: str | None = None


class NewScenario(Lenient):
    project_id: str
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=5000)
    config_snapshot: dict[str, Any] = Field(default_factory=dict)


class Pull(Lenient):
    bundle_version_id: str | None = None
    project_id: str | None = None
    include_inputs: bool = True
    include_personas: bool = True
    include_criteria: bool = True


class Upload(Lenient):
    bundle_version_id: str
    run_batch: dict[str, Any] = Field(default_factory=dict)
    runs: list[dict[str, Any]] = Field(default_factory=list)
    turns: list[dict[str, Any]] = Field(default_factory=list)
    run_results: list[dict[str, Any]] = Field(default_factory=list)


@router.get("/scenarios", response_model=list[dict[str, Any]])
async def list_scenarios(request: Request, platform: Platforms, project_id: str = "") -> Response:
    guest = await admitted(request, "read_scenarios", "pull_scenarios", project_id)
    sql = LIST_ONE if project_id else LIST
    rows = await platform.store.select_soon(sql, workspace=guest.workspace, project=project_id)
    found = ",".join([_listed(row) for row in rows if _may(guest, row[1])])
    return _json(f"[{found}]")


@router.get("/workspaces")
async def list_workspaces(request: Request, platform: Platforms) -> list[dict[str, Any]]:
    guest = await admitted(request, "read_scenarios", "pull_scenarios")
    rows = await platform.store.select_soon(WORKSPACES, workspace=guest.workspace)
    return [{"id": id, "name": name} for id, name in rows]


@router.get("/projects")
async def list_projects(request: Request, platform: Platforms) -> list[dict[str, Any]]:
    guest = await admitted(request, "read_scenarios", "pull_scenarios")
    rows = await platform.store.select_soon(PROJECTS + " ORDER BY name", workspace=guest.workspace)
    return [_project(*row) for row in rows if _may(guest, row[0])]


@router.post("/projects", status_code=201, dependencies=KNOWN)
async def create_project(body: NewProject, request: Request, platform: Platforms) -> dict[str, Any]:
    guest = await admitted(request, "manage_projects", "manage_projects")
    if guest.projects is not None:
        raise problems.forbidden("A key of chosen projects can't make another project.")
    if body.workspace_id not in (None, guest.workspace):
        raise problems.not_found()

    def write() -> dict[str, Any]:
        with platform.store.write() as connection:
            return _project(**new_project(connection, platform, guest.actor, body.name))

    return await run_in_threadpool(write)


@router.get("/projects/{project_id}")
async def show_project(project_id: str, request: Request, platform: Platforms) -> dict[str, Any]:
    guest = await admitted(request, "read_scenarios", "pull_scenarios", project_id)
    rows = await platform.store.select_soon(PROJECT, workspace=guest.workspace, id=project_id)
    if not rows:
        raise problems.not_found()
    return _project(*rows[0])


@router.post("/scenarios", status_code=201, dependencies=KNOWN)
async def create_scenario(body: NewScenario, request: Request, platform: Platforms) -> dict[str, Any]:
    guest = await admitted(request, "create_scenarios", "create_scenarios", body.project_id)
    problems.must_be_a_name(body.name)
    kept = _kept({"description": body.description, "config_snapshot": body.config_snapshot})

    def write() -> dict[str, Any]:
        with platform.store.write() as connection:
            project_of(connection, guest.workspace, body.project_id)
            row: dict[str, Any] = {
                "id": mint.identifier("scn"), "project_id": body.project_id, "name": body.name, "body": kept,
                "created_at": platform.now(),
            }  # fmt: skip
            insert(connection, scenarios, row)
            detail = {"name": body.name, "project": body.project_id}
            trail.record(
                connection, platform.vault, platform.now(), guest.actor, "scenario.created", row["id"], detail
            )
            return _scenario(row)

    return await run_in_threadpool(write)


@router.get("/scenarios/{scenario_id}", response_model=dict[str, Any])
async def show_scenario(scenario_id: str, request: Request, platform: Platforms) -> Response:
    guest = await admitted(request, "read_scenarios", "pull_scenarios")
    return _json(_listed(await _read(platform, guest, SCENARIO, id=scenario_id)))


@router.delete("/scenarios/{scenario_id}", status_code=204)
async def delete_scenario(scenario_id: str, request: Request, platform: Platforms) -> None:
    guest = await admitted(request, "delete_scenarios", "delete_scenarios")

    def write() -> None:
        with platform.store.write() as connection:
            row = _found(connection, guest, scenario_id)
            connection.execute(scenarios.delete().where(scenarios.c.id == scenario_id))
            detail = {"name": row["name"], "project": row["project_id"]}
            trail.record(
                connection,
                platform.vault,
                platform.now(),
                guest.actor,
                "scenario.deleted",
                scenario_id,
                detail,
            )

    await run_in_threadpool(write)


@router.get("/bundles")
async def list_bundles(
    request: Request, platform: Platforms, project_id: str = "", scenario_id: str = "", limit: int = 20
) -> list[dict[str, Any]]:
    """A scenario's bundles: here each scenario is one bundle, whose version bears the scenario's id."""
    guest = await admitted(request, "read_scenarios", "pull_scenarios", project_id)
    if not scenario_id:
        return []
    id = (await _read(platform, guest, SCENARIO, id=scenario_id))[0]
    return [{"id": id, "scenario_id": id, "version": 1, "status": "published"}][: max(0, limit)]


@router.post("/sync/pull", dependencies=KNOWN)
async def pull(body: Pull, request: Request, platform: Platforms) -> dict[str, Any]:
    """A scenario with its test data."""
    guest = await admitted(request, "read_scenarios", "pull_scenarios", body.project_id or "")
    if body.bundle_version_id:
        row = await _read(platform, guest, SCENARIO, id=body.bundle_version_id)
    else:
        row = await _read(platform, guest, NEWEST, project=body.project_id or "")
    id, _, name, text, _ = row
    snapshot = json.loads(text).get("config_snapshot", {})
    return {
        "bundle_version": {"id": id, "version": 1},
        "scenario_context": {"scenario": {"id": id, "name": name}},
        "input_set": {"id": f"inp_{id[4:]}"},
        "input_items": snapshot.get("input_items", []) if body.include_inputs else [],
        "personas": snapshot.get("personas", []) if body.include_personas else [],
        "criteria_pack": snapshot.get("criteria_pack", []) if body.include_criteria else [],
        "run_spec_snapshot": snapshot.get("run_spec", {}),
        "sync_meta": {"pulled_at": wire.to_text(platform.now())},
    }


@router.post("/sync/upload", dependencies=KNOWN)
async def upload(body: Upload, request: Request, platform: Platforms) -> dict[str, Any]:
    """Results of runs, kept as they come."""
    guest = await admitted(request, "upload_results", "upload_results")
    kept = _kept(body.model_dump())

    def write() -> dict[str, Any]:
        with platform.store.write() as connection:
            row = _found(connection, guest, body.bundle_version_id)
            batch: dict[str, Any] = {
                "id": mint.identifier("run"), "project_id": row["project_id"], "body": kept, "created_at": platform.now(),
            }  # fmt: skip
            insert(connection, runs, batch)
            detail = {"scenario": row["id"], "runs": len(body.runs)}
            trail.record(
                connection,
                platform.vault,
                platform.now(),
                guest.actor,
                "results.uploaded",
                batch["id"],
                detail,
            )
        return {
            "run_batch_id": batch["id"],
            "run_ids": [str(run.get("run_id", "")) for run in body.runs],
            "quick_gate": None,
        }

    return await run_in_threadpool(write)


def new_project(connection: Connection, platform: Any, actor: trail.Actor, name: str) -> dict[str, Any]:
    """Makes a project. Raises: Problem 409 where there is one of that name, 422 for a name that holds a key."""
    problems.must_be_a_name(name)
    same = sa.select(projects.c.id).where(projects.c.workspace_id == actor.workspace, projects.c.name == name)
    if connection.execute(same).first():
        raise problems.conflict("name-taken", "There is a project of this name already.")
    row = {
        "id": mint.identifier("prj"),
        "workspace_id": actor.workspace,
        "name": name,
        "created_at": platform.now(),
    }
    connection.execute(projects.insert(), row)
    trail.record(
        connection, platform.vault, platform.now(), actor, "project.created", row["id"], {"name": name}
    )
    return row


def project_of(connection: Connection, workspace: str, project_id: str) -> dict[str, Any]:
    """A project of the workspace. Raises: Problem 404."""
    rows = run(connection, PROJECT, workspace=workspace, id=project_id)
    if not rows:
        raise problems.not_found()
    return dict(zip(("id", "name", "workspace_id", "created_at"), rows[0], strict=True))


async def _read(platform: Platform, guest: Guest, sql: str, **values: str) -> tuple[Any, ...]:
    """One scenario, as SHOWN. Raises: Problem 404."""
    rows = await platform.store.select_soon(sql, workspace=guest.workspace, **values)
    if not rows or not _may(guest, rows[0][1]):
        raise problems.not_found()
    return rows[0]


def _found(connection: Connection, guest: Guest, scenario_id: str) -> dict[str, Any]:
    rows = run(connection, SCENARIO, workspace=guest.workspace, id=scenario_id)
    if not rows or not _may(guest, rows[0][1]):
        raise problems.not_found()
    return dict(zip(SHOWN, rows[0], strict=True))


def _listed(row: tuple[Any, ...]) -> str:
    """A row of the list as JSON."""
    return _rendered_before(row) if len(row[BODY]) <= SMALL else _rendered(row)


def _rendered(row: tuple[Any, ...]) -> str:
    shown = _scenario(dict(zip(SHOWN, row, strict=True)))
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


_rendered_before = lru_cache(1024)(_rendered)  # the same row is the same text


def _may(guest: Guest, project_id: str) -> bool:
    return guest.projects is None or project_id in guest.projects


def _kept(data: dict[str, Any]) -> str:
    """As it is kept: JSON that every reader takes back, with every key masked. Raises: Problem 422 for what is none (NaN), 413."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        raise problems.invalid(
            "This can't be kept as JSON: a number that is none, or half a character, stands in it."
        ) from None
    if len(text) > LARGEST:
        raise problems.Problem(413, "too-large", "Too large", "This is more than 4 MiB of JSON.")
    return veiled(text)


def _json(text: str) -> Response:
    return Response(text.encode(), media_type="application/json")


def _project(id: str, name: str, workspace_id: str, created_at: int) -> dict[str, Any]:
    return {"id": id, "name": name, "workspace_id": workspace_id, "created_at": wire.to_text(created_at)}


def _scenario(row: Any) -> dict[str, Any]:
    body = json.loads(row["body"])
    return {
        "id": row["id"], "name": row["name"], "project_id": row["project_id"], "description": body.get("description", ""),
        "config_snapshot": body.get("config_snapshot", {}), "created_at": wire.to_text(row["created_at"]),
    }  # fmt: skip
