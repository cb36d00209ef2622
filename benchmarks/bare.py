"""The same framework, answering without a check: what the platform's routes are measured against.

As FastAPI's documentation writes a route: parameters and body declared, the answer a value that the framework turns into JSON. Nothing is
read from a database, and nothing is written.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
ANSWERS = json.loads(Path(os.environ["BARE_ANSWERS"]).read_text()) if "BARE_ANSWERS" in os.environ else {}


class Pull(BaseModel):
    bundle_version_id: str | None = None
    project_id: str | None = None
    include_inputs: bool = True
    include_personas: bool = True
    include_criteria: bool = True


class Upload(BaseModel):
    bundle_version_id: str
    run_batch: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    run_results: list[dict[str, Any]] = []


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.get("/api/scenarios")
async def scenarios(project_id: str = "") -> list[dict[str, Any]]:
    """The same JSON each time."""
    return ANSWERS["scenarios"]


@app.get("/api/scenarios/{scenario_id}")
async def scenario(scenario_id: str) -> dict[str, Any]:
    return ANSWERS["scenario"]


@app.get("/api/bundles")
async def bundles(project_id: str = "", scenario_id: str = "", limit: int = 20) -> list[dict[str, Any]]:
    return ANSWERS["bundle" if scenario_id else "bundles"]


@app.get("/api/projects")
async def projects() -> list[dict[str, Any]]:
    return ANSWERS["projects"]


@app.get("/api/projects/{project_id}")
async def project(project_id: str) -> dict[str, Any]:
    return ANSWERS["project"]


@app.post("/api/sync/pull")
async def pull(body: Pull) -> dict[str, Any]:
    return ANSWERS["pull"]


@app.post("/api/sync/upload")
async def upload(body: Upload) -> dict[str, Any]:
    return ANSWERS["upload"]


@app.get("/api/v1/self")
async def self() -> dict[str, Any]:
    return ANSWERS["self"]


@app.get("/api/v1/keys/{key_id}")
async def key(key_id: str) -> dict[str, Any]:
    return ANSWERS["key"]


@app.get("/api/v1/keys")
async def keys(limit: int = 100, cursor: str = "", state: str = "", q: str = "") -> list[dict[str, Any]]:
    return ANSWERS["keys"]


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        "bare:app", host="127.0.0.1", port=int(sys.argv[1]), workers=int(sys.argv[2]), access_log=False,
        server_header=False, log_level="warning",
    )  # fmt: skip
