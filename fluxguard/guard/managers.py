"""Programs that manage a repository's hooks themselves: what to add to their files, instead of fighting over `.git/hooks`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from fluxguard.guard import script
from fluxguard.guard.place import Place
from fluxguard.repo.plain import small_file

FRAMEWORK = ".pre-commit-config.yaml"
FRAMEWORK_IDS = {
    "pre-commit": "fluxguard",
    "pre-merge-commit": "fluxguard",
    "commit-msg": "fluxguard-commit-msg",
    "pre-push": "fluxguard-pre-push",
}  # the framework has no pre-applypatch
_LEFTHOOK = [
    f"{folder}{dot}lefthook.{kind}"
    for folder, dot in (("", ""), ("", "."), (".config/", ""))
    for kind in ("yml", "yaml", "toml", "json", "jsonc")
]
LARGEST = 1 << 20  # bytes of a hook, or of a manager's file


@dataclass(frozen=True, slots=True)
class Manager:
    """name: as a person calls it. file: its configuration. kinds: the hooks that it can run. lacks: those that don't call us."""

    name: str
    file: str
    kinds: tuple[str, ...]
    lacks: tuple[str, ...]
    to_add: tuple[str, ...]
    then: tuple[str, ...]


def found(place: Place) -> Manager | None:
    """The manager of a repository's hooks, or None."""
    if place.bare:
        return None
    return _husky(place) or _lefthook(place.top) or _framework(place.top)


def _husky(place: Place) -> Manager | None:
    """https://typicode.github.io/husky: core.hooksPath is `.husky/_` (before version 9 `.husky`), hooks are `.husky/NAME`."""
    value = place.configured.rstrip("/")
    if os.path.basename(value.removesuffix("/_")) != ".husky":
        return None
    folder = value.removesuffix("/_")
    lacks = tuple(
        kind for kind in script.LOOKS if not _calls(os.path.join(place.top, folder, kind), kind)
    )  # fmt: skip
    to_add = tuple(f"""echo 'fluxguard hook {kind} "$@"' >> {folder}/{kind}""" for kind in lacks)
    return Manager("husky", folder, script.LOOKS, lacks, to_add, ())


def _lefthook(top: str) -> Manager | None:
    """https://lefthook.dev: hooks are tables in its file."""
    name = next((name for name in _LEFTHOOK if os.path.isfile(os.path.join(top, name))), "")
    if not name:
        return None
    lacks = tuple(kind for kind in script.LOOKS if not _calls(os.path.join(top, name), kind))
    to_add = tuple(line for kind in lacks for line in _lefthook_lines(kind))
    return Manager("lefthook", name, script.LOOKS, lacks, to_add, ("lefthook install",))


def _lefthook_lines(kind: str) -> tuple[str, ...]:
    words = {"commit-msg": " {1}", "pre-push": " {1} {2}"}.get(kind, "")
    more = ("      use_stdin: true",) if kind == "pre-push" else ()
    return (f"{kind}:", "  commands:", "    fluxguard:", f"      run: fluxguard hook {kind}{words}", *more)


def _framework(top: str) -> Manager | None:
    """https://pre-commit.com"""
    path = os.path.join(top, FRAMEWORK)
    if not os.path.isfile(path):
        return None
    content = small_file(path, LARGEST)
    lacks = tuple(kind for kind, id in FRAMEWORK_IDS.items() if not names_id(content, id))
    ids = dict.fromkeys(FRAMEWORK_IDS[kind] for kind in lacks)
    to_add = (
        ("  - repo: https://github.com/fluxguard/fluxguard", "    rev: v0.1.0", "    hooks:", *(f"      - id: {id}" for id in ids))
        if ids
        else ()
    )  # fmt: skip
    then = (" ".join(["pre-commit install", *(f"-t {kind}" for kind in FRAMEWORK_IDS)]),)
    return Manager("the pre-commit framework", FRAMEWORK, tuple(FRAMEWORK_IDS), lacks, to_add, then)


def names_id(configuration: bytes, id: str) -> bool:
    """Whether the framework's configuration names a hook of ours."""
    lines = [line.partition(b"#")[0] for line in configuration.splitlines()]
    return any(re.search(rb"\bid:\s*[\"']?%s(?![\w-])" % id.encode(), line) for line in lines)


def _calls(path: str, kind: str) -> bool:
    lines = [line for line in small_file(path, LARGEST).splitlines() if not line.lstrip().startswith(b"#")]
    return any(re.search(rb"fluxguard\W+hook\W+%s(?![\w-])" % kind.encode(), line) for line in lines)
