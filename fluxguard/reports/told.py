"""One key's story for a person: a timeline, who can still see it, and what remains to be cleaned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fluxguard.model import Event, Finding, Report, Story
from fluxguard.reports import audited, remains
from fluxguard.reports.audited import GREY, RED, Line, labelled, listed, refs, shortened, wrapped
from fluxguard.reports.names import Names
from fluxguard.words import count

EVENTS = 40  # shown before the middle is left out
_WHAT = {
    "introduced": "introduced in {path}",
    "spread": "written to {path}, too",
    "again": "introduced in {path} on another line of history",
    "brought-back": "BROUGHT BACK to {path}",
    "moved": "moved to {path}, from {source}",
    "removed": "removed from {path}",
    "merged": "merged into {refs}",
    "tagged": "tagged: {refs}",
    "pushed": "PUSHED to {refs}",
    "seen-on-remote": "seen on {refs}",
    "written": "written into the commit or tag itself",
}
_LOUD = ("pushed", "seen-on-remote", "brought-back")


def lines(report: Report, story: Story) -> Iterator[Line]:
    """The story, in place of the report."""
    names = Names(report)
    if story.finding is None:
        yield from _unknown(report, story)
    else:
        yield from _known(report, story.finding, story.events, names)
    yield from audited.unread(report, names)
    yield from audited.certificates(report, names)


def _unknown(report: Report, story: Story) -> Iterator[Line]:
    found = count(len(report.findings), "other key") if report.findings else "no other key either"
    yield "bold", f"fluxguard: no key with the fingerprint {story.asked}... was found; {found}."
    for finding in report.findings[: audited.PLACES]:
        yield "", f"  {finding.secret.fingerprint[:28]}  {finding.secret.masked}"
    if len(report.findings) > audited.PLACES:
        yield "", f"  and {len(report.findings) - audited.PLACES:,} more: --format json shows all"


def _known(report: Report, finding: Finding, events: Sequence[Event], names: Names) -> Iterator[Line]:
    yield RED if finding.blocks else "bold", finding.secret.masked
    yield from wrapped(audited.summary(finding), 2)
    yield GREY, f"  {finding.secret.fingerprint}"
    if events:
        yield "", ""
        yield "bold", "What happened"
    for event in events[: EVENTS - 10]:
        yield from _event(report, event, names)
    rest = events[EVENTS - 10 :]
    if len(rest) > 10:
        yield "", f"  ... {count(len(rest) - 10, 'more event')}: --format json shows all"
    for event in rest[-10:]:
        yield from _event(report, event, names)
    yield from _visible(finding, names)
    steps = remains.cleaning(report, finding)
    yield "", ""
    yield "bold", "What remains to be done"
    yield from audited.numbered(steps, names)


def _event(report: Report, event: Event, names: Names) -> Iterator[Line]:
    when = audited.day(event.date) if event.date else "when is not known"
    what = _WHAT.get(event.what, event.what).format(
        path=names(event.path) or "a blob at no known path",
        source=names(event.source),
        refs=refs(event.names, names) if event.names else "",
    )
    style = RED if event.what in _LOUD else ""
    yield from wrapped(f"{audited.repository(event.repository, names)}{what}", 2, style, f"{when:<24}")
    said = report.mentions.get(event.commit)
    parts = [event.commit[: audited.SHORT], shortened(names(event.who), 40) if event.who else ""]
    if any(parts):
        yield "", " " * 26 + "  ".join(part for part in parts if part)
    if said is not None and said.subject and event.what not in ("tagged", "pushed", "seen-on-remote"):
        yield GREY, " " * 26 + shortened(names(said.subject), 52)


def _visible(finding: Finding, names: Names) -> Iterator[Line]:
    seen = remains.seen_in(finding)
    yield "", ""
    yield "bold", "Who can see it today"
    if seen["pushed"]:
        yield from labelled("on remotes", f"{listed(seen['pushed'], names)}: whoever can read them", RED)
    if seen["tips"]:
        yield from labelled("still in", refs(seen["tips"], names), "bold")
    if seen["history"]:
        yield from labelled("history of", refs(seen["history"], names))
    if seen["logs"]:
        yield from labelled("reflogs", listed(seen["logs"], names))
    if seen["unreachable"]:
        ids = [id[: audited.SHORT] for id in seen["unreachable"]]
        yield from labelled("unreachable", f"{count(len(ids), 'object')}: {listed(ids, names)}")
    if seen["beside"]:
        yield from labelled("beside it", listed(seen["beside"], names))
