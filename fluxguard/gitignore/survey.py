"""One working tree: which secret-bearing paths are there or will be, and which of them its .gitignore files leave open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fluxguard import settings
from fluxguard.chunk import Chunk, Origin, Skipped
from fluxguard.repo import loose
from fluxguard.repo.holdings import Holdings, Refused, on_disk, personal_excludes
from fluxguard.repo.ignore import Decider, Shadow, Verdict
from fluxguard.scan import Scan
from fluxguard.secretpaths import Listed, Pattern, SecretPath
from fluxguard.sources import worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config

# What makes a folder a package: tools are run in it, and leave their files there.
_MANIFESTS = frozenset(
    b"""
    package.json pyproject.toml setup.py setup.cfg requirements.txt Pipfile go.mod Cargo.toml pom.xml build.gradle
    build.gradle.kts composer.json Gemfile mix.exs deno.json Dockerfile compose.yaml compose.yml docker-compose.yml
    fluxloop.yaml setting.yaml
    """.split()
)
_MADE_BY_TOOLS = (b"pyvenv.cfg", b"CACHEDIR.TAG")
_FLUXLOOP = b".fluxloop"


@dataclass(frozen=True, slots=True)
class Gap:
    """A path that .gitignore does not keep out of a commit.

    kind: `present` (on disk, uncovered), `expected` (tools will create it), `tracked` (committed), `staged` (not yet).
    level: the entry's, or `required` where the file holds a key. accepted: the configuration's reason, or None.
    personal: only info/exclude or the person's own excludes cover it. meant: the team commits files of this kind.
    """

    path: bytes
    entry: SecretPath
    kind: str
    level: str
    verdict: Verdict
    accepted: str | None = None
    personal: bool = False
    meant: bool = False

    @property
    def open(self) -> bool:
        """Whether lines in .gitignore are missing: also for what is tracked, once it is tracked no more."""
        return not self.verdict.covered

    @property
    def reopened(self) -> Decider | None:
        """The pattern that opens it again."""
        decider = self.verdict.decider
        return decider if decider is not None and decider.negates and self.open else None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found. asked: how many paths. uncommitted: those covered by lines that are not committed yet.

    there: the paths that hold secrets and are there. homes: folders in which tools are run.
    """

    held: Holdings
    gaps: tuple[Gap, ...]
    asked: int
    there: Mapping[bytes, SecretPath]
    homes: tuple[bytes, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    uncommitted: tuple[bytes, ...] = ()


def survey(held: Holdings, listed: Listed, config: Config | None, expected: bool = True) -> Survey:
    """Looks at what is there, and where `expected` at what will be. Raises GitError, and UsageError for a slow glob."""
    there = _there(held, listed)
    folders = _folders((*held.tracked, *held.offered))
    homes = _homes(held, folders)
    coming = dict(_expected(listed, folders, homes)) if expected else {}
    existing = {*held.tracked, *held.untracked}
    coming = {path: entry for path, entry in coming.items() if path not in existing}
    asked = [*there, *coming]
    with Shadow(held.ignores) as shadow:
        verdicts = dict(zip(asked, also_here(held, asked, shadow.verdicts(asked)), strict=True))
    judged = _Judged(held, listed, config, there, verdicts)
    gaps = [*judged.gaps(), *_coming(coming, verdicts, listed, judged.meant)]
    return Survey(
        held,
        tuple(_personal(held, gaps)),
        len(asked),
        there,
        tuple(homes),
        (*judged.skipped, *(Skipped(where, reason) for where, reason in held.unread)),
        tuple(_uncommitted(held, [path for path in asked if verdicts[path].covered])),
    )


# --- what is there -----------------------------------------------------------------------------------------------


def _there(held: Holdings, listed: Listed) -> dict[bytes, SecretPath]:
    made = _made_by_tools(held)
    untracked: Sequence[bytes] = held.untracked
    if made:
        untracked = [path for path in untracked if not path.startswith(made)]
    return listed.among([*held.tracked, *untracked])


def _made_by_tools(held: Holdings) -> tuple[bytes, ...]:
    """Folders that a tool made and that ignore themselves, such as .venv: whoever has one has its .gitignore, too."""
    known = set(held.untracked) if held.unshared else set()
    folders = {os.path.dirname(path) for path in held.unshared if path not in held.tracked}
    return tuple(
        folder + b"/"
        for folder in sorted(folders)
        if folder and any(folder + b"/" + mark in known for mark in _MADE_BY_TOOLS)
    )


class _Judged:
    """The paths that are there, each with what its content says. meant: advised entries of which files are committed."""

    def __init__(
        self,
        held: Holdings,
        listed: Listed,
        config: Config | None,
        there: Mapping[bytes, SecretPath],
        verdicts: Mapping[bytes, Verdict],
    ) -> None:
        self._held = held
        self._listed = listed
        self._there = {
            path: entry for path, entry in there.items() if path in held.tracked or not verdicts[path].covered
        }
        self._verdicts = verdicts
        doubtful = {path: entry for path, entry in self._there.items() if not entry.required}
        look = _Look(held, config)
        self._holding = look.holding(doubtful)
        self._keys = look.keys
        self.skipped = tuple(look.skipped)
        self.meant = frozenset(
            entry.id for path, entry in doubtful.items() if path in held.tracked and path not in self._holding
        )

    def gaps(self) -> Iterator[Gap]:
        for path, entry in self._there.items():
            holding = path in self._holding
            if entry.holds is not None and not holding:
                continue  # it is there, and there is nothing in it
            tracked = path in self._held.tracked
            kind = "present" if not tracked else "tracked" if path in self._held.committed else "staged"
            level = "required" if holding else entry.level
            brought = kind == "tracked" and path not in self._keys
            yield Gap(
                path,
                entry,
                kind,
                level,
                self._verdicts[path],
                self._listed.exception(entry, path, level, brought),
                meant=not holding and entry.id in self.meant,
            )


class _Look:
    """Looks into files for a key, or for what an entry says has to stand there."""

    def __init__(self, held: Holdings, config: Config | None) -> None:
        self._held = held
        self._limit = settings.LARGEST if config is None else config.largest
        self._scan = Scan(config)
        self._found: set[bytes] = set()
        self.keys: set[bytes] = set()  # paths in which a FluxLoop key stands
        self._read: dict[bytes, str] = {}  # what git would call the file on disk
        self.skipped: list[Skipped] = []

    def holding(self, paths: Mapping[bytes, SecretPath]) -> set[bytes]:
        """Those of the paths in which something stands: on disk, or in what is staged."""
        if not paths:
            return set()
        self._scan.run(self._watched(self._contents(paths), paths))
        self.skipped += self._scan.skipped
        if self._scan.collector is not None:
            from fluxguard.findings import gather

            for finding in gather(self._scan.collector.seen(), self._scan.collector.config):
                self.keys.update(place.path for place in finding.locations if place.suppressed is None)
        return (self._found | self.keys) & set(paths)

    def _contents(self, paths: Iterable[bytes]) -> Iterator[Chunk | Skipped]:
        root = os.fsencode(self._held.root)
        if root:
            yield from worktree.contents(((os.path.join(root, path), path) for path in paths), self._limit)
        staged: dict[str, bytes] = {}
        for path in paths:
            entry = self._held.tracked.get(path)
            if entry is not None and self._read.get(path) != entry.id:
                staged[entry.id] = path
        for id, data in self._held.blobs(list(staged), self._limit):
            if data is None:
                yield Skipped(staged[id], "what git has of it can't be read, or is too large", id)
            else:
                yield Chunk(data, Origin("blob", staged[id], id))

    def _watched(
        self, items: Iterable[Chunk | Skipped], paths: Mapping[bytes, SecretPath]
    ) -> Iterator[Chunk | Skipped]:
        for item in items:
            if isinstance(item, Chunk):
                pattern = paths[item.origin.path].holds
                if pattern is not None and _stands(pattern, item.data):
                    self._found.add(item.origin.path)
                if item.origin.kind == "file" and not item.start and item.last:
                    self._read[item.origin.path] = loose.blob_id(item.data)
            yield item


def _stands(pattern: Pattern, data: bytes) -> bool:
    try:
        return pattern.search(data, timeout=5.0) is not None
    except TimeoutError:
        return True  # a file made to be slow to look at counts as one that holds something


# --- what will be ------------------------------------------------------------------------------------------------


def _expected(
    listed: Listed, folders: Sequence[bytes], homes: Sequence[bytes]
) -> Iterator[tuple[bytes, SecretPath]]:
    """The paths that tools will create; the first entry that names one has it."""
    seen: set[bytes] = set()
    for entry in listed.paths:
        for folder in {"everywhere": folders, "homes": homes}.get(entry.where, [b""]):
            for example in entry.examples:
                path = os.path.join(folder, example)
                if path not in seen:
                    seen.add(path)
                    yield path, entry


def _folders(paths: Iterable[bytes]) -> list[bytes]:
    """The top, and every folder in which something lies that is tracked, or would be added."""
    found = {b""}
    for path in paths:
        folder = os.path.dirname(path)
        while folder not in found:
            found.add(folder)
            folder = os.path.dirname(folder)
    return sorted(found)


def _homes(held: Holdings, folders: Iterable[bytes]) -> list[bytes]:
    homes = {b""}
    for path in (*held.tracked, *held.offered):
        folder, name = os.path.split(path)
        if name in _MANIFESTS:
            homes.add(folder)
    for folder in (*folders, *_folders(path for path in held.untracked if _FLUXLOOP in path)):
        parts = folder.split(b"/")
        if _FLUXLOOP in parts:
            homes.add(b"/".join(parts[: parts.index(_FLUXLOOP)]))
    return sorted(homes)


def _coming(
    coming: Mapping[bytes, SecretPath],
    verdicts: Mapping[bytes, Verdict],
    listed: Listed,
    meant: frozenset[str],
) -> Iterator[Gap]:
    for path, entry in coming.items():
        if not verdicts[path].covered:
            reason = listed.exception(entry, path, entry.level, brought=False)
            yield Gap(path, entry, "expected", entry.level, verdicts[path], reason, meant=entry.id in meant)


# --- who else has it ---------------------------------------------------------------------------------------------


def _personal(held: Holdings, gaps: Sequence[Gap]) -> Iterator[Gap]:
    """The gaps, each with whether this person's own excludes cover it, which nobody else has."""
    asked = [gap.path for gap in gaps if gap.open]
    excludes = _own_excludes(held) if asked and held.root else None
    if excludes is None:
        yield from gaps
        return
    files, text = excludes
    with Shadow(files, text) as shadow:
        here = {path for path, verdict in zip(asked, shadow.verdicts(asked), strict=True) if verdict.covered}
    for gap in gaps:
        yield replace(gap, personal=True) if gap.open and gap.path in here else gap


def _own_excludes(held: Holdings) -> tuple[dict[bytes, bytes], bytes] | None:
    """The .gitignore files here, with those that no clone has, and the person's own patterns; None without any."""
    files = files_here(held)
    text = personal_excludes(held)
    return (files, text) if len(files) > len(held.ignores) or text.strip() else None


def files_here(held: Holdings) -> dict[bytes, bytes]:
    """The .gitignore files that count on this machine: those that no clone has, too."""
    files = dict(held.ignores)
    for path in held.unshared:
        try:
            files[os.path.dirname(path)] = on_disk(held.root, path)
        except (OSError, Refused):
            continue  # git does not read it either
    return files


def also_here(held: Holdings, paths: Sequence[bytes], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Verdicts that hold on this machine as well: a .gitignore that no clone has may open what a clone's git ignores."""
    files = files_here(held) if held.unshared else {}
    if len(files) <= len(held.ignores):
        return list(verdicts)
    with Shadow(files) as shadow:
        return [
            here if one.covered and not here.covered else one
            for one, here in zip(verdicts, shadow.verdicts(paths), strict=True)
        ]


def _uncommitted(held: Holdings, covered: Sequence[bytes]) -> Iterator[bytes]:
    """Of the covered paths those that the .gitignore files at HEAD leave open."""
    files = held.at_head() if held.root else None
    if files is None:
        return
    with Shadow(files) as shadow:
        for path, verdict in zip(covered, shadow.verdicts(covered), strict=True):
            if not verdict.covered:
                yield path
