"""What nobody may who is signed in, holds a key, or types one into the wrong field: roles, quarantine, two at one form, keys in rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from fluxguard.server import people
from fluxguard.server.tables import metadata
from fluxguard.server.trail import Actor
from tests.server.conftest import EMAIL, PASSWORD, House

WRITING = ["read_scenarios", "upload_results", "manage_keys", "manage_projects"]


@dataclass
class Person:
    """Somebody at the console."""

    house: House

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD) -> int:
        answer = self.house.client.post(
            "/sign-in", data={"email": email, "password": password}, follow_redirects=False
        )
        return answer.status_code

    def form(self, path: str) -> dict[str, str]:
        """What the page's form holds beside what a person fills in."""
        page = self.house.client.get(path, headers={"Accept": "text/html"}).text
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))

    def send(self, path: str, form: dict[str, str], **fields: Any) -> Any:
        return self.house.client.post(path, data={**form, **fields}, headers={"Accept": "text/html"})


@pytest.fixture
def person(house: House) -> Person:
    return Person(house)


def _account(house: House, email: str, role: str) -> None:
    with house.platform.store.write() as connection:
        actor = Actor("system", people.workspace_of_owner(connection))
        people.add(connection, house.platform, actor, email, PASSWORD, role)


def _device(house: House, person: Person) -> str:
    """A login token, as the published client gets it."""
    code = house.client.post("/api/cli-connect/start", json={}).json()
    person.send("/connect", person.form("/connect"), code=code["user_code"], answer="allow")
    done = house.client.post("/api/cli-connect/complete", json={"device_code": code["device_code"]}).json()
    token: str = done["credential"]["access_token"]
    return token


def test_an_auditor_s_device_changes_nothing(house: House, person: Person) -> None:
    project = house.project("bot")
    wish = {"project_id": project, "name": "s"}
    scenario = house.call("POST", "/api/scenarios", status=201, json=wish)["id"]
    _account(house, "auditor@example.org", "auditor")
    person.sign_in("auditor@example.org")
    token = _device(house, person)
    house.call("GET", "/api/scenarios", token, 200)
    house.call("GET", f"/api/scenarios/{scenario}", token, 200)
    house.call("POST", "/api/projects", token, 403, json={"name": "another"})
    house.call("POST", "/api/scenarios", token, 403, json=wish)
    house.call("POST", "/api/sync/upload", token, 403, json={"bundle_version_id": scenario})
    house.call("DELETE", f"/api/scenarios/{scenario}", token, 403)
    house.call("GET", f"/api/scenarios/{scenario}", token, 200)


def test_a_key_in_quarantine_ends_itself_alone_and_makes_none(house: House) -> None:
    project, other = house.project("bot"), house.create(name="other")
    thief = house.create(permissions=WRITING)
    house.use(thief["key"])
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    house.call("POST", f"/api/v1/keys/{thief['id']}/quarantine", status=200)
    house.use(thief["key"])
    house.call("POST", "/api/api-keys", thief["key"], 403, json={"project_id": project})
    house.call("PATCH", "/api/v1/policies/leaks", thief["key"], 403, json={"dev": "notify"})
    house.call("POST", f"/api/v1/keys/{other['id']}/revoke", thief["key"], 403)
    house.call("DELETE", f"/api/v1/keys/{other['id']}?confirm_name=other", thief["key"], 403)
    assert house.state(other["id"]) == "active"
    house.call("POST", f"/api/v1/keys/{thief['id']}/revoke", thief["key"], 200)


def test_a_change_by_somebody_else_is_not_taken_back_unseen(house: House, person: Person) -> None:
    key = house.create(permissions=["read_scenarios", "upload_results"])
    person.sign_in()
    path = f"/settings/api-keys/{key['id']}"
    form = person.form(f"{path}/edit")
    house.call("PATCH", f"/api/v1/keys/{key['id']}", status=200, json={"permissions": ["read_scenarios"]})
    fields = {"name": "new", "scope": "all", "permissions": ["read_scenarios", "upload_results"]}
    answer = person.send(path, form, **fields)
    assert answer.status_code == 409
    assert "changed since this form was opened" in answer.text
    assert person.send(path, person.form(f"{path}/edit"), **{**fields, "permissions": "read_scenarios"}).is_success  # fmt: skip
    now = house.call("GET", f"/api/v1/keys/{key['id']}")
    assert (now["name"], now["permissions"]) == ("new", ["read_scenarios"])


def test_whoever_has_an_account_gets_no_fresh_tries_for_others(house: House, person: Person) -> None:
    """A sign-in that works gives its own account fresh tries, not the address from which others' passwords are guessed."""
    _account(house, "insider@example.org", "member")
    codes = []
    for n in range(14):
        codes.append(person.sign_in(f"victim{n}@example.org", "wrong"))
        if n % 4 == 0:
            person.sign_in("insider@example.org")
    assert codes[0] == 401
    assert codes[-1] == 429


def test_tries_of_one_network_are_counted_together() -> None:
    from fluxguard.server.asking import _network

    assert _network("2001:db8:1:2::1") == _network("2001:db8:1:2:ffff::9") != _network("2001:db8:1:3::1")
    assert _network("192.0.2.1") == _network("::ffff:192.0.2.1") == "192.0.2.1"
    assert _network("") == ""


def test_a_key_that_is_typed_into_another_field_is_kept_nowhere(house: House, person: Person) -> None:
    """Into names it is refused; what is kept as it comes has it masked; the rest is kept as a digest, or not at all."""
    made = house.create(name="victim")
    key, project = made["key"], house.project("bot")
    wish = {"project_id": project, "name": "s", "description": key, "config_snapshot": {"a": [key]}}
    scenario = house.call("POST", "/api/scenarios", status=201, json=wish)["id"]
    house.call("POST", "/api/scenarios", status=422, json={**wish, "name": key})
    house.call("POST", "/api/projects", status=422, json={"name": key})
    house.call("POST", "/api/sync/upload", status=200, json={"bundle_version_id": scenario, "runs": [{"log": key}]})  # fmt: skip
    house.call("POST", "/api/v1/signers", status=422, json={"id": key, "name": "x", "public_key": "x"})
    house.call("GET", f"/api/scenarios?project_id={key}", status=200)
    house.client.post("/api/cli-connect/start", json={"device_name": key})
    new = {"name": "n", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"]}
    house.seen(house.call("POST", "/api/v1/keys", status=201, json=new, headers={"Idempotency-Key": key}))
    house.call("POST", "/api/v1/keys", status=409, json=new, headers={"Idempotency-Key": key})
    allow = {"allow": [{"address": key[:64], "user_agent": key}]}
    house.call("POST", f"/api/v1/keys/{made['id']}/quarantine", status=200, json=allow)
    assert key not in house.client.post("/sign-in", data={"email": key, "password": key}).text
    person.sign_in()
    answer = person.send("/settings/api-keys", person.form("/settings/api-keys/new"), name=key, once=key)
    assert answer.status_code == 422
    assert key not in answer.text
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    for table, row in _rows(house):
        kept = " ".join(value.hex() if isinstance(value, bytes) else str(value) for value in row.values())
        assert key.lower() not in kept.lower(), table
        assert key.encode().hex() not in kept, table


def _rows(house: House) -> list[tuple[str, Any]]:
    with house.platform.store.read() as connection:
        return [
            (table.name, row)
            for table in metadata.sorted_tables
            for row in connection.execute(sa.select(table)).mappings()
        ]


def test_a_project_that_is_none_stands_in_no_figure(house: House) -> None:
    key = house.create()
    for project in ("anything " * 30, "prj_x", house.project("bot")):
        house.use(key["key"], params={"project_id": project})
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    usage = house.call("GET", f"/api/v1/keys/{key['id']}/usage", status=200)
    assert [one["title"] for one in usage["by_project"]] == ["bot"]
    assert usage["total"] == 3


@pytest.mark.parametrize(
    "path", ["/audit?before=x", "/settings/api-keys?q=%00", "/settings/api-keys?after=x"]
)
def test_an_address_that_can_not_be_read_is_a_page_for_a_person(
    house: House, person: Person, path: str
) -> None:
    person.sign_in()
    answer = house.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_numbers_beyond_all_records_are_no_defect(house: House, person: Person) -> None:
    person.sign_in()
    answer = house.client.get(f"/audit?before={10**30}", headers={"Accept": "text/html"})
    assert answer.status_code == 200


def test_a_form_that_is_too_large_is_refused_on_a_page(house: House, person: Person) -> None:
    person.sign_in()
    answer = person.send("/settings/api-keys", {}, name="x" * 300_000)
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("text/html")


def test_a_form_without_a_mark_is_not_taken_for_one_that_was_sent(house: House, person: Person) -> None:
    """Nobody is told that something was done which was not."""
    person.sign_in()
    form = person.form("/settings/api-keys/new") | {"once": ""}
    for name in ("first", "second"):
        answer = person.send("/settings/api-keys", form, name=name, scope="all", permissions="read_scenarios")
        assert "API Key Created Successfully" in answer.text
    assert person.send("/settings/api-keys/key_none/rotate", form).status_code == 404
    assert person.send("/settings/api-keys", form, name="third").status_code == 422


def test_a_nul_stands_in_no_description(house: House) -> None:
    house.create(422, description="a\0b")
