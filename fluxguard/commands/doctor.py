"""What is installed, which hooks run, what is missing, and how to mend it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import fluxguard
from fluxguard import display, settings
from fluxguard.config import load_config
from fluxguard.detect.ruleset import built_in, prove
from fluxguard.errors import FluxguardError
from fluxguard.repo import layout
from fluxguard.repo import run as git

HELP = "what is installed, which hooks run, what is missing"
HOOKS = ("pre-commit", "pre-merge-commit", "pre-applypatch", "commit-msg")
OLDEST_GIT = (2, 31)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. state: `ok`, `warn` (works, but) or `bad` (does not protect). mend: what to do."""

    name: str
    state: str
    what: str
    mend: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `fluxguard doctor` takes."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Prints every check; 1 where something does not protect."""
    checks = list(_checks())
    if args.format == "json":
        json.dump(
            [{"name": c.name, "state": c.state, "what": c.what, "mend": c.mend} for c in checks],
            sys.stdout,
            indent=2,
        )
        sys.stdout.write("\n")
    else:
        for check in checks:
            sys.stdout.write(f"{check.state:4}  {check.name}: {display.safe(check.what)}\n")
            if check.mend:
                sys.stdout.write(f"        {display.safe(check.mend)}\n")
    return 1 if any(check.state == "bad" for check in checks) else 0


def _checks() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("fluxguard", "ok", f"{fluxguard.__version__} on Python {version}, {sys.executable}")
    yield _on_path()
    yield _git()
    yield _speed()
    yield _rules()
    root = layout.root()
    if root is None:
        yield Check(
            "repository", "warn", "not inside a repository", "Run doctor inside one to see its hooks."
        )
        return
    yield Check("repository", "ok", root)
    yield _configuration(root)
    yield from _hooks(root)


def _on_path() -> Check:
    found = shutil.which("fluxguard")
    if found is None:
        return Check(
            "command",
            "bad",
            "fluxguard is not on PATH, so plain git hooks can't call it",
            "Install it so that it is: pipx install fluxguard",
        )
    return Check("command", "ok", found)


def _git() -> Check:
    try:
        words = git.output("version").decode().split()
        version = tuple(int(part) for part in words[2].split(".")[:2])
    except (FluxguardError, ValueError, IndexError):
        return Check("git", "bad", "git does not run", "Install git 2.31 or newer.")
    if version < OLDEST_GIT:
        return Check(
            "git",
            "warn",
            f"{words[2]} is older than 2.31",
            "Some ways to commit may not be covered; update git.",
        )
    return Check("git", "ok", words[2])


def _speed() -> Check:
    try:
        import hyperscan  # noqa: F401
    except ImportError:
        return Check(
            "speed", "warn", "hyperscan is missing: large scans are found to be the same, but take up to a hundred times as long",
            "pip install 'fluxguard[fast]'   (there are wheels for Linux on x86-64)",
        )  # fmt: skip
    return Check("speed", "ok", f"hyperscan {importlib.metadata.version('hyperscan')}")


def _rules() -> Check:
    failures = [f"{rule.id}: {failure}" for rule in built_in() for failure in prove(rule)]
    if failures:
        return Check("rules", "bad", failures[0], "Reinstall fluxguard; then: fluxguard rules test")
    return Check("rules", "ok", f"{len(built_in())} rules, each proved by its own examples")


def _configuration(root: str) -> Check:
    if not settings.any_for(root):
        return Check("configuration", "ok", "none; the defaults block every key")
    try:
        config = load_config(root)
    except FluxguardError as error:
        return Check("configuration", "bad", error.what, error.hint)
    known = f", {len(config.baseline)} in the baseline" if config.baseline else ""
    return Check("configuration", "ok", f"from {', '.join(config.sources) or settings.BASELINE}{known}")


def _hooks(root: str) -> Iterator[Check]:
    raw = git.try_output("rev-parse", "--git-common-dir", cwd=root)
    configured = _configured_hooks_path(root)
    common = os.fsdecode((raw or b".git").rstrip(b"\n"))
    folder = os.path.join(root, configured or os.path.join(common, "hooks"))
    if configured:
        yield Check("core.hooksPath", "ok", f"hooks are looked for in {configured}")
    framework = os.path.exists(os.path.join(root, ".pre-commit-config.yaml"))
    for name in HOOKS:
        yield _hook(folder, name, framework)


def _configured_hooks_path(root: str) -> str:
    """What the repository says of core.hooksPath; our own git calls switch it off."""
    import subprocess

    answer = subprocess.run(
        ["git", "-C", root, "config", "--path", "core.hooksPath"], capture_output=True, check=False
    )
    return os.fsdecode(answer.stdout.rstrip(b"\n"))


def _hook(folder: str, name: str, framework: bool) -> Check:
    path = os.path.join(folder, name)
    mend = (
        "pre-commit install -t " + name
        if framework
        else f"copy hooks/{name} of fluxguard to {path}, or set core.hooksPath to that folder"
    )
    try:
        with open(path, "rb") as stream:
            script = stream.read(1 << 16)
    except OSError:
        return Check(name, "bad" if name in ("pre-commit", "commit-msg") else "warn", "no such hook", mend)
    if not os.access(path, os.X_OK):
        return Check(name, "bad", "the hook is not executable: git passes over it", f"chmod +x {path}")
    if b"fluxguard" in script:
        return Check(name, "ok", path)
    if b"pre-commit" in script and framework:
        return _framework_hook(folder, name)
    return Check(name, "warn", f"{path} does not call fluxguard itself; whatever it calls may do so", mend)


def _framework_hook(folder: str, name: str) -> Check:
    try:
        with open(os.path.join(layout.root() or ".", ".pre-commit-config.yaml"), "rb") as stream:
            configured = b"fluxguard" in stream.read(1 << 20)
    except OSError:
        configured = False
    if configured:
        return Check(name, "ok", "the pre-commit framework runs, and its configuration names fluxguard")
    return Check(
        name,
        "bad",
        "the pre-commit framework runs, but its configuration does not name fluxguard",
        "Add fluxguard to .pre-commit-config.yaml: see README",
    )
