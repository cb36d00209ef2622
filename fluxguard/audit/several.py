"""Several repositories, one report: each is audited by itself, then keys, certificates and figures are put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fluxguard.audit.asked import Ambiguous, chosen
from fluxguard.audit.run import Watch, audit
from fluxguard.errors import BrokenRepository, FluxguardError
from fluxguard.model import Finding, Mention, Report, Secret, Stats, Story, Unread
from fluxguard.repo import gitdir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config

DEPTH = 4  # folders between a folder of clones and a clone
_RANK = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True, slots=True)
class Target:
    """A repository to audit. name: as it is called in the report. tree: its working tree, or None. problem: why it can't be."""

    name: str
    tree: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the command line names. alone: it names one repository, so that places need not say which.

    unread: folders that could not be searched for clones. notes: in words, what a person should know of the search.
    """

    each: tuple[Target, ...]
    alone: bool
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()


def targets(names: Sequence[str]) -> Targets:
    """The repositories that are named, and those below a named folder that is none. Each is taken once.

    Raises BrokenRepository where one alone is named, and it is none and has none below it.
    """
    if len(names) == 1:
        try:
            located = gitdir.locate(names[0])
        except BrokenRepository:
            if gitdir.is_repository(names[0]) or not _Clones(names[0]).found:
                raise
        else:
            return Targets((Target(names[0], located.tree or None),), alone=True)
    found: dict[str, Target] = {}
    unread: list[Unread] = []
    notes: list[str] = []
    for name in names:
        _name(name, found, unread, notes)
    return Targets(tuple(found.values()), False, tuple(unread), tuple(notes))


def _name(name: str, found: dict[str, Target], unread: list[Unread], notes: list[str]) -> None:
    try:
        _add(name, found, notes)
    except BrokenRepository as error:
        clones = _Clones("" if gitdir.is_repository(name) else name)
        for clone in clones.found:
            try:
                _add(clone, found, notes)
            except BrokenRepository as broken:
                found[clone] = Target(clone, None, broken.what)
        unread += [Unread(os.fsencode(folder), reason) for folder, reason in clones.unread]
        if clones.deeper and clones.found:
            notes.append(f"{name}: repositories were looked for {DEPTH} folders deep; there are deeper ones.")
        if not clones.found:
            found[name] = Target(name, None, error.what)


def _add(name: str, found: dict[str, Target], notes: list[str]) -> None:
    located = gitdir.locate(name)
    if located.common in found:
        notes.append(f"{name} is the same repository as {found[located.common].name}.")
    else:
        found[located.common] = Target(name, located.tree or None)


class _Clones:
    """The repositories below a folder, not those inside one another. deeper: there are folders below the depth."""

    def __init__(self, folder: str) -> None:
        self.found: list[str] = []
        self.unread: list[tuple[str, str]] = []
        self.deeper = False
        if os.path.isdir(folder):
            self._below(folder, DEPTH)

    def _below(self, folder: str, depth: int) -> None:
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            self.unread.append((folder, f"folder can't be read: {(error.strerror or '').lower()}"))
            return
        for name in names:
            path = os.path.join(folder, name)
            if gitdir.is_repository(path):
                self.found.append(path)
            elif depth > 1:
                self._below(path, depth - 1)
            else:
                self.deeper = True


Configure = Callable[[str | None], "Config | None"]


def audit_each(
    wanted: Targets,
    configure: Configure,
    watch: Callable[[str, int, int], Watch],
    full: bool = False,
    explain: str = "",
) -> Report:
    """One report on all of them. A repository that can't be opened, or whose configuration is wrong, is a skip.

    configure: the configuration for a working tree. watch: makes who watches from the name, the number and how many.
    """
    if wanted.alone:
        only = wanted.each[0]
        return audit(only.name, configure(only.tree), watch(only.name, 1, 1), full, explain)
    configure(None)  # the user's own configuration has to be right: that is not the repository's matter
    reports: list[Report] = []
    for number, target in enumerate(wanted.each, 1):
        if reports and reports[-1].interrupted:
            reports.append(_unread(target, "the audit was interrupted before it came to this repository"))
            reports[-1] = replace(reports[-1], interrupted=True)
        else:
            reports.append(
                _one(target, configure, watch(target.name, number, len(wanted.each)), full, explain)
            )
    return _together(wanted, reports, explain)


def _one(target: Target, configure: Configure, watch: Watch, full: bool, explain: str) -> Report:
    if target.problem:
        return _unread(target, target.problem)
    try:
        report = audit(target.name, configure(target.tree), watch, full, explain)
    except Ambiguous:
        raise
    except FluxguardError as error:
        return _unread(target, error.what)
    except KeyboardInterrupt:
        return replace(_unread(target, "interrupted before anything of it was read"), interrupted=True)
    return _marked(report, target.name)


def _unread(target: Target, reason: str) -> Report:
    return Report("audit", target.name, skipped=(Unread(b"repository", reason, repository=target.name),))


def _marked(report: Report, name: str) -> Report:
    """A report whose parts say which repository they are of."""
    findings = tuple(_marked_finding(finding, name) for finding in report.findings)
    story = report.story
    if story is not None:
        story = replace(
            story,
            finding=_marked_finding(story.finding, name) if story.finding else None,
            events=tuple(replace(event, repository=name) for event in story.events),
        )
    return replace(
        report,
        findings=findings,
        skipped=tuple(replace(unread, repository=name) for unread in report.skipped),
        certificates=tuple(replace(one, repository=name) for one in report.certificates),
        beside=tuple(replace(one, repository=name) for one in report.beside),
        story=story,
    )


def _marked_finding(finding: Finding, name: str) -> Finding:
    return replace(finding, locations=tuple(replace(place, repository=name) for place in finding.locations))


def _together(wanted: Targets, reports: Sequence[Report], explain: str) -> Report:
    groups: dict[Secret, list[Finding]] = {}
    for report in reports:
        for finding in report.findings:
            groups.setdefault(finding.secret, []).append(finding)
    findings = tuple(sorted((_merged(group) for group in groups.values()), key=_importance))
    mentions: dict[str, Mention] = {}
    for report in reports:
        mentions.update(report.mentions)
    return Report(
        "audit",
        ", ".join(target.name for target in wanted.each),
        findings,
        (*wanted.unread, *(unread for report in reports for unread in report.skipped)),
        Stats(
            sum(report.stats.objects for report in reports),
            sum(report.stats.bytes for report in reports),
            sum(report.stats.seconds for report in reports),
        ),
        stale=tuple(text for report in reports for text in report.stale),
        notes=(*wanted.notes, *(text for report in reports for text in report.notes)),
        hidden=tuple(pair for report in reports for pair in report.hidden),
        certificates=tuple(one for report in reports for one in report.certificates),
        beside=tuple(one for report in reports for one in report.beside),
        mentions=mentions,
        story=_one_story(explain, reports, findings) if explain else None,
        interrupted=any(report.interrupted for report in reports),
    )


def _merged(group: Sequence[Finding]) -> Finding:
    """What several repositories say of one key: it is as bad as the worst of them says."""
    worst = min(group, key=lambda finding: (not finding.blocks, finding.suppressed is not None))
    surest = min(group, key=lambda finding: _RANK[finding.confidence])
    return replace(
        worst,
        confidence=surest.confidence,
        locations=tuple(place for finding in group for place in finding.locations),
    )


def _importance(finding: Finding) -> tuple[bool, int]:
    return not finding.blocks, _RANK[finding.confidence]


def _one_story(explain: str, reports: Sequence[Report], findings: Sequence[Finding]) -> Story:
    from fluxguard.audit.story import in_order

    events = (event for report in reports if report.story for event in report.story.events)
    return Story(explain, chosen(explain, findings), in_order(events))
