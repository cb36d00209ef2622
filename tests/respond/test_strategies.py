"""A response from end to end, for each strategy: the old key dead, the new one in place, the remote clean."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable

import pytest

from tests.respond.story import Story, sent

ENV = (
    "# the shop's key\r\nexport FLUXLOOP_API_KEY=\"{key}\"   # do not commit\r\nOTHER='x'\r\n"
    "FLUXLOOP_SYNC_API_KEY={key}\r\nLAST=1"
)


def _after(story: Story, before: bytes) -> str:
    """What holds after every response."""
    new = story.new_key(story.repo.path / ".env", before)
    assert story.answers(story.key) == 401
    assert story.answers(new) == 200
    assert len(story.alive()) == 1
    assert story.holding() == ["refs/pull/1/head"]
    story.nowhere()
    return new


@pytest.mark.parametrize(
    ("kind", "asked", "chosen"),
    [("dev", "auto", "overlap"), ("prod", "auto", "contain"), ("dev", "revoke-first", "revoke-first"), ("ci", "overlap", "overlap")],
)  # fmt: skip
def test_a_response(leaked: Callable[..., Story], kind: str, asked: str, chosen: str) -> None:
    story = leaked(kind)
    path = story.repo.write(".env", ENV.format(key=story.key))
    path.chmod(0o640)
    before = path.read_bytes()
    story.clean("--strategy", asked)
    assert story.outcome("choose")["strategy"] == chosen
    new = _after(story, before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert new not in story.repo.git("log", "-p", "--all").decode()
    (one,) = (one for one in story.issued() if one["id"] != story.key_id)
    old = next(one for one in story.issued() if one["id"] == story.key_id)
    for name in ("permissions", "scope", "environment", "hourly_limit"):
        assert one[name] == old[name]


def test_the_reports_and_the_rest(story: Story) -> None:
    before = story.repo.write(".env", ENV.format(key=story.key)).read_bytes()
    events = sent(story.clean("--format", "json"))
    _after(story, before)
    assert {one["schema"] for one in events} == {"fluxguard.event/1"}
    assert events[-1]["step"] == "close"
    assert events[-1]["state"] == "done"
    for form in ("markdown", "html", "json"):
        text = story.run("respond", "report", "--format", form).out
        assert "refs/pull/1/head" in text
        ending = {"markdown": "md"}.get(form, form)
        assert (story.incident / f"report.{ending}").is_file()
    data = json.loads(story.run("respond", "report", "--format", "json").out)
    assert data["state"] == "closed"
    (row,) = json.loads(story.run("respond", "status", "--format", "json").out)
    assert row["state"] == "closed"
    assert sorted(path.name for path in story.incident.iterdir()) == [
        "incident.json", "journal.jsonl", "lock", "report.html", "report.json", "report.md",
    ]  # fmt: skip
    story.resume(code=2)
    story.run("respond", "abort", story.incident.name, code=2)


@pytest.mark.parametrize("expires", ["never", "30d"])
def test_revoke_first_gives_no_longer_life(leaked: Callable[..., Story], expires: str) -> None:
    story = leaked("dev", expires=expires, hourly_limit=77)
    story.repo.write(".env", f"K={story.key}\n")
    story.start("--strategy", "revoke-first", "--yes")
    (new,) = (one for one in story.issued() if one["id"] != story.key_id)
    (old,) = (one for one in story.issued() if one["id"] == story.key_id)
    assert new["hourly_limit"] == 77
    if expires == "never":  # which whoever asks can't hand on
        first = story.server.ask("GET", "/api/v1/self", 200)
        assert isinstance(first, dict)
        assert new["expires_at"][:9] == first["expires_at"][:9]
        report = json.loads(story.run("respond", "report", "--format", "json").out)
        assert any("ends sooner" in line for line in report["left"])
    else:
        assert new["expires_at"][:9] == old["expires_at"][:9]


def test_a_dead_key_needs_no_successor(story: Story) -> None:
    story.server.ask("POST", f"/api/v1/keys/{story.key_id}/revoke", 200, json={"reason": "x"})
    path = story.repo.write(".env", f"K={story.key}\n")
    story.clean()
    assert story.outcome("choose")["strategy"] == "clean-only"
    assert story.holding() == ["refs/pull/1/head"]
    assert story.key in path.read_text()
    assert not story.alive()


def test_a_key_that_the_platform_does_not_know(untold: Story) -> None:
    untold.key = untold.mint.checked()
    untold.leak()
    said = untold.clean(code=3)
    assert untold.outcome("choose")["strategy"] == "guided"
    assert "does not know this key" in said.out
    assert "--api-url" in said.out
    untold.resume("--yes", "--ended", code=1)
    assert "by your word" in untold.outcome("guided")["how"]
    assert untold.holding() == ["refs/pull/1/head"]


def test_a_file_that_git_has_never_gets_the_new_key(story: Story) -> None:
    story.repo.write("notes.txt", f"{story.key}\n")
    story.repo.stage("staged.txt", f"{story.key}\n")
    link = story.repo.path / "link.env"
    target = story.folder / "elsewhere.env"
    target.write_text(f"K={story.key}\n")
    os.symlink(target, link)
    before = target.read_bytes()
    story.start("--yes")
    assert (story.repo.path / "notes.txt").read_text() == f"{story.key}\n"
    assert (story.repo.path / "staged.txt").read_text() == f"{story.key}\n"
    assert link.is_symlink()
    new = story.new_key(target, before)
    assert story.answers(new) == 200
    report = story.run("respond", "report").out
    assert "notes.txt" in report
    assert "staged.txt" in report


def test_the_plan_changes_nothing(story: Story) -> None:
    path = story.repo.write(".env", f"K={story.key}\n")
    refs = story.repo.git("for-each-ref", cwd=story.remote)
    plan = json.loads(story.clean("--plan", "--format", "json", code=0).out)
    assert plan["choose"]["strategy"] == "overlap"
    assert [one["step"] for one in plan["steps"]][3:8] == [
        "reissue",
        "distribute",
        "confirm",
        "drain",
        "revoke",
    ]
    text = story.start("--plan", "--target", "exec:tee /there").out
    for words in (
        "Nothing was changed",
        "in 2 places since 2026",
        "pushed: refs/remotes/origin/main",
        f"the new key goes to {path}",
        "the new key goes to exec:tee /there",
    ):
        assert words in text
    told = story.start("--plan", "--target", "exec:tee /there", "--format", "json").out
    assert json.loads(told)["targets"] == ["exec:tee /there"]
    assert f"no new one goes to {path}" in story.start("--plan", "--no-new-key").out
    assert path.read_text() == f"K={story.key}\n"
    assert len(story.issued()) == 1
    assert story.answers(story.key) == 200
    assert story.repo.git("for-each-ref", cwd=story.remote) == refs
    assert not list((story.state / "incidents").glob("*/*"))


def test_the_old_key_in_use_is_waited_for(story: Story) -> None:
    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    assert story.use(story.key) == 200
    said = story.start("--yes", code=3)
    assert "shop/1" in said.out
    new = story.new_key(path, before)
    assert (story.answers(story.key), story.answers(new)) == (200, 200)
    (row,) = json.loads(story.run("respond", "status", "--format", "json").out)
    assert row["state"] == "waiting"
    assert row["until"]
    assert "just now" in row["waits_for"]
    assert row["todo"] == [
        f"To end it at once: fluxguard apikeys revoke --key-id {story.key_id}, then resume"
    ]
    assert "respond resume" in story.run("respond", "status").out
    said = story.start("--yes", code=2)
    assert "is open" in said.err
    story.run("respond", "abort", "--yes")
    assert story.answers(story.key) == 200
    assert not (story.incident / "vault").exists()
    story.nowhere()


def test_the_old_key_in_use_can_be_ended_at_once(story: Story) -> None:
    path = story.repo.write(".env", f"K={story.key}\n")
    assert story.use(story.key) == 200
    before = path.read_bytes()
    story.start("--yes", code=3)
    story.run("apikeys", "revoke", "--key-id", story.key_id, "--yes")
    story.resume("--yes")
    assert (story.answers(story.key), story.answers(story.new_key(path, before))) == (401, 200)


def test_where_the_platform_can_not_be_reached(story: Story) -> None:
    (story.repo.path / ".env").unlink()  # so it waits, and stays open
    said = story.start("--yes", code=4, FLUXLOOP_API_URL="http://127.0.0.1:9")
    assert "can't be reached" in said.err
    assert "same command again" not in said.err
    said = story.resume(code=4)
    assert "from the incident; another one: --api-url" in said.err
    story.resume("--api-url", story.server.url, code=3)
    assert story.outcome("verify")["status"] == "active"
    story.resume(code=3)  # it is kept
    report = json.loads(story.run("respond", "report", "--format", "json").out)
    assert report["platform"] == story.server.url
    story.run("respond", "abort", "--yes")
    assert story.answers(story.key) == 200


def test_another_key_of_the_workspace_that_may_less_does_not_ask(untold: Story) -> None:
    """The leaked key is what fluxguard was given, and may handle keys; what lies in .fluxloop may not."""
    untold.create("dev", permissions=["read_scenarios"])
    other, other_id = untold.key, untold.key_id
    untold.create("dev", expires="30d", permissions=["read_scenarios", "manage_keys"])
    untold.leak()
    before = untold.repo.write(".env", f"K={untold.key}\n").read_bytes()
    untold.repo.write(".fluxloop/.env", f"FLUXLOOP_API_KEY={other}\n")
    untold.start("--yes", FLUXLOOP_API_KEY=untold.key)
    new = untold.new_key(untold.repo.path / ".env", before)
    assert (untold.answers(untold.key), untold.answers(new)) == (401, 200)
    found = untold.server.ask("GET", f"/api/v1/keys/{other_id}", 200)
    assert isinstance(found, dict)
    assert found["last_used_at"] is None


@pytest.mark.parametrize("strategy", ["overlap", "contain", "revoke-first"])
def test_asked_with_the_leaked_key_alone(untold: Story, strategy: str) -> None:
    """It may handle keys, and there is no other: it is replaced, and its successor goes on."""
    untold.create("dev", expires="30d", permissions=["read_scenarios", "manage_keys"])
    untold.leak()
    path = untold.repo.write(".env", f"K={untold.key}\n")
    before = path.read_bytes()
    untold.start("--yes", "--strategy", strategy, FLUXLOOP_API_KEY=untold.key)
    new = untold.new_key(path, before)
    assert (untold.answers(untold.key), untold.answers(new)) == (401, 200)
