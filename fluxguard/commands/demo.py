"""The whole story on a throw-away repository and a platform of its own: a leak that is refused, one that got through, and the way back."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from fluxguard.errors import ExitCode, FluxguardError, UsageError
from fluxguard.respond.incident import runs

HELP = "the whole story in a minute, on a throw-away repository"
PASSWORD = "a password for a minute"  # noqa: S105 - of a platform on loopback that is gone when the demo ends
COUNT = 7
_PREFIX, _PID = "fluxguard-demo-", "running"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="leave the folder there, to look around in it")
    parser.add_argument("--no-color", action="store_true", help="no colours")


def run(args: argparse.Namespace) -> int:
    """Tells the story. Everything happens in a temporary folder and on loopback; nothing of yours is touched."""
    import importlib.util

    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("sqlalchemy") is None:
        raise UsageError(
            "The demo brings a platform of its own, whose parts are not installed.",
            "Run: pip install 'fluxguard[server]'",
        )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    _clear_what_was_left()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    running = folder / _PID
    running.write_text(str(os.getpid()))
    try:
        with Stage(folder, args.no_color) as stage:
            begun = time.monotonic()
            _tell(stage)
            stage.end(time.monotonic() - begun)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
        running.unlink(missing_ok=True)
    if args.keep:
        print(f"All of it is in {folder}")
    return ExitCode.CLEAN


def _ended(number: int, frame: object) -> None:
    """On the way out the platform is stopped and the folder removed."""
    raise SystemExit(128 + number)


def _clear_what_was_left() -> None:
    """The folders of demos that were killed; those that somebody wanted to keep have no such file."""
    for running in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_PID}"):
        with contextlib.suppress(OSError, ValueError):
            number = int(running.read_text())
            if running.stat().st_uid == os.geteuid() and not running.is_symlink() and not runs(number):
                shutil.rmtree(running.parent, ignore_errors=True)


def _end_with_parent() -> None:
    """Linux: where the demo itself is killed, its platform ends too. prctl(2), PR_SET_PDEATHSIG."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _tell(stage: Stage) -> None:
    stage.chapter(
        "A platform that issues keys",
        "It is FluxLoop's key system, self-hosted: here on loopback, with a database of its own.",
    )
    stage.platform()
    stage.chapter(
        "A key for the shop", "It goes into .fluxloop/.env, which .gitignore covers. It is never shown."
    )
    stage.repository()
    stage.runs(
        "apikeys", "create", "--name", "The shop", "--environment", "prod", "--scope", "shop", "--save-env"
    )

    stage.chapter(
        "A commit that is refused",
        "Somebody pastes the key into a source file. The hook reads exactly what would be committed.",
    )
    stage.runs("install")
    stage.shows("git add settings.py && git commit -m 'Add settings'")
    stage.leak()
    stage.git("commit", "-q", "-m", "Add settings", good=(1,), show=True)

    stage.chapter(
        "A leak that got through",
        "--no-verify runs no hook. The key is pushed, and removed again the next day. It is still in the history.",
    )
    stage.shows("git commit --no-verify -m 'Add settings' && git push --no-verify")
    stage.git("commit", "-q", "--no-verify", "-m", "Add settings")
    stage.removed()
    stage.git("push", "-q", "--no-verify", "origin", "HEAD")

    stage.chapter("The audit", "Everything that the repository holds, each leak traced to who brought it.")
    stage.runs("audit", good=(1,))

    stage.chapter(
        "The response",
        "Contain, replace, deliver, revoke, prove it dead; rewrite the history, prove it clean, push it.",
    )
    stage.runs("respond", "start", "--finding", stage.fingerprint, "--clean-history", "--push", "--yes")

    stage.chapter("The proof", "A new clone of the remote, audited: nothing is left.")
    stage.git("clone", "-q", "--mirror", "--no-local", stage.remote, "proof.git", cwd=stage.folder)
    stage.runs("audit", str(stage.folder / "proof.git"))
    stage.runs("apikeys", "list", cwd=stage.folder)


class Stage:
    """The folder that everything happens in, the platform beside it, and what the audience sees."""

    def __init__(self, folder: Path, no_color: bool) -> None:
        from rich.console import Console

        self.folder = folder
        self.work, self.remote = folder / "shop", folder / "remote.git"
        self.console = Console(no_color=no_color or bool(os.environ.get("NO_COLOR")), highlight=False)
        self.port = _free_port()
        self.number = 0
        self.fingerprint = ""
        self._server: subprocess.Popen[bytes] | None = None
        self._key = b""
        self.environment = _environment(folder, self.port)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(10)

    def chapter(self, title: str, words: str) -> None:
        self.number += 1
        self.console.print(f"\n[bold cyan]{self.number}/{COUNT}  {title}[/]")
        self.console.print(f"[dim]{words}[/]")

    def shows(self, command: str) -> None:
        from rich.markup import escape

        self.console.print(f"[bold]$ {escape(command)}[/]", soft_wrap=True)

    def runs(self, *words: str, good: tuple[int, ...] = (0,), cwd: Path | None = None) -> None:
        """A command of ours, shown with what it says."""
        self.shows(
            "fluxguard "
            + " ".join(f"'{word}'" if " " in word else _short(word, self.folder) for word in words)
        )
        self.console.file.flush()
        colours = {} if self.console.no_color or not self.console.is_terminal else {"FORCE_COLOR": "1"}
        done = subprocess.run(
            _ours(*words), cwd=cwd or self.work, env={**self.environment, **colours}, check=False
        )
        if done.returncode not in good:
            raise FluxguardError(
                f"The demo's `fluxguard {words[0]}` ended with {done.returncode}.",
                "Run it again with --keep, and look.",
            )

    def git(
        self, *words: object, good: tuple[int, ...] = (0,), show: bool = False, cwd: Path | None = None
    ) -> None:
        self.console.file.flush()
        done = subprocess.run(
            ["git", *map(str, words)], cwd=cwd or self.work, env=self.environment, check=False,
            capture_output=not show,
        )  # fmt: skip
        if done.returncode not in good:
            raise FluxguardError(
                f"The demo's `git {words[0]}` ended with {done.returncode}.",
                "Run it again with --keep, and look.",
            )

    def platform(self) -> None:
        """Sets it up, starts it, logs in with its first key, and makes a project."""
        import json

        self.shows("fluxguard serve init --owner you@example.org && fluxguard serve")
        made = subprocess.run(
            _ours("serve", "init", "--owner", "you@example.org", "--password-stdin", "--format", "json"),
            input=PASSWORD.encode() + b"\n", capture_output=True, env=self.environment, cwd=self.folder, check=True,
        )  # fmt: skip
        first = json.loads(made.stdout)["key"]
        log = (self.folder / "server.log").open("wb")
        self._server = subprocess.Popen(
            _ours("serve", "--port", str(self.port)),
            env=self.environment,
            cwd=self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._wait()
        subprocess.run(
            _ours("auth", "login"),
            input=first.encode() + b"\n",
            capture_output=True,
            env=self.environment,
            cwd=self.folder,
            check=True,
        )
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/projects", data=b'{"name": "shop"}', method="POST",
            headers={"Authorization": f"Bearer {first}", "Content-Type": "application/json"},
        )  # fmt: skip
        urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310
        self.console.print(
            f"[green]It runs on http://127.0.0.1:{self.port}, with an owner and a first key.[/]"
        )

    def _wait(self) -> None:
        assert self._server is not None
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
            if self._server.poll() is not None:
                break
        raise FluxguardError(
            "The demo's platform did not start.", f"Look into {self.folder / 'server.log'}, with --keep."
        )

    def repository(self) -> None:
        """A repository with a remote, and .gitignore as it should be."""
        self.git("init", "-q", "--bare", "-b", "main", self.remote, cwd=self.folder)
        self.git("init", "-q", "-b", "main", self.work, cwd=self.folder)
        self.git("remote", "add", "origin", self.remote)
        (self.work / ".gitignore").write_text(".env\n.env.*\n!.env.example\n.fluxloop/\n")
        (self.work / "shop.py").write_text("print('hello')\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "A shop")
        (self.work / ".fluxloop").mkdir()

    def leak(self) -> None:
        from fluxguard.model import Secret

        line = (self.work / ".fluxloop" / ".env").read_bytes().strip()
        self._key = line.partition(b"=")[2]
        self.fingerprint = Secret(self._key).fingerprint[:16]
        (self.work / "settings.py").write_bytes(b'FLUXLOOP_API_KEY = "' + self._key + b'"\n')
        self.git("add", "settings.py")

    def removed(self) -> None:
        (self.work / "settings.py").write_text(
            'import os\n\nFLUXLOOP_API_KEY = os.environ["FLUXLOOP_API_KEY"]\n'
        )
        self.git("commit", "-q", "-am", "The key comes from the environment")

    def end(self, seconds: float) -> None:
        self.console.print(
            f"\n[bold green]The key is dead, the new one is in place, the history is clean.[/] {seconds:.0f} seconds.\n"
            "For your own repository: fluxguard audit, then fluxguard install."
        )


def _ours(*words: str) -> list[str]:
    return [sys.executable, "-m", "fluxguard", *words]


def _short(word: str, folder: Path) -> str:
    return word.replace(f"{folder}/", "")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Nothing of the user's: a home, a configuration and a state of its own."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TERM", "COLUMNS", "NO_COLOR", "PYTHONPATH")
        if name in os.environ
    }
    people = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "You"), ("EMAIL", "you@example.org"))
    }
    home = folder / "home"
    home.mkdir()
    return {
        **kept, **people, "HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        "FLUXGUARD_SERVER_DIR": str(folder / "platform"), "FLUXGUARD_STATE_DIR": str(folder / "state"),
        "FLUXGUARD_CACHE_DIR": str(folder / "cache"), "FLUXGUARD_NO_KEYRING": "1",
        "FLUXLOOP_API_URL": f"http://127.0.0.1:{port}", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
    }  # fmt: skip
