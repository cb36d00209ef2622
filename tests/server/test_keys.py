"""A key's life through the REST API, on both databases."""

from __future__ import annotations

import re

import pytest
from nacl.public import PrivateKey

from fluxguard import wire
from fluxguard.platform.sealed import Lock
from fluxguard.secret import Secret
from tests.server.conftest import House

HOUR, DAY = 3_600_000, 86_400_000


def test_a_key_has_its_format_and_is_shown_once(house: House) -> None:
    made = house.create(name="CI/CD Pipeline", environment="ci", description="for tests")
    assert re.fullmatch(r"flux_ci_[0-9A-Za-z]{36}", made["key"])
    assert wire.well_formed(made["key"])
    assert made["masked"] == Secret(made["key"].encode()).masked
    assert made["fingerprint"] == Secret(made["key"].encode()).fingerprint
    shown = house.call("GET", f"/api/v1/keys/{made['id']}", status=200)
    assert "key" not in shown
    assert {**made, "key": None} == {**shown, "key": None}
    assert [one["name"] for one in house.call("GET", "/api/v1/keys", status=200)] == [
        "CI/CD Pipeline",
        "First key",
    ]


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"environment": "test"}, "/environment"),
        ({"permissions": []}, "/permissions"),
        ({"permissions": ["everything"]}, "/permissions"),
        ({"scope": {"projects": ["prj_none"]}}, "/scope"),
        ({"expires": "yesterday"}, "/expires"),
        ({"expires": "2001-01-01"}, "/expires"),
        ({"hourly_limit": 0}, "/hourly_limit"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_a_wish_that_can_not_be_says_where(house: House, wish: dict[str, object], pointer: str) -> None:
    problem = house.create(422, **wish)
    assert isinstance(problem["detail"], str)
    assert any(error["pointer"].startswith(pointer) for error in problem["errors"]), problem


@pytest.mark.parametrize(
    ("expires", "days"), [("30d", 30), ("90d", 90), ("1y", 365), ("never", None), ("12h", 0.5)]
)
def test_expiry(house: House, expires: str, days: float | None) -> None:
    made = house.create(expires=expires)
    house.use(made["key"])
    if days is None:
        house.clock.forward(50_000 * DAY)
        house.use(made["key"])
        return
    house.clock.forward(int(days * DAY) - 1)
    house.use(made["key"])
    house.clock.forward(1)
    problem = house.use(made["key"], 401)
    assert problem["title"] == "Invalid API key"
    assert problem["reason"] == "expired"
    assert house.state(made["id"]) == "expired"


def test_an_expiry_by_date_lasts_that_day(house: House) -> None:
    made = house.create(expires="2026-01-31")
    assert made["expires_at"] == "2026-01-31T23:59:59Z"


def test_regenerate_kills_the_old_key_at_once(house: House) -> None:
    old = house.create(name="Mine", permissions=["read_scenarios", "upload_results"], expires="30d")
    fresh = house.mint(old["id"], "regenerate")
    assert fresh["name"] == "Mine"
    assert fresh["permissions"] == ["read_scenarios", "upload_results"]
    assert fresh["predecessor_id"] == old["id"]
    assert house.use(old["key"], 401)["reason"] == "regenerated"
    house.use(fresh["key"])


def test_rotation_overlaps(house: House) -> None:
    old = house.create(expires="30d")
    made = house.mint(old["id"], "rotate", overlap="2h")
    assert made["state"] == "pending"
    house.clock.forward(30 * 60_000)
    house.use(old["key"])
    assert house.state(old["id"]) == "active"
    house.use(made["key"])
    assert house.state(made["id"]) == "active"
    assert house.state(old["id"]) == "grace"
    house.clock.forward(2 * HOUR - 1)
    house.use(old["key"])
    house.clock.forward(1)
    assert house.use(old["key"], 401)["reason"] == "revoked"
    house.use(made["key"])


def test_a_pending_key_that_nobody_confirms_lapses_and_the_old_one_stays(house: House) -> None:
    old = house.create()
    made = house.mint(old["id"], "rotate", pending_ttl="1h")
    house.clock.forward(HOUR)
    assert house.use(made["key"], 401)["reason"] == "lapsed"
    house.use(old["key"])
    again = house.mint(old["id"], "rotate")
    house.use(again["key"])


def test_the_old_key_never_outlives_its_own_expiry(house: House) -> None:
    old = house.create(expires="12h")
    made = house.mint(old["id"], "rotate", overlap="30d", expires="90d")
    confirmed = house.call("POST", f"/api/v1/keys/{made['id']}/confirm", status=200)
    assert confirmed["state"] == "active"
    old = house.call("GET", f"/api/v1/keys/{old['id']}")
    assert old["grace_until"] == old["expires_at"]


def test_a_key_has_one_living_successor(house: House) -> None:
    old = house.create()
    pending = house.mint(old["id"], "rotate")
    fresh = house.mint(old["id"], "regenerate")
    assert house.use(pending["key"], 401)["reason"] == "lapsed"
    house.use(fresh["key"])
    other = house.create()
    successor = house.mint(other["id"], "rotate")
    house.use(successor["key"])
    told = house.mint(other["id"], "regenerate", 409)
    assert (told["successor_id"], told["successor_state"]) == (successor["id"], "active")
    house.use(other["key"])
    house.use(successor["key"])


def test_a_successor_is_not_waited_for_without_end(house: House) -> None:
    told = house.mint(house.create()["id"], "rotate", 422, pending_ttl="31d")
    assert told["errors"][0]["pointer"] == "/pending_ttl"


def test_one_rotation_at_a_time(house: House) -> None:
    old = house.create()
    made = house.mint(old["id"], "rotate")
    problem = house.mint(old["id"], "rotate", 409)
    assert problem["type"].endswith("rotation-in-progress")
    assert problem["successor_id"] == made["id"]


def test_minting_wants_an_idempotency_key(house: House) -> None:
    old = house.create()
    for action in ("regenerate", "rotate"):
        house.call("POST", f"/api/v1/keys/{old['id']}/{action}", status=400)
    house.use(old["key"])


def test_a_lost_answer_can_be_asked_for_again(house: House) -> None:
    old, lock = house.create(), Lock()
    first = house.mint(old["id"], "rotate", name="once", reveal_to=lock.public)
    again = house.mint(old["id"], "rotate", name="once", reveal_to=lock.public)
    assert first == again
    assert "key" not in first
    key = lock.open(first["sealed_key"]).reveal().decode()
    house.keys.append(key)
    house.use(key)
    assert len(house.call("GET", "/api/v1/keys")) == 3


def test_an_answer_in_clear_is_not_repeated(house: House) -> None:
    old = house.create()
    made = house.mint(old["id"], "rotate", name="once")
    problem = house.mint(old["id"], "rotate", 409, name="once")
    assert problem["type"].endswith("key-already-revealed")
    assert problem["id"] == made["id"]


def test_an_idempotency_key_is_for_one_request(house: House) -> None:
    old = house.create()
    house.mint(old["id"], "rotate", name="once", overlap="1h")
    house.mint(old["id"], "rotate", 422, name="once", overlap="2h")


def test_a_wrong_public_key_is_refused(house: House) -> None:
    house.create(422, reveal_to="bm8=")
    house.create(422, reveal_to="!")
    assert PrivateKey.generate()


def test_revoke_holds_and_again_is_once(house: House) -> None:
    made = house.create()
    house.use(made["key"])
    one = house.call("POST", f"/api/v1/keys/{made['id']}/revoke", status=200, json={"reason": "leaked"})
    two = house.call("POST", f"/api/v1/keys/{made['id']}/revoke", status=200)
    assert one == two
    assert house.use(made["key"], 401)["reason"] == "revoked"
    house.clock.now -= 10 * DAY
    assert house.use(made["key"], 401)["reason"] == "revoked"


def test_delete_wants_the_name(house: House) -> None:
    made = house.create(name="My Development Key")
    house.call("DELETE", f"/api/v1/keys/{made['id']}", status=409)
    house.call(
        "DELETE", f"/api/v1/keys/{made['id']}", status=409, params={"confirm_name": "my development key"}
    )
    house.call(
        "DELETE", f"/api/v1/keys/{made['id']}", status=200, params={"confirm_name": "My Development Key"}
    )
    assert house.use(made["key"], 401)["reason"] == "deleted"
    assert made["id"] not in [one["id"] for one in house.call("GET", "/api/v1/keys")]


def test_update_and_somebody_elses_change_between(house: House) -> None:
    project = house.project("customer-support-bot")
    made = house.create()
    changed = house.call(
        "PATCH", f"/api/v1/keys/{made['id']}", status=200, headers={"If-Match": '"1"'},
        json={"name": "New", "scope": {"projects": [project]}, "permissions": ["upload_results"], "expires": "never"},
    )  # fmt: skip
    assert changed["name"] == "New"
    assert changed["scope"] == {"projects": [project]}
    assert changed["permissions"] == ["upload_results"]
    assert changed["expires_at"] is None
    house.call(
        "PATCH", f"/api/v1/keys/{made['id']}", status=412, headers={"If-Match": '"1"'}, json={"name": "Old"}
    )


def test_permissions_are_enforced_with_what_is_there_and_what_is_missing(house: House) -> None:
    made = house.create(permissions=["read_scenarios"])
    problem = house.call("POST", "/api/sync/upload", made["key"], 403, json={"bundle_version_id": "scn_x"})
    assert problem["title"] == "Permission denied"
    assert problem["required"] == ["upload_results"]
    assert problem["current"] == ["read_scenarios"]


def test_scope_is_enforced_and_hides_what_is_outside(house: House) -> None:
    mine, other = house.project("mine"), house.project("other")
    made = house.create(scope={"projects": [mine]}, permissions=["read_scenarios", "create_scenarios"])
    house.call("POST", "/api/scenarios", made["key"], 201, json={"project_id": mine, "name": "s"})
    hidden = house.call("POST", "/api/scenarios", made["key"], 404, json={"project_id": other, "name": "s"})
    missing = house.call(
        "POST", "/api/scenarios", made["key"], 404, json={"project_id": "prj_none", "name": "s"}
    )
    assert hidden == missing
    assert [one["name"] for one in house.call("GET", "/api/projects", made["key"], 200)] == ["mine"]


def test_nobody_hands_on_what_they_lack(house: House) -> None:
    mine, other = house.project("mine"), house.project("other")
    maker = house.create(permissions=["read_scenarios", "manage_keys"], scope={"projects": [mine]})["key"]
    house.create(201, maker, scope={"projects": [mine]})
    house.create(403, maker, scope={"projects": [mine]}, permissions=["upload_results"])
    house.create(403, maker, scope={"projects": [other]})
    house.create(403, maker, scope="all")
    plain = house.create()["key"]
    house.create(403, plain)
    names = [one["name"] for one in house.call("GET", "/api/v1/keys", maker, 200)]
    assert "First key" not in names
    house.call("GET", f"/api/v1/keys/{house.first_id}", maker, 404)


def test_the_same_answer_for_what_is_not_there_and_what_is_somebody_elses(house: House) -> None:
    from fluxguard.server import mint, people
    from fluxguard.server.life import Wish, create
    from fluxguard.server.tables import workspaces
    from fluxguard.server.trail import Actor

    platform = house.platform
    with platform.store.write() as connection:
        other = mint.identifier("wsp")
        connection.execute(workspaces.insert().values(id=other, name="Other", created_at=platform.now()))
        actor = Actor("system", other)
        people.add(connection, platform, actor, "other@example.org", "another long password", "owner")
        row, _ = create(connection, platform, actor, Wish("Theirs", "dev", ("read_scenarios",), None, None))
    theirs = house.client.get(f"/api/v1/keys/{row['id']}", headers={"Authorization": f"Bearer {house.first}"})
    nothing = house.client.get("/api/v1/keys/key_none", headers={"Authorization": f"Bearer {house.first}"})
    assert theirs.status_code == nothing.status_code == 404
    assert theirs.json() == nothing.json()


def test_quarantine_lets_only_the_known_go_on(house: House) -> None:
    made = house.create()
    house.use(made["key"], headers={"User-Agent": "ci/1"})
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    contained = house.call("POST", f"/api/v1/keys/{made['id']}/quarantine", status=200)
    assert contained["state"] == "quarantined"
    house.use(made["key"], headers={"User-Agent": "ci/1"})
    problem = house.use(made["key"], 403, headers={"User-Agent": "thief/1"})
    assert problem["type"].endswith("key-quarantined")
    house.call("POST", f"/api/v1/keys/{made['id']}/release", status=200)
    house.use(made["key"], headers={"User-Agent": "thief/1"})


def test_the_limit_of_an_hour(house: House) -> None:
    made = house.create(hourly_limit=5)
    for left in (4, 3, 2, 1, 0):
        answer = house.client.get("/api/scenarios", headers={"Authorization": f"Bearer {made['key']}"})
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"key-hour";q=5;w=3600'
        assert answer.headers["RateLimit"] == f'"key-hour";r={left};t=3600'
    house.clock.forward(45 * 60_000)
    answer = house.client.get("/api/scenarios", headers={"Authorization": f"Bearer {made['key']}"})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "900"
    assert "Retry after: 15 minutes" in answer.json()["detail"]
    assert answer.json()["used"] == 6
    house.clock.forward(15 * 60_000)
    house.use(made["key"])


def test_asking_who_am_i_is_no_use(house: House) -> None:
    made = house.create(hourly_limit=1)
    for _ in range(3):
        assert house.call("GET", "/api/v1/self", made["key"], 200)["id"] == made["id"]
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    shown = house.call("GET", f"/api/v1/keys/{made['id']}")
    assert shown["last_used_at"] is None
    assert shown["confirmed_at"] is None


def test_usage_with_the_figures_of_the_page(house: House) -> None:
    support, sales = house.project("customer-support-bot"), house.project("sales-assistant")
    made = house.create(permissions=["read_scenarios", "create_scenarios"], hourly_limit=10_000)
    for project, count in ((support, 6), (sales, 2)):
        for _ in range(count):
            house.call("GET", "/api/scenarios", made["key"], 200, params={"project_id": project})
    house.clock.forward(DAY)
    house.call("POST", "/api/scenarios", made["key"], 201, json={"project_id": support, "name": "s"})
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    usage = house.call("GET", f"/api/v1/keys/{made['id']}/usage", status=200)
    assert usage["total"] == 9
    assert usage["avg_per_day"] == 1
    assert [day["requests"] for day in usage["by_day"]] == [1, 8, 0, 0, 0, 0, 0]
    assert [(one["title"], one["requests"], one["percent"]) for one in usage["by_operation"]] == [
        ("Pull scenarios", 8, 89), ("Create scenarios", 1, 11),
    ]  # fmt: skip
    assert [(one["title"], one["requests"], one["percent"]) for one in usage["by_project"]] == [
        ("customer-support-bot", 7, 78), ("sales-assistant", 2, 22),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["nonsense", "flux_dev_" + "a" * 36, ""])
def test_what_is_no_key(house: House, key: str) -> None:
    answer = house.client.get("/api/scenarios", headers={"Authorization": f"Bearer {key}"} if key else {})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if key:
        assert answer.json()["title"] == "Invalid API key"
        assert answer.json()["causes"] == [
            "Key was regenerated or deleted",
            "Key expired",
            "Typo in key value",
        ]
        assert key not in answer.text
