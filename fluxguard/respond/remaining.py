"""Where the key still stands, by the audit over everything; each place in words, with no key in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fluxguard import display
from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.model import Finding, Secret, Unread
from fluxguard.respond.mirror import mirror
from fluxguard.respond.veil import masks_of, shown


def unread_of(skipped: Iterable[Unread], secret: Secret) -> list[str]:
    return [f"{shown(one.where, secret)}: {one.reason}" for one in skipped]


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


def still_there(
    source: str, folder: Path, repository: Path, secret: Secret
) -> tuple[list[str], list[str], dict[str, str]]:
    """A new mirror of the remote, audited: where the key still stands, what was not read, and the figures."""
    mirror(source, folder, repository)
    report = auditing.audit(str(folder), Config(), full=True)
    read = {
        one.store: f"{one.read} of {sum(one.objects.values())} objects read, {one.digest}"
        for one in report.certificates
    }
    found = [one for one in report.findings if one.secret == secret]
    refs_of = sorted(
        {
            shown(ref, secret)
            for one in found
            for place in one.locations
            if place.trace
            for ref in place.trace.refs
        }
    )
    return (
        places_of(found) + [f"still reachable from {ref}" for ref in refs_of],
        unread_of(report.skipped, secret),
        read,
    )
