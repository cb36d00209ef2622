"""A new key that may less than the old one, and never more."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.respond.story import Story

BOTH = ["read_scenarios", "upload_results"]
STRATEGIES = ["overlap", "contain", "revoke-first"]
ONLY = ("--permission", "read_scenarios", "--expires", "7d")


@pytest.fixture
def wide(untold: Story) -> Story:
    """A key for two things and all projects that leaked."""
    untold.create("dev", permissions=BOTH)
    untold.leak()
    untold.repo.write(".env", f"K={untold.key}\n")
    return untold


def _project(story: Story, name: str) -> str:
    made = story.server.ask("POST", "/api/projects", None, json={"name": name})
    assert isinstance(made, dict)
    return str(made["id"])


def _new(story: Story) -> dict[str, Any]:
    (found,) = (one for one in story.issued() if one["id"] in story.alive())
    return found


def _narrow(new: dict[str, Any]) -> None:
    assert new["permissions"] == ["read_scenarios"]
    assert new["hourly_limit"] == 1000
    made, ends = (datetime.fromisoformat(new[name]) for name in ("created_at", "expires_at"))
    assert abs((ends - made) - timedelta(days=7)) < timedelta(minutes=5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_may_less_before_anybody_has_it(wide: Story, strategy: str) -> None:
    path = wide.repo.path / ".env"
    before = path.read_bytes()
    project = _project(wide, f"shop {strategy}")
    wide.start("--yes", "--strategy", strategy, *ONLY, "--scope", f"shop {strategy}")
    new = wide.new_key(path, before)
    assert (wide.answers(wide.key), wide.answers(new)) == (401, 200)
    _narrow(_new(wide))
    assert _new(wide)["scope"] == {"projects": [project]}
    told = "may only read_scenarios; only for " + project + "; expires: 7d"
    assert told in wide.said[-1]
    assert wide.outcome("reissue")["narrower"] == told
    assert "may only read\\_scenarios" in wide.run("respond", "report").out
    wide.nowhere()


@pytest.mark.parametrize(
    "behind",
    ["journal: intent", "file: vault", "platform: POST /api/v1/keys/ID/rotate", "platform: PATCH /api/v1/keys/ID", "journal: done"],
)  # fmt: skip
def test_killed_on_the_way_it_may_less_all_the_same(wide: Story, behind: str) -> None:
    path = wide.repo.path / ".env"
    before = path.read_bytes()
    finding = ("--finding", _fingerprint(wide))
    wide.killed(f"reissue\t{behind}", "start", *finding, "--yes", "--strategy", "overlap", *ONLY)
    assert wide.key.encode() in path.read_bytes()
    wide.resume("--yes")
    new = wide.new_key(path, before)
    assert (wide.answers(wide.key), wide.answers(new)) == (401, 200)
    _narrow(_new(wide))


def _fingerprint(story: Story) -> str:
    found = story.server.ask("GET", f"/api/v1/keys/{story.key_id}", 200)
    assert isinstance(found, dict)
    return str(found["fingerprint"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--permission", "read_scenarios", "--permission", "manage_keys"), "may not manage_keys"),
        (("--expires", "never"), "longer life"),
        (("--expires", "91d"), "longer life"),
        (("--expires", "2001-01-01"), "lies in the past"),
        (("--expires", "soon"), "--expires"),
        (("--scope", "no such project"), "not there"),
        (("--scope", "all"), "fewer projects"),
        (("--permission", "everything"), "invalid choice"),
        (("--permission", "read_scenarios", "--no-new-key"), "--no-new-key"),
    ],
)
def test_more_is_refused_before_anything_happens(wide: Story, words: tuple[str, ...], said: str) -> None:
    for more in ((), ("--plan",)):
        assert said in wide.start("--yes", *words, *more, code=2).err
    assert len(wide.issued()) == 1
    assert not list((wide.state / "incidents").glob("inc-*"))


def test_projects_that_the_old_key_is_not_for_are_refused(untold: Story) -> None:
    mine, other = _project(untold, "mine"), _project(untold, "other")
    untold.create("dev", permissions=BOTH, scope={"projects": [mine]})
    untold.leak()
    assert "not for all of these projects" in untold.start("--yes", "--scope", other, code=2).err
    untold.start("--yes", "--scope", mine)
    assert _new(untold)["scope"] == {"projects": [mine]}


def test_where_the_leaked_key_itself_asks_its_successor_has_to(untold: Story) -> None:
    untold.create("dev", expires="30d", permissions=["read_scenarios", "upload_results", "manage_keys"])
    untold.leak()
    env = {"FLUXLOOP_API_KEY": untold.key}
    said = untold.start("--yes", "--permission", "read_scenarios", code=2, **env)
    assert "needs manage_keys" in said.err
    before = untold.repo.write(".env", f"K={untold.key}\n").read_bytes()
    untold.start("--yes", "--permission", "read_scenarios", "--permission", "manage_keys", **env)
    new = untold.new_key(untold.repo.path / ".env", before)
    assert (untold.answers(untold.key), untold.answers(new)) == (401, 200)
    assert _new(untold)["permissions"] == ["read_scenarios", "manage_keys"]


def _wait_until_noted(story: Story) -> None:
    """The platform writes each second what keys were used for."""
    until = time.monotonic() + 30
    while not story.server.ask("GET", f"/api/v1/keys/{story.key_id}/usage", 200)["total"]:  # type: ignore[index]
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_plan_says_so_and_what_nobody_ever_needed(wide: Story) -> None:
    assert "record goes" not in wide.start("--plan").out, "of a key that was never used that says nothing"
    assert wide.use(wide.key) == 200
    story = wide
    _wait_until_noted(story)
    text = story.start("--plan").out
    assert "never used, as far as the platform's record goes: upload_results" in text
    assert "--permission read_scenarios" in text
    text = story.start("--plan", *ONLY).out
    assert "narrower than the old one: may only read_scenarios; expires: 7d" in text
    assert "record goes" not in text
    plan = json.loads(story.start("--plan", "--format", "json", *ONLY).out)
    assert plan["assess"]["unused"] == ["upload_results"]
    assert plan["rights"] == {"permissions": ["read_scenarios"], "projects": [], "expires": "7d"}
    assert len(story.issued()) == 1
