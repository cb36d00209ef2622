"""The OpenAPI description: FastAPI's, with the errors as they are really told."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fluxguard.server.problems import MEDIA

PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `detail` is a sentence; `errors` says where a request was wrong.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "required": {"type": "array", "items": {"type": "string"}},
        "current": {"type": "array", "items": {"type": "string"}},
    },
}
REFUSALS = {
    "400": "The request can't be read", "401": "No key, or no valid one", "403": "Permission denied",
    "404": "Nothing by this name that you may see", "409": "Not in this state", "412": "Changed in the meantime",
    "413": "Too large", "422": "A value is wrong", "429": "Too many requests", "503": "Not now",
}  # fmt: skip


def describe(app: FastAPI) -> None:
    """Has the application describe itself so."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in made["paths"].values():
        for operation in methods.values():
            operation["security"] = [{"key": []}]
            for status, words in REFUSALS.items():
                operation["responses"][status] = {"description": words, "content": content}
    return made
