"""The OpenAPI description and the platform agree: schemathesis asks what the description allows, and the checks judge the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)  # fmt: skip

from fluxguard.server.app import create_app
from tests.server.conftest import House, founded

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance, unsupported_method,
]  # fmt: skip
CALM = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("description")
    with founded(f"sqlite:///{folder / 'platform.db'}", Path(folder)) as house:
        yield house


def schema_of(house: House) -> schemathesis.BaseSchema:
    app = create_app(house.platform)
    app.state.gate = house.client.app.state.gate  # type: ignore[attr-defined]
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_the_platform_answers_as_described(asked: House) -> None:
    wrong: list[str] = []
    count = 0
    for result in schema_of(asked).get_all_operations():
        operation = result.ok()
        count += 1

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=CALM,
        )
        def ask(case: schemathesis.Case) -> None:
            case.headers["Authorization"] = f"Bearer {asked.first}"
            case.call_and_validate(checks=CHECKS)

        try:
            ask()
        except (Exception, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label}: {_told(error)}".replace(asked.first, "***"))
    assert count > 30
    assert not wrong, "\n".join(wrong)


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(one) for one in error.exceptions)
    return " ".join(str(error).split())[:700]


def test_nothing_answers_without_a_key_but_what_is_meant_to(asked: House) -> None:
    """`ignored_auth`: every call of the description, without a key and with a wrong one."""
    open_to_all = {
        "GET /healthz", "GET /readyz", "POST /api/v1/liveness", "POST /api/v1/leaks", "POST /api/cli-connect/start",
        "POST /api/cli-connect/complete", "POST /api/cli-connect/refresh",
    }  # fmt: skip
    for path, methods in asked.client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            label = f"{method.upper()} {path}"
            if label in open_to_all:
                continue
            where = path.replace("{", "").replace("}", "")
            for headers in ({}, {"Authorization": "Bearer flux_dev_" + "0" * 36}):
                body = {"json": {}} if method in ("post", "patch", "put") else {}
                answer = asked.client.request(method, where, headers=headers, **body)  # type: ignore[arg-type]
                assert answer.status_code in (401, 422), (label, answer.status_code)
                if answer.status_code == 422:
                    assert "errors" in answer.json()
