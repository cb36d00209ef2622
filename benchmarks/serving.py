"""What the key platform bears: requests a second on metered routes, against the same framework without a check.

Everything is real: the server with its workers, the database, the limiter (the quota raised), usage recording, `wrk` (Debian's package)
as the load. Ours and the bare framework take turns, so that a busy moment of the machine hits both; both give the same bytes. Then the same with
another key at each request, a thousand of a thousand keys and a thousand of a million, and the look-up's statement alone; and at a fixed
rate (paced.py). Goals: 2,000 requests a second on two
cores against SQLite, 99 % under 20 ms, 1.5 times the bare framework's cost at the most, a million keys no slower than a thousand.

Needs fluxguard[server]; PostgreSQL comes from PyPI (`pip install pgserver`) and is left out where it is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import paced

HERE = Path(__file__).resolve().parent
BARE = "bare FastAPI"
LIMIT = 1_000_000  # requests an hour: the most that a key may have
PASSWORD = b"correct horse battery staple\n"
Body = Mapping[str, object]
# What is asked, by its name: the path, and the body of what is posted. `{...}` stands for an id of the platform that is measured.
ROUTES: Mapping[str, tuple[str, Body | None]] = {
    "scenarios": ("/api/scenarios?project_id={project}", None),
    "scenario": ("/api/scenarios/{scenario}", None),
    "bundles": ("/api/bundles", None),
    "bundle": ("/api/bundles?scenario_id={scenario}", None),
    "projects": ("/api/projects", None),
    "project": ("/api/projects/{project}", None),
    "pull": ("/api/sync/pull", {"bundle_version_id": "{scenario}"}),
    "self": ("/api/v1/self", None),
    "key": ("/api/v1/keys/{key}", None),
    "keys": ("/api/v1/keys?limit=100", None),
    "upload": (
        "/api/sync/upload",
        {"bundle_version_id": "{scenario}", "runs": [{"run_id": "run-1", "passed": True}]},
    ),
}


@dataclass
class Series:
    """Round by round: requests a second, and per request the servers' processor time; milliseconds of the 50th and 99th in a hundred."""

    rate: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """A server under load. script: what tells wrk the header, so that no key stands among a process's arguments."""

    process: subprocess.Popen[bytes]
    url: str
    script: Path | None = None
    keys: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return "/".join(self.url.split("/", 3)[:3])

    def asked(self, name: str, ids: Mapping[str, str], folder: Path) -> Target:
        """Another route of the same server."""
        path, body = filled_in(name, ids)
        script = self.script
        if body is not None:
            script = folder / f"{name}{'' if self.keys else '-bare'}.lua"
            head = self.script.read_text() if self.script else ""
            script.touch(0o600)
            script.write_text(
                f'{head}wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [[{json.dumps(body)}]]\n'
            )
        return replace(self, url=self.base + path, script=script)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round (default: 5)")
    parser.add_argument("--rounds", type=int, default=5, help="of each in turn (default: 5)")
    parser.add_argument("--connections", type=int, default=16, help="of wrk (default: 16)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each server (default: 2)")
    parser.add_argument(
        "--keys", type=int, default=1_000_000, help="of the large database (default: 1,000,000)"
    )
    parser.add_argument(
        "--routes",
        nargs="+",
        choices=tuple(ROUTES),
        default=list(ROUTES),
        help="of the first part (default: all)",
    )
    parser.add_argument("--rate", type=int, default=2000, help="requests a second of the paced part")
    parser.add_argument("--only", choices=("sqlite", "paced", "postgresql", "many"), help="one part")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("There is no wrk, which makes the load. Run: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="fluxguard-serving-") as folder:
        if args.only in (None, "sqlite"):
            against_bare("SQLite", Path(folder) / "sqlite", "", args)
        if args.only in (None, "paced"):
            at_a_rate(Path(folder) / "paced", args)
        if args.only in (None, "postgresql"):
            with postgresql(Path(folder)) as url:
                if url:
                    against_bare("PostgreSQL", Path(folder) / "postgresql", url, args)
        if args.only in (None, "many"):
            among_many(Path(folder), args)


def filled_in(name: str, ids: Mapping[str, str]) -> tuple[str, object]:
    """A route's path and body, of this platform."""
    path, body = ROUTES[name]
    text = json.dumps(body)
    for one, value in ids.items():
        path, text = path.replace(f"{{{one}}}", value), text.replace(f"{{{one}}}", value)
    return path, json.loads(text)


def against_bare(title: str, folder: Path, database: str, args: argparse.Namespace) -> None:
    """Routes that a key uses and the bare framework's, in turn."""
    with platform(folder, database, args.workers) as ours, bare(folder, args.workers) as same:
        print(
            f"{title}, {args.workers} workers, {args.connections} connections; load {load_now()}", flush=True
        )
        for name in args.routes:
            targets = {
                BARE: same.asked(name, ours.ids, folder),
                "fluxguard": ours.asked(name, ours.ids, folder),
            }
            print(table(name, measure(targets, args)), flush=True)


def at_a_rate(folder: Path, args: argparse.Namespace) -> None:
    """So many requests a second, no more: what somebody waits for where the server is not asked for all it has."""
    with platform(folder, "", args.workers) as ours, bare(folder, args.workers) as same:
        targets = {
            BARE: same.asked("scenarios", ours.ids, folder),
            "fluxguard": ours.asked("scenarios", ours.ids, folder),
        }
        times: dict[str, list[list[float]]] = {name: [] for name in targets}
        for turn in range(args.rounds + 1):
            for name, target in targets.items():
                waits = paced.waits(target.url, target.keys, args.rate, args.connections, args.seconds)
                if turn:  # the first is a warm-up
                    times[name].append(waits)
    print(
        f"SQLite, {args.workers} workers, {args.connections} connections, {args.rate:,} requests/s; load {load_now()}"
    )
    for name, rounds in times.items():
        print(f"  {name:<24}{paced.line(rounds)}")
    print()


def measure(targets: Mapping[str, Target], args: argparse.Namespace) -> dict[str, Series]:
    """One warm-up of a second, then rounds of each in turn."""
    series = {name: Series() for name in targets}
    for target in targets.values():
        load(target, 1, args.connections, Series())
    for _ in range(args.rounds):
        for name, target in targets.items():
            load(target, args.seconds, args.connections, series[name])
    return series


def load(target: Target, seconds: int, connections: int, series: Series) -> None:
    """wrk for some seconds. Stops the benchmark where an answer is not a good one."""
    script = ["-s", str(target.script)] if target.script else []
    before = processor(target.process.pid)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *script, target.url],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    spent = processor(target.process.pid) - before
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"{target.url} did not answer well:\n{done.stdout}")
    requests = int(found(r"(\d+) requests in", done.stdout))
    series.rate.append(float(found(r"Requests/sec:\s+([\d.]+)", done.stdout)))
    series.p50.append(milliseconds(found(r"\n\s+50%\s+(\S+)", done.stdout)))
    series.p99.append(milliseconds(found(r"\n\s+99%\s+(\S+)", done.stdout)))
    series.cpu.append(spent / max(1, requests))


def found(pattern: str, text: str) -> str:
    """What stands there. Raises: SystemExit where wrk says something else."""
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said something unexpected:\n{text}")
    return match[1]


def milliseconds(text: str) -> float:
    """wrk's `850.00us`, `12.30ms`, `1.20s`."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def processor(parent: int) -> float:
    """User and system seconds of a process and its children, from /proc."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if parent in (int(stat.parent.name), int(fields[1])):
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load_now() -> str:
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def table(title: str, series: Mapping[str, Series]) -> str:
    """The medians. The first is what the others are compared with; processor time is what other programs on the machine disturb least."""
    reference = next(iter(series.values()))
    lines = [
        f"  {title:<24}{'requests/s':>12}{'best':>8}{'p50 ms':>9}{'p99 ms':>9}{'best':>7}{'cpu us':>9}{'x time':>9}{'x cpu':>8}",
    ]
    for name, mine in series.items():
        slower = statistics.median(
            theirs / ours for ours, theirs in zip(mine.rate, reference.rate, strict=True)
        )
        dearer = statistics.median(
            ours / theirs for ours, theirs in zip(mine.cpu, reference.cpu, strict=True)
        )
        lines.append(
            f"  {name:<24}{statistics.median(mine.rate):>12,.0f}{max(mine.rate):>8,.0f}{statistics.median(mine.p50):>9.1f}"
            f"{statistics.median(mine.p99):>9.1f}{min(mine.p99):>7.1f}{statistics.median(mine.cpu) * 1e6:>9.0f}{slower:>9.2f}{dearer:>8.2f}"
        )
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def platform(folder: Path, database: str, workers: int, keys: int = 0) -> Iterator[Target]:
    """The real server, with a project of three scenarios. keys: so many are in its database, and each request comes with another one."""
    env, key = founded(folder, database)
    used = filled(folder, keys) if keys else [key]
    port = free_port()
    extra = ["--database", database] if database else []
    command = [
        sys.executable,
        "-m",
        "fluxguard",
        "serve",
        "--port",
        str(port),
        "--workers",
        str(workers),
        *extra,
    ]
    with running(command, env, folder, f"http://127.0.0.1:{port}/readyz") as process:
        base = f"http://127.0.0.1:{port}"
        ids = {"project": ask(f"{base}/api/projects", key, {"name": "bench"})["id"]}
        for number in range(3):
            wish = {
                "project_id": ids["project"],
                "name": f"Scenario {number}",
                "config_snapshot": {"personas": ["a", "b"]},
            }
            ids["scenario"] = ask(f"{base}/api/scenarios", key, wish)["id"]
        ids["key"] = ask(f"{base}/api/v1/self", key)["id"]
        answers = {}
        for name in ROUTES:
            path, body = filled_in(name, ids)
            answers[name] = ask(base + path, key, body)
        (folder / "answers.json").write_text(json.dumps(answers))
        yield with_keys(Target(process, base + filled_in("scenarios", ids)[0], ids=ids), folder, used)


def with_keys(target: Target, folder: Path, keys: Sequence[str]) -> Target:
    """The same server, asked by others."""
    return replace(target, script=header(folder, keys), keys=tuple(keys))


def header(folder: Path, keys: Sequence[str]) -> Path:
    """What tells wrk the header, or another one for each request."""
    script = folder / f"header{len(keys)}.lua"
    script.touch(0o600)
    if len(keys) == 1:
        script.write_text(f'wrk.headers["Authorization"] = "Bearer {keys[0]}"\n')
        return script
    listed = folder / f"keys{len(keys)}"
    listed.touch(0o600)
    listed.write_text("\n".join(keys))
    script.write_text(
        f'local keys, n = {{}}, 0\nfor line in io.lines("{listed}") do keys[#keys + 1] = "Bearer " .. line end\n'
        'request = function()\n  n = n % #keys + 1\n  wrk.headers["Authorization"] = keys[n]\n  return wrk.format()\nend\n'
    )
    return script


def founded(folder: Path, database: str) -> tuple[dict[str, str], str]:
    """A platform with its first key, whose quota is raised. Returns the server's environment and the key."""
    folder.mkdir(parents=True)
    env = {
        **os.environ,
        "FLUXGUARD_SERVER_DIR": str(folder / "server"),
        "HOME": str(folder),
        "PYTHONPATH": str(HERE.parent),
    }
    extra = ["--database", database] if database else []
    command = [
        sys.executable,
        "-m",
        "fluxguard",
        "serve",
        "init",
        "--owner",
        "bench@example.org",
        "--password-stdin",
    ]
    done = subprocess.run(
        [*command, "--format", "json", *extra], input=PASSWORD, capture_output=True, env=env, check=True
    )
    raised = f"UPDATE keys SET hourly_limit = {LIMIT}"
    if database:
        import psycopg

        with psycopg.connect(database) as connection:
            connection.execute(raised)
    else:
        with contextlib.closing(sqlite3.connect(folder / "server" / "platform.db")) as connection, connection:
            connection.execute(raised)
    return env, json.loads(done.stdout)["key"]


@contextlib.contextmanager
def bare(folder: Path, workers: int) -> Iterator[Target]:
    """The bare framework, giving the same answers on the same routes."""
    port = free_port()
    env = {**os.environ, "BARE_ANSWERS": str(folder / "answers.json"), "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(HERE / "bare.py"), str(port), str(workers)]
    with running(command, env, folder, f"http://127.0.0.1:{port}/readyz") as process:
        yield Target(process, f"http://127.0.0.1:{port}/readyz")


@contextlib.contextmanager
def running(
    command: list[str], env: Mapping[str, str], folder: Path, ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, from when it answers until it is told to stop."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=dict(env), stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(ready, timeout=2).close()
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"The server does not answer: {(folder / 'server.log').read_text()}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def ask(url: str, key: str, body: object = None) -> dict[str, str]:
    """A request's JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A real PostgreSQL of its own; its URL, or nothing where the package is missing."""
    try:
        import pgserver
    except ImportError:
        print("PostgreSQL was left out: pip install pgserver\n")
        yield ""
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    server = pgserver.get_server(tempfile.mkdtemp(prefix="fluxguard-pg-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def among_many(folder: Path, args: argparse.Namespace) -> None:
    """Requests with another key each time, and the look-up's statement alone, in a database of a thousand keys and in one of a million."""
    few, many = folder / "few", folder / "many"
    with platform(few, "", args.workers, 1000) as small, platform(many, "", args.workers, args.keys) as large:
        series = measure(
            {
                "1,000 of 1,000 keys": small,
                f"1,000 of {args.keys:,}": with_keys(large, many, large.keys[:1000]),
                f"{len(large.keys):,} of {args.keys:,}": large,
            },
            args,
        )
    print(
        f"SQLite, {args.workers} workers, {args.connections} connections, another key at each request; load {load_now()}"
    )
    print(table("GET /api/scenarios", series))
    look_up({1000: few, args.keys: many}, 20 * args.rounds)


def look_up(folders: Mapping[int, Path], rounds: int) -> None:
    """The statement by which a key is found."""
    from fluxguard.server.books import FIND_HERE

    books, times = {}, {number: [] for number in folders}  # type: ignore[var-annotated]
    for number, folder in folders.items():
        connection = sqlite3.connect(folder / "server" / "platform.db")
        sample = "SELECT lookup FROM keys WHERE rowid % ? = 0 LIMIT 20000"
        books[number] = connection, [row[0] for row in connection.execute(sample, (max(1, number // 20000),))]
    for _ in range(rounds):
        for number, (connection, lookups) in books.items():
            started = time.process_time()
            for lookup in secrets.SystemRandom().sample(lookups, 500):
                if connection.execute(FIND_HERE, {"lookup": lookup}).fetchone() is None:
                    raise SystemExit("A key that stands there was not found.")
            times[number].append((time.process_time() - started) / 500)
    print("Look-up of a key by its statement, SQLite")
    for number, series in times.items():
        print(f"  {number:>9,} keys {statistics.median(series) * 1e6:>8.1f} us of processor")
    few, many = (statistics.median(series) for series in times.values())
    print(f"  ratio {many / few:.2f}\n")


def filled(folder: Path, number: int, real: int = 20_000) -> list[str]:
    """Adds so many keys to a platform that is founded. Returns the real ones, evenly spread over the table: nobody has the others."""
    from fluxguard.server import mint
    from fluxguard.server.secret import open_vault

    vault, keys = open_vault(folder / "server" / "secret"), []
    every = max(1, number // real)
    with contextlib.closing(sqlite3.connect(folder / "server" / "platform.db")) as connection:
        connection.execute("PRAGMA cache_size = -500000")  # the unique indexes are filled in random order
        connection.execute("PRAGMA synchronous = OFF")
        cursor = connection.execute("SELECT * FROM keys")
        names = [column[0] for column in cursor.description]
        model = dict(zip(names, cursor.fetchone(), strict=True))
        model["confirmed_at"] = model["created_at"]

        def rows() -> Iterator[tuple[object, ...]]:
            for n in range(number - 1):
                lookup = secrets.token_bytes(32)
                if n % every == 0:
                    keys.append(mint.key("dev"))
                    lookup = vault.lookup(keys[-1].encode())
                own = {"id": f"key_{n:020x}", "lookup": lookup, "fingerprint": f"fg1:{secrets.token_hex(32)}"}
                yield tuple({**model, **own}[name] for name in names)

        with connection:
            connection.executemany(
                f"INSERT INTO keys ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", rows()
            )
    secrets.SystemRandom().shuffle(keys)
    return keys


if __name__ == "__main__":
    main()
