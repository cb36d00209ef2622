"""What no longer holds when a run goes on: a new key that lapsed, an answer that the platform has forgotten, a use that was not there before."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fluxguard.respond import assessing, choose
from tests.respond.story import Story
from tests.respond.test_losses import Lossy, lossy  # noqa: F401 - a fixture


def test_a_new_key_that_lapsed_is_replaced_where_it_stands(story: Story) -> None:
    path = story.repo.write(".env", f"K={story.key} # kept\n")
    before = path.read_bytes()
    ready = story.folder / "ready"
    target = f"exec:test -e {ready}"
    story.start("--yes", "--target", target, code=3)
    story.new_key(path, before)
    (pending,) = story.alive()
    story.server.ask("POST", f"/api/v1/keys/{pending}/revoke", 200, json={"reason": "as if it had lapsed"})
    ready.write_text("")
    said = story.resume("--yes", code=3)
    assert "lapsed before it was confirmed" in said.err
    assert story.answers(story.key) == 200
    story.resume("--yes")
    new = story.new_key(path, before)
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
    assert len(story.alive()) == 1
    story.nowhere()


def _forget(story: Story) -> None:
    """What the platform does with an idempotency key after a day."""
    (path,) = Path(story.server.folder).rglob("*.db")
    with sqlite3.connect(path, timeout=10) as connection:
        connection.execute("DELETE FROM idempotency")
    connection.close()


@pytest.mark.parametrize("lossy", [("/rotate", 4), ("/keys", 4)], indirect=True, ids=["rotate", "create"])
def test_an_answer_lost_for_more_than_a_day_leaves_no_second_key(story: Story, lossy: Lossy) -> None:  # noqa: F811
    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    strategy = "revoke-first" if lossy.ending == "/keys" else "overlap"
    story.start("--yes", "--strategy", strategy, code=4, FLUXLOOP_API_URL=lossy.url)
    (lost,) = story.alive()
    _forget(story)
    story.resume("--yes", FLUXLOOP_API_URL=lossy.url)
    new = story.new_key(path, before)
    assert story.answers(new) == 200
    assert len(story.alive()) == 1
    assert lost not in story.alive()


def test_somebody_elses_rotation_is_not_undone(story: Story) -> None:
    headers = {"Idempotency-Key": "somebody-else"}
    story.server.ask("POST", f"/api/v1/keys/{story.key_id}/rotate", 201, json={}, headers=headers)
    (theirs,) = story.alive()
    said = story.start("--yes", code=4)
    assert "being rotated already" in said.text
    story.resume("--yes", code=None)
    assert story.alive() == [theirs]


EVENTS = [
    {"t": "2026-01-01T10:00:00Z", "type": "used", "address": "10.0.0.1", "user_agent": "shop/1", "count": 5},
    {"t": "2026-01-03T10:00:00Z", "type": "used", "address": "10.0.0.1", "user_agent": "shop/1", "count": 7},
    {"t": "2026-01-03T10:05:00Z", "type": "used", "address": "192.0.2.66", "user_agent": "curl", "count": 37},
]


def _use(events: list[dict[str, Any]]) -> dict[str, Any]:
    run = SimpleNamespace(
        known=lambda step: {"key_id": "key_1"}, api=SimpleNamespace(timeline=lambda key_id: events)
    )
    return assessing._use_since(run, "2026-01-02T00:00:00Z")  # type: ignore[arg-type]


def test_who_used_it_since_and_never_before() -> None:
    use = _use(EVENTS)
    assert (use["foreign"], use["untold"]) == (37, 0)
    assert use["known"] == [{"address": "10.0.0.1", "user_agent": "shop/1"}]


def test_of_a_key_that_nobody_used_before_it_can_not_be_told() -> None:
    use = _use(EVENTS[1:])
    assert (use["foreign"], use["untold"], use["known"]) == (0, 44, [])


@pytest.mark.parametrize(
    ("exposure", "strategy"),
    [
        (("active", "dev", (), False, None, 0), "overlap"),
        (("active", "dev", (), True, None, 0), "overlap"),
        (("active", "prod", (), True, None, 0), "contain"),
        (("active", "dev", ("manage_keys",), True, None, 0), "contain"),
        (("active", "prod", (), True, True, 0), "revoke-first"),
        (("active", "dev", (), False, None, 3), "revoke-first"),
        (("expired", "prod", (), True, True, 9), "clean-only"),
    ],
)
def test_the_rules(exposure: tuple[Any, ...], strategy: str) -> None:
    made = choose.choose(choose.Exposure(*exposure))
    assert made.strategy == strategy
    assert made.reason
    asked = choose.choose(choose.Exposure(*exposure), "overlap")
    assert asked.strategy == ("clean-only" if strategy == "clean-only" else "overlap")
