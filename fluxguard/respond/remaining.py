"""Where the key still stands, by the audit over everything; each place in words, with no key in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxguard import display
from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.model import Finding, Report, Secret, Unread
from fluxguard.respond.mirror import mirror, refs
from fluxguard.respond.veil import masks_of, shown


def unread_of(skipped: Iterable[Unread], secret: Secret) -> list[str]:
    return [f"{shown(one.where, secret)}: {one.reason}" for one in skipped]


def figures(report: Report) -> dict[str, str]:
    """What was read, by store."""
    return {
        one.store: f"{one.read} of {sum(one.objects.values())} objects read, {one.digest}"
        for one in report.certificates
    }


def places_of(findings: Iterable[Finding]) -> list[str]:
    listed = list(findings)
    masks = masks_of(*(one.secret for one in listed))
    places = []
    for one in listed:
        for place in one.locations:
            where = f"{place.kind} {display.path(place.path, masks)} {place.object}".strip()
            by = [*place.trace.refs, *place.trace.logs] if place.trace else []
            names = ", ".join(display.path(name, masks) for name in by[:3])
            places.append(where + (f" ({names}{', ...' if len(by) > 3 else ''})" if by else ""))
    return places


def audited(source: str, folder: Path, repository: Path) -> Report:
    """The audit over a private mirror of a remote, which is made for it."""
    mirror(source, folder, repository)
    return auditing.audit(str(folder), Config(), full=True)


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote, looked at anew. left: where the key still stands, in words. by: the refs from which it is reached. refs: all, with their ids.
    unread: what was not looked at. read: the audit's figures."""

    left: tuple[str, ...]
    by: frozenset[str]
    refs: Mapping[str, str]
    unread: tuple[str, ...]
    read: Mapping[str, str]


def looked_at(source: str, folder: Path, repository: Path, secret: Secret) -> Remote:
    """A new mirror of the remote, audited."""
    report = audited(source, folder, repository)
    there = refs(folder)
    found = [one for one in report.findings if one.secret == secret]
    by = frozenset(
        os.fsdecode(ref) for one in found for place in one.locations if place.trace for ref in place.trace.refs
        if ref.startswith(b"refs/")
    )  # fmt: skip
    reached = [f"reached from {shown(ref, secret)}" for ref in sorted(by)]
    return Remote(
        (*places_of(found), *reached), by, there, tuple(unread_of(report.skipped, secret)), figures(report)
    )
