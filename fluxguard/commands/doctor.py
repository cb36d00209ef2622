"""What is installed, which hooks run, what is missing, and how to mend it."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import fluxguard
from fluxguard import display, settings
from fluxguard.commands import bypass
from fluxguard.config import load_config
from fluxguard.detect.ruleset import built_in, prove
from fluxguard.errors import FluxguardError
from fluxguard.guard import managers, place, script
from fluxguard.guard.managers import Manager
from fluxguard.guard.place import Place
from fluxguard.repo import layout
from fluxguard.repo import run as git
from fluxguard.repo.plain import small_file
from fluxguard.reports import text
from fluxguard.words import count

HELP = "what is installed, which hooks run, what is missing"
NEEDED = ("pre-commit", "commit-msg")  # without the others, some ways to commit are not covered
_STYLES = {"ok": "green", "warn": text.ORANGE, "bad": "bold red"}
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
        text.write_lines(_lines(checks), sys.stdout)
    return 1 if any(check.state == "bad" for check in checks) else 0


def _lines(checks: list[Check]) -> Iterator[text.Line]:
    for check in checks:
        first, *more = text.wrapped(f"{check.state:4}  {check.name}: {display.safe(check.what)}", " " * 6)
        yield _STYLES[check.state], first
        for line in more:
            yield "", line
        if check.mend:
            mend = f"{' ' * 6}{display.safe(check.mend)}"
            # A command stays in one piece, so that it can be copied; a sentence ends with a full stop.
            for line in text.wrapped(mend, " " * 6) if mend.endswith(".") else [mend]:
                yield "bold", line
    bad = sum(check.state == "bad" for check in checks)
    if bad:
        what = "one thing does" if bad == 1 else f"{bad} things do"
        yield "", ""
        yield "bold red", f"fluxguard does not guard every commit here yet: {what} not work (bad)."


def _checks() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("fluxguard", "ok", f"{fluxguard.__version__} on Python {version}, {sys.executable}")
    yield _on_path()
    found = _git()
    yield found
    yield from _speed()
    yield _cache()
    yield _rules()
    if found.state == "bad":
        return
    root = layout.root()
    if root is None:
        yield Check(
            "repository", "warn", "not inside a working tree", "Run doctor inside one to see its hooks."
        )
        return
    yield Check("repository", "ok", root)
    yield _configuration(root)
    yield _gitignore(root)
    yield from _hooks(root)
    yield from _bypasses(root)


def _on_path() -> Check:
    found = shutil.which("fluxguard")
    if found is None:
        return Check(
            "command",
            "bad",
            "fluxguard is not on PATH, so plain git hooks can't call it",
            "Install it so that it is: pipx install fluxguard",
        )
    try:
        answer = subprocess.run([found, "--version"], capture_output=True, check=False, timeout=20)
        starts = answer.returncode == 0 and answer.stdout.startswith(b"fluxguard ")
    except (OSError, subprocess.TimeoutExpired):
        starts = False
    if not starts:
        return Check(
            "command", "bad", f"{found} does not start", "Install it anew: pipx install --force fluxguard"
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


# What makes an audit fast: module, the package that brings it, and what its lack costs.
_FAST = (
    (
        "hyperscan",
        "hyperscan",
        "the same keys are found, but a large scan takes up to a hundred times as long",
        "pip install 'fluxguard[fast]'   (there are wheels for Linux on x86-64)",
    ),
    (
        "isal",
        "isal",
        "zlib takes its place, and takes twice as long to inflate objects",
        "pip install 'fluxguard[fast]'",
    ),
    (
        "dulwich._pack",
        "dulwich",
        "deltas are applied in plain Python, which makes an audit many times slower",
        "pip install --force-reinstall dulwich   (a wheel with compiled functions, or a C compiler)",
    ),
)


def _speed() -> Iterator[Check]:
    """The libraries that an audit is fast with, and the one that it can't do without."""
    try:
        importlib.import_module("numpy")
        yield Check("numpy", "ok", f"numpy {importlib.metadata.version('numpy')}: packs are read with it")
    except ImportError:
        yield Check("numpy", "bad", "numpy is missing: audit can't read packs", "pip install numpy")
    for module, package, cost, mend in _FAST:
        try:
            importlib.import_module(module)
            yield Check(package, "ok", f"{package} {importlib.metadata.version(package)}")
        except ImportError:
            if importlib.util.find_spec(package) is None and package == "dulwich":
                yield Check(
                    package, "bad", "dulwich is missing: audit can't read packs", "pip install dulwich"
                )
            else:
                yield Check(package, "warn", f"{module} is missing: {cost}", mend)


def _cache() -> Check:
    """Where the audit keeps what it need not read again, and how much that is."""
    folder = os.path.abspath(settings.cache_folder())
    try:
        sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder)]
    except FileNotFoundError:
        return Check("cache", "ok", f"{folder}, not there yet: an audit makes it")
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        return Check(
            "cache",
            "warn",
            f"{folder} can't be read ({reason}), so every audit reads everything",
            "Make it a folder of your own, or name another one in FLUXGUARD_CACHE_DIR.",
        )
    files = "1 file" if len(sizes) == 1 else f"{len(sizes):,} files"
    return Check(
        "cache", "ok", f"{folder}: {files}, {sum(sizes) / 1e6:,.1f} MB; it holds no key, and may be deleted"
    )


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


def _gitignore(root: str) -> Check:
    from fluxguard.gitignore.open import Place, gaps
    from fluxguard.repo import gitdir

    try:
        found = gaps(Place(gitdir.locate(root), root), load_config(root))
    except FluxguardError as error:
        return Check("gitignore", "warn", error.what, error.hint)
    paths = sum(len(gap.paths) for gap in found if gap.blocks)
    held = sum(len(gap.paths) for gap in found if gap.blocks and gap.kind in ("tracked", "staged"))
    if not paths:
        return Check("gitignore", "ok", ".gitignore covers every path that has to be covered")
    what = f".gitignore leaves {count(paths, 'required path')} open" if paths > held else ""
    tracked = f"git tracks {count(held, 'secret file')}" if held else ""
    mend = (
        f"fluxguard gitignore --fix {shlex.quote(root)}"
        if paths > held
        else f"fluxguard gitignore {shlex.quote(root)}"
    )
    return Check("gitignore", "warn", ", and ".join(filter(None, (what, tracked))), mend)


def _hooks(root: str) -> Iterator[Check]:
    try:
        where = place.of(root)
    except FluxguardError as error:
        yield Check("core.hooksPath", "bad", error.what, error.hint)
        return
    if where.configured:
        yield _hooks_path(where)
    manager = managers.found(where)
    for name in script.LOOKS:
        yield _hook(where, name, manager)


def _hooks_path(where: Place) -> Check:
    """Whether core.hooksPath leads anywhere, and what is not run because of it."""
    what = f"hooks are looked for in {where.configured} ({where.scope})"
    if not os.path.isdir(where.folder):
        return Check(
            "core.hooksPath",
            "bad",
            f"{what}, which is not there: git runs no hook at all",
            f"git config --{where.scope} --unset-all core.hooksPath",
        )
    usual = os.path.join(where.common, "hooks")
    shadowed = [
        name
        for name in script.ALL
        if os.path.realpath(usual) != os.path.realpath(where.folder)
        and os.access(os.path.join(usual, name), os.X_OK)
    ]
    if shadowed:
        return Check(
            "core.hooksPath",
            "warn",
            f"{what}; so git passes over these in {usual}: {', '.join(shadowed)}",
            "Move them there, or take core.hooksPath away.",
        )
    return Check("core.hooksPath", "ok", what)


def _hook(where: Place, name: str, manager: Manager | None) -> Check:
    path = os.path.join(where.folder, name)
    content = small_file(path, managers.LARGEST)
    mend = _mend(where, name, manager)
    if not content:
        why = "the hook can't be read" if os.path.lexists(path) else "no such hook"
        return Check(name, "bad" if name in NEEDED else "warn", why, mend)
    if not os.access(path, os.X_OK):
        return Check(
            name, "bad", "the hook is not executable: git passes over it", f"chmod +x {shlex.quote(path)}"
        )
    if script.is_ours(content):
        return _own(path, name, content)
    if manager is not None and name in manager.kinds:
        return _managed(name, manager)
    if os.path.lexists(path + script.KEPT):
        return Check(name, "bad", f"{path} has taken the place of fluxguard's hook", mend)
    if b"fluxguard" in content:
        return Check(name, "ok", path)
    return Check(name, "warn", f"{path} does not call fluxguard itself; whatever it calls may do so", mend)


def _own(path: str, name: str, content: bytes) -> Check:
    """A hook that `fluxguard install` wrote: does it find what it calls?"""
    first = (
        f"; {os.path.basename(path)}{script.KEPT} is run first"
        if os.access(path + script.KEPT, os.X_OK)
        else ""
    )
    if not script.is_intact(content):
        return Check(
            name, "warn", f"{path} was changed since it was written", "Move it away, and: fluxguard install"
        )
    recorded = script.recorded_in(content)
    if os.access(recorded, os.X_OK):
        return Check(name, "ok", path + first)
    found = shutil.which("fluxguard")
    if found is None:
        return Check(
            name,
            "bad",
            f"{path} looks for fluxguard at {recorded} and on PATH: it is gone",
            "fluxguard install",
        )
    return Check(name, "warn", f"{recorded} is gone; {path} finds {found} on PATH", "fluxguard install")


def _managed(name: str, manager: Manager) -> Check:
    if name not in manager.lacks:
        return Check(name, "ok", f"{manager.name} runs, and calls fluxguard")
    missing = (
        f" does not name {managers.FRAMEWORK_IDS[name]}"
        if manager.file == managers.FRAMEWORK
        else " does not call it"
    )
    return Check(
        name, "bad" if name in NEEDED else "warn", f"{manager.name} runs, but {manager.file}{missing}",
        "What to add is said by: fluxguard install.",
    )  # fmt: skip


def _mend(where: Place, name: str, manager: Manager | None) -> str:
    if manager is not None and manager.file == managers.FRAMEWORK and name in manager.kinds:
        return f"pre-commit install -t {name}"
    return f"fluxguard install {shlex.quote(where.top)}"


def _bypasses(root: str) -> Iterator[Check]:
    common = layout.common_dir(root)
    for what in bypass.told(common) if common else ():
        yield Check("bypass", "warn", what)
