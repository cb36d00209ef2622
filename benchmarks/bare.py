"""The same framework, answering without a check: what the platform's route is measured against.

As FastAPI's documentation writes a route: the parameter declared, the answer a list that the framework turns into JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI

app = FastAPI()
ANSWER = json.loads(Path(os.environ["BARE_ANSWER"]).read_text()) if "BARE_ANSWER" in os.environ else []


@app.get("/api/scenarios")
async def scenarios(project_id: str = "") -> list[dict[str, Any]]:
    """The same JSON each time."""
    return ANSWER


@app.get("/api/bundles")
async def bundles(project_id: str = "", scenario_id: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """The same JSON each time."""
    return ANSWER


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        "bare:app", host="127.0.0.1", port=int(sys.argv[1]), workers=int(sys.argv[2]), access_log=False,
        server_header=False, log_level="warning",
    )  # fmt: skip
