"""What is lost on the way: an answer of the platform, room on the disk. `resume` goes on, and no key is."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.respond.story import Story


class Lossy(ThreadingHTTPServer):
    """A proxy that carries requests on, and loses the answers to all POSTs whose path ends with a word, so many times."""

    def __init__(self, url: str, ending: str, times: int) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.there, self.ending, self.times = urlsplit(url), ending, times

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Carrier(BaseHTTPRequestHandler):
    server: Lossy

    def _carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        there = http.client.HTTPConnection(
            self.server.there.hostname or "", self.server.there.port, timeout=30
        )
        there.request(self.command, self.path, body, dict(self.headers))
        answer = there.getresponse()
        data = answer.read()
        if self.command == "POST" and self.path.endswith(self.server.ending) and self.server.times > 0:
            self.server.times -= 1
            self.close_connection = True
            return  # not a byte of it
        self.send_response(answer.status)
        for name in ("Content-Type", "Retry-After"):
            if answer.getheader(name):
                self.send_header(name, answer.getheader(name) or "")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_PATCH = _carry

    def log_message(self, *words: object) -> None:
        """Says nothing."""


@pytest.fixture
def lossy(request: pytest.FixtureRequest, story: Story) -> Iterator[Lossy]:
    ending, times = request.param
    proxy = Lossy(story.server.url, ending, times)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()


CALLS = ("/rotate", "/confirm", "/revoke", "/quarantine", "/keys")


@pytest.mark.parametrize("lossy", [(one, 1) for one in CALLS], indirect=True, ids=CALLS)
def test_one_lost_answer_is_asked_for_again(story: Story, lossy: Lossy) -> None:
    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    strategy = {"/quarantine": "contain", "/keys": "revoke-first"}.get(lossy.ending, "overlap")
    story.start("--yes", "--strategy", strategy, FLUXLOOP_API_URL=lossy.url)
    assert lossy.times == 0
    new = story.new_key(path, before)
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
    assert len(story.issued()) == 2


@pytest.mark.parametrize("lossy", [("/rotate", 4), ("/keys", 4)], indirect=True, ids=["rotate", "create"])
def test_all_answers_lost_and_resumed(story: Story, lossy: Lossy) -> None:
    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    strategy = "revoke-first" if lossy.ending == "/keys" else "overlap"
    story.start("--yes", "--strategy", strategy, code=4, FLUXLOOP_API_URL=lossy.url)
    assert len(story.alive()) == 1  # made, and nobody has it
    assert story.answers(story.key) == (401 if strategy == "revoke-first" else 200)
    assert path.read_bytes() == before
    story.resume("--yes", FLUXLOOP_API_URL=lossy.url)
    new = story.new_key(path, before)
    assert story.answers(new) == 200
    assert len(story.issued()) == 2


def test_a_full_disk_stops_before_the_next_step(story: Story) -> None:
    """Files may not grow beyond some bytes: the journal's next line has no room, and nothing further is done."""
    import resource
    import subprocess

    from conftest import COMMAND

    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    for room in (800, 2500, 3200):
        argv = [str(COMMAND), "respond", *(["start", "--key-stdin"] if room == 800 else ["resume"]), "--yes"]
        done = subprocess.run(
            argv, input=story.key.encode() + b"\n", capture_output=True, cwd=story.repo.path, env=story.environment,
            check=False, timeout=120,
            preexec_fn=lambda room=room: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY)),  # type: ignore[misc]
        )  # fmt: skip
        text = (done.stdout + done.stderr).decode()
        story.said.append(text)
        assert "Traceback" not in text
        assert done.returncode == 3, (room, done.returncode, text)
        assert story.key in path.read_text() or story.alive()
        assert len(story.alive()) <= 1
        if not list((story.state / "incidents").glob("inc-*")):
            story.start("--plan")
            story.start("--clean-history", "--push", code=3)
    story.resume("--yes", code=0)
    new = story.new_key(path, before)
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
    story.nowhere()


def test_a_vault_that_can_not_be_written(story: Story) -> None:
    """No room for the vault: nothing is asked of the platform, and no new key is made."""
    import os
    import subprocess
    import sys

    path = story.repo.write(".env", f"K={story.key}\n")
    before = path.read_bytes()
    script = (
        "import errno, os, sys\nfrom fluxguard.respond import vault\n"
        "real = vault.exactly\nseen = []\n"
        "def full(path, data, mode):\n    seen.append(path)\n"
        "    if len(seen) == 2: raise OSError(errno.ENOSPC, 'No space left on device', str(path))\n"
        "    return real(path, data, mode)\n"
        "vault.exactly = full\nfrom fluxguard.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "respond", "start", "--key-stdin", "--yes"], input=story.key.encode() + b"\n",
        capture_output=True, cwd=story.repo.path, env={**os.environ, **story.environment}, check=False, timeout=120,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 3, text
    assert "No space left" in text
    assert not story.alive()
    assert path.read_bytes() == before
    assert story.answers(story.key) == 200
    story.resume("--yes")
    assert story.answers(story.new_key(path, before)) == 200
