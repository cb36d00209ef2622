"""What the key platform bears: requests a second on one metered route, against the same framework without a check.

Everything is real: the server with its workers, the database, the limiter (the quota raised), usage recording, `wrk` (Debian's package)
as the load. Ours and the bare framework take turns, so that a busy moment of the machine hits both. Then the look-up of a
key among a thousand and a million. Goals: 2,000 requests a second on two cores against SQLite, 99 % under 20 ms, 1.5 times the
bare framework's cost at the most, a million keys no slower than a thousand.

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT = 1_000_000  # requests an hour: the most that a key may have
PASSWORD = b"correct horse battery staple\n"


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
    parser.add_argument("--only", choices=("sqlite", "postgresql", "lookup"), help="one part")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("There is no wrk, which makes the load. Run: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="fluxguard-serving-") as folder:
        if args.only in (None, "sqlite"):
            against_bare("SQLite", Path(folder) / "sqlite", "", args)
        if args.only in (None, "postgresql"):
            with postgresql(Path(folder)) as url:
                if url:
                    against_bare("PostgreSQL", Path(folder) / "postgresql", url, args)
        if args.only in (None, "lookup"):
            look_up(Path(folder), args)


def against_bare(title: str, folder: Path, database: str, args: argparse.Namespace) -> None:
    """Our metered route and the bare framework's, in turn."""
    with platform(folder, database, args.workers) as ours, bare(folder, ours, args.workers) as theirs:
        series = measure({"fluxguard": ours, "bare FastAPI": theirs}, args)
    print(
        table(f"GET /api/scenarios, {title}, {args.workers} workers, {args.connections} connections", series)
    )


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


def table(title: str, series: Mapping[str, Series]) -> str:
    """The medians; the last column compares the processor time of a request, which other programs on the machine disturb least."""
    reference = series["bare FastAPI"]
    one, five, fifteen = os.getloadavg()
    lines = [
        f"{title}; load {one:.1f} {five:.1f} {fifteen:.1f}",
        f"  {'':<16}{'requests/s':>12}{'best':>8}{'p50 ms':>9}{'p99 ms':>9}{'cpu us':>9}{'x time':>9}{'x cpu':>8}",
    ]
    for name, mine in series.items():
        slower = statistics.median(
            theirs / ours for ours, theirs in zip(mine.rate, reference.rate, strict=True)
        )
        dearer = statistics.median(
            ours / theirs for ours, theirs in zip(mine.cpu, reference.cpu, strict=True)
        )
        lines.append(
            f"  {name:<16}{statistics.median(mine.rate):>12,.0f}{max(mine.rate):>8,.0f}{statistics.median(mine.p50):>9.1f}"
            f"{statistics.median(mine.p99):>9.1f}{statistics.median(mine.cpu) * 1e6:>9.0f}{slower:>9.2f}{dearer:>8.2f}"
        )
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def platform(folder: Path, database: str, workers: int) -> Iterator[Target]:
    """The real server, with a project of three scenarios."""
    env, key = founded(folder, database)
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
        project = ask(f"{base}/api/projects", key, {"name": "bench"})["id"]
        for number in range(3):
            wish = {
                "project_id": project,
                "name": f"Scenario {number}",
                "config_snapshot": {"personas": ["a", "b"]},
            }
            ask(f"{base}/api/scenarios", key, wish)
        script = folder / "header.lua"
        script.touch(0o600)
        script.write_text(f'wrk.headers["Authorization"] = "Bearer {key}"\n')
        url = f"{base}/api/scenarios?project_id={project}"
        (folder / "answer.json").write_text(json.dumps(ask(url, key)))
        yield Target(process, url, script)


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
def bare(folder: Path, ours: Target, workers: int) -> Iterator[Target]:
    """The bare framework, giving the same answer."""
    port = free_port()
    env = {**os.environ, "BARE_ANSWER": str(folder / "answer.json"), "PYTHONPATH": str(HERE)}
    path = ours.url.split("/", 3)[3]
    command = [sys.executable, str(HERE / "bare.py"), str(port), str(workers)]
    with running(command, env, folder, f"http://127.0.0.1:{port}/{path}") as process:
        yield Target(process, f"http://127.0.0.1:{port}/{path}")


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


def look_up(folder: Path, args: argparse.Namespace) -> None:
    """A key looked up by the statement of the hot path, in a database of a thousand keys and in one of a million."""
    books = {number: filled(folder / f"keys{number}", number) for number in (1000, args.keys)}
    times: dict[int, list[float]] = {number: [] for number in books}
    for _ in range(20 * args.rounds):
        for number, (book, lookups) in books.items():
            started = time.process_time()
            for lookup in secrets.SystemRandom().sample(lookups, 500):
                if book.find(lookup) is None:  # type: ignore[attr-defined]
                    raise SystemExit("A key that stands there was not found.")
            times[number].append((time.process_time() - started) / 500)
    print("Look-up of a key, SQLite")
    for number, series in times.items():
        print(f"  {number:>9,} keys {statistics.median(series) * 1e6:>8.1f} us of processor")
    few, many = (statistics.median(series) for series in times.values())
    print(f"  ratio {many / few:.2f}\n")


def filled(folder: Path, number: int) -> tuple[object, list[bytes]]:
    """The platform's book on a database with so many keys, and some of their look-ups."""
    from fluxguard.server.gate import SqliteBook

    founded(folder, "")
    path = folder / "server" / "platform.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cache_size = -500000")  # random look-ups go all over the index
        connection.execute("PRAGMA synchronous = OFF")
        cursor = connection.execute("SELECT * FROM keys")
        names = [column[0] for column in cursor.description]
        model = dict(zip(names, cursor.fetchone(), strict=True))
        with connection:
            connection.executemany(
                f"INSERT INTO keys ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                (
                    tuple({**model, "id": f"key_{n:020x}", "lookup": secrets.token_bytes(32),
                           "fingerprint": f"fg1:{secrets.token_hex(32)}"}[name] for name in names)
                    for n in range(number - 1)
                ),
            )  # fmt: skip
        sample = "SELECT lookup FROM keys WHERE rowid % ? = 0 LIMIT 20000"
        lookups = [row[0] for row in connection.execute(sample, (max(1, number // 20000),))]
    return SqliteBook(str(path)), lookups


if __name__ == "__main__":
    main()
