"""Which paths hold secrets: the built-in list and what configuration adds or excepts.

The data are in `rules/paths.toml`, whose head says what each field means.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import regex

from fluxguard import rules
from fluxguard.detect.ruleset import PROOF_TIMEOUT, glob_text
from fluxguard.errors import UsageError

LEVELS = ("required", "advised")
PLACES = ("everywhere", "homes", "top")
OWN = ("fluxloop-env", "fluxloop-login")  # a repository excepts nothing of these
_BUILT_IN_FIELDS = {
    "id", "level", "reason", "paths", "except", "examples", "where", "lines", "keep", "holds",
}  # fmt: skip
_MOST_PATHS = 200  # globs of one configuration
_LONGEST_GLOB = 500

Pattern = regex.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class SecretPath:
    """One kind of path. Fields as in `rules/paths.toml`."""

    id: str
    level: str
    reason: str
    globs: tuple[str, ...]
    examples: tuple[bytes, ...] = ()
    where: str = "top"
    lines: tuple[bytes, ...] = ()
    keep: tuple[bytes, ...] = ()
    holds: Pattern | None = None
    except_globs: tuple[str, ...] = ()

    @property
    def matches(self) -> Pattern:
        """An expression for any of its paths, made when it is first asked for: that of most kinds never is."""
        return _either(self.globs)

    @property
    def excepted(self) -> Pattern | None:
        """An expression for what looks like one of its paths and is none."""
        return _either(self.except_globs) if self.except_globs else None

    def may_name(self, path: bytes) -> bool:
        """Whether a path in lower case can be one of these at all: a plain part of one of them stands in it."""
        return any(part in path for part in _plain(self.globs))

    @property
    def required(self) -> bool:
        """Whether it has to be covered."""
        return self.level == "required"


@dataclass(frozen=True, slots=True)
class Excepted:
    """What configuration says is harmless. entries: ids it is limited to, none for all. own: said by the user, not by the repository."""

    globs: tuple[str, ...]
    entries: tuple[str, ...]
    reason: str
    own: bool
    matches: Pattern | None

    def covers(self, entry: str, level: str, path: bytes, brought: bool) -> bool:
        """Whether a path of that entry is excepted. brought: the repository brings the file, and no FluxLoop key stands in it.

        Of what has to be covered, a repository excepts files that it brings, and nothing that its users have or will have.
        """
        if self.entries and entry not in self.entries:
            return False
        if not self.own and (entry in OWN or (level == "required" and not brought)):
            return False
        return self.matches is None or _fits(self.matches, path)


@dataclass(frozen=True, slots=True)
class Listed:
    """All kinds of paths, in the order in which they are asked, and the exceptions."""

    paths: tuple[SecretPath, ...] = ()
    exceptions: tuple[Excepted, ...] = ()

    def among(self, paths: Sequence[bytes]) -> dict[bytes, SecretPath]:
        """Those of many paths that hold secrets, each with its entry. Raises UsageError where a glob takes too long."""
        globs = [glob for entry in self.paths for glob in entry.globs]
        found = {path: self.of(path) for path in _suspects(paths, globs)}
        return {path: entry for path, entry in found.items() if entry is not None}

    def of(self, path: bytes) -> SecretPath | None:
        """The entry for a path that is there, or None. Raises UsageError where a glob takes too long."""
        low = path.lower()
        for entry in self.paths:
            if entry.may_name(low) and _fits(entry.matches, low):
                return None if entry.excepted is not None and _fits(entry.excepted, low) else entry
        return None

    def examples_among(self, paths: Sequence[bytes]) -> list[bytes]:
        """Those of many paths that look like a secret one and are made to be committed, such as .env.example."""
        excepted = [entry.excepted for entry in self.paths if entry.excepted is not None]
        globs = [glob for entry in self.paths for glob in entry.except_globs]
        return [
            path
            for path in _suspects(paths, globs)
            if any(_fits(pattern, path.lower()) for pattern in excepted)
        ]

    def exception(self, entry: SecretPath, path: bytes, level: str, brought: bool) -> str | None:
        """The reason for which a path need not be covered, or None. level: that of this path. brought: see `Excepted`."""
        low = path.lower()
        found = (one.reason for one in self.exceptions if one.covers(entry.id, level, low, brought))
        return next(found, None)


def listed(added: Sequence[SecretPath] = (), exceptions: Sequence[Excepted] = ()) -> Listed:
    """The built-in entries, what configuration adds behind them, and its exceptions."""
    return Listed((*built_in(), *added), tuple(exceptions))


def _suspects(paths: Sequence[bytes], globs: Iterable[str]) -> list[bytes]:
    """The paths in which the longest plain part of any glob stands: a search through all of them at once is cheap."""
    literals = _plain(tuple(globs))
    if b"" in literals:
        return list(paths)
    whole = b"\0".join(paths).lower()
    numbers: set[int] = set()
    starts = list(accumulate((len(path) + 1 for path in paths), initial=0))
    for literal in literals:
        at = whole.find(literal)
        while at >= 0:
            number = bisect_right(starts, at) - 1
            numbers.add(number)
            at = whole.find(literal, starts[number + 1])
    return [paths[number] for number in sorted(numbers)]


@functools.cache
def _plain(globs: tuple[str, ...]) -> frozenset[bytes]:
    """The longest plain part of each glob, in lower case."""
    return frozenset(max(re.split(r"[*?]+", _low(glob)), key=len).strip("/").encode() for glob in globs)


def built_in() -> tuple[SecretPath, ...]:
    """The entries that come with fluxguard."""
    loader: Any = rules.__loader__
    data: bytes = loader.get_data(os.path.join(os.path.dirname(rules.__file__), "paths.toml"))
    return tuple(_built_in(table) for table in tomllib.loads(data.decode("utf-8"))["path"])


def _built_in(table: Mapping[str, Any]) -> SecretPath:
    assert not set(table) - _BUILT_IN_FIELDS, table["id"]
    assert table["level"] in LEVELS
    assert table.get("where", "top") in PLACES
    return SecretPath(
        table["id"],
        table["level"],
        table["reason"],
        tuple(table["paths"]),
        tuple(name.encode() for name in table.get("examples", [])),
        table.get("where", "top"),
        tuple(line.encode() for line in table.get("lines", [])),
        tuple(name.encode() for name in table.get("keep", [])),
        regex.compile(table["holds"].encode()) if "holds" in table else None,
        tuple(table.get("except", [])),
    )


def added(table: Mapping[str, Any], where: str) -> SecretPath:
    """One `[[gitignore.path]]`: paths, reason, and optionally level, examples. Raises UsageError."""
    known_fields(table, {"paths", "level", "examples", "reason"}, where)
    globs = _globs(table, "paths", where)
    level = table.get("level", "required")
    if level not in LEVELS:
        raise UsageError(f'{where}: `level` has to be "required" or "advised".')
    examples = tuple(
        _example(name, where) for name in (_globs(table, "examples", where) if "examples" in table else ())
    )
    matches = _either(globs)
    for example in examples:
        if not _fits(matches, example.lower()):
            raise UsageError(f"{where}: an example does not match any of its `paths`.", "Mend either.")
    lines = tuple(glob.encode() for glob in globs)
    return SecretPath("configured", level, _reason(table, where), globs, examples, lines=lines)


def excepted(table: Mapping[str, Any], where: str, own: bool) -> Excepted:
    """One `[[gitignore.except]]`: paths, entries or both, and a reason. Raises UsageError."""
    known_fields(table, {"paths", "entries", "reason"}, where)
    entries = table.get("entries", [])
    known = {entry.id for entry in built_in()} | {"configured"}
    if not isinstance(entries, list) or not all(isinstance(id, str) and id in known for id in entries):
        raise UsageError(f"{where}: `entries` has to be a list of these: {', '.join(sorted(known))}.")
    if "paths" not in table and not (own and entries):
        raise UsageError(
            f"{where}: `paths` has to be given.", 'For example: paths = ["tests/data/server.key"]'
        )
    globs = _globs(table, "paths", where) if "paths" in table else ()
    return Excepted(globs, tuple(entries), _reason(table, where), own, _either(globs) if globs else None)


def known_fields(table: Mapping[str, Any], known: set[str], where: str) -> None:
    """Raises UsageError for a field of a table in the configuration that means nothing. where: which table, in words."""
    unknown = sorted(set(table) - known)
    if unknown:
        raise UsageError(f"{where}: unknown field {unknown[0]!r}.", f"There are: {', '.join(sorted(known))}.")


def _reason(table: Mapping[str, Any], where: str) -> str:
    reason = table.get("reason", "")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"{where}: an entry needs a reason.", 'Add: reason = "why"')
    return reason


def _globs(table: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    globs = table.get(name, [])
    if not isinstance(globs, list) or not globs or not all(isinstance(glob, str) for glob in globs):
        raise UsageError(f"{where}: `{name}` has to be a list of path patterns.")
    if len(globs) > _MOST_PATHS:
        raise UsageError(f"{where}: `{name}` has more than {_MOST_PATHS} entries.")
    for glob in globs:
        plain = glob.isprintable() and 0 < len(glob) <= _LONGEST_GLOB and glob == glob.strip()
        if not plain or glob[0] in "!#/" or "\\" in glob or "[" in glob or ".." in glob.split("/"):
            raise UsageError(
                f"{where}: `{name}` has an entry that is no path pattern.",
                "Write it relative to the top, with * ** and ? alone, no leading slash.",
            )
    return tuple(globs)


def _example(name: str, where: str) -> bytes:
    if "*" in name or "?" in name or name.endswith("/"):
        raise UsageError(f"{where}: `examples` are names of files, no patterns.")
    return "/".join(part for part in name.split("/") if part not in ("", ".")).encode()


@functools.cache
def _either(globs: tuple[str, ...]) -> Pattern:
    """An expression for any of the globs, for a path in lower case."""
    alternatives = b"|".join(b"(?:%s)" % glob_text(_low(glob)) for glob in globs)
    return regex.compile(alternatives, regex.DOTALL)


def _low(glob: str) -> str:
    """In lower case as bytes are, which know of letters of ASCII alone."""
    return glob.encode().lower().decode()


def _fits(pattern: Pattern, path: bytes) -> bool:
    try:
        return pattern.fullmatch(path, timeout=PROOF_TIMEOUT) is not None
    except TimeoutError:
        raise UsageError(
            "A path pattern of [gitignore] in the configuration takes too long: it has too many stars.",
            "Look through it; --no-repo-config ignores what the repository brings.",
        ) from None
