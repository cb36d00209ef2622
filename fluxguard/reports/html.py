"""One HTML file for whoever has to decide what to do: nothing in it runs, and nothing is fetched, not even a font."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Iterator
from html import escape
from typing import TextIO

import fluxguard
from fluxguard.display import safe
from fluxguard.model import Finding, Location, Report
from fluxguard.reports import remains, standing, uncovered
from fluxguard.reports.github import headline
from fluxguard.reports.standing import Standing
from fluxguard.reports.text import CONFIDENCE
from fluxguard.words import count, size

PLACES = 500  # of one key
REFS = 12  # of one place
_STATE = {"block": "blocks", "warn": "warns only", "suppressed": "suppressed"}

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --line: #d0d7de; --back: #ffffff; --card: #f6f8fa;
  --red: #b42318; --orange: #8a4b00; --green: #116329; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9aa4af; --line: #30363d; --back: #0d1117;
  --card: #161b22; --red: #ff8b80; --orange: #f0b37e; --green: #7ee787; } }
* { box-sizing: border-box; }
body { margin: 0; overflow-wrap: anywhere; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p { margin: .5rem 0; }
a { color: inherit; }
code, pre { font: .875em/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; margin: .25rem 0 .75rem; padding: .5rem .75rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; }
.soft { color: var(--soft); }
.block { color: var(--red); } .warn { color: var(--orange); } .suppressed { color: var(--soft); } .good { color: var(--green); }
.numbers { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.numbers li { flex: 1 1 8rem; padding: .6rem .9rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
.numbers b { display: block; font-size: 1.5rem; line-height: 1.2; }
.key { margin: 1rem 0; padding: 1rem; border: 1px solid var(--line); border-left: .3rem solid currentColor; border-radius: 6px; }
.key > * { color: var(--text); } .key > .soft { color: var(--soft); }
.places { padding-left: 1.2rem; margin: .5rem 0; } .places li { margin: .4rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ol > li { margin: .5rem 0; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; } }
@media print { main { max-width: none; padding: 0; } .key { break-inside: avoid; } }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


def write(report: Report, stream: TextIO) -> None:
    """Writes the page, in ASCII."""
    for line in _page(report):
        stream.write(line.encode("ascii", "xmlcharrefreplace").decode("ascii") + "\n")


def _page(report: Report) -> Iterator[str]:
    places = Standing(report)
    title = f"fluxguard {report.command}: {places.names(report.target)}"
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield "<main>"
    yield from _head(report, places)
    yield from _steps(report, places)
    yield from _keys(report, places)
    yield from _open(report, places)
    yield from _unread(report, places)
    yield from _read(report, places)
    yield from _foot()
    yield "</main>"
    yield "</body>"
    yield "</html>"


def _head(report: Report, places: Standing) -> Iterator[str]:
    counts = standing.counted(report)
    tone = (
        "block" if report.exit_code == 1 else "warn" if not report.complete or report.interrupted else "good"
    )
    yield "<header>"
    yield f'<h1 class="{tone}">{escape(headline(report))}</h1>'
    yield "<dl>"
    yield from _term("What was looked at", f"<code>{escape(places.names(report.target))}</code> (<code>fluxguard {escape(report.command)}</code>)")  # fmt: skip
    checkout = report.checkout
    if checkout is not None and checkout.remote:
        yield from _term("Repository", f"<code>{escape(places.names(checkout.remote))}</code>")
    if checkout is not None and checkout.revision:
        branch = f" on <code>{escape(places.names(checkout.branch))}</code>" if checkout.branch else ""
        yield from _term("Commit", f"<code>{escape(checkout.revision)}</code>{branch}")
    if report.ended:
        when = datetime.datetime.fromtimestamp(report.ended, datetime.UTC)
        yield from _term("When", when.strftime("%Y-%m-%d %H:%M UTC"))
    yield "</dl>"
    if report.command != "gitignore":
        yield from _numbers(counts)
    yield "</header>"


def _numbers(counts: dict[str, int]) -> Iterator[str]:
    yield '<ul class="numbers">'
    yield _number(counts["blocking"], "keys that block", "block")
    yield _number(counts["warning"], "keys that only warn", "warn")
    yield _number(counts["suppressed"], "suppressed keys", "suppressed")
    yield _number(counts["unread"], "things not read", "warn")
    yield "</ul>"


def _term(name: str, value: str) -> Iterator[str]:
    yield f"<dt>{name}</dt><dd>{value}</dd>"


def _number(number: int, text: str, tone: str) -> str:
    return f'<li><b class="{tone if number else "soft"}">{number:,}</b> {text}</li>'


def _steps(report: Report, places: Standing) -> Iterator[str]:
    steps = standing.steps(report)
    if not steps:
        return
    yield "<h2>What to do now</h2>"
    yield "<ol>"
    for text, commands in steps:
        lines = "\n".join(escape(places.names(line)) for line in commands)
        yield f"<li>{escape(places.names(text))}" + (f"<pre>{lines}</pre>" if lines else "") + "</li>"
    yield "</ol>"


def _keys(report: Report, places: Standing) -> Iterator[str]:
    if not report.findings:
        return
    yield "<h2>The keys</h2>"
    yield '<p class="soft">A key is shown by its prefix, four characters and its end, as FluxLoop shows it. The fingerprint is '
    yield "the same for the same key everywhere.</p>"
    for finding in report.findings:
        yield from _key(finding, places)


def _key(finding: Finding, places: Standing) -> Iterator[str]:
    state = "suppressed" if finding.suppressed else finding.severity
    spots = list(zip(places.spots(finding), standing.ordered(finding), strict=True))
    yield f'<section class="key {state}">'
    yield f'<h3><code>{escape(finding.secret.masked)}</code> <span class="{state}">{_STATE[state]}</span></h3>'
    environment = f", environment {safe(finding.environment)}" if finding.environment else ""
    known = f", the platform says: {finding.status}" if finding.status != "unknown" else ""
    yield f"<p>{escape(standing.what(finding.rule))}{escape(environment)}: {CONFIDENCE[finding.confidence]}{escape(known)}.</p>"
    yield f"<p>{escape(standing.why(finding.rule))}</p>"
    if finding.suppressed:
        yield f"<p>Suppressed by {escape(finding.suppressed.by)}: {escape(places.names(finding.suppressed.reason))}</p>"
    yield f'<p class="soft"><code>{escape(finding.secret.fingerprint)}</code></p>'
    yield '<ul class="places">'
    for spot, place in spots[:PLACES]:
        note = f'<br><span class="soft">{escape(spot.note)}</span>' if spot.note else ""
        yield f"<li><code>{escape(spot.words)}</code>{note}"
        yield from _history(place, places)
        yield "</li>"
    yield "</ul>"
    if len(spots) > PLACES:
        yield f"<p>and {len(spots) - PLACES:,} more places: the JSON report has them all.</p>"
    yield "</section>"


def _history(place: Location, places: Standing) -> Iterator[str]:
    trace = place.trace
    if trace is None or not (trace.commit or trace.refs or trace.logs):
        return
    yield "<dl>"
    if trace.author:
        yield from _term(
            "brought by", f"{escape(places.names(trace.author))}, {escape(trace.date or 'no date')}"
        )
    if trace.tips:
        yield from _term("still in", _listed(list(trace.tips), places))
    history = [ref for ref in trace.refs if ref not in trace.tips]
    if history:
        yield from _term("in the history of", _listed(history, places))
    pushed = remains.pushed(place)
    if pushed:
        yield from _term("pushed to", f'<span class="block">{_listed(pushed, places)}</span>')
    if trace.logs and not trace.refs:
        yield from _term("only in the logs of", _listed(list(trace.logs), places))
    yield "</dl>"


def _listed(refs: list[bytes], places: Standing) -> str:
    shown = ", ".join(f"<code>{escape(places.names(ref))}</code>" for ref in refs[:REFS])
    return shown + (f" and {len(refs) - REFS:,} more" if len(refs) > REFS else "")


def _open(report: Report, places: Standing) -> Iterator[str]:
    found, said = uncovered.listed(report, places), uncovered.to_come(report)
    if found or said:
        yield "<h2>What .gitignore leaves open</h2>"
    if said:
        yield f"<p>{escape(said)}</p>"
    if not found:
        return
    yield '<ul class="places">'
    for gap in found[:PLACES]:
        state = (
            "suppressed" if gap.accepted is not None else "block" if gap.level == uncovered.ERROR else "warn"
        )
        level = "required" if gap.required else "advised"
        accepted = "" if gap.accepted is None else f" (accepted: {escape(gap.accepted)})"
        yield f'<li><span class="{state}">{level}{accepted}</span>: {escape(gap.text)}</li>'
    yield "</ul>"
    if len(found) > PLACES:
        yield f"<p>and {len(found) - PLACES:,} more: the JSON report has them all.</p>"


def _unread(report: Report, places: Standing) -> Iterator[str]:
    if not report.skipped and not report.interrupted:
        return
    yield "<h2>What was not read</h2>"
    if report.interrupted:
        yield "<p>The run was interrupted: whatever it had not come to is missing here.</p>"
    yield "<p>What was not read may hold a key. What is accepted is so with the reason that the configuration gives.</p>"
    yield '<ul class="places">'
    for one in report.skipped:
        accepted = (
            ""
            if one.accepted is None
            else f' <span class="soft">(accepted: {escape(places.names(one.accepted))})</span>'
        )
        yield f"<li><code>{escape(places.names(one.where))}</code>: {escape(places.names(one.reason))}{accepted}</li>"
    yield "</ul>"


def _read(report: Report, places: Standing) -> Iterator[str]:
    yield "<h2>What was read</h2>"
    yield f"<p>{count(report.stats.objects, 'object')}, {size(report.stats.bytes)}.</p>"
    for one in report.certificates:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in one.objects.items())
        total = sum(one.objects.values())
        yield f"<p><code>{escape(places.names(one.store))}</code>: {one.read:,} of {total:,} objects ({escape(kinds)})<br>"
        yield f'<code class="soft">{escape(one.digest)}</code></p>'
    for text in (*report.stale, *report.notes):
        yield f"<p>{escape(places.names(text))}</p>"


def _foot() -> Iterator[str]:
    yield f"<footer>fluxguard {fluxguard.__version__}. Nothing in this page runs, and it fetches nothing.</footer>"
