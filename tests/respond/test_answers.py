"""What a response makes of odd answers, odd words and earlier responses: nothing is called dead that was not tried."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from conftest import COMMAND, Mint

from fluxguard.respond import pages
from tests.respond.story import Story


@pytest.fixture
def relay(leaked: Callable[..., Story]) -> Iterator[tuple[Story, dict[str, bytes]]]:
    """The platform behind a relay; `odd` says which paths (by their end) are answered with what instead."""
    story = leaked("dev")
    odd: dict[str, bytes] = {}

    class Relay(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            told = next(
                (answer for end, answer in odd.items() if self.path.split("?")[0].endswith(end)), None
            )
            if told is None:
                headers = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")
                }  # fmt: skip
                answer = httpx.request(
                    self.command, story.server.url + self.path, content=body, headers=headers, timeout=30
                )
                code, told = answer.status_code, answer.content
            else:
                code = 200
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PATCH = do_DELETE = _pass

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    story.environment["FLUXLOOP_API_URL"] = f"http://127.0.0.1:{server.server_port}"
    yield story, odd
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("end", ["/liveness", "/quarantine", "/rotate", "/confirm", "/revoke"])
@pytest.mark.parametrize("answer", [b"{}", b'{"matches": 3, "id": null}'])
def test_an_odd_answer_is_said_and_asked_for_again(
    relay: tuple[Story, dict[str, bytes]], end: str, answer: bytes
) -> None:
    story, odd = relay
    story.repo.write(".env", f"K={story.key}\n")
    odd[end] = answer
    said = story.start("--strategy", "contain", "--yes", code=4)
    assert "not what it should be" in said.err
    odd.clear()
    story.resume("--yes")
    assert story.answers(story.key) == 401
    assert len(story.alive()) == 1


def test_a_key_that_the_platform_never_knew_is_not_called_dead(
    leaked: Callable[..., Story], mint: Mint
) -> None:
    story = leaked("dev")
    story.key = mint.key("prod")
    story.repo.commit("other.py", f"KEY = '{story.key}'\n", "another platform's")
    story.push("main")
    before = story.repo.git("ls-remote", str(story.remote))
    said = story.clean(code=3)
    assert "does not know this key" in said.out
    assert story.repo.git("ls-remote", str(story.remote)) == before
    report = story.run("respond", "report").out
    assert "was not proved dead" in report
    assert "which is dead" not in report
    story.resume("--yes", code=3)
    story.resume("--yes", "--ended", code=None)
    report = story.run("respond", "report").out
    assert "by your word" in report
    assert story.repo.git("ls-remote", str(story.remote)) != before


def test_what_an_abort_leaves_is_said(leaked: Callable[..., Story]) -> None:
    story = leaked("dev")
    story.repo.write(".env", f"K={story.key}\n")
    assert story.use(story.key) == 200
    story.start("--strategy", "contain", "--yes", code=3)
    refused = story.run("respond", "abort", code=2, stdin="n\n")
    assert "not agreed" in refused.err
    story.run("respond", "abort", "--yes")
    report = story.run("respond", "report").out
    assert story.answers(story.key) == 200
    assert "was not proved dead" in report
    assert "counts already; the old one ends by itself" in report
    assert "which may be alive" in report
    # Started again, it goes on where the first one stood, and makes no further key.
    said = story.start("--strategy", "overlap", "--yes", code=3)
    assert "replaced already" in said.out
    assert len(story.alive()) == 1


def test_a_key_that_is_dead_already_is_not_reissued(leaked: Callable[..., Story]) -> None:
    story = leaked("dev")
    story.server.ask("POST", f"/api/v1/keys/{story.key_id}/revoke", 200, json={})
    said = story.start("--strategy", "overlap", "--yes")
    assert "revoked already" in said.out
    assert story.alive() == []


def test_a_damaged_incident_is_in_nobodys_way(leaked: Callable[..., Story]) -> None:
    story = leaked("dev")
    story.repo.write(".env", f"K={story.key}\n")
    other = story.state / "incidents" / "inc-2026-01-01-00000000"
    other.mkdir(parents=True)
    (other / "incident.json").write_text("{")
    story.start("--yes", "--strategy", "revoke-first")
    said = story.run("respond", "status", code=3)
    assert "inc-2026-01-01-00000000" in said.out
    assert "damaged" in said.out
    assert "closed" in said.out
    rows = json.loads(story.run("respond", "status", "--format", "json", code=3).out)
    assert {row["state"] for row in rows} == {"damaged", "closed"}


@pytest.mark.parametrize(
    "words",
    [
        ["--overlap", "abc"], ["--overlap=-1"], ["--overlap", "5s"], ["--overlap", "99999y"], ["--overlap", ""],
        ["--wait=-5"], ["--wait", "soon"],
    ],
)  # fmt: skip
def test_odd_lengths_of_time_are_refused_at_once(leaked: Callable[..., Story], words: list[str]) -> None:
    story = leaked("dev")
    said = story.start("--plan", *words, code=2)
    assert words[0].partition("=")[0] in said.err
    assert not (story.state / "incidents").exists()


@pytest.mark.parametrize("form", ["garbage", "sk-123", "NAME={}", "{}{}", "{} ", '"{}"', ""])
def test_only_a_key_is_taken_for_a_key(leaked: Callable[..., Story], form: str) -> None:
    story = leaked("dev")
    text = form.replace("{}", story.key)
    said = story.run(
        "respond",
        "start",
        "--key-stdin",
        "--yes",
        stdin=text + "\n",
        code=0 if text.strip() == story.key else 2,
    )
    if text.strip() != story.key:
        assert "no FluxLoop key" in said.err


def test_the_report_on_disk_says_closed_and_has_no_empty_results(leaked: Callable[..., Story]) -> None:
    story = leaked("dev")
    story.clean(code=None)
    text = (story.incident / "report.md").read_text()
    assert "State: **closed**" in text
    rows = [line for line in text.splitlines() if line.startswith("| 2")]
    assert rows
    assert not [row for row in rows if row.split("|")[-2].strip() == "" and "| close" not in row]


def test_names_in_the_page_keep_their_backslashes() -> None:
    told = {
        "incident": "i", "state": "open", "key": {"masked": "m", "environment": "dev", "fingerprint": "f"}, "repository": "r",
        "platform": "p", "opened_at": "o", "steps": {}, "left": ["a\\x1b|b*c"],
        "timeline": [{"time": "t", "step": "s", "phase": "done", "data": {"one": "x\\y|z", "two": ""}}],
    }  # fmt: skip
    page = pages.page(told)
    assert "a\\x1b|b*c" in page
    assert "<td>one x\\y|z</td>" in page


def test_a_demo_that_is_ended_leaves_nothing(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        folder = tmp_path / number.name
        folder.mkdir()
        env = {**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1"}
        demo = subprocess.Popen([COMMAND, "demo"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert demo.stdout is not None
        while b"2/7" not in (line := demo.stdout.readline()):
            assert line
        demo.send_signal(number)
        demo.wait(30)
        assert _none_is_left(folder)
        if number is signal.SIGTERM:
            assert list(folder.glob("fluxguard-demo-*")) == []
    again = subprocess.Popen([COMMAND, "demo"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert again.stdout is not None
    while b"1/7" not in (line := again.stdout.readline()):
        assert line
    assert len(list(folder.glob("fluxguard-demo-*"))) == 1
    again.terminate()
    again.wait(30)


def _none_is_left(folder: Path) -> bool:
    """Whether no process works in the folder, within ten seconds."""
    for _ in range(100):
        found = [path for path in Path("/proc").glob("[0-9]*/cwd") if _leads_to(path, folder)]
        if not found:
            return True
        time.sleep(0.1)
    return False


def _leads_to(path: Path, folder: Path) -> bool:
    try:
        return os.readlink(path).startswith(str(folder))
    except OSError:
        return False
