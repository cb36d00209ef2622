"""A key's whole life as a state machine with a clock that can be moved: what the platform answers is what a small model says."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from fluxguard.server import trail
from tests.server.conftest import Furnished, House, founded

HOUR, DAY = 3_600_000, 86_400_000
ALIVE = {"active", "quarantined", "grace"}
_NAMES = itertools.count(1)
FURNISHED: list[Furnished] = []  # of which each life begins with a copy; the last one counts


class Model:
    """What a key should be."""

    def __init__(self, key_id: str, secret: str, now: int, expires: int | None, *, pending: int | None = None,
                 old: Model | None = None, overlap: int = 0) -> None:  # fmt: skip
        self.id, self.secret, self.expires = key_id, secret, expires
        self.pending_until, self.old, self.overlap = pending, old, overlap
        self.confirmed = False
        self.ended: str | None = None
        self.ends: int | None = None
        self.quarantined = False
        self.successor: Model | None = None

    def state(self, now: int) -> str:
        if self.ended:
            return self.ended
        if self.ends is not None and now >= self.ends:
            return "revoked"
        if self.expires is not None and now >= self.expires:
            return "expired"
        if self.pending_until is not None and not self.confirmed:
            return "lapsed" if now >= self.pending_until else "pending"
        if self.quarantined:
            return "quarantined"
        return "grace" if self.ends is not None else "active"

    def arrive(self, now: int) -> None:
        """First used, or confirmed."""
        if self.confirmed:
            return
        was_pending = self.pending_until is not None
        self.confirmed = True
        if was_pending and self.old is not None and self.old.state(now) in ALIVE:
            bounds = [now + self.overlap, self.old.expires, self.old.ends]
            self.old.ends = min(bound for bound in bounds if bound is not None)


class Life(RuleBasedStateMachine):
    """Everything that can happen to keys, in any order."""

    keys: Bundle[Model] = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fluxguard-life-"))
        made = FURNISHED[-1]
        self.founded = founded(made.copied(self.folder), self.folder, made)
        self.house: House = self.founded.__enter__()
        self.all: list[Model] = []

    def teardown(self) -> None:
        self.founded.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def now(self) -> int:
        return self.house.clock.now

    def _call(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.house.first}", **how.pop("headers", {})}
        answer = self.house.client.request(method, path, headers=headers, **how)
        assert answer.status_code < 500, answer.status_code
        return answer.status_code, answer.json() if answer.content else None

    def _born(self, model: Model) -> Model:
        self.all.append(model)
        self.house.keys.append(model.secret)
        return model

    @rule(target=keys, expires=st.sampled_from(["never", "12h", "30d", "1y"]))
    def create(self, expires: str) -> Model:
        status, made = self._call("POST", "/api/v1/keys", json={
            "name": "k", "environment": "prod", "scope": "all", "permissions": ["read_scenarios"], "expires": expires,
        })  # fmt: skip
        assert status == 201
        length = {"never": None, "12h": DAY // 2, "30d": 30 * DAY, "1y": 365 * DAY}[expires]
        return self._born(
            Model(made["id"], made["key"], self.now, None if length is None else self.now + length)
        )

    @rule(
        target=keys,
        old=keys,
        overlap=st.sampled_from(["0", "1h", "2d"]),
        ttl=st.sampled_from(["1h", "3h"]),
        expires=st.sampled_from(["never", "30d"]),
    )
    def rotate(self, old: Model, overlap: str, ttl: str, expires: str) -> Any:
        state = old.state(self.now)
        busy = old.successor is not None and old.successor.state(self.now) in ALIVE | {"pending"}
        status, made = self._call(
            "POST", f"/api/v1/keys/{old.id}/rotate", json={"overlap": overlap, "pending_ttl": ttl, "expires": expires},
            headers={"Idempotency-Key": f"r{next(_NAMES)}"},
        )  # fmt: skip
        assert status == (201 if state in ALIVE and not busy else 409), (state, busy, status)
        if status != 201:
            return multiple()
        length = {"0": 0, "1h": HOUR, "2d": 2 * DAY}[overlap]
        pending = self.now + (HOUR if ttl == "1h" else 3 * HOUR)
        ends = None if expires == "never" else self.now + 30 * DAY
        old.successor = self._born(
            Model(made["id"], made["key"], self.now, ends, pending=pending, old=old, overlap=length)
        )
        return old.successor

    @rule(target=keys, old=keys)
    def regenerate(self, old: Model) -> Any:
        other = old.successor
        alive = old.state(self.now) in ALIVE and not (other and other.state(self.now) in ALIVE)
        status, made = self._call(
            "POST", f"/api/v1/keys/{old.id}/regenerate", headers={"Idempotency-Key": f"g{next(_NAMES)}"}
        )
        assert status == (201 if alive else 409)
        if status != 201:
            return multiple()
        old.ended = "regenerated"
        if other and other.state(self.now) == "pending":
            other.ended = "lapsed"
        shown = self._call("GET", f"/api/v1/keys/{made['id']}")[1]
        from fluxguard.wire import to_moment

        expires = to_moment(shown["expires_at"])
        assert (expires is None) == (old.expires is None)
        exact = None
        if expires is not None:
            with self.house.platform.store.read() as connection:
                exact = connection.execute(
                    sa.text("SELECT expires_at FROM keys WHERE id = :id"), {"id": made["id"]}
                ).scalar()
        old.successor = self._born(Model(made["id"], made["key"], self.now, exact, old=old))
        return old.successor

    @rule(key=keys)
    def use(self, key: Model) -> None:
        state = key.state(self.now)
        answer = self.house.client.get("/api/scenarios", headers={"Authorization": f"Bearer {key.secret}"})
        good = state in {"active", "grace", "pending"}
        assert answer.status_code == (200 if good else 403 if state == "quarantined" else 401), (
            state,
            answer.status_code,
        )
        if answer.status_code == 401:
            assert answer.json()["reason"] == state
        if good:
            key.arrive(self.now)

    @rule(key=keys)
    def confirm(self, key: Model) -> None:
        state, confirmed = key.state(self.now), key.confirmed
        status, _ = self._call("POST", f"/api/v1/keys/{key.id}/confirm")
        assert status == (200 if confirmed or state in ALIVE | {"pending"} else 409)
        if status == 200:
            key.arrive(self.now)

    @rule(key=keys)
    def quarantine(self, key: Model) -> None:
        alive = key.state(self.now) in ALIVE
        status, _ = self._call("POST", f"/api/v1/keys/{key.id}/quarantine", json={"allow": []})
        assert status == (200 if alive else 409)
        key.quarantined = key.quarantined or alive

    @rule(key=keys)
    def release(self, key: Model) -> None:
        status, _ = self._call("POST", f"/api/v1/keys/{key.id}/release")
        assert status == 200
        key.quarantined = False

    @rule(key=keys)
    def revoke(self, key: Model) -> None:
        assert self._call("POST", f"/api/v1/keys/{key.id}/revoke")[0] == 200
        key.ended = key.ended or "revoked"

    @rule(key=keys)
    def delete(self, key: Model) -> None:
        assert self._call("DELETE", f"/api/v1/keys/{key.id}", params={"confirm_name": "k"})[0] == 200
        key.ended = "deleted"

    @rule(milliseconds=st.sampled_from([1, 1000, HOUR, 6 * HOUR, DAY, 31 * DAY]))
    def wait(self, milliseconds: int) -> None:
        self.house.clock.forward(milliseconds)

    @precondition(lambda self: self.all)
    @rule()
    def restart(self) -> None:
        """The process goes, and another one comes."""
        self.house.client.app.state.gate.flush()  # type: ignore[attr-defined]
        from fastapi.testclient import TestClient

        from fluxguard.server.app import create_app
        from fluxguard.server.platform import open_platform

        self.founded.__exit__()
        platform = open_platform(self.founded.settings)
        self.founded.platform = self.house.platform = platform
        self.founded.client = self.house.client = TestClient(
            create_app(platform), client=("192.0.2.1", 50000)
        )
        self.founded.client.__enter__()

    @invariant()
    def the_states_are_those_of_the_model(self) -> None:
        if not self.all:
            return
        shown = {key["id"]: key["state"] for key in self._call("GET", "/api/v1/keys")[1]}
        for model in self.all:
            state = model.state(self.now)
            assert shown.get(model.id, "deleted") == state, (shown.get(model.id), state)

    @invariant()
    def the_audit_trail_proves_itself(self) -> None:
        with self.house.platform.store.read() as connection:
            assert trail.verify(connection, self.house.platform.vault).broken_at is None

    @invariant()
    def a_successor_has_no_more_rights_and_there_is_one(self) -> None:
        for model in self.all:
            heirs = [
                one for one in self.all if one.old is model and one.state(self.now) in ALIVE | {"pending"}
            ]
            assert len(heirs) <= 1


def _run(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks
        ),
    )


def test_life_on_the_embedded_database(furnished_sqlite: Furnished) -> None:
    FURNISHED.append(furnished_sqlite)
    _run(25, 40)


def test_life_on_postgresql(furnished_postgresql: Furnished) -> None:
    FURNISHED.append(furnished_postgresql)
    _run(6, 30)
