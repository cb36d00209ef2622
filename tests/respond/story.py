"""A leak as it happens: a real platform, a key of it in a repository, pushed to a bare remote that has a pull request of it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from conftest import COMMAND, PROJECT, Mint, Outcome, Repo, call

from tests import warm
from tests.server.real import Server


@dataclass
class Story:
    """The repository, its remote, the key. admin: the key that fluxguard asks with."""

    folder: Path
    server: Server
    mint: Mint
    environment: dict[str, str] = field(repr=False)
    key: str = field(default="", repr=False)
    key_id: str = ""
    said: list[str] = field(default_factory=list, repr=False)

    @property
    def repo(self) -> Repo:
        return Repo(self.folder / "shop", self.environment, self.mint)

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    @property
    def state(self) -> Path:
        return Path(self.environment["FLUXGUARD_STATE_DIR"])

    def create(self, environment: str = "dev", expires: str = "90d", **more: Any) -> None:
        """The key that will leak."""
        wish = {
            "name": "The shop", "environment": environment, "scope": "all", "permissions": ["read_scenarios"],
            "expires": "90d" if expires == "never" else expires, **more,
        }  # fmt: skip
        made = self.server.ask("POST", "/api/v1/keys", 201, json=wish)
        assert isinstance(made, dict)
        if expires == "never":  # a person's choice: the first key hands on no more than it has
            with sqlite3.connect(self.server.folder / "server" / "platform.db") as database:
                database.execute("UPDATE keys SET expires_at = NULL WHERE id = ?", [made["id"]])
        self.key, self.key_id = made["key"], made["id"]
        self.mint.keys.append(self.key)

    def leak(self, *options: str) -> None:
        """Committed, pushed with a pull request, removed again; and in an ignored .env, where it belongs."""
        self.folder.mkdir(exist_ok=True)
        self.repo.path.mkdir()
        git = self.repo.git
        git("init", "-q", "-b", "main", *options)
        git("init", "-q", "--bare", "-b", "main", *options, str(self.remote))
        git("remote", "add", "origin", str(self.remote))
        self.repo.commit(".gitignore", ".env\n.env.*\n.fluxloop/\nlink.env\n", "start")
        self.repo.commit("settings.py", f"KEY = '{self.key}'\n", "settings")
        self.repo.write(".env", f"FLUXLOOP_API_KEY={self.key}\n")
        git("branch", "topic")
        self.repo.commit("settings.py", "import os\n", "the key comes from the environment")
        self.push("main", "topic", "main~1:refs/pull/1/head")

    def push(self, *refs: str) -> None:
        self.repo.git("-c", "core.hooksPath=/dev/null", "push", "-q", "origin", *refs)

    def run(self, *words: str, code: int | None = 0, stdin: str = "", **env: str) -> Outcome:
        """`fluxguard`, in the repository; no key comes out."""
        argv = [str(COMMAND), *words]
        done = call(argv, self.repo.path, {**self.environment, **env}, self.mint, stdin.encode(), 180)
        self.said.append(done.text)
        assert "Traceback" not in done.text, done.text
        assert code is None or done.code == code, (done.code, done.text)
        return done

    def start(self, *words: str, code: int | None = 0, **env: str) -> Outcome:
        return self.run("respond", "start", "--key-stdin", *words, code=code, stdin=self.key + "\n", **env)

    def resume(self, *words: str, code: int | None = 0, **env: str) -> Outcome:
        return self.run("respond", "resume", *words, code=code, **env)

    def boundaries(self, number: int, *words: str, behind: str = "") -> tuple[int, list[str]]:
        """`fluxguard respond`, killed at the n-th boundary (at none: 0), or behind the one that is called so. Its code, and what it passed."""
        log = self.folder / "boundaries.log"
        log.unlink(missing_ok=True)
        argv = [sys.executable, "-m", warm.KILLED, str(number), str(log), "respond", *words]
        where = {**self.environment, "KILL_BEHIND": behind, "PYTHONPATH": str(PROJECT)}
        done = warm.run(argv, self.repo.path, where, timeout=180)
        self.said.append((done.stdout + done.stderr).decode())
        lines = log.read_text().splitlines() if log.exists() else []
        return done.returncode, [": ".join(line.split("\t")[1:]) for line in lines]

    def killed(self, behind: str, *words: str) -> None:
        """`fluxguard respond` until it is killed behind a boundary: its step, a tab, what it is (tests/respond/killed.py)."""
        code, passed = self.boundaries(0, *words, behind=behind)
        assert code == -9, (passed, self.said[-1])

    def clean(self, *words: str, code: int | None = 1, **env: str) -> Outcome:
        """All of it. It ends with 1: the pull request's ref, which only the host can clean, holds the key still."""
        return self.start("--clean-history", "--push", "--yes", *words, code=code, **env)

    def answers(self, key: str) -> int:
        """What the platform says to a request with the key."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(
            f"{self.server.url}/api/v1/self", headers=headers, timeout=30, verify=False
        ).status_code

    def use(self, key: str, agent: str = "shop/1") -> int:
        headers = {"Authorization": f"Bearer {key}", "User-Agent": agent}
        return httpx.get(
            f"{self.server.url}/api/scenarios", headers=headers, timeout=30, verify=False
        ).status_code

    def issued(self) -> list[dict[str, Any]]:
        """The leaked key and what was issued in its place."""
        found = self.server.ask("GET", "/api/v1/keys", 200)
        assert isinstance(found, list)
        return [one for one in found if one["name"] == "The shop" and self._ours(one, found)]

    def _ours(self, one: dict[str, Any], found: list[dict[str, Any]]) -> bool:
        return (
            one["id"] == self.key_id
            or one["predecessor_id"] == self.key_id
            or self.key_id in one["description"]
        )

    def alive(self) -> list[str]:
        """Ids of successors that open something, or would when first used."""
        good = ("active", "pending", "grace", "quarantined")
        return [one["id"] for one in self.issued() if one["state"] in good and one["id"] != self.key_id]

    @property
    def incident(self) -> Path:
        (found,) = (self.state / "incidents").glob("inc-*")
        return found

    def records(self) -> list[dict[str, Any]]:
        whole, _, _ = (self.incident / "journal.jsonl").read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def outcome(self, step: str) -> dict[str, Any]:
        return next(
            one["data"] for one in reversed(self.records()) if one["step"] == step and one["phase"] == "done"
        )

    def new_key(self, path: Path, before: bytes) -> str:
        """The key that took the place of the old one in a file, all else of which is as it was."""
        data, old = path.read_bytes(), self.key.encode()
        head, _, tail = before.partition(old)
        end = len(data) - len(tail.replace(old, b"x" * len(old)))
        new = data[len(head) : len(head) + len(old)]
        assert end >= 0
        assert new != old
        assert data == before.replace(old, new), "something else of the file changed"
        self.mint.keys.append(new.decode())
        return new.decode()

    def holding(self, *refs: str, where: Path | None = None) -> list[str]:
        """Refs of the remote from which the key can be reached, as git itself finds it (text alone)."""
        where = where or self.remote
        names = self.repo.git("for-each-ref", "--format=%(refname)", cwd=where).decode().split()
        found = []
        for name in names:
            ids = self.repo.git("rev-list", "--objects", name, cwd=where).split(b"\n")
            objects = b"\n".join(line.split(b" ")[0] for line in ids if line)
            data = self.repo.git("cat-file", "--batch", stdin=objects + b"\n", cwd=where)
            if self.key.encode() in data:
                found.append(name)
        return found

    def nowhere(self) -> None:
        """No key stands in clear in anything that the incident left behind, or that was said; keys that came later too."""
        leaked = self.mint.leaked("\n".join(self.said).encode())
        assert not leaked, f"{leaked} in what was said"
        for path in self.state.rglob("*"):
            if path.is_file():
                leaked = self.mint.leaked(path.read_bytes())
                assert not leaked, f"{leaked} in {path}"


def sent(outcome: Outcome) -> list[dict[str, Any]]:
    """The events of `--format json`."""
    return [json.loads(line) for line in outcome.out.splitlines()]


def processes(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=False)
    return [int(word) for word in done.stdout.split()]


def user(folder: Path, server: Server, environment: dict[str, str]) -> dict[str, str]:
    """Whoever responds: with a state folder of their own, and a key that may handle keys."""
    return {
        **environment,
        "FLUXGUARD_STATE_DIR": str(folder / "state"), "FLUXGUARD_CACHE_DIR": str(folder / "cache"),
        "FLUXGUARD_NO_KEYRING": "1", "FLUXLOOP_API_URL": server.url, "FLUXLOOP_API_KEY": server.key,
        "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }  # fmt: skip
