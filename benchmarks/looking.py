"""What a look costs on a platform that has grown: the console's pages, lists of keys, the audit trail's proof.

A platform on the embedded database, in this process; so many keys and records are put straight into its tables. Processor time of this
process for each request, the median of several. Needs fluxguard[server] and httpx.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fastapi.testclient import TestClient

from fluxguard import wire
from fluxguard.server import life, mint, people, trail, watch
from fluxguard.server.app import create_app
from fluxguard.server.platform import Platform, open_platform
from fluxguard.server.settings import Settings
from fluxguard.server.tables import audit, keys

EMAIL, PASSWORD = "owner@example.org", "correct horse battery staple"
PATHS = (
    "/settings/api-keys", "/settings/api-keys?state=quarantined", "/api/v1/keys", "/api/v1/keys?limit=1000", "/audit",
    "/audit?before=1000", "/api/v1/audit/verify", "/api/v1/audit/verify?full=true",
)  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        platform = open_platform(Settings(f"sqlite:///{folder}/platform.db", Path(folder) / "secret"))
        secret = _founded(platform)
        _grow(platform, args.keys, args.records)
        begun = time.process_time()
        while _left(platform):
            watch.turn(platform)
        print(f"sealing {args.records:,} records: {time.process_time() - begun:.1f} s")
        with TestClient(create_app(platform), headers={"Authorization": f"Bearer {secret}"}) as client:
            client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
            for path in PATHS:
                print(f"{_median(client, path, args.rounds) * 1000:8.1f} ms  {path}")
        platform.close()


def _left(platform: Platform) -> bool:
    """Whether the watch has more to do before everything is sealed."""
    with platform.store.read() as connection:
        found = watch.look(connection, platform)
    return found.verdict.place.seq - found.checked_from >= watch.STEP


def _median(client: TestClient, path: str, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        assert client.get(path).status_code == 200, path
        times.append(time.process_time() - begun)
    return statistics.median(times)


def _founded(platform: Platform) -> str:
    with platform.store.write() as connection:
        actor = people.found(connection, platform, EMAIL, PASSWORD)
        wish = life.Wish("First key", "dev", tuple(wire.PERMISSIONS), None, None, hourly_limit=1_000_000)
        return life.create(connection, platform, actor, wish)[1]


def _grow(platform: Platform, count: int, records: int) -> None:
    with platform.store.write() as connection:
        row = dict(connection.execute(sa.select(keys)).mappings().one())
        connection.execute(keys.insert(), [_another(row, n) for n in range(count)])
        last = dict(
            connection.execute(sa.select(audit).order_by(audit.c.seq.desc())).mappings().first() or {}
        )
        rows, before = [], bytes(last["proof"])
        for seq in range(last["seq"] + 1, last["seq"] + 1 + records):
            row = {**last, "seq": seq, "action": "results.uploaded", "target": f"run_{seq:020x}"}
            before = platform.vault.audit(trail._canonical([row[name] for name in trail.FIELDS], before))
            rows.append({**row, "proof": before})
        connection.execute(audit.insert(), rows)


def _another(row: dict[str, Any], n: int) -> dict[str, Any]:
    new = mint.identifier("key")
    return {
        **row,
        "id": new,
        "name": f"Key {n:06}",
        "lookup": new.encode(),
        "fingerprint": f"fg1:{new}",
        "created_at": row["created_at"] + n,
    }


if __name__ == "__main__":
    main()
