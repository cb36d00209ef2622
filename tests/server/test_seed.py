"""FluxLoop's page on API keys, screen by screen: its words, its choices and its figures. docs/seed-table.md goes through it line by line."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from fluxguard.server.tables import keys, refusals, uses
from tests.server.conftest import EMAIL, PASSWORD, House
from tests.server.real import COMMAND, Server

DAY, MINUTE, HOUR = 86_400_000, 60_000, 3_600_000
PROJECTS = ("customer-support-bot", "sales-assistant", "analytics-agent")
WEEK = (245, 123, 89, 201, 167, 56, 23)  # the page's requests, from today back
SUPPORT = 687


@pytest.fixture
def projects(house: House) -> dict[str, str]:
    house.client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    return {name: house.project(name) for name in PROJECTS}


def raw(house: House, path: str) -> str:
    answer = house.client.get(path)
    assert answer.status_code == 200
    text: str = answer.text
    return text


def words(text: str) -> str:
    """What a person reads of a page."""
    main = re.sub(r"(?s)^.*<main[^>]*>|</main>.*$", "", text)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main)))


def page_s_key(house: House, projects: dict[str, str], **more: Any) -> dict[str, Any]:
    wish = {
        "name": "My Development Key", "description": "For local development on MacBook", "environment": "dev", "expires": "90d",
        "scope": {"projects": [projects["customer-support-bot"], projects["sales-assistant"]]},
        "permissions": ["read_scenarios", "upload_results", "create_scenarios"], **more,
    }  # fmt: skip
    made: dict[str, Any] = house.create(**wish)
    return made


def test_the_form_has_the_page_s_fields_in_its_order(house: House, projects: dict[str, str]) -> None:
    text = words(raw(house, "/settings/api-keys/new"))
    expected = (
        "Create API Key", "Name: *", "Description: (optional)", "Scope:", "All Projects", "Specific Projects", "analytics-agent",
        "customer-support-bot", "sales-assistant", "Permissions:", "Read scenarios", "Upload results", "Create scenarios",
        "Delete scenarios", "Manage projects", "Expires:", "Never", "30 days", "90 days", "1 year", "Custom:", "Cancel", "Create Key",
    )  # fmt: skip
    places = [text.index(one) for one in expected]
    assert places == sorted(places)
    page = raw(house, "/settings/api-keys/new")
    assert 'placeholder="My Development Key"' in page
    assert 'placeholder="For local development on MacBook"' in page
    assert re.search(r'value="projects" checked> Specific Projects', page)
    assert re.search(r'value="90d" checked> 90 days', page)


def test_api_keys_is_the_first_item_of_the_menu(house: House, projects: dict[str, str]) -> None:
    menu = re.search(r'(?s)<nav aria-label="Main">.*?</nav>', raw(house, "/projects"))
    assert menu is not None
    assert re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', menu[0])[0] == ("/settings/api-keys", "API Keys")


def test_a_limit_of_its_own_is_given_in_the_form_and_by_the_command(server: Server, tmp_path: Path) -> None:
    """What the page has people contact support for."""
    with httpx.Client(base_url=server.url) as person:
        person.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
        page = person.get("/settings/api-keys/new").text
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        form |= {"name": "By form", "scope": "all", "permissions": "read_scenarios", "hourly_limit": "5000"}
        assert "API Key Created Successfully" in person.post("/settings/api-keys", data=form).text
    how = {"cwd": tmp_path, "FLUXLOOP_API_KEY": server.key}
    done = server.command(
        "apikeys", "create", "--name", "By command", "--scope", "all", "--limit", "77", **how
    )
    assert done.returncode == 0
    known = server.ask("GET", "/api/v1/keys", 200)
    assert isinstance(known, list)
    assert {one["name"]: one["hourly_limit"] for one in known} == {
        "By command": 77, "By form": 5000, "First key": 1000,
    }  # fmt: skip


def test_what_happened_to_a_key_and_with_it_stands_in_its_timeline(
    house: House, projects: dict[str, str]
) -> None:
    made = page_s_key(house, projects)
    house.use(made["key"], params={"project_id": projects["sales-assistant"]})
    house.call("POST", "/api/projects", made["key"], 403, json={"name": "another"})
    house.clock.forward(MINUTE)
    house.call("POST", f"/api/v1/keys/{made['id']}/revoke", status=200, json={"reason": "leaked"})
    house.use(made["key"], 401)
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    told = house.call("GET", f"/api/v1/keys/{made['id']}/timeline", status=200)
    kinds = [(one["type"], one.get("reason"), one.get("project")) for one in told]
    assert sorted(kinds, key=str) == [
        ("key.confirmed", None, None), ("key.created", None, None), ("key.revoked", None, None),
        ("refused", "permission-denied", None), ("refused", "revoked", None), ("used", None, projects["sales-assistant"]),
    ]  # fmt: skip
    assert [one["t"] for one in told] == sorted(one["t"] for one in told)
    since = next(one["t"] for one in told if one["type"] == "key.revoked")
    later = house.call("GET", f"/api/v1/keys/{made['id']}/timeline?since={since}", status=200)
    assert {one["type"] for one in later} == {"key.revoked", "refused"}


def test_the_list_shows_what_the_page_shows(house: House, projects: dict[str, str]) -> None:
    never = page_s_key(
        house,
        projects,
        name="Backup Key",
        expires="never",
        scope={"projects": [projects["customer-support-bot"]]},
    )
    made = page_s_key(house, projects)
    house.use(made["key"], params={"project_id": projects["customer-support-bot"]})
    house.client.app.state.gate.flush()  # type: ignore[attr-defined]
    house.clock.forward(2 * HOUR - 1000)
    house.clock.forward(1000)
    house.client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    text = words(raw(house, "/settings/api-keys"))
    assert (
        f"Name: My Development Key Key: {made['masked']} (last used: 2 hours ago) Created: Nov 24, 2025 Expires: Feb 22, 2026 "
        "Scope: customer-support-bot, sales-assistant View Usage Regenerate Delete"
    ) in text
    assert f"Name: Backup Key Key: {never['masked']} (never used)" in text
    assert "Expires: Never Scope: customer-support-bot" in text
    assert "Scope: All Projects" in text
    assert re.fullmatch(r"flux_dev_\w{4}\.\.\.\w{5}", made["masked"])


def test_the_usage_screen_has_the_page_s_figures(house: House, projects: dict[str, str]) -> None:
    made = page_s_key(house, projects)
    rows, left = [], {"pull_scenarios": 456, "upload_results": 301, "create_scenarios": 147}
    support = SUPPORT
    for back, count in enumerate(WEEK):
        for operation in left:
            n = min(count, left[operation])
            left[operation] -= n
            count -= n
            mine = min(n, support)
            support -= mine
            for project, some in (
                (projects["customer-support-bot"], mine),
                (projects["sales-assistant"], n - mine),
            ):
                if some:
                    rows.append({
                        "key_id": made["id"], "minute": (house.clock.now - back * DAY) // MINUTE, "operation": operation,
                        "project_id": project, "address": "192.0.2.1", "user_agent": "ci", "n": some,
                    })  # fmt: skip
    with house.platform.store.write() as connection:
        connection.execute(uses.insert(), rows)
    text = words(raw(house, f"/settings/api-keys/{made['id']}/usage"))
    for one in (
        "API Key Usage: My Development Key", "Last 7 Days:", "245 requests", "123 requests", "89 requests", "201 requests",
        "167 requests", "56 requests", "23 requests", "Total Requests: 904", "Avg per Day: 129", "By Operation:",
        "Pull scenarios 456 (50%)", "Upload results 301 (33%)", "Create scenarios 147 (16%)", "By Project:",
        "customer-support-bot 687 (76%)", "sales-assistant 217 (24%)",
    ):  # fmt: skip
        assert one in text, one


def test_regenerate_asks_and_warns_in_the_page_s_words(house: House, projects: dict[str, str]) -> None:
    made = page_s_key(house, projects)
    text = words(raw(house, f"/settings/api-keys/{made['id']}/regenerate"))
    assert "⚠️ Warning: The old key is immediately deactivated. You must update to the new key." in text
    assert text.rstrip().endswith("Cancel Confirm")


def test_delete_asks_for_the_name_in_the_page_s_words(house: House, projects: dict[str, str]) -> None:
    made = page_s_key(house, projects)
    text = words(raw(house, f"/settings/api-keys/{made['id']}/delete"))
    assert (
        f"Delete API Key ⚠️ This action cannot be undone. Key: {made['masked']} Name: My Development Key "
        "Type the key name to confirm: Cancel Delete"
    ) in text


def test_a_thousand_requests_an_hour_unless_said_otherwise(house: House, projects: dict[str, str]) -> None:
    made = page_s_key(house, projects)
    with house.platform.store.write() as connection:
        connection.execute(
            sa.text("INSERT INTO windows (key_id, start, n) VALUES (:key, :now, 1233)"),
            {"key": made["id"], "now": house.clock.now},
        )
    house.clock.forward(45 * MINUTE)
    problem = house.use(made["key"], 429)
    assert problem["detail"] == (
        "Rate limit exceeded. Current rate: 1000 requests/hour. Your usage: 1,234 requests/hour. Retry after: 15 minutes."
    )
    assert problem["solution"] == ["Wait for rate limit to reset", "Contact support for higher limits"]


def test_unusual_activity_is_pointed_out(house: House, projects: dict[str, str]) -> None:
    """The page: access from unexpected locations, unusually high request volumes, failed authentication attempts."""
    made = page_s_key(house, projects)
    minute = house.clock.now // MINUTE

    def use(back: int, n: int, address: str) -> dict[str, Any]:
        return {
            "key_id": made["id"], "minute": minute - back * 1440, "operation": "pull_scenarios", "project_id": "",
            "address": address, "user_agent": "ci", "n": n,
        }  # fmt: skip

    with house.platform.store.write() as connection:
        connection.execute(uses.insert(), [use(back, 10, "192.0.2.1") for back in range(2, 8)])
        connection.execute(uses.insert(), [use(0, 60, "203.0.113.9")])
        connection.execute(refusals.insert(), [
            {"minute": minute, "address": "203.0.113.9", "key_id": made["id"], "reason": "permission-denied", "n": 3}
        ])  # fmt: skip
    told = house.call("GET", f"/api/v1/keys/{made['id']}/usage", status=200)["unusual"]
    assert [one["kind"] for one in told] == ["new-address", "volume", "failed-attempts"]
    for path in (f"/settings/api-keys/{made['id']}", f"/settings/api-keys/{made['id']}/usage"):
        text = words(raw(house, path))
        assert "Used from a new address: 203.0.113.9" in text
        assert "60 requests in a day, where 8 were usual" in text
        assert "3 requests were turned away in a day" in text


@pytest.mark.parametrize("environment", ["dev", "stg", "prod", "ci"])
def test_keys_of_each_environment_show_which(
    house: House, projects: dict[str, str], environment: str
) -> None:
    made = page_s_key(house, projects, environment=environment)
    assert made["key"].startswith(f"flux_{environment}_")
    with house.platform.store.read() as connection:
        assert (
            connection.execute(sa.select(keys.c.environment).where(keys.c.id == made["id"])).scalar()
            == environment
        )


def test_scenarios_are_pulled_and_results_uploaded(house: House, projects: dict[str, str]) -> None:
    """What the page's plugin uses a key for."""
    made, project = page_s_key(house, projects), projects["customer-support-bot"]
    snapshot = {"input_items": [{"id": "1"}], "personas": [{"name": "p"}]}
    wish = {"project_id": project, "name": "refunds", "config_snapshot": snapshot}
    scenario = house.call("POST", "/api/scenarios", made["key"], 201, json=wish)
    pulled = house.call("POST", "/api/sync/pull", made["key"], 200, json={"project_id": project})
    assert pulled["scenario_context"]["scenario"]["name"] == "refunds"
    assert pulled["input_items"] == [{"id": "1"}]
    results = {"bundle_version_id": scenario["id"], "runs": [{"run_id": "r1"}]}
    assert house.call("POST", "/api/sync/upload", made["key"], 200, json=results)["run_ids"] == ["r1"]


# The commands.


def test_the_key_may_stand_where_the_page_says(server: Server, tmp_path: Path) -> None:
    """Options 1 to 3: the environment, `.fluxloop/.env`, `api_key:` in `.fluxloop/config.yaml`."""
    (tmp_path / ".fluxloop").mkdir()

    def asks(**environment: str) -> bool:
        done = server.command("apikeys", "list", "--format", "json", cwd=tmp_path, **environment)
        return done.returncode == 0 and len(json.loads(done.stdout)) == 1

    assert not asks()
    assert asks(FLUXLOOP_API_KEY=server.key)
    (tmp_path / ".fluxloop" / ".env").write_text(f"FLUXLOOP_API_KEY={server.key}\n")
    assert asks()
    (tmp_path / ".fluxloop" / ".env").unlink()
    (tmp_path / ".fluxloop" / "config.yaml").write_text(f"api_key: {server.key}\n")
    assert asks()


def test_the_key_is_asked_for_without_being_shown(server: Server, tmp_path: Path) -> None:
    """Option 4, `auth login`, at a terminal."""
    master, slave = pty.openpty()
    environment = {
        **server.environment,
        "FLUXGUARD_STATE_DIR": str(tmp_path / "state"),
        "FLUXLOOP_API_URL": server.url,
    }
    process = subprocess.Popen(
        [COMMAND, "auth", "login"], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=tmp_path, start_new_session=True
    )  # fmt: skip
    os.close(slave)
    said, sent, end = b"", False, time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            said += os.read(master, 4096)
        except OSError:
            break
        if not sent and b"key" in said.lower():
            os.write(master, server.key.encode() + b"\n")
            sent = True
    os.close(master)
    assert process.wait(30) == 0, sent
    assert sent
    assert server.key.encode() not in said
    assert b"..." in said  # its mask


def test_the_usage_command_shows_bars_by_day(server: Server, tmp_path: Path) -> None:
    made = server.ask("POST", "/api/v1/keys", 201, json={
        "name": "My Development Key", "environment": "dev", "scope": "all", "permissions": ["read_scenarios"],
    })  # fmt: skip
    assert isinstance(made, dict)
    server.ask("GET", "/api/scenarios", 200, key=made["key"])
    time.sleep(1.5)
    done = server.command(
        "apikeys", "usage", "--key-id", made["id"], cwd=tmp_path, FLUXLOOP_API_KEY=server.key
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "API Key Usage: My Development Key"
    assert lines[2] == "Last 7 Days:"
    assert re.fullmatch(r" ?[A-Z][a-z]{2} \d{1,2}: █{20} 1 requests?", lines[4]), lines[4]
    assert lines[-1] == "• Pull scenarios: 1 (100%)"
