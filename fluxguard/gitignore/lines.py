"""Which lines, in which .gitignore, would close the gaps: as few as possible, each tried out with git before it is proposed."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.gitignore.survey import Gap, Survey, files_here
from fluxguard.repo.ignore import NAME, Shadow
from fluxguard.secretpaths import Listed

HEADING = b"# Secrets, never to be committed (fluxguard gitignore --fix)"
_ROUNDS = 6
_SAMPLE = 5_000  # paths with which each line is tried without
_MOST_EXACT = 1_000  # lines for single paths
_ASKED = 20_000  # paths of one question, and files laid out for it
_LAID = 2_000
_PATIENCE = 15.0  # seconds that it may take, as far as a question for one line tells
Line = tuple[bytes, bytes]  # the folder of its .gitignore, and the line
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Plan:
    """Lines by folder of the .gitignore that they belong into, and the paths that no line can cover, each with the reason."""

    lines: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    left: Mapping[bytes, str] = field(default_factory=dict)
    overridden: tuple[tuple[bytes, int, bytes], ...] = ()

    def content(self, folder: bytes, before: bytes) -> bytes:
        """The content of a .gitignore with its lines: what was there, byte for byte, then a heading and the lines."""
        return appended(before, self.lines[folder])


def exact(path: bytes) -> bytes:
    """The pattern for one path, from the .gitignore's own folder: gitignore(5). A `?` where no line can hold the character."""
    escaped = re.sub(rb"[\\*?\[]", lambda match: b"\\" + match[0], path)
    escaped = re.sub(rb"[\n\0]", b"?", escaped)
    escaped = re.sub(rb"\r\Z", b"?", escaped)
    trailing = re.search(rb" +\Z", escaped)
    if trailing:
        escaped = escaped[: trailing.start()] + b"\\ " * len(trailing[0])
    return b"/" + escaped


def appended(before: bytes, lines: Sequence[bytes]) -> bytes:
    """A .gitignore's content with lines behind it, under the heading, with the line ends that it has."""
    end = b"\r\n" if before.count(b"\r\n") * 2 > before.count(b"\n") else b"\n"
    gap = b"" if not before or before.endswith(b"\n") else end
    last = re.split(rb"\r?\n[ \t]*\r?\n", before.rstrip(b"\r\n"))[-1]
    head = [] if _is_ours(last) else [HEADING]
    if head and before.strip():
        gap += end
    return before + gap + b"".join(line + end for line in (*head, *lines))


def _is_ours(block: bytes) -> bool:
    """Whether a block of lines is one that was written by us: then further lines join it."""
    return HEADING in (line.rstrip(b"\r") for line in block.split(b"\n"))


def planned(found: Survey, listed: Listed, advised: bool = True) -> Plan:
    """The lines that close the gaps of a survey. advised: those of advised paths, too, where the team does not commit them."""
    meant = {gap.entry.id for gap in found.gaps if gap.level == "advised" and (gap.meant or gap.reopened)}
    wanted = [gap for gap in found.gaps if _is_wanted(gap, advised and gap.entry.id not in meant)]
    return _Planner(found, listed, wanted).plan() if wanted else Plan()


def _is_wanted(gap: Gap, advised: bool) -> bool:
    if not gap.open or gap.accepted is not None:
        return False
    if gap.level == "required":
        return True
    return advised and gap.kind in ("present", "expected")


class _Planner:
    """Adds lines, asks git, and adds where it still says no; then tries each line without."""

    def __init__(self, found: Survey, listed: Listed, wanted: Sequence[Gap]) -> None:
        self._held = found.held
        self._listed = listed
        self._wanted = {gap.path: gap for gap in wanted}
        self._before = dict(found.held.ignores)
        self._lines: dict[bytes, list[bytes]] = {}
        self._left: dict[bytes, str] = {}
        self._fresh: set[tuple[bytes, str]] = set()  # entries whose lines were added in this round
        self._tried: set[tuple[bytes, str]] = set()  # and those that git was asked with
        self._names_key = _KeyNames()

    def plan(self) -> Plan:
        with Shadow(self._before) as shadow:
            keep = self._kept(shadow)
            self._close(shadow)
            self._prune(shadow)
            self._keep_open(shadow, keep)
            open_ = self._open(shadow, list(self._wanted))
        left = {path: self._left.get(path, "no line covers it") for path in open_}
        left.update(self._opened_here())
        overridden = {
            (decider.file, decider.line, decider.pattern)
            for gap in self._wanted.values()
            if (decider := gap.reopened) is not None and gap.path not in left
        }
        lines = {folder: tuple(lines) for folder, lines in sorted(self._lines.items()) if lines}
        return Plan(lines, left, tuple(sorted(overridden)))

    def _opened_here(self) -> Iterator[tuple[bytes, str]]:
        """Paths that a .gitignore opens which only this machine has, and to which no lines are added."""
        files = files_here(self._held) if self._held.unshared else {}
        if len(files) <= len(self._before):
            return
        for folder, lines in self._lines.items():
            files[folder] = (
                appended(self._before.get(folder, b""), lines) if lines else files.get(folder, b"")
            )
        paths = list(self._wanted)
        with Shadow(files) as shadow:
            verdicts = shadow.verdicts(paths)
        for path, verdict in zip(paths, verdicts, strict=True):
            if not verdict.covered and verdict.decider is not None:
                yield path, self._refusal(verdict.decider.folder) or "no line covers it"

    # --- adding ---

    def _close(self, shadow: Shadow) -> None:
        """Rounds of adding: the entries' own lines first, then lines for single paths."""
        for _ in range(_ROUNDS):
            self._tried |= self._fresh
            self._fresh.clear()
            verdicts = dict(zip(self._wanted, shadow.verdicts(list(self._wanted)), strict=True))
            fresh = 0
            for path, verdict in verdicts.items():
                if not verdict.covered:
                    decider = verdict.decider
                    folder = decider.folder if decider is not None and decider.negates else b""
                    fresh += self._add(path, folder)
            if not fresh:
                return
            self._lay(shadow)

    def _add(self, path: bytes, folder: bytes) -> bool:
        """Adds what should cover a path; False where nothing is left to be tried."""
        why = self._refusal(folder)
        if why:
            self._left[path] = why
            return False
        lines = self._lines.setdefault(folder, [])
        entry = self._wanted[path].entry
        if (folder, entry.id) not in self._tried:
            self._fresh.add((folder, entry.id))
            lines += [line for line in entry.lines if line not in lines]
            return True
        if self._names_key(path):
            self._left[path] = "its name holds a key, which is not to be written down: rename it"
            return False
        line = exact(path[len(folder) + 1 :] if folder else path)
        if line in lines or len(lines) > _MOST_EXACT:
            return False
        lines.append(line)
        return True

    def _refusal(self, folder: bytes) -> str:
        """Why a .gitignore is not to be written to, or ""."""
        path = os.path.join(folder, NAME)
        shown = path.decode("utf-8", "surrogateescape")
        if path in self._held.unshared:
            return f"{shown}: {self._held.unshared[path]}"
        entry = self._held.tracked.get(path)
        if entry is not None and entry.fixed:
            return f"{shown} is not checked out, or marked as unchanged: git would not see the change"
        before = self._before.get(folder, b"")
        if before.startswith(_UTF16) or b"\0" in before:
            return f"{shown} is not text that git understands (UTF-16?): write it as UTF-8"
        if entry is not None and folder not in self._before and self._held.root:
            return f"{shown} is tracked, and gone from the disk: restore it first"
        return ""

    def _lay(self, shadow: Shadow, without: Collection[Line] = ()) -> None:
        for folder, content in self._contents(without).items():
            shadow.put(folder, content)

    def _contents(self, without: Collection[Line]) -> dict[bytes, bytes]:
        """The .gitignore files that get lines, by folder, without some of these."""
        found = {}
        for folder, lines in self._lines.items():
            kept = [line for line in lines if (folder, line) not in without]
            before = self._before.get(folder, b"")
            found[folder] = appended(before, kept) if kept else before
        return found

    def _open(self, shadow: Shadow, paths: Sequence[bytes]) -> list[bytes]:
        verdicts = shadow.verdicts(paths)
        return [path for path, verdict in zip(paths, verdicts, strict=True) if not verdict.covered]

    # --- as few as possible ---

    def _prune(self, shadow: Shadow) -> None:
        """Takes out each line without which a sample of the paths is covered as well; all of them again where that misled."""
        sample = self._sample()
        if len(sample) > _SAMPLE:
            return
        everything = {folder: list(lines) for folder, lines in self._lines.items()}
        open_ = set(self._open(shadow, list(self._wanted)))
        # All lines here ignore, none opens: one that is needed beside all the others is needed beside fewer.
        self._drop(shadow, [*self._spare(shadow, sample, open_)], sample, open_)
        self._lay(shadow)
        if not set(self._open(shadow, list(self._wanted))) <= open_:
            self._lines = everything
            self._lay(shadow)

    def _spare(self, shadow: Shadow, sample: Sequence[bytes], open_: set[bytes]) -> Iterator[Line]:
        """The lines without which, taken out alone, the sample is covered as well: many are tried at once, each in a folder."""
        started = time.monotonic()
        self._open(shadow, sample)
        room = min(_ASKED // (len(sample) or 1), _LAID // (len({*self._before, *self._lines}) or 1))
        room = min(room, int(_PATIENCE / (time.monotonic() - started)))
        each = [(folder, line) for folder, lines in self._lines.items() for line in reversed(lines)]
        for part in (each[at : at + max(1, room)] for at in range(0, len(each), max(1, room))):
            trials = {
                os.path.join(b"%d" % number, folder): content
                for number, line in enumerate(part)
                for folder, content in {**self._before, **self._contents([line])}.items()
            }
            asked = [b"%d/%s" % (number, path) for number in range(len(part)) for path in sample]
            with Shadow(trials) as apart:
                left = [path.partition(b"/") for path in self._open(apart, asked)]
            needed = {number for number, _, path in left if path not in open_}
            yield from (line for number, line in enumerate(part) if b"%d" % number not in needed)

    def _drop(self, shadow: Shadow, spare: list[Line], sample: Sequence[bytes], open_: set[bytes]) -> None:
        """Takes out all that can go, in their order: all of them at once, or else each half by itself."""
        if not spare:
            return
        self._lay(shadow, without=spare)
        if set(self._open(shadow, sample)) <= open_:
            for folder, line in spare:
                self._lines[folder].remove(line)
        elif len(spare) > 1:
            half = len(spare) // 2
            self._drop(shadow, spare[:half], sample, open_)
            self._drop(shadow, spare[half:], sample, open_)

    def _sample(self) -> list[bytes]:
        """Of paths that tools create in many folders, two of each."""
        seen: Counter[object] = Counter()
        sample = []
        for path, gap in self._wanted.items():
            example = next((name for name in gap.entry.examples if path.endswith(name)), path)
            kind = (example if gap.kind == "expected" else path, gap.verdict.decider)
            seen[kind] += 1
            if seen[kind] <= 2:
                sample.append(path)
        return sample

    # --- what stays open ---

    def _kept(self, shadow: Shadow) -> list[bytes]:
        """Paths that are made to be committed and not ignored: existing ones, usual ones, and those that somebody opened."""
        names = set(self._listed.examples_among([*self._held.tracked, *self._held.offered]))
        names.update(name for gap in self._wanted.values() for name in gap.entry.keep)
        names.update(self._listed.examples_among(list(self._opened_by_hand())))
        return self._open(shadow, sorted(names))

    def _opened_by_hand(self) -> Iterator[bytes]:
        """The plain paths that the negations in .gitignore name."""
        for folder, text in self._before.items():
            for line in text.split(b"\n"):
                name = line[1:].strip().removeprefix(b"**/").strip(b"/")
                if line.startswith(b"!") and name and not re.search(rb"[*?\[\\]", name):
                    yield os.path.join(folder, name)

    def _keep_open(self, shadow: Shadow, keep: Sequence[bytes]) -> None:
        """Opens the example files again that the new lines cover, those that somebody will put beside them, too."""
        usual = {name for gap in self._wanted.values() for name in gap.entry.keep}
        beside = [os.path.join(folder, name) for folder in self._lines if folder for name in sorted(usual)]
        with Shadow(self._before) as old:
            keep = list(dict.fromkeys([*keep, *self._open(old, beside)]))
        for path, verdict in zip(keep, shadow.verdicts(keep), strict=True):
            decider = verdict.decider
            if (
                not verdict.covered
                or decider is None
                or decider.folder not in self._lines
                or self._names_key(path)
            ):
                continue
            lines = self._lines[decider.folder]
            name = os.path.basename(path)
            rest = path[len(decider.folder) + 1 :] if decider.folder else path
            line = b"!" + (exact(rest) if self._ignored_by_name(name) else exact(name)[1:])
            if line not in lines:
                lines.append(line)
        self._lay(shadow)
        self._close_reopened(shadow)

    def _ignored_by_name(self, name: bytes) -> bool:
        """Whether some .gitignore ignores an example file by its name: elsewhere, so that only this one is opened."""
        lines = (line for text in self._before.values() for line in text.split(b"\n"))
        return any(name in line for line in lines if not line.startswith((b"#", b"!")))

    def _close_reopened(self, shadow: Shadow) -> None:
        """What was ignored before, and has one of the names that are opened now, stays ignored."""
        opened = {line[1:] for lines in self._lines.values() for line in lines if line.startswith(b"!")}
        if not opened:
            return
        names = [
            path
            for path in (*self._held.tracked, *self._held.untracked)
            if exact(os.path.basename(path))[1:] in opened
        ]
        with Shadow(self._before) as old:
            before = [
                path for path, verdict in zip(names, old.verdicts(names), strict=True) if verdict.covered
            ]
        for path in self._open(shadow, before):
            self._lines.setdefault(b"", []).append(exact(path))
        self._lay(shadow)


class _KeyNames:
    """Whether a name holds a key: then it is not written into a file."""

    def __init__(self) -> None:
        self._detector: Detector | None = None

    def __call__(self, name: bytes) -> bool:
        if self._detector is None:
            self._detector = Detector([*built_in()])
        return self._detector.suspects(name) and bool(self._detector.detect(name).matches)


def changes(plan: Plan, before: Mapping[bytes, bytes]) -> Iterable[tuple[bytes, bytes, bytes]]:
    """For each .gitignore that the plan changes: its path, and its content before and after."""
    for folder in plan.lines:
        old = before.get(folder, b"")
        yield os.path.join(folder, NAME), old, plan.content(folder, old)
