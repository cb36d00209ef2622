"""Requests at a fixed rate, which wrk does not know: each has its moment, and what it waits for counts from then on.

So a stall of the server counts for every request that should have gone out meanwhile, not for one. Plain sockets, one at a time in each
connection: what is behind waits for its turn, and that counts, too.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit


class Connection(asyncio.Protocol):
    """One connection. waits: in milliseconds, from a request's moment to the end of its answer."""

    def __init__(self, waits: list[float]) -> None:
        self._waits, self._answer = waits, b""
        self._due: deque[tuple[float, bytes]] = deque()
        self._bad: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, moment: float, request: bytes) -> None:
        """One request more, at once or behind the others."""
        self._due.append((moment, request))
        if len(self._due) == 1:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._bad = head.partition(b"\r\n")[0].decode()
        self._waits.append((time.perf_counter() - self._due.popleft()[0]) * 1000)
        self._answer = b""
        if self._due:
            self._transport.write(self._due[0][1])

    def close(self) -> None:
        """Raises: SystemExit where an answer was not a good one, or is missing."""
        self._transport.close()
        if self._bad or self._due:
            raise SystemExit(f"not answered well: {self._bad or f'{len(self._due)} are missing'}")


def waits(url: str, keys: Sequence[str], rate: int, connections: int, seconds: int) -> list[float]:
    """Milliseconds that each request took, of `rate` a second. keys: taken in turn; none for a server that asks for none."""
    return asyncio.run(_waits(url, keys, rate, connections, seconds))


async def _waits(url: str, keys: Sequence[str], rate: int, connections: int, seconds: int) -> list[float]:
    where, taken = urlsplit(url), []
    requests = [_request(where.netloc, f"{where.path}?{where.query}", key) for key in keys or ("",)]
    loop, lines = asyncio.get_running_loop(), []
    for _ in range(connections):
        _, line = await loop.create_connection(lambda: Connection(taken), where.hostname, where.port)
        lines.append(line)
    begin = time.perf_counter()
    for number in range(rate * seconds):
        moment = begin + number / rate
        while (ahead := moment - time.perf_counter()) > 0:
            await asyncio.sleep(max(0, ahead - 0.0005))
        lines[number % connections].ask(moment, requests[number % len(requests)])
    end = time.perf_counter() + 10
    while len(taken) < rate * seconds and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    for line in lines:
        line.close()
    return taken


def _request(host: str, path: str, key: str) -> bytes:
    bearer = f"Authorization: Bearer {key}\r\n" if key else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n".encode()


def line(rounds: Sequence[Sequence[float]]) -> str:
    """The medians over the rounds, and the best."""
    shown = []
    for title, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        found = [sorted(one)[int(part * len(one))] for one in rounds]
        shown.append(f"{title} {statistics.median(found):.1f} ms (best {min(found):.1f})")
    return ", ".join(shown)
