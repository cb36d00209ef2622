"""Devices that signed in for a person: seen and ended by that person, and by those who run the platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fluxguard.server import people
from fluxguard.server.trail import Actor
from tests.server.conftest import EMAIL, PASSWORD, House
from tests.server.test_strength import at_once
from tests.server.test_trespass import Person

ADMIN, MEMBER, AUDITOR = "admin@example.org", "member@example.org", "auditor@example.org"
Credential = Mapping[str, str]


@pytest.fixture
def person(house: House) -> Person:
    with house.platform.store.write() as connection:
        actor = Actor("system", people.workspace_of_owner(connection))
        for email in (ADMIN, MEMBER, AUDITOR):
            people.add(connection, house.platform, actor, email, PASSWORD, email.partition("@")[0])
    return Person(house)


def connected(house: House, person: Person, email: str, name: str = "laptop") -> Credential:
    """A device of somebody's, as the published client signs in."""
    house.clock.forward(1000)
    person.sign_in(email)
    code = house.client.post("/api/cli-connect/start", json={"device_name": name}).json()
    person.send("/connect", person.form("/connect"), code=code["user_code"], answer="allow")
    done = house.client.post("/api/cli-connect/complete", json={"device_code": code["device_code"]}).json()
    credential: Credential = done["credential"]
    return credential


def seen(house: House, by: Credential) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.call("GET", "/api/v1/devices", by["access_token"], 200)
    return found


def renewed(house: House, credential: Credential, status: int = 200) -> Any:
    answer = house.client.post(
        "/api/cli-connect/refresh", json={"refresh_token": credential["refresh_token"]}
    )
    assert answer.status_code == status
    return answer.json().get("credential")


def test_a_device_is_seen_ended_and_written_down(house: House, person: Person) -> None:
    mine = connected(house, person, EMAIL, "work laptop")
    (one,) = seen(house, mine)
    assert (one["name"], one["email"], one["address"]) == ("work laptop", EMAIL, "192.0.2.1")
    house.clock.forward(30 * 60_000)
    mine = renewed(house, mine)
    (again,) = seen(house, mine)
    assert (again["id"], again["connected_at"]) == (one["id"], one["connected_at"])
    assert again["renewed_at"] > one["renewed_at"]
    house.call("DELETE", f"/api/v1/devices/{one['id']}", mine["access_token"], 204)
    house.call("GET", "/api/v1/devices", mine["access_token"], 401)
    renewed(house, mine, 401)
    told = house.call("GET", "/api/v1/audit?type=device.ended", status=200)
    assert [(each["detail"]["device"], each["detail"]["id"]) for each in told] == [("work laptop", one["id"])]
    assert told[0]["actor"] == f"user:{one['user_id']}"


def test_who_sees_and_ends_which(house: House, person: Person) -> None:
    credentials = {email: connected(house, person, email) for email in (EMAIL, ADMIN, MEMBER, AUDITOR)}
    everybody = {one["email"]: one["id"] for one in seen(house, credentials[EMAIL])}
    assert set(everybody) == set(credentials)
    assert {one["email"] for one in seen(house, credentials[ADMIN])} == set(credentials)
    assert {one["email"] for one in seen(house, credentials[AUDITOR])} == set(credentials)
    assert [one["email"] for one in seen(house, credentials[MEMBER])] == [MEMBER]

    def end(by: str, whose: str, status: int) -> Any:
        return house.call(
            "DELETE", f"/api/v1/devices/{everybody[whose]}", credentials[by]["access_token"], status
        )

    nothing = house.call("DELETE", "/api/v1/devices/dev_none", credentials[MEMBER]["access_token"], 404)
    assert end(MEMBER, ADMIN, 404) == nothing, "the same for what does not exist and what is not yours"
    assert end(AUDITOR, MEMBER, 404) == nothing
    end(AUDITOR, AUDITOR, 204)
    end(MEMBER, MEMBER, 204)
    end(ADMIN, EMAIL, 204)
    end(ADMIN, EMAIL, 404)
    assert [one["email"] for one in seen(house, credentials[ADMIN])] == [ADMIN]
    for email in (EMAIL, MEMBER, AUDITOR):
        renewed(house, credentials[email], 401)


def test_a_key_has_no_devices(house: House, person: Person) -> None:
    mine = connected(house, person, EMAIL)
    house.call("GET", "/api/v1/devices", status=403)
    house.call("DELETE", f"/api/v1/devices/{seen(house, mine)[0]['id']}", status=403)
    assert len(seen(house, mine)) == 1


def test_the_console_ends_nobody_else_s(house: House, person: Person) -> None:
    mine = connected(house, person, ADMIN)
    (one,) = seen(house, mine)
    person.sign_in(MEMBER)
    assert ADMIN not in house.client.get("/devices").text
    assert person.send(f"/devices/{one['id']}/end", person.form("/settings/api-keys")).status_code == 404
    person.sign_in(AUDITOR)
    page = house.client.get("/devices").text
    assert ADMIN in page
    assert "/end" not in page
    assert house.client.post(f"/devices/{one['id']}/end", data={"csrf": "0"}).status_code == 403
    assert len(seen(house, mine)) == 1


def test_a_device_that_is_being_renewed_is_ended_all_the_same(house: House, person: Person) -> None:
    admin = connected(house, person, ADMIN)
    for _ in range(5):
        theirs = connected(house, person, MEMBER)
        device = next(one["id"] for one in seen(house, admin) if one["email"] == MEMBER)

        def one(number: int, theirs: Credential = theirs, device: str = device) -> None:
            if number:
                headers = {"Authorization": f"Bearer {admin['access_token']}"}
                assert house.client.delete(f"/api/v1/devices/{device}", headers=headers).status_code == 204
            else:
                house.client.post("/api/cli-connect/refresh", json={"refresh_token": theirs["refresh_token"]})

        at_once(one, 2)
        assert [one["email"] for one in seen(house, admin)] == [ADMIN]


def test_devices_of_an_older_version_can_be_ended(house: House, person: Person) -> None:
    from alembic import command

    from fluxguard.server import migrate

    mine, other = connected(house, person, EMAIL, "old"), connected(house, person, EMAIL, "older")
    with house.platform.store.engine.connect() as connection:
        command.downgrade(migrate.configuration(connection), "0002")
        connection.commit()
    migrate.upgrade(house.platform.store.engine)
    devices = {one["name"]: one["id"] for one in seen(house, mine)}
    assert len(set(devices.values())) == 2
    house.call("DELETE", f"/api/v1/devices/{devices['older']}", mine["access_token"], 204)
    renewed(house, other, 401)
    assert [one["name"] for one in seen(house, mine)] == ["old"]
