"""The recipes for CI systems: plans which files they take, writes what is missing, and checks it. Overwrites nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import fluxguard
from fluxguard.display import safe
from fluxguard.errors import UsageError
from fluxguard.writing import whole

WRITE, SAME, DIFFERS = "write", "same", "differs"
# For each system: the recipe, and where it goes.
_FILES = {
    "github": (("github.yml", ".github/workflows/fluxguard.yml"),),
    "gitlab": (("gitlab.yml", ".gitlab/fluxguard.yml"), ("gitlab-include.yml", ".gitlab-ci.yml")),
    "circleci": (("circleci.yml", ".circleci/config.yml"),),
}
SYSTEMS = tuple(_FILES)
_MAIN = ".gitlab-ci.yml"


@dataclass(frozen=True, slots=True)
class Planned:
    """A file of a recipe. path: from the top of the repository. state: `write`, `same` (there already) or `differs`."""

    path: str
    content: str
    state: str


def recipe(name: str) -> str:
    """The text of a recipe's file, with this version of fluxguard in it."""
    text = (resources.files(fluxguard) / "recipes" / name).read_text(encoding="utf-8")
    return text.replace("@VERSION@", fluxguard.__version__)


def plan(system: str, folder: str) -> list[Planned]:
    """What the recipe for `system` (one of SYSTEMS) would write into the repository whose top is `folder`.

    Raises UsageError where one of the files would come to lie outside of it.
    """
    return [_planned(folder, path, recipe(name)) for name, path in _FILES[system]]


def write_recipe(system: str, folder: str) -> list[Planned]:
    """Writes the files of a recipe that are missing, and returns what it found and did; run twice it changes nothing.

    Raises UsageError before anything is written, where a file is there and holds something else. GitLab's own file is only
    to include ours, so what a person has in it stays, and `to_add` says what is to be added.
    """
    planned = plan(system, folder)
    for one in planned:
        if one.state == DIFFERS and one.path != _MAIN:
            raise UsageError(
                f"{one.path} is there already, and holds something else: nothing was written.",
                f"Add the recipe by hand ({fluxguard.__name__} {fluxguard.__version__}: docs/ci.md), or move that file away.",
            )
    for one in planned:
        if one.state == WRITE:
            _write(folder, one)
    return planned


def to_add(planned: list[Planned]) -> list[str]:
    """The lines that a person has to add to a file of their own; none where it has them."""
    return [line for one in planned if one.state == DIFFERS for line in one.content.splitlines()]


def _planned(folder: str, path: str, content: str) -> Planned:
    for above in _prefixes(path):
        place = os.path.join(folder, above)
        if os.path.islink(place):
            raise UsageError(
                f"{above} is a symbolic link, which may lead anywhere: nothing was written.",
                "Make it a folder or file of the repository.",
            )
    there = _read(os.path.join(folder, path))
    if there is None:
        return Planned(path, content, WRITE)
    same = there == content or (path == _MAIN and ".gitlab/fluxguard.yml" in there)
    return Planned(path, content, SAME if same else DIFFERS)


def _prefixes(path: str) -> Iterator[str]:
    """a, a/b, a/b/c of a/b/c."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end])


def _read(path: str) -> str | None:
    """What a file holds, None where there is none. Raises UsageError where it can't be told."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return stream.read(1 << 20)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            f"{safe(path)} can't be read: {error.strerror}.", "Make it a file, or move it away."
        ) from None


def _write(folder: str, planned: Planned) -> None:
    path = os.path.join(folder, planned.path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        whole(path, lambda stream: stream.write(planned.content))
    except OSError as error:
        raise UsageError(
            f"{planned.path} can't be written: {error.strerror}.", "Make room for it, and run it again."
        ) from None
    if _read(path) != planned.content:
        raise UsageError(
            f"{planned.path} does not hold what was written.",
            "Look what else writes there, and run it again.",
        )
