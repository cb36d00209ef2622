"""GitHub Actions: annotations on the lines, as workflow commands, and the job's summary in Markdown.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands. A step shows ten annotations of each kind,
so the last one says how many more there are, which are in the log and in the summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from fluxguard.display import safe
from fluxguard.model import Finding, Report
from fluxguard.reports import gaps, standing, uncovered
from fluxguard.reports.markdown import code, plain
from fluxguard.reports.standing import Spot, Standing
from fluxguard.reports.text import harmless
from fluxguard.words import count

SHOWN = 10  # annotations of a kind that GitHub shows for a step
LOGGED = 1_000  # further places in the log
LARGEST = 1_000_000  # of a summary; GitHub takes 1 MiB of a step
_GAP = "fluxguard: not covered by .gitignore"
ROWS = 200  # keys, or places of one key, in a summary


def write(report: Report, stream: TextIO) -> None:
    """Writes workflow commands, and lines that can't be taken for one."""
    for line in _lines(report):
        stream.write(line + "\n")


def _lines(report: Report) -> Iterator[str]:
    places = Standing(report)
    blocking = [one for one in report.findings if one.blocks]
    warning = [one for one in report.findings if not one.blocks and one.suppressed is None]
    unread = [one for one in report.skipped if one.accepted is None]
    errors = list(_annotated("error", blocking, places))
    yield headline(report)
    if unread or report.interrupted:
        reason = (
            f"first: {places.names(unread[0].where)}: {places.names(unread[0].reason)}"
            if unread
            else "interrupted"
        )
        said = f"{count(len(unread), 'thing')} could not be read, so this is not called clean; {reason}"
        yield command("error", said, title="fluxguard: not everything was read")
    yield from _limited("error", errors, SHOWN - bool(unread or report.interrupted))
    yield from _limited("warning", list(_annotated("warning", warning, places)), SHOWN)
    yield from _gaps(report, places)
    for one in unread[1:]:
        yield harmless(f"  not read: {places.names(one.where)}: {places.names(one.reason)}")


def headline(report: Report) -> str:
    """What the run came to, in a line."""
    if report.command == "gitignore":
        return gaps.headline(report)[0]
    counts = standing.counted(report)
    if counts["blocking"]:
        whole = "" if report.complete else "; not everything could be read"
        return f"fluxguard: {count(counts['blocking'], 'key')} found{whole}."
    if report.interrupted or not report.complete:
        return "fluxguard: not everything could be read, so this is not called clean."
    return f"fluxguard: no key found that blocks ({count(report.stats.objects, 'object')} read)."


def _annotated(kind: str, findings: list[Finding], places: Standing) -> Iterator[tuple[str, str]]:
    """For each place that is not suppressed: the command, and the plain line."""
    for finding in findings:
        for place in standing.ordered(finding):
            if place.suppressed is None:
                spot = places.spot(finding, place)
                text = _message(finding, spot)
                yield _annotation(kind, text, finding, spot), harmless(f"  {text}")


def _gaps(report: Report, places: Standing) -> Iterator[str]:
    """What .gitignore leaves open."""
    found = [gap for gap in uncovered.listed(report, places) if gap.accepted is None]
    said = uncovered.to_come(report)
    if said:
        yield command("notice", said, title=_GAP)
    for level, kind in (
        (uncovered.ERROR, "error"),
        (uncovered.WARNING, "warning"),
        (uncovered.NOTE, "notice"),
    ):
        pairs = [
            (
                command(kind, gap.text, file=gap.first.file, line=gap.first.line, title=_GAP),
                harmless(f"  {gap.text}"),
            )
            for gap in found
            if gap.level == level
        ]
        yield from _limited(kind, pairs, SHOWN)


def _annotation(kind: str, text: str, finding: Finding, spot: Spot) -> str:
    title = f"fluxguard: {standing.what(finding.rule)}"
    if not spot.in_tree:
        return command(kind, text, title=title)
    return command(
        kind, text, file=spot.file, line=spot.line, col=spot.column, endColumn=spot.end, title=title
    )


def _message(finding: Finding, spot: Spot) -> str:
    note = f" ({spot.note})" if spot.note else ""
    return f"{standing.sentence(finding)} stands in {spot.words}{note}. {standing.why(finding.rule)}"


def _limited(kind: str, pairs: list[tuple[str, str]], most: int) -> Iterator[str]:
    if len(pairs) <= most:
        yield from (annotation for annotation, _ in pairs)
        return
    shown, rest = pairs[: most - 1], pairs[most - 1 :]
    yield from (annotation for annotation, _ in shown)
    text = f"{len(rest):,} more places: GitHub shows {SHOWN} annotations of a step; the job's summary and the log have more"
    yield command(kind, text, title="fluxguard: more places")
    yield from (line for _, line in rest[:LOGGED])
    if len(rest) > LOGGED:
        yield f"  and {len(rest) - LOGGED:,} more: --report json=FILE has all of them"


def command(name: str, text: str, **properties: str | int) -> str:
    """A workflow command, so written that nothing in its values ends it or begins another one."""
    parts = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    return f"::{name} {parts}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(report: Report, stream: TextIO) -> None:
    """Writes the job's summary; what does not fit is counted."""
    size = 0
    for line in _summary(report):
        size += len(line.encode()) + 1
        if size > LARGEST:
            stream.write("\nThe rest does not fit here: see the report that the job keeps as an artifact.\n")
            return
        stream.write(line + "\n")


def _summary(report: Report) -> Iterator[str]:
    places = Standing(report)
    yield f"## {plain(headline(report))}"
    yield ""
    yield from _table(report, places)
    yield from _open(report, places)
    yield from _unread(report, places)
    steps = standing.steps(report)
    if steps:
        yield from ("", "### What to do now", "")
        for number, (text, commands) in enumerate(steps, 1):
            yield f"{number}. {plain(text)}"
            yield from (f"   <br>{code(places.names(line))}" for line in commands)
    yield ""


def _table(report: Report, places: Standing) -> Iterator[str]:
    if not report.findings:
        return
    yield "| key | what | places |"
    yield "| --- | --- | --- |"
    for finding in report.findings[:ROWS]:
        spots = [
            code(spot.words) + plain(f" ({spot.note})" if spot.note else "") for spot in places.spots(finding)
        ]
        more = [plain(f"and {len(spots) - ROWS:,} more")] if len(spots) > ROWS else []
        state = "suppressed" if finding.suppressed else "blocks" if finding.blocks else "warns"
        what = plain(
            f"{standing.what(finding.rule)}, {safe(finding.environment) or 'no environment'}, {state}"
        )
        yield f"| {code(finding.secret.masked)} | {what} | {'<br>'.join(spots[:ROWS] + more)} |"
    if len(report.findings) > ROWS:
        yield from ("", plain(f"and {count(len(report.findings) - ROWS, 'more key')}"))


def _open(report: Report, places: Standing) -> Iterator[str]:
    found, said = uncovered.listed(report, places), uncovered.to_come(report)
    if found or said:
        yield from ("", "### What .gitignore leaves open", "", *([plain(said)] if said else []))
    if not found:
        return
    yield from ("", "| what | level |", "| --- | --- |")
    for gap in found[:ROWS]:
        level = "required" if gap.required else "advised"
        state = level if gap.accepted is None else f"{level}, accepted: {gap.accepted}"
        yield f"| {plain(gap.text)} | {plain(state)} |"
    if len(found) > ROWS:
        yield from ("", plain(f"and {len(found) - ROWS:,} more"))


def _unread(report: Report, places: Standing) -> Iterator[str]:
    if not report.skipped:
        return
    yield from ("", "### What was not read", "")
    for one in report.skipped[:ROWS]:
        accepted = "" if one.accepted is None else f" (accepted: {places.names(one.accepted)})"
        yield f"- {code(places.names(one.where))}: {plain(places.names(one.reason) + accepted)}"
    if len(report.skipped) > ROWS:
        yield plain(f"and {len(report.skipped) - ROWS:,} more")
