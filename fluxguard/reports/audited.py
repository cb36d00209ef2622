"""The report of an audit for a person: what was found, who can see it, what was read, and what to do.

Written for somebody who is woken by it, and for somebody who has to sign it: at 80 columns, a label in front of each
fact, long lists cut with a count.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from fluxguard.model import Certificate, Finding, Location, Report, Trace, Unread
from fluxguard.reports import remains
from fluxguard.reports.names import Names
from fluxguard.reports.shell import quoted
from fluxguard.words import count, size

WIDTH = 80
PLACES = 10  # places shown for one key before the rest is only counted
NAMES = 4  # refs named before the rest is only counted
REMOVALS = 3  # removing commits shown for one place
WHO = 33  # characters of a name and address
REASONS = 8  # reasons for which something was not read
EXAMPLES = 5  # things named for each such reason
SHORT = 10  # hex digits of an id

RED, ORANGE, GREEN, BLUE, GREY = "bold red1", "dark_orange3", "green4", "deep_sky_blue3", "grey50"
_CONFIDENCE = {
    "high": "high confidence: the format proves itself",
    "medium": "medium confidence: the format fits",
    "low": "low confidence: only what stands beside it says so",
}
_HEX = re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")

Line = tuple[str, str]  # rich style, text


def lines(report: Report, advice: bool) -> Iterator[Line]:
    """The whole report. advice: with what to do."""
    names = Names(report)
    blocking = [finding for finding in report.findings if finding.blocks]
    warned = [finding for finding in report.findings if not finding.blocks and finding.suppressed is None]
    suppressed = [finding for finding in report.findings if finding.suppressed is not None]
    style, text = _headline(report, blocking)
    yield from wrapped(text, style=style)
    if names.folder:
        yield from wrapped(
            f"In {names(names.folder)}: {len(report.repositories):,} repositories.", style=GREY
        )
    for finding in blocking:
        yield from _finding(report, finding, RED, names)
    if blocking and advice:
        yield from _why(blocking)
    if warned:
        yield "", ""
        yield f"bold {ORANGE}", f"Not blocking: {count(len(warned), 'key')}"
        for finding in warned:
            yield from _finding(report, finding, ORANGE, names)
    yield from _suppressed(suppressed, names)
    yield from unread(report, names)
    yield from certificates(report, names, brief=not report.findings and report.complete)
    if report.uncovered:
        from fluxguard.reports import gaps

        yield from gaps.summary(report)
    for text in (*report.stale, *report.notes):
        yield from wrapped(f"Note: {names(text)}", style=GREY)
    if advice:
        yield from _steps(remains.next_steps(report), names)


def _headline(report: Report, blocking: list[Finding]) -> Line:
    if report.interrupted:
        found = f"{count(len(blocking), 'key')} found so far" if blocking else "no key found so far"
        return RED, f"fluxguard: interrupted; {found}. This is not the whole."
    if blocking:
        pushed = sum(map(remains.was_pushed, blocking))
        live = sum(map(remains.is_live, blocking))
        counted = f"{pushed:,} known to be pushed, {live:,} still in a tip"
        rest = "" if report.complete else "; not everything could be read"
        return RED, f"fluxguard: {count(len(blocking), 'key')} found: {counted}{rest}."
    if not report.complete:
        return (
            f"bold {ORANGE}",
            "fluxguard: no key found, but not everything could be read: not called clean.",
        )
    looked = f"{size(report.stats.bytes)}, {report.stats.seconds:.1f} s"
    what = "no key found" if not report.findings else "no key found that blocks"
    return GREEN, f"fluxguard: {what} ({looked})."


# --- findings ----------------------------------------------------------------------------------------------------


def _finding(report: Report, finding: Finding, style: str, names: Names) -> Iterator[Line]:
    groups = places(finding)
    yield "", ""
    yield style, f"  {finding.secret.masked}"
    yield from wrapped(f"{summary(finding)}; {_severity(finding)}", 4)
    yield GREY, f"    {finding.secret.fingerprint}"
    for group in groups[:PLACES]:
        yield from _place(report, group, names)
    if len(groups) > PLACES:
        yield "", f"    and {count(len(groups) - PLACES, 'more place')}: --format json shows all"


def summary(finding: Finding) -> str:
    """What it is, of which environment, and how sure that is."""
    from fluxguard.detect.ruleset import built_in

    descriptions = {rule.id: rule.description for rule in built_in()}
    what = descriptions.get(finding.rule, finding.rule)
    environment = f", {finding.environment}" if finding.environment else ""
    return f"{what}{environment}; {_CONFIDENCE[finding.confidence]}"


def _severity(finding: Finding) -> str:
    if finding.severity == "block":
        return "blocks"
    if all(place.kind == "file" for place in finding.locations):
        return "a warning: it stands in the working tree alone"
    return "a warning"


def places(finding: Finding) -> list[list[Location]]:
    """The places of a key, those together that differ in line and column alone; what is worst first."""
    groups: dict[object, list[Location]] = {}
    for place in finding.locations:
        if place.suppressed is None or finding.suppressed is not None:
            key = (place.repository, place.kind, place.path, place.via, place.trace, _holder(place))
            groups.setdefault(key, []).append(place)
    return sorted(groups.values(), key=lambda group: _rank(group[0]))


def _holder(place: Location) -> str:
    """The object, where a place has no other name."""
    return "" if place.path else place.object


def _rank(place: Location) -> tuple[int, str, bytes, int]:
    trace = place.trace
    if trace is None:
        worth = 4
    elif trace.tips:
        worth = 0 if remains.pushed(place) else 1
    else:
        worth = 2 if trace.refs else 3
    return worth, place.repository, place.path, place.line


def _place(report: Report, group: list[Location], names: Names) -> Iterator[Line]:
    place = group[0]
    yield from wrapped(f"{repository(place.repository, names)}{where(place, names)}{_more(group)}", 4, BLUE)
    trace = place.trace
    if trace is None:
        return
    yield from _brought(report, trace, names)
    yield from standing(trace, names)


def _more(group: list[Location]) -> str:
    rest = [f"{place.line}:{place.column}" for place in group[1:]]
    if not rest:
        return ""
    shown = ", ".join(rest[:NAMES])
    return f", {shown} and {len(rest) - NAMES:,} more" if len(rest) > NAMES else f", {shown}"


def repository(name: str, names: Names) -> str:
    """The name of a repository in front of a place, where several were audited."""
    return f"[{names.repository(name)}] " if name else ""


def where(place: Location, names: Names) -> str:
    """A place in words."""
    path, at = names(place.path), f"{place.line}:{place.column}"
    id = place.object[:SHORT]
    shown = {
        "path": f"{path} (the name of it)",
        "commit-message": f"the message of commit {id}, line {place.line}",
        "commit-header": f"a header of commit {id} (author, committer, signature ...), line {place.line}",
        "tag-message": f"the message of tag object {id}, line {place.line}",
        "tag-header": f"a header of tag object {id}, line {place.line}",
        "ref-name": f"{path} (the name of a ref)",
        "index": f"{path} (in the index)",
        "file": f"{path}:{at} (in the working tree)",
        "reflog": f"{path}:{at} (a reflog)",
        "git-file": f"{path}:{at} (a file of git's)",
        "lfs-object": f"{path}:{at} (an object of LFS)",
    }.get(place.kind, f"{path}:{at}" if path else f"blob {id}:{at}, at no known path")
    if place.via:
        shown += f" (inside {' > '.join(names(step) for step in place.via)})"
    return shown


def _brought(report: Report, trace: Trace, names: Names) -> Iterator[Line]:
    who = shortened(names(trace.author), WHO) if trace.author else ""
    if trace.moved_from:
        yield from labelled("moved from", shortened(names(trace.moved_from), 58))
    if trace.commit:
        yield from labelled("brought by", f"{trace.commit[:SHORT]}  {day(trace.date)}  {who}")
    elif trace.date or who:
        yield from labelled("made by", f"{day(trace.date)}  {who}")
    for id in trace.removed[:REMOVALS]:
        yield from labelled("removed by", _by(report, id, names))
    if len(trace.removed) > REMOVALS:
        yield from labelled("", f"and {len(trace.removed) - REMOVALS:,} more")


def _by(report: Report, id: str, names: Names) -> str:
    """A commit with its date and author."""
    said = report.mentions.get(id)
    who = f"  {day(said.date)}  {shortened(names(said.author), WHO)}" if said else ""
    return id[:SHORT] + who


def standing(trace: Trace, names: Names) -> Iterator[Line]:
    """From where it can be seen."""
    if trace.tips:
        yield from labelled("still in", refs(trace.tips, names), "bold")
    others = [ref for ref in trace.refs if ref not in trace.tips]
    if others:
        yield from labelled("history of", refs(others, names))
    groups = remains.grouped(trace.refs)
    public = [name for group in ("remote", "pull request") for name in groups.get(group, ())]
    if public:
        yield from labelled("PUSHED", listed(public, names), RED)
    if not trace.refs and trace.logs:
        yield from labelled("only in", f"the reflog of {listed(trace.logs, names)}: no ref leads to it")
    elif not trace.refs:
        yield from labelled("only in", "the object store: no ref and no reflog leads to it")


def refs(found: Iterable[bytes], names: Names) -> str:
    """Refs by what they are: `branches main, dev; tag v1`."""
    words = []
    for group, held in remains.grouped(found).items():
        if group == "stash":
            words.append("the stash")
        elif group == "other":
            words.append(listed(held, names))
        else:
            words.append(f"{_plural(group, len(held))} {listed(held, names)}")
    return "; ".join(words)


def _plural(noun: str, number: int) -> str:
    if number == 1 or noun.endswith("s"):
        return noun
    return noun + ("es" if noun.endswith("ch") else "s")


def listed(found: Sequence[bytes], names: Names) -> str:
    """Names, the first few of them."""
    shown = ", ".join(shortened(names(name), 60) for name in found[:NAMES])
    return f"{shown} and {len(found) - NAMES:,} more" if len(found) > NAMES else shown


def shortened(text: str, most: int) -> str:
    """A text, cut where it is too long for a line."""
    return text if len(text) <= most else text[: most - 3] + "..."


def day(date: str) -> str:
    """A date to the minute, with its zone, as a person reads it."""
    return f"{date[:10]} {date[11:16]} {date[19:]}".strip() if date else "at an unknown time"


def labelled(label: str, text: str, style: str = "") -> Iterator[Line]:
    """A fact with its name in front."""
    yield from wrapped(text, 6, style, f"{label:<12}")


def wrapped(text: str, indent: int = 0, style: str = "", lead: str = "") -> Iterator[Line]:
    """A text in lines of 80 columns; what is too long for one is not cut."""
    first = " " * indent + lead
    for line in textwrap.wrap(
        text,
        WIDTH - 1,
        initial_indent=first,
        subsequent_indent=" " * max(len(first), indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield style, line


def _why(findings: list[Finding]) -> Iterator[Line]:
    from fluxguard.detect.ruleset import built_in

    advice = {rule.id: rule.advice for rule in built_in()}
    for text in dict.fromkeys(advice.get(finding.rule, "") for finding in findings):
        if text:
            yield "", ""
            yield from wrapped(f"Why it matters: {text}")


def _suppressed(findings: list[Finding], names: Names) -> Iterator[Line]:
    if findings:
        yield "", ""
        yield GREY, f"Suppressed: {count(len(findings), 'key')}"
    for finding in findings[: 2 * PLACES]:
        reason = finding.suppressed
        shown = f"by {reason.by}: {names(reason.reason)}" if reason else ""
        yield GREY, f"  {finding.secret.masked}  {shown}"
        yield GREY, f"    {where(finding.locations[0], names)}"
    if len(findings) > 2 * PLACES:
        yield GREY, f"  and {len(findings) - 2 * PLACES:,} more: --format json shows all"


# --- what was read -----------------------------------------------------------------------------------------------


def unread(report: Report, names: Names) -> Iterator[Line]:
    """What was not read, by reason."""
    refused = [item for item in report.skipped if item.accepted is None]
    accepted = len(report.skipped) - len(refused)
    if refused:
        yield "", ""
        yield f"bold {ORANGE}", f"Not read: {count(len(refused), 'thing')}"
        groups = _by_reason(refused)
        for reason, items in list(groups.items())[:REASONS]:
            yield from _for_a_reason(reason, items, names)
        if len(groups) > REASONS:
            yield "", f"  and for {count(len(groups) - REASONS, 'more reason')}: --format json shows all"
        yield from wrapped(
            "What can't be read can be accepted, with a reason, in .fluxguard.toml: [[accept-unread]]",
            2,
            GREY,
        )
    if accepted:
        yield "", ""
        yield GREY, f"Accepted as unread by the configuration: {accepted:,}"


def _by_reason(items: Iterable[Unread]) -> dict[str, list[Unread]]:
    groups: dict[str, list[Unread]] = {}
    for item in items:
        groups.setdefault(_HEX.sub("...", item.reason), []).append(item)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _for_a_reason(reason: str, items: list[Unread], names: Names) -> Iterator[Line]:
    said, command = _with_command(names(items[0].reason if len(items) == 1 else reason))
    if len(items) == 1:
        said = f"{repository(items[0].repository, names)}{names(items[0].where)}: {said}"
    else:
        said = f"{len(items):,} times: {said}"
    yield from wrapped(said, 2, ORANGE)
    if command:
        yield "bold", f"       {command}"
    if len(items) == 1:
        return
    for item in items[:EXAMPLES]:
        yield "", f"    {repository(item.repository, names)}{names(item.where)}"
    if len(items) > EXAMPLES:
        yield "", f"    and {len(items) - EXAMPLES:,} more: --format json shows all"


def _with_command(reason: str) -> tuple[str, str]:
    """A reason that ends in a command, in two, so that the command can be copied."""
    said, colon, command = reason.rpartition(": git ")
    return (f"{said}:", f"git {command}") if colon else (reason, "")


def certificates(report: Report, names: Names, brief: bool = False) -> Iterator[Line]:
    """What was read, in words, with the command that proves it. brief: nothing was found, and nothing left out."""
    if not report.certificates:
        return
    if not brief:
        yield "", ""
        yield "bold", "What was read"
    for certificate in report.certificates[:PLACES]:
        yield from _certificate(certificate, names, report)
    if len(report.certificates) > PLACES:
        rest = len(report.certificates) - PLACES
        yield "", f"  and {count(rest, 'more object store')}: --format json shows all"
    yield from wrapped(_beside(report), 2)


def _certificate(certificate: Certificate, names: Names, report: Report) -> Iterator[Line]:
    total = sum(certificate.objects.values())
    kinds = ", ".join(
        count(number, kind if kind != "unknown" else "unreadable one")
        for kind, number in certificate.objects.items()
        if number
    )
    lead = (
        f"{repository(certificate.repository, names)}{names(certificate.store)}: "
        if len(report.certificates) > 1
        else ""
    )
    style = "" if certificate.read == total else ORANGE
    inside = f" ({kinds})" if kinds else ""
    yield from wrapped(f"{lead}{certificate.read:,} of {count(total, 'object')} read{inside}", 2, style)
    yield GREY, f"  {certificate.digest}"
    yield GREY, f"  {names(recompute(certificate, report.target == '.'))}"


def recompute(certificate: Certificate, here: bool) -> str:
    """The command that computes the digest again. here: the repository around the current folder is meant."""
    folder = certificate.path.encode("utf-8", "surrogateescape")
    if not certificate.shared and folder.endswith(b"/objects"):
        own = here and certificate.store == "objects"
        git = "git" if own else f"git --git-dir={quoted(folder.removesuffix(b'/objects'))}"
        return f"{git} cat-file --batch-all-objects --batch-check='%(objectname)' | sha256sum"
    format = " --object-format=sha256" if certificate.width == 32 else ""
    return (
        f"(cd {quoted(folder)} && {{ for i in pack/*.idx; do git show-index{format} <$i | cut -d' ' -f2; done; "
        "find ?? -type f | tr -d /; } | sort -u | sha256sum)"
    )


def _beside(report: Report) -> str:
    refs = sum(len(one.refs) for one in report.beside)
    files: dict[str, int] = {}
    for one in report.beside:
        for kind, held in one.files.items():
            files[kind] = files.get(kind, 0) + len(held)
    words = [count(refs, "ref")]
    for kind, noun in (
        ("reflog", "reflog"),
        ("index", "name in indexes"),
        ("git-file", "file of git's"),
        ("lfs-object", "LFS object"),
        ("file", "file in working trees"),
    ):
        if files.get(kind):
            words.append(_counted(files[kind], noun))
    return f"Beside them: {', '.join(words)}"


def _counted(number: int, noun: str) -> str:
    head, _, tail = noun.partition(" ")
    plural = head if number == 1 else head + "s"
    return f"{number:,} {plural} {tail}" if tail and head != "LFS" else count(number, noun)


def _steps(steps: list[remains.Step], names: Names) -> Iterator[Line]:
    if not steps:
        return
    yield "", ""
    yield "bold", "What to do now"
    yield from numbered(steps, names)


def numbered(steps: list[remains.Step], names: Names) -> Iterator[Line]:
    """Steps with their numbers; commands are never wrapped, so that they can be copied."""
    for number, step in enumerate(steps, 1):
        yield from wrapped(names(step.what), 2, "", f"{number}. ")
        for command in step.commands:
            yield "bold", f"       {names(command)}"
