"""What .gitignore leaves open, as the formats for machines say it: one entry for paths of one kind that stand alike."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fluxguard.model import Report, Uncovered
from fluxguard.reports.standing import Standing, file_uri
from fluxguard.words import count

ERROR, WARNING, NOTE = "error", "warning", "note"
SAID = 4  # paths in a sentence
_WHAT = {
    "tracked": "git tracks {paths}, and no line in .gitignore changes that",
    "staged": "{paths} would go along with the next commit",
    "present": "{paths} can be committed: .gitignore does not cover it",
    "expected": "{paths} can be committed once a tool creates it: .gitignore does not cover it",
    "history": "{paths} stands in the history, and is tracked no more",
    "shipped": "{paths} would be packed or built along",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A file, masked. uri, file: as in standing.Spot. line: from 1."""

    uri: str
    file: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Open:
    """A gap. level: ERROR where the command ends with 1 for it, WARNING, or NOTE. accepted: the configuration's reason.

    first: the file to point at: the path itself where it is there, else the .gitignore that lacks a line. others: further
    paths. by: the line that opens it again.
    """

    kind: str
    entry: str
    required: bool
    level: str
    accepted: str | None
    text: str
    first: Place
    others: tuple[Place, ...]
    by: Place | None


def listed(report: Report, places: Standing) -> list[Open]:
    """The gaps that a report is about: all of them for `gitignore`; for `audit` what has to be covered, and is there."""
    if report.command == "gitignore":
        return [_open(gap, report, places) for gap in report.uncovered]
    there = [gap for gap in report.uncovered if gap.blocks and gap.kind != "expected"]
    return [_open(gap, report, places) for gap in there]


def to_come(report: Report) -> str:
    """What an audit says in a sentence of what is not there yet; "" where there is nothing to say."""
    expected = [gap for gap in report.uncovered if gap.blocks and gap.kind == "expected"]
    if report.command == "gitignore" or not expected:
        return ""
    paths = count(sum(len(gap.paths) for gap in expected), "secret path")
    return f".gitignore leaves open {paths} that tools will create: fluxguard gitignore"


def _open(gap: Uncovered, report: Report, places: Standing) -> Open:
    level = NOTE
    if gap.blocks:
        level = ERROR if report.command == "gitignore" else WARNING
    there = [_place(gap, path, places) for path in gap.paths]
    by = _place(gap, gap.by[0], places, gap.by[1]) if gap.by else None
    first = there[0]
    if gap.kind == "expected":
        first, there = by or _place(gap, b".gitignore", places), [first, *there]
    names = places.names
    return Open(
        gap.kind,
        names(gap.entry),
        gap.level == "required",
        level,
        None if gap.accepted is None else names(gap.accepted),
        _sentence(gap, places),
        first,
        tuple(there[1:]),
        by,
    )


def _sentence(gap: Uncovered, places: Standing) -> str:
    names = places.names
    shown = ", ".join(names(path) for path in gap.paths[:SAID])
    more = f" and {len(gap.paths) - SAID:,} more" if len(gap.paths) > SAID else ""
    where = names(gap.tree or gap.repository)
    parts = [_WHAT[gap.kind].format_map({"paths": f"{shown}{more}{f' in {where}' if where else ''}"})]
    if gap.by and gap.kind == "shipped":
        parts.append(f"by {names(gap.by[0])}")
    elif gap.by:
        parts.append(f"opened again by {names(gap.by[0])}:{gap.by[1]}: {names(gap.by[2])}")
    if gap.personal:
        parts.append("covered on this machine alone")
    reason = names(gap.reason)
    return f"{'; '.join(parts)}. {reason[:1].upper()}{reason[1:]}."


def _place(gap: Uncovered, path: bytes, places: Standing, line: int = 1) -> Place:
    folder = os.fsencode(places.names.repository(gap.repository) if gap.repository else gap.tree)
    whole = os.path.join(folder, path) if folder else path
    return Place(file_uri(places.names.raw(whole)), places.names(whole), max(1, line))
