"""A platform that can't revoke, FluxLoop's public service, as a person meets it at a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import COMMAND, Mint

from tests.respond.story import Story, user
from tests.respond.vendor import Vendor
from tests.server.real import Server

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
PAGE = "https://app.fluxloop.ai/settings/api-keys"


class Terminal:
    """`fluxguard` at a terminal, with somebody who reads and types."""

    def __init__(self, story: Story, *words: str, **env: str) -> None:
        self.story, self.raw, self._seen = story, b"", 0
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self._process = subprocess.Popen(
            [str(COMMAND), *words], cwd=story.repo.path, env={**story.environment, "TERM": "xterm-256color", **env},
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        )  # fmt: skip
        os.close(follower)

    def _read(self, seconds: float) -> bool:
        """Takes what comes; False when the other end is closed."""
        if not select.select([self._leader], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self._leader, 1 << 16)
        except OSError:  # how Linux says that the last one has closed its end
            return False
        self.raw += part
        return bool(part)

    def reads(self, words: str) -> Terminal:
        """Waits until it says something that was not read before."""
        end = time.monotonic() + 120
        while words not in self.text[self._seen :]:
            assert time.monotonic() < end, f"never said {words!r}: {self.text}"
            assert self._read(1), f"ended without {words!r}: {self.text}"
        self._seen = self.text.index(words, self._seen) + len(words)
        return self

    def asked(self) -> Terminal:
        """Waits until it stands at its prompt: what is typed before that is echoed in the midst of what it says."""
        return self.reads("go on later.").reads("> ")

    def types(self, words: str) -> Terminal:
        os.write(self._leader, words.encode() + b"\n")
        return self

    def ends(self, code: int) -> str:
        """Reads to the end. Returns what stands on the screen."""
        while self._read(60):
            pass
        os.close(self._leader)
        assert self._process.wait(60) == code, self.text
        assert not self.story.mint.leaked(self.raw)
        lines = [line.split("\r")[-1] for line in self.text.replace("\r\n", "\n").split("\n")]
        long = [line for line in lines if len(line) > 80 and len(line.lstrip(" -").split()) > 1]
        assert not long, long
        self.story.said.append("\n".join(lines))
        return "\n".join(lines)

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw.decode("utf-8", "replace"))


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    made = Vendor(tmp_path)
    yield made
    made.close()


@pytest.fixture
def public(vendor: Vendor, tmp_path: Path, mint: Mint, environment: dict[str, str]) -> Story:
    """A key of the public service that was pushed, and somebody without any other key."""
    server = Server(tmp_path)
    env = {**user(tmp_path, server, environment), **vendor.environment}
    for name in ("FLUXLOOP_API_URL", "FLUXLOOP_API_KEY"):
        del env[name]
    story = Story(tmp_path, server, mint, env)
    story.key = mint.key("prod", 29)
    vendor.alive.add(story.key)
    story.leak()
    story.repo.write(".env", f"# mine\nFLUXLOOP_API_KEY={story.key}\n")
    return story


def begin(story: Story, *words: str, **env: str) -> Terminal:
    terminal = Terminal(story, "respond", "start", "--key-stdin", *words, **env)
    return terminal.reads("The leaked key:").types(story.key)


def test_a_person_is_led_through_it(public: Story, vendor: Vendor, mint: Mint) -> None:
    terminal = begin(public, "--clean-history", "--push").asked().types("")
    terminal.reads("Tried just now: the old key still opens the platform").asked()
    vendor.alive.clear()
    new = mint.key("prod", 29)
    vendor.alive.add(new)
    public.repo.write(".env", f"# mine\nFLUXLOOP_API_KEY={new}\n")
    terminal.types("").reads("Type shop to go on").reads("> ").types("shop")
    words = " ".join(terminal.ends(1).split())
    for said in (
        f"1. Open {PAGE} 2. Create a new key with the same rights",
        f"3. Put it in the place of flux_prod_{public.key[10:14]}",
        "shop/.env; and in CI and on servers",
        "click Delete next to flux_prod_",
        "use since then: not known",
        "the old key is dead; tried: https://api.fluxloop.ai answers 401",
        "refs/pull/1/head: the host keeps it",
    ):
        assert said in words, said
    assert "Not finished" not in words
    assert public.holding() == ["refs/pull/1/head"]
    assert set(vendor.asked) == {"GET /api/projects"}, "nothing else is asked, and nobody else"
    report = public.run("respond", "report").out
    assert "not known: the platform can't be asked who used it" in report
    assert "tried: https://api.fluxloop.ai answers 401" in report
    public.nowhere()


def test_it_may_be_left_and_gone_on_with(public: Story, vendor: Vendor) -> None:
    said = begin(public).asked().types("q").ends(3)
    assert "Not finished. Go on with:\n    fluxguard respond resume inc-" in said
    status = public.run("respond", "status").out
    assert f"1. Open {PAGE}" in status
    (row,) = json.loads(public.run("respond", "status", "--format", "json").out)
    assert len(row["todo"]) == 4
    assert PAGE in public.resume(code=3).out, "nobody is there: it ends with what is to be done"
    vendor.alive.clear()
    said = Terminal(public, "respond", "resume").ends(0)
    assert "the dead key still stands there: put the new one in its place" in " ".join(said.split())
    left = json.loads(public.run("respond", "report", "--format", "json").out)["left"]
    assert any(line.startswith(str(public.repo.path / ".env")) for line in left)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_can_not_be_told_is_not_taken_for_an_answer(public: Story, vendor: Vendor, status: int) -> None:
    vendor.status = status
    said = " ".join(begin(public).ends(4).split())
    assert "Whether the old key is dead can't be told now." in said
    assert f"Then go on with: fluxguard respond resume {public.incident.name}" in said
    assert "the old key is dead;" not in said
    vendor.status = 0
    vendor.alive.clear()
    Terminal(public, "respond", "resume").ends(0)


def test_a_key_that_may_nothing_is_alive(public: Story, vendor: Vendor) -> None:
    vendor.status = 403
    begin(public).reads("The old key still opens the platform").asked().types("q").ends(3)


def test_the_page_opens_where_there_are_windows(public: Story, vendor: Vendor) -> None:
    browser, opened = public.folder / "browser", public.folder / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" >>{opened}\n')
    browser.chmod(0o755)
    how = {"DISPLAY": ":9", "BROWSER": f"{browser} %s"}
    terminal = begin(public, **how).asked().types("").asked().types("q")
    terminal.ends(3)
    assert opened.read_text() == f"{PAGE}\n", "once"


def test_another_platform_that_offers_no_more(public: Story, vendor: Vendor) -> None:
    """Not FluxLoop's own address, but the same calls: it is led through, too."""
    url = f"http://127.0.0.1:{vendor.server_address[1]}"
    env = {"FLUXLOOP_API_URL": url, "FLUXLOOP_API_KEY": public.key}
    terminal = begin(public, **env).asked()
    vendor.alive.clear()
    said = " ".join(terminal.types("").ends(0).split())
    assert f"1. Open the page for API keys of {url}" in said
    assert "In this shell: unset FLUXLOOP_API_KEY" in said
    assert f"the old key is dead; tried: {url} answers 401" in said


def test_the_plan_says_who_does_what(public: Story) -> None:
    said = " ".join(begin(public, "--plan").ends(0).split())
    assert f"you put the new key into {public.repo.path}/.env" in said
    assert "End the old key on the platform's page" in said
    assert "Nothing was changed" in said


def test_narrower_rights_are_a_sentence_to_follow(public: Story) -> None:
    """What the old key may is not told here, so it is the person who sees that it becomes no more."""
    words = ("--permission", "read_scenarios", "--scope", "shop", "--expires", "30d")
    terminal = begin(public, *words).reads("Create a new key with these rights (may only").asked().types("q")
    said = " ".join(terminal.ends(3).split())
    assert "(may only read_scenarios; only for shop; expires: 30d), if the old one has no fewer" in said
    assert "expires" in begin(public, "--expires", "soon").ends(2)
