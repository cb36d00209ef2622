"""What every test stands on: keys made at run time, real repositories, and the real command.

No key is ever written down here. `mint` makes them, and `run` holds after every call that none of them, in any form,
came out again.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fluxguard.detect import grade
from fluxguard.secret import checksum
from tests import warm

PROJECT = Path(__file__).resolve().parent.parent
COMMAND = warm.COMMAND
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def pytest_configure(config: pytest.Config) -> None:
    """The marks that this suite uses."""
    config.addinivalue_line("markers", "framework: through the real pre-commit framework; installs from PyPI")
    config.addinivalue_line("markers", "managers: with husky and lefthook; installs from npm and PyPI")
    config.addinivalue_line("markers", "pypi: installs from PyPI")
    config.addinivalue_line("markers", "npm: with a validator that is fetched from npm")
    config.addinivalue_line("markers", "slow: takes seconds; large files, long waits")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the process that forks `fluxguard`."""
    warm.stop()


@dataclass
class Mint:
    """Makes keys, and knows how they look when they leak."""

    seed: str
    keys: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def key(self, environment: str = "prod", length: int = 24) -> str:
        """A key as FluxLoop writes it, with a random body."""
        while True:
            body = "".join(self._random.choices(LETTERS, k=length))
            if grade.looks_random(body.encode()):
                return self._made(f"flux_{environment}_" + body)

    def checked(self, environment: str = "prod") -> str:
        """A key with a right checksum: its format proves itself."""
        text = f"flux_{environment}_" + "".join(self._random.choices(LETTERS, k=30))
        return self._made(text + checksum(text.encode()).decode())

    def _made(self, key: str) -> str:
        self.keys.append(key)
        return key

    def leaked(self, output: bytes) -> str:
        """Which key stands in `output`, and in what form; by number, so that no message shows it."""
        for number, key in enumerate(self.keys):
            for name, form in forms(key.encode()).items():
                if form in output:
                    return f"key {number} as {name}"
        return ""


def forms(key: bytes) -> dict[str, bytes]:
    """How a key may leak: whole, its inside alone, and encoded."""
    body = key.rpartition(b"_")[2]
    found = {
        "itself": key,
        "its inside": body[4:-3] if len(body) < 28 else body[4:-5],
        "hex": key.hex().encode(),
        "HEX": key.hex().upper().encode(),
        "UTF-16 LE": key.decode().encode("utf-16-le"),
        "UTF-16 BE": key.decode().encode("utf-16-be"),
        "percent": b"".join(b"%%%02x" % byte for byte in key),
        "PERCENT": b"".join(b"%%%02X" % byte for byte in key),
    }
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + key)
        found[f"base64, shifted by {lead}"] = encoded[4:-4]
    return found


@dataclass(frozen=True)
class Outcome:
    """How a command ended. text: both streams together."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where audits within the test's own process keep what they found: not with the one who runs the tests."""
    monkeypatch.setenv("FLUXGUARD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mint(request: pytest.FixtureRequest) -> Mint:
    """A source of keys, the same ones for the same test."""
    return Mint(request.node.nodeid)


def surroundings(folder: Path) -> dict[str, str]:
    """A user who has configured nothing: no git configuration, no fluxguard configuration, a home of its own."""
    home = folder / "home"
    home.mkdir()
    configured = (
        home / "nothing.gitconfig"
    )  # not /dev/null: `git config --global`, run as root, would take its place
    configured.touch()
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
    return {
        **kept,
        "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_GLOBAL": str(configured),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        "GIT_AUTHOR_DATE": "2026-01-31T10:00:00+00:00",
        "GIT_COMMITTER_DATE": "2026-01-31T10:00:00+00:00",
        "GIT_EDITOR": "true",
        "GIT_TERMINAL_PROMPT": "0",
    }


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of such a user."""
    return surroundings(tmp_path)


def call(
    argv: list[str], cwd: Path, env: Mapping[str, str], mint: Mint, stdin: bytes = b"", timeout: float = 60
) -> Outcome:
    """Runs a command, and holds that no key came out of it."""
    done = warm.run(argv, cwd, env, stdin, timeout)
    for stream, name in ((done.stdout, "standard output"), (done.stderr, "standard error")):
        leaked = mint.leaked(stream)
        assert not leaked, f"{leaked} in {name}"
    return Outcome(
        done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


@pytest.fixture
def run(mint: Mint, environment: dict[str, str], tmp_path: Path) -> Run:
    """The real `fluxguard`, in a process of its own."""

    def fluxguard(
        *arguments: str | bytes,
        cwd: Path = tmp_path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Outcome:
        argv = [str(COMMAND), *map(os.fsdecode, arguments)]
        outcome = call(argv, cwd, {**environment, **(env or {})}, mint, stdin, timeout)
        assert "Traceback" not in outcome.text, outcome.text
        assert outcome.code != 70, outcome.text
        return outcome

    return fluxguard


@dataclass
class Repo:
    """A real repository, and git in it."""

    path: Path
    env: dict[str, str]
    mint: Mint

    def git(self, *arguments: str | bytes, stdin: bytes = b"", cwd: Path | None = None, **env: str) -> bytes:
        """Runs git, which has to succeed; returns what it prints."""
        done = self.try_git(*arguments, stdin=stdin, cwd=cwd, **env)
        shown = done.stderr.decode("utf-8", "replace")
        assert done.returncode == 0, "git failed" if self.mint.leaked(done.stderr) else shown
        return done.stdout

    def try_git(
        self, *arguments: str | bytes, stdin: bytes = b"", cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs git; it may fail."""
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.path,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            timeout=120,
        )

    def write(self, name: str | bytes, content: str | bytes) -> Path:
        """Writes a file in the working tree."""
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def stage(self, name: str | bytes, content: str | bytes) -> None:
        """Writes a file and adds it."""
        self.write(name, content)
        self.git("add", "--", name)

    def commit(self, name: str | bytes, content: str | bytes, message: str = "change") -> None:
        """Commits a file behind the hooks' back."""
        self.stage(name, content)
        self.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", message)

    @property
    def head(self) -> bytes:
        """The commit at HEAD; empty before the first."""
        return self.try_git("rev-parse", "--verify", "--quiet", "HEAD").stdout.strip()


@pytest.fixture
def make_repo(tmp_path: Path, environment: dict[str, str], mint: Mint) -> Callable[..., Repo]:
    """Makes repositories."""

    def make(name: str = "repo", *options: str) -> Repo:
        repo = Repo(tmp_path / name, environment, mint)
        repo.path.mkdir(parents=True)
        repo.git("init", "-q", "-b", "main", *options)
        return repo

    return make


@pytest.fixture
def empty_repo(make_repo: Callable[..., Repo]) -> Repo:
    """A repository whose branch has no commit yet."""
    return make_repo()


@pytest.fixture
def repo(empty_repo: Repo) -> Repo:
    """A repository with one commit."""
    empty_repo.commit("README", "A project.\n", "start")
    return empty_repo
