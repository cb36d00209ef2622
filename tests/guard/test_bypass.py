"""A bypass: for one command, with a reason, and written down. See also test_receive.py: a server knows none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guard.conftest import Guarded


def _log(guarded: Guarded) -> list[dict[str, object]]:
    return [json.loads(line) for line in (guarded.state / "bypassed.jsonl").read_text().splitlines()]


def _leak(guarded: Guarded) -> str:
    key = guarded.repo.mint.key()
    guarded.repo.stage("app.env", f"TOKEN={key}\n")
    return key


def test_with_a_reason_it_passes_and_is_written_down(guarded: Guarded) -> None:
    from fluxguard.model import Secret

    key = _leak(guarded)
    said = guarded.passes("commit", "-m", "change", FLUXGUARD_BYPASS="the key is dead, see the ticket")
    assert "1 key would be committed" in said, "what was found is said all the same"
    assert "let pass all the same, for: the key is dead, see the ticket" in said
    (entry,) = _log(guarded)
    assert entry["hook"] == "pre-commit"
    assert entry["reason"] == "the key is dead, see the ticket"
    assert entry["findings"] == [
        {
            "rule": "fluxloop-api-key",
            "masked": Secret(key.encode()).masked,
            "fingerprint": Secret(key.encode()).fingerprint,
        }
    ]
    assert not guarded.repo.mint.leaked((guarded.state / "bypassed.jsonl").read_bytes())
    assert (guarded.state / "bypassed.jsonl").stat().st_mode & 0o777 == 0o600
    assert "had seen" not in guarded.commit("a.txt", "a\n"), "a hook has seen it"


@pytest.mark.parametrize("reason", ["", " ", "\n", "...", "-"])
def test_without_a_reason_it_does_not(reason: str, guarded: Guarded) -> None:
    _leak(guarded)
    assert "gives no reason" in guarded.refused("commit", "-m", "change", FLUXGUARD_BYPASS=reason)
    assert not (guarded.state / "bypassed.jsonl").exists()


def test_a_clean_commit_needs_no_bypass(guarded: Guarded) -> None:
    guarded.commit("a.txt", "a\n", FLUXGUARD_BYPASS="just in case")
    assert not (guarded.state / "bypassed.jsonl").exists()


def test_messages_and_pushes(guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    guarded.passes(
        "commit", "-q", "--allow-empty", "-m", f"use {repo.mint.key()}", FLUXGUARD_BYPASS="made up"
    )
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    guarded.refused("push", str(tmp_path / "remote.git"), "main")
    guarded.passes("push", str(tmp_path / "remote.git"), "main", FLUXGUARD_BYPASS="made up, too")
    assert [entry["hook"] for entry in _log(guarded)] == ["commit-msg", "pre-push"]


def test_what_could_not_be_read(guarded: Guarded) -> None:
    guarded.repo.stage("data.7z", b"7z\xbc\xaf\x27\x1c" + bytes(64))
    guarded.refused("commit", "-m", "change")
    guarded.passes("commit", "-m", "change", FLUXGUARD_BYPASS="pictures")
    assert _log(guarded)[0]["unread"] == 1


def test_it_shows_in_the_next_audit_and_in_doctor(guarded: Guarded) -> None:
    _leak(guarded)
    guarded.passes("commit", "-m", "change", FLUXGUARD_BYPASS="\x1b[31m the key is dead")
    for command in (("audit",), ("audit", "--format", "json"), ("doctor",)):
        said = " ".join(guarded.run(*command, cwd=guarded.repo.path).out.split())
        assert "by pre-commit" in said
        assert "the key is dead" in said
        assert "\x1b" not in said


def test_a_reason_that_is_a_key_is_masked(guarded: Guarded) -> None:
    key = _leak(guarded)
    guarded.passes("commit", "-m", "change", FLUXGUARD_BYPASS=f"because of {key}")
    assert not guarded.repo.mint.leaked((guarded.state / "bypassed.jsonl").read_bytes())


def test_what_can_not_be_written_down_does_not_pass(guarded: Guarded, tmp_path: Path) -> None:
    _leak(guarded)
    (guarded.state / "bypassed.jsonl").symlink_to(tmp_path / "elsewhere")
    said = guarded.refused("commit", "-m", "change", FLUXGUARD_BYPASS="a reason")
    assert "can't be written down" in said
    assert not (tmp_path / "elsewhere").exists()


def test_scan_knows_no_bypass(guarded: Guarded) -> None:
    _leak(guarded)
    outcome = guarded.run("scan", "--staged", cwd=guarded.repo.path, env={"FLUXGUARD_BYPASS": "a reason"})
    assert outcome.code == 1
    assert not (guarded.state / "bypassed.jsonl").exists()


def test_a_log_with_nonsense_in_it(guarded: Guarded) -> None:
    _leak(guarded)
    guarded.passes("commit", "-m", "change", FLUXGUARD_BYPASS="a reason")
    with (guarded.state / "bypassed.jsonl").open("ab") as stream:
        stream.write(
            b'\xff\n[]\n{"time": 1}\n{"time": 1, "hook": [], "reason": {}, "findings": [1, {}]}\n'
            + b"[" * 9999
        )
    assert "a reason" in " ".join(guarded.run("audit", cwd=guarded.repo.path).out.split())
