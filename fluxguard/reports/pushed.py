"""What a person reads whose push, or whose commit by another door than a hook's, brings a key: which commit, and what now."""

from __future__ import annotations

from collections.abc import Iterator

from fluxguard.detect.ruleset import built_in
from fluxguard.model import Finding, Location, Report
from fluxguard.reports import text
from fluxguard.reports.advice import KEYS_PAGE, Step, has_command
from fluxguard.reports.names import Names
from fluxguard.reports.shell import quoted
from fluxguard.reports.text import Line
from fluxguard.words import count, size

SHORT = 10  # digits of a commit's id
REFS = 3  # named at a place before the rest is only counted
_SERVER = ("hook pre-receive", "hook update")
_REFUSED = {
    "hook pre-push": "The push is refused.",
    "hook pre-receive": "Nothing of this push was accepted.",
    "hook update": "This ref was not accepted.",
    "hook reference-transaction": "The refs stay as they were.",
}


def lines(report: Report, advice: bool) -> Iterator[Line]:
    """The whole report."""
    names = Names(report)
    blocking = [finding for finding in report.findings if finding.blocks]
    others = [finding for finding in report.findings if not finding.blocks and finding.suppressed is None]
    suppressed = [finding for finding in report.findings if finding.suppressed is not None]
    yield _headline(report, names, blocking)
    yield from _findings(blocking, names, "bold red")
    if blocking and advice:
        yield from text.why(blocking)
    if others:
        yield "", ""
        yield f"bold {text.ORANGE}", f"Not blocking: {count(len(others), 'key')}"
        yield from _findings(others, names, text.ORANGE)
    if suppressed:
        yield "", ""
        yield "dim", f"Suppressed: {count(len(suppressed), 'key')}"
        for finding in suppressed:
            reason = finding.suppressed
            yield (
                "dim",
                f"  {finding.secret.masked}  by {reason.by}: {names(reason.reason)}" if reason else "",
            )
            yield "dim", f"    {_where(finding.locations[0], names)}"
    yield from _unread(report, names) if report.command in _SERVER else text.unread(report, names.masks)
    for note in (*report.stale, *report.notes):
        yield "dim", f"Note: {names(note)}"
    if advice and blocking:
        yield from _steps(report, names, blocking)


def caught_up(report: Report, commits: str, doors: str) -> Iterator[Line]:
    """What a look at things that no hook had seen has found, for somebody whose own commit has nothing to do with it."""
    names = Names(report)
    blocking = [finding for finding in report.findings if finding.blocks]
    what = count(len(blocking), "key") if blocking else "something that can't be read"
    if not blocking and report.complete:
        return
    yield (
        f"bold {text.ORANGE}",
        f"fluxguard: {what} in this repository that no hook refused. Your commit is not refused for it.",
    )
    yield "", f"  {commits} ({doors})."
    yield from _findings(blocking, names, "bold red")
    yield from _unread(report, names)
    if blocking:
        yield "", ""
        yield "", "  It is not pushed yet, as far as this repository knows. pre-push will refuse it."
        yield from _steps(report, names, blocking)


def _headline(report: Report, names: Names, blocking: list[Finding]) -> Line:
    refused = _REFUSED[report.command]
    if blocking:
        keys = count(len(blocking), "key")
        where = f"to {names(report.target)}" if report.command == "hook pre-push" else "here"
        verb = {"hook pre-push": "be pushed", "hook reference-transaction": "be committed"}
        return "bold red", f"fluxguard: {keys} would {verb.get(report.command, 'arrive')} {where}. {refused}"
    if not report.complete:
        return f"bold {text.ORANGE}", f"fluxguard: not everything could be read. {refused}"
    looked = f"{count(report.stats.objects, 'object')}, {size(report.stats.bytes)}"
    return "green", f"fluxguard: no key found that blocks ({looked}, {report.stats.seconds:.1f} s)."


def _findings(findings: list[Finding], names: Names, style: str) -> Iterator[Line]:
    descriptions = {rule.id: rule.description for rule in built_in()}
    for finding in findings[: text.KEYS]:
        environment = f", {finding.environment}" if finding.environment else ""
        yield "", ""
        yield style, f"  {finding.secret.masked}"
        what = descriptions.get(finding.rule, finding.rule)
        yield "", f"  {what}{environment}: {text.CONFIDENCE[finding.confidence]}"
        places = [place for place in finding.locations if place.suppressed is None] or [*finding.locations]
        for place in sorted(places, key=lambda place: place.known)[: text.PLACES]:
            yield "bold", f"    {_where(place, names)}"
            yield from _who(place, names)
        if len(places) > text.PLACES:
            yield "", f"    and {len(places) - text.PLACES:,} more places"
    if len(findings) > text.KEYS:
        yield "", ""
        yield style, f"  and {count(len(findings) - text.KEYS, 'more key')}"


def _where(place: Location, names: Names) -> str:
    path = names(place.path)
    at = f"line {place.line}, column {place.column}"
    shown = {
        "path": f"{path} (the name of a file or folder)",
        "ref-name": f"{path} (the ref's name)",
        "commit-message": f"the commit's message, {at}",
        "commit-header": f"the commit's header, {at}",
        "tag-message": f"the tag's message, {at}",
        "tag-header": f"the tag's header, {at}",
    }.get(place.kind, f"{path or 'object ' + place.object[:SHORT]}:{place.line}:{place.column}")
    if place.via:
        shown += f" (inside {' > '.join(map(names, place.via))})"
    return shown + (" (there already)" if place.known else "")


def _who(place: Location, names: Names) -> Iterator[Line]:
    trace = place.trace
    if trace is None:
        return
    who = f"  {names(trace.author)}" if trace.author else ""
    day = f"  {trace.date[:10]}" if trace.date else ""
    if trace.commit:
        yield "", f"      brought by commit {trace.commit[:SHORT]}{day}{who}"
    elif who or day:
        yield "", f"      made by{who}{day}"
    if trace.refs:
        more = f" and {len(trace.refs) - REFS:,} more" if len(trace.refs) > REFS else ""
        yield "", f"      in {', '.join(names(ref) for ref in trace.refs[:REFS])}{more}"


def _unread(report: Report, names: Names) -> Iterator[Line]:
    refused = [one for one in report.skipped if one.accepted is None]
    if refused:
        yield "", ""
        yield f"bold {text.ORANGE}", f"Not read: {len(refused):,}"
        for one in refused[: text.PLACES]:
            yield text.ORANGE, f"  {names(one.where)}: {names(one.reason)}"
        if len(refused) > text.PLACES:
            yield text.ORANGE, f"  and {len(refused) - text.PLACES:,} more"


# --- what to do ------------------------------------------------------------------------------------------------------


def _steps(report: Report, names: Names, blocking: list[Finding]) -> Iterator[Line]:
    yield "", ""
    yield "bold", "What to do now"
    for number, (what, commands) in enumerate(_next(report, names, blocking), 1):
        for line in text.wrapped(f"  {number}. {what}", "     "):
            yield "", line
        for command in commands:
            yield "bold", f"       {command}"


def _next(report: Report, names: Names, blocking: list[Finding]) -> Iterator[Step]:
    places = [
        place
        for finding in blocking
        for place in finding.locations
        if place.suppressed is None and not place.known
    ]
    yield from _rewrite(places)
    yield from _rename(places, names)
    yield _leaked(blocking)
    yield from _exceptions(report)


def _rewrite(places: list[Location]) -> Iterator[Step]:
    commits = [place.trace.commit for place in places if place.trace and place.trace.commit]
    if commits:
        first = commits[0][:SHORT]
        more = len(set(commits)) - 1
        also = f" (and {count(more, 'more commit')}, named above)" if more else ""
        yield (
            f"Take the key out of the commit that brought it{also}; deleting it in a new commit leaves it in the history. "
            "In the list write `edit` before that commit, take the key out, then git add, git commit --amend and "
            "git rebase --continue:",
            (
                f"git rebase -i {first}~1",
                f"git rebase -i --root   # where {first} is the first commit of all",
            ),
        )
    tags = {
        ref for place in places if place.kind.startswith("tag-") and place.trace for ref in place.trace.refs
    }
    if tags:
        tag = quoted(min(tags).removeprefix(b"refs/tags/"))
        yield "Make the tag anew, with a message that holds no key:", (f"git tag -a -f {tag} {tag}^{{}}",)


def _rename(places: list[Location], names: Names) -> Iterator[Step]:
    if any(place.kind == "ref-name" for place in places):
        yield (
            "Give the branch or tag a name that holds no key, and push that:",
            ("git branch -m NEW-NAME", "git push REMOTE NEW-NAME"),
        )


def _leaked(findings: list[Finding]) -> Step:
    what = "Was the key pushed or shown to anybody before? Then it is leaked:"
    if has_command("respond"):
        return what, (f"fluxguard respond start --finding {findings[0].secret.fingerprint[:20]}",)
    return f"{what} regenerate it now, and use the new one.", (KEYS_PAGE,)


def _exceptions(report: Report) -> Iterator[Step]:
    if report.command in _SERVER:
        yield (
            "A false alarm? A comment on its line says so: `fluxguard:allow` with a reason. Whether such comments count "
            "here is for the owner of this server to say.",
            (),
        )
        return
    yield (
        "A false alarm? Say so in a comment on the line, in the commit that brought it, or for a whole path with "
        "[[allow]] in .fluxguard.toml:",
        ("# fluxguard:allow why this is no key",),
    )
