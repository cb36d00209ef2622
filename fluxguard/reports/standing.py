"""Where a key stands, as the formats for machines say it: a file with a line wherever there is one, and in words."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fluxguard.detect.ruleset import built_in
from fluxguard.display import safe
from fluxguard.model import Finding, Location, Report
from fluxguard.reports import advice, gaps, remains
from fluxguard.reports.names import Names
from fluxguard.reports.text import CONFIDENCE
from fluxguard.secret import SHORTEST_BODY

SHORT = 10  # digits of a commit's id
# Which places count more: what is in the tree, then what is handed on with the history, then what only this copy has.
_ORDER = (
    ("file", "staged", "stdin", "blob", "path", "index"),
    ("commit-message", "commit-header", "tag-message", "tag-header", "ref-name"),
)
_OTHER = "A key that whoever reads it can use."


@dataclass(frozen=True, slots=True)
class Spot:
    """A place, masked. It stands in a file, or a file of git's stands for it: a message in the object that holds it.

    uri: the file's, percent-encoded, from the top of the repository, or absolute outside of it. file: the same for a
    person, without the encoding. line, column, end: from 1, in characters; the span ends where the shown beginning of the
    key does, so that it does not tell how long the key is. words: for a sentence. note: what else matters, or "".
    """

    uri: str
    file: str
    line: int
    column: int
    end: int
    words: str
    note: str
    in_tree: bool


class Standing:
    """The places of one report."""

    def __init__(self, report: Report, names: Names | None = None) -> None:
        self.report = report
        self.names = names or Names(report)

    def spot(self, finding: Finding, place: Location) -> Spot:
        """A place of a finding."""
        path, in_tree = self._file(place)
        raw = self.names.raw(path)
        shown = self.names(path)
        return Spot(
            uri=file_uri(raw),
            file=shown,
            line=place.line,
            column=place.column,
            end=place.column + (_visible(finding.secret.masked) if not place.via else 1),
            words=self._words(place, shown),
            note=self._note(place),
            in_tree=in_tree,
        )

    def spots(self, finding: Finding) -> list[Spot]:
        """All places of a finding, those that count first: not suppressed, brought now, in files of the tree."""
        return [self.spot(finding, place) for place in ordered(finding)]

    def where(self, name: bytes) -> str:
        """The URI of something that was not read."""
        return file_uri(self.names.raw(self._relative(name)))

    def _file(self, place: Location) -> tuple[bytes, bool]:
        """The file that stands for a place, from the top of the repository, and whether it is one of the tree."""
        name = place.path
        in_tree = True
        if place.kind in ("commit-message", "commit-header", "tag-message", "tag-header"):
            name, in_tree = _object(place), False
        elif place.kind == "ref-name":
            name, in_tree = b".git/" + name, False
        elif not name:
            name, in_tree = _object(place), False
        elif place.kind in ("reflog", "git-file", "lfs-object"):
            in_tree = False
        else:
            name = self._relative(name)
        if b".." in name.split(
            b"/"
        ):  # only a forged tree has such a name; whoever follows it must not leave the folder
            name, in_tree = _object(place), False
        if place.repository:
            folder = self.names.repository(place.repository).encode("utf-8", "surrogateescape")
            name = folder.strip(b"/") + b"/" + name
        return name, in_tree

    def _relative(self, name: bytes) -> bytes:
        """A name on disk, which is as it was typed, from the top of the repository; the others are so already."""
        checkout = self.report.checkout
        if checkout is None or self.report.command != "scan" or name == b"<stdin>":
            return os.path.normpath(name) if name else name
        whole = os.path.normpath(os.path.join(checkout.here, name))
        top = checkout.top.rstrip(b"/") + b"/"
        return whole[len(top) :] if whole.startswith(top) else whole

    def _words(self, place: Location, shown: str) -> str:
        where = self._plain_words(place, shown)
        if place.via:
            where += f" (inside {' > '.join(self.names(step) for step in place.via)})"
        return where

    def _plain_words(self, place: Location, shown: str) -> str:
        at = f"line {place.line}, column {place.column}"
        if place.kind in ("commit-message", "commit-header", "tag-message", "tag-header"):
            what, _, part = place.kind.partition("-")
            return (
                f"the {part} of {what} {place.object[:SHORT]}, {at}"
                if place.object
                else f"the {what} {part}, {at}"
            )
        if place.kind == "ref-name":
            return f"the name {self.names(place.path)}"
        if place.kind == "path":
            return f"the name {shown}"
        return f"{shown}:{place.line}:{place.column}"

    def _note(self, place: Location) -> str:
        parts = []
        if place.suppressed is not None:
            parts.append(f"suppressed by {place.suppressed.by}: {self.names(place.suppressed.reason)}")
        if place.kind == "file" and self.report.command == "audit":
            parts.append("in the working tree")
        if place.known:
            parts.append("there at HEAD already")
        trace = place.trace
        if trace is not None and trace.commit:
            parts.append(f"brought by commit {trace.commit[:SHORT]}")
        if trace is not None and trace.removed:
            parts.append(f"removed by commit {trace.removed[0][:SHORT]}")
        if remains.pushed(place):
            parts.append("pushed")
        if trace is not None and not trace.refs:
            parts.append("no ref leads to it")
        return "; ".join(parts)


def ordered(finding: Finding) -> list[Location]:
    """The places of a finding in the order of `Standing.spots`."""
    return sorted(finding.locations, key=_weight)


def sentence(finding: Finding) -> str:
    """What a finding is, in a few words: no name, no place."""
    environment = f"{safe(finding.environment)}, " if finding.environment else ""
    return f"{what(finding.rule)} {finding.secret.masked} ({environment}{CONFIDENCE[finding.confidence]})"


def what(rule: str) -> str:
    """What a rule finds."""
    return _described().get(rule, (rule, ""))[0]


def why(rule: str) -> str:
    """What somebody could do with what a rule finds."""
    return _described().get(rule, (rule, ""))[1] or _OTHER


@functools.cache
def _described() -> dict[str, tuple[str, str]]:
    """Description and advice of each rule that comes with fluxguard."""
    return {rule.id: (rule.description, rule.advice) for rule in built_in()}


def steps(report: Report) -> list[tuple[str, tuple[str, ...]]]:
    """What to do now: sentences, each with commands."""
    if report.command == "gitignore":
        return [(step.what, step.commands) for step in gaps.steps(report, Names(report))]
    if report.command == "audit":
        return [(step.what, step.commands) for step in remains.next_steps(report)]
    if any(finding.suppressed is None for finding in report.findings):
        return advice.next_steps(report)
    return []


def counted(report: Report) -> dict[str, int]:
    """How many keys block, only warn, are suppressed; how many things were not read, or accepted as unread."""
    rules: dict[str, Callable[[Finding], bool]] = {
        "blocking": lambda one: one.blocks,
        "warning": lambda one: not one.blocks and one.suppressed is None,
        "suppressed": lambda one: one.suppressed is not None,
    }
    found = {name: sum(map(rule, report.findings)) for name, rule in rules.items()}
    found["unread"] = sum(one.accepted is None for one in report.skipped)
    found["accepted"] = len(report.skipped) - found["unread"]
    return found


def _weight(place: Location) -> tuple[bool, bool, int, bool]:
    trace = place.trace
    return (
        place.suppressed is not None,
        place.known,
        next((number for number, kinds in enumerate(_ORDER) if place.kind in kinds), len(_ORDER)),
        trace is not None and not trace.tips,
    )


def _object(place: Location) -> bytes:
    if place.object:
        return b".git/objects/" + place.object.encode()
    return b".git/COMMIT_EDITMSG" if place.kind == "commit-message" else b".git/unnamed"


def _visible(masked: str) -> int:
    """How much of a key may be seen from its beginning on; at least one character."""
    head = masked.partition("...")[0]
    return max(len(head), 1) if len(masked) > SHORTEST_BODY else 1


def file_uri(name: bytes) -> str:
    """A path as a URI reference: nothing in it is taken for a scheme, a host, a query or a fragment."""
    encoded = quote(name, safe="/-._~")
    return f"file://{encoded}" if name.startswith(b"/") else encoded or "."
