"""The audit trail under watch: a look reads little of it, and tampering shows wherever it happened. On both databases."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fluxguard.server import chores, trail, watch
from fluxguard.server.tables import audit
from tests.server.conftest import EMAIL, PASSWORD, House, founded

HOUR = 3_600_000


def grow(house: House, count: int) -> None:
    """So many further records, as `trail.record` writes them; one by one they take minutes."""
    with house.platform.store.write() as connection:
        last = dict(
            connection.execute(sa.select(audit).order_by(audit.c.seq.desc()).limit(1)).mappings().one()
        )
        rows, before = [], bytes(last["proof"])
        for seq in range(last["seq"] + 1, last["seq"] + 1 + count):
            row = {
                **last,
                "seq": seq,
                "action": "results.uploaded",
                "target": f"run_{seq}",
                "detail": '{"runs":3}',
            }
            before = house.platform.vault.audit(
                trail._canonical([row[name] for name in trail.FIELDS], before)
            )
            rows.append({**row, "proof": before})
        connection.execute(audit.insert(), rows)


def harm(house: House, sql: str) -> None:
    with house.platform.store.write() as connection:
        connection.execute(sa.text(sql))


def verdict(house: House, how: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = house.call("GET", f"/api/v1/audit/verify{how}", status=200)
    return answer


def watched(house: House, minutes: int = 1) -> None:
    for _ in range(minutes):
        house.clock.forward(watch.EVERY)
        chores.turn(house.platform)


@pytest.fixture
def long(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A trail of some 3,000 records, sealed to its end and gone through once."""
    monkeypatch.setattr(watch, "PIECE", 1000)
    grow(house, 3000)
    watched(house, 5)
    return house


def test_a_look_reads_only_what_was_not_sealed(long: House, monkeypatch: pytest.MonkeyPatch) -> None:
    told = verdict(long)
    assert told["intact"] is True
    assert told["checked_from"] > 2500
    assert told["records"] > 3000
    assert told["whole"] is not None
    read: list[int] = []
    behind = trail._behind
    monkeypatch.setattr(
        trail, "_behind", lambda c, seq, most: read.append(found := behind(c, seq, most)) or found
    )  # type: ignore[func-returns-value]
    assert verdict(long)["intact"] is True
    assert sum(map(len, read)) < 500  # type: ignore[arg-type]


def test_before_anything_is_sealed_a_look_reads_all(house: House) -> None:
    grow(house, 50)
    told = verdict(house)
    assert (told["checked_from"], told["whole"], told["intact"]) == (1, None, True)
    harm(house, "UPDATE audit SET detail = '{}' WHERE seq = 2")
    assert verdict(house)["broken_at"] == 2


@pytest.mark.parametrize("damage", [
    "UPDATE audit SET actor = 'user:me' WHERE seq = 1500", "DELETE FROM audit WHERE seq = 1500",
    "UPDATE audit SET detail = 'no json' WHERE seq = 1500", "UPDATE audit SET at = at + 1 WHERE seq = 1500",
])  # fmt: skip
def test_an_old_record_that_was_tampered_with_shows(long: House, damage: str) -> None:
    harm(long, damage)
    # At once, to whoever looks at its page or at all of it.
    shown = long.call("GET", "/api/v1/audit?after=1480&limit=40", status=200)
    wrong = [record["seq"] for record in shown if not record["proved"]]
    assert wrong == [1501 if "DELETE" in damage else 1500]
    assert verdict(long, "?full=true")["broken_at"] == 1500
    # And to everybody, once the watch has come by.
    long.clock.forward(watch.ROUND)
    watched(long, 3)
    told = verdict(long)
    assert (told["intact"], told["broken_at"]) == (False, 1500)


def test_what_was_mended_is_found_to_be_good_again(long: House) -> None:
    harm(long, "UPDATE audit SET target = 'other' WHERE seq = 1500")
    long.clock.forward(watch.ROUND)
    watched(long, 3)
    assert verdict(long)["intact"] is False
    harm(long, "UPDATE audit SET target = 'run_1500' WHERE seq = 1500")
    watched(long, 6)
    assert verdict(long)["intact"] is True


def test_the_end_that_was_cut_off_before_the_sealed_place_shows_at_once(long: House) -> None:
    harm(long, "DELETE FROM audit WHERE seq > 1000")
    assert verdict(long)["intact"] is False


def test_a_new_record_that_was_tampered_with_shows_at_once(long: House) -> None:
    last = verdict(long)["records"]
    long.create()
    harm(long, f"UPDATE audit SET actor = 'user:me' WHERE seq = {last + 1}")
    assert verdict(long)["broken_at"] == last + 1


@pytest.mark.parametrize("forged", [
    {"seq": 3000, "proof": "00" * 32}, {"done_at": 10**13, "records": 1, "broken_at": None, "seq": 0, "proof": "00" * 32},
])  # fmt: skip
def test_a_forged_note_is_none(long: House, forged: dict[str, Any]) -> None:
    with long.platform.store.write() as connection:
        connection.execute(
            sa.text("UPDATE chores SET note = :note WHERE name LIKE 'watch.%'"), {"note": json.dumps(forged)}
        )
    harm(long, "UPDATE audit SET actor = 'user:me' WHERE seq = 1500")
    told = verdict(long)
    assert (told["checked_from"], told["broken_at"], told["whole"]) == (1, 1500, None)


def test_without_notes_a_look_is_slow_and_right(long: House) -> None:
    harm(long, "DELETE FROM chores")
    assert verdict(long)["checked_from"] == 1
    harm(long, "UPDATE audit SET actor = 'user:me' WHERE seq = 1500")
    assert verdict(long)["broken_at"] == 1500


def test_two_workers_watch_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.server.test_strength import at_once

    turns: list[int] = []
    monkeypatch.setattr(watch, "turn", lambda platform: turns.append(1))
    at_once(lambda _: chores.turn(house.platform), 6)
    assert len(turns) == 1
    house.clock.forward(-24 * HOUR)  # a clock that was set back stops no watch
    chores.turn(house.platform)
    assert len(turns) == 2


def test_the_server_watches_by_itself(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "TURN", 0.05)
    with founded(database, tmp_path) as house:
        end = time.monotonic() + 30
        while verdict(house)["whole"] is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert verdict(house)["intact"] is True


def page(house: House, path: str) -> str:
    house.client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    answer = house.client.get(path)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def test_the_console_says_what_it_knows(long: House) -> None:
    assert "The newest records, from no." in page(long, "/audit")
    harm(long, "UPDATE audit SET actor = 'user:me' WHERE seq = 1500")
    text = page(long, "/audit?before=1510")
    assert "Record 1500 is not as it was written" in text
    assert text.count("not as it was written") == 2  # above, and beside the record
    assert "Record 1500" not in page(long, "/audit")  # nobody has come by there yet
    token = re.search(r'name="csrf" value="([^"]+)"', long.client.get("/audit").text)
    assert token is not None
    checked = long.client.post("/audit/check", data={"csrf": token[1]})
    assert "Every record was checked." in checked.text
    assert "Record 1500 is not as it was written" in page(long, "/audit")
