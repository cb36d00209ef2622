"""What a person reads: which key, where, why it matters, what to do. rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import TextIO

from fluxguard import display
from fluxguard.masks import Masks
from fluxguard.model import Finding, Location, Report, Unread
from fluxguard.reports.advice import next_steps
from fluxguard.words import count, size

WIDTH = 80
ORANGE = "dark_orange3"  # yellow can't be read on a light background
KEYS = 30  # keys listed before the rest is only counted
PLACES = 10  # places listed for one key before the rest is only counted
CONFIDENCE = {"high": "the checksum proves it", "medium": "the format fits", "low": "it may be one"}

PUSHES = (
    "hook pre-push",
    "hook pre-receive",
    "hook update",
    "hook reference-transaction",
)  # about commits that exist

_COMMAND = re.compile(r"##(?=[a-z]*\[)")

Line = tuple[str, str]  # rich style, text


def write(report: Report, stream: TextIO, advice: bool = True, color: bool | None = None) -> None:
    """Writes the report. color: None decides by the stream, NO_COLOR and TERM."""
    write_lines(_of(report, advice), stream, color)


def write_lines(source: Iterable[Line], stream: TextIO, color: bool | None = None) -> None:
    """Writes lines with their styles; color as for `write`."""
    lines = [(style, harmless(text)) for style, text in source]
    if color is None:
        color = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    if color:
        _rich(lines, stream)
    else:
        for _, text in lines:
            stream.write(_encodable(text, stream) + "\n")
    stream.flush()


def harmless(line: str) -> str:
    """A line that no CI system takes for a command of its own (::name::, ##[name], ##vso[name]): a file may be called so."""
    if "##" in line:
        line = _COMMAND.sub(r"#\\x23", line)
    lead = len(line) - len(line.lstrip())
    return f"{line[:lead]}\\x3a{line[lead + 1 :]}" if line.startswith("::", lead) else line


def wrapped(text: str, indent: str) -> list[str]:
    """`text` in lines of at most 80 columns, the further ones indented; what has no space in it stays whole."""
    lead = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(), WIDTH, initial_indent=lead, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    ) or [""]  # fmt: skip


def _of(report: Report, advice: bool) -> Iterator[Line]:
    if report.command in PUSHES:
        from fluxguard.reports import pushed

        return pushed.lines(report, advice)
    if report.command == "gitignore":
        from fluxguard.reports import gaps

        return gaps.lines(report, advice)
    if report.command != "audit":
        return _lines(report, advice)
    from fluxguard.reports import audited, told

    return told.lines(report, report.story) if report.story else audited.lines(report, advice)


def _encodable(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _rich(lines: Iterable[Line], stream: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for style, text in lines:
        console.print(Text(_encodable(text, stream), style=style))


def _lines(report: Report, advice: bool) -> Iterator[Line]:
    masks = report.masks()
    blocking = [finding for finding in report.findings if finding.blocks]
    warned = [finding for finding in report.findings if not finding.blocks and finding.suppressed is None]
    suppressed = [finding for finding in report.findings if finding.suppressed is not None]
    yield _headline(report, blocking)
    if blocking:
        yield from _findings(blocking, masks, "bold red")
        if advice:
            yield from why(blocking)
    if warned:
        yield "", ""
        yield f"bold {ORANGE}", f"Not blocking: {count(len(warned), 'key')}"
        yield from _findings(warned, masks, ORANGE)
    production = [finding for finding in suppressed if _is_loud(finding)]
    others = [finding for finding in suppressed if not _is_loud(finding)]
    # Whoever writes into the repository may have said so: nobody should let one of these through unseen.
    yield from _suppressed(production, masks, ORANGE, "Let through, though of production")
    yield from _suppressed(others, masks, "dim", "Suppressed")
    yield from unread(report, masks)
    for text in report.stale:
        yield ORANGE, f"Note: {display.safe(text, masks)}"
    for text in report.notes:
        yield "dim", f"Note: {display.safe(text, masks)}"
    if advice and (blocking or warned):
        yield from _steps(report)


def _is_loud(finding: Finding) -> bool:
    """Whether configuration lets a key of production through; a comment stands beside its key, for all to see."""
    reason = finding.suppressed
    return finding.environment == "prod" and reason is not None and reason.by != "allow-comment"


def _suppressed(findings: list[Finding], masks: Masks, style: str, title: str) -> Iterator[Line]:
    if findings:
        yield "", ""
        yield style, f"{title}: {count(len(findings), 'key')}"
    for finding in findings:
        reason = finding.suppressed
        shown = display.safe(reason.reason, masks) if reason else ""
        yield style, f"  {finding.secret.masked}  by {reason.by if reason else ''}: {shown}"
        yield style, f"    {_place(finding.locations[0], masks)}"


def _headline(report: Report, blocking: list[Finding]) -> Line:
    looked = f"{count(report.stats.objects, 'object')}, {size(report.stats.bytes)}"
    refused = report.command == "scan --staged" or report.command.startswith("hook")
    if blocking:
        if report.command.startswith("hook commit-msg"):
            return (
                "bold red",
                f"fluxguard: {_holder(blocking)} {count(len(blocking), 'key')}. The commit is refused.",
            )
        if report.command == "scan --staged":
            return (
                "bold red",
                f"fluxguard: {count(len(blocking), 'key')} would be committed. The commit is refused.",
            )
        if report.command == "hook pre-commit":
            return (
                "bold red",
                f"fluxguard: {count(len(blocking), 'key')} found in the files that were named.",
            )
        return "bold red", f"fluxguard: {count(len(blocking), 'key')} found ({looked})."
    if not report.complete and refused:
        return f"bold {ORANGE}", "fluxguard: not everything could be read. The commit is refused."
    if not report.complete:
        return f"bold {ORANGE}", "fluxguard: not everything could be read, so this is not called clean."
    return "green", f"fluxguard: no key found that blocks ({looked}, {report.stats.seconds:.1f} s)."


def _holder(findings: list[Finding]) -> str:
    kinds = {place.kind for finding in findings for place in finding.locations}
    return "author or committer hold" if kinds == {"commit-header"} else "the commit message holds"


def _findings(findings: list[Finding], masks: Masks, style: str) -> Iterator[Line]:
    from fluxguard.detect.ruleset import built_in

    descriptions = {rule.id: rule.description for rule in built_in()}
    for finding in findings[:KEYS]:
        what = descriptions.get(finding.rule, finding.rule)
        environment = f", {finding.environment}" if finding.environment else ""
        yield "", ""
        yield style, f"  {finding.secret.masked}"
        yield "", f"  {what}{environment}: {CONFIDENCE[finding.confidence]}"
        open_places = [place for place in finding.locations if place.suppressed is None] or list(
            finding.locations
        )
        for place in open_places[:PLACES]:
            yield "bold", f"    {_place(place, masks)}"
        if len(open_places) > PLACES:
            yield "", f"    and {len(open_places) - PLACES:,} more places (all of them: --format json)"
    if len(findings) > KEYS:
        yield "", ""
        yield style, f"  and {count(len(findings) - KEYS, 'more key')} (all of them: --format json)"


def _place(place: Location, masks: Masks) -> str:
    path = display.path(place.path, masks)
    shown = {
        "path": f"{path} (the file's name)",
        "ref-name": f"{path} (the branch's name)",
        "commit-message": f"the commit message, line {place.line}, column {place.column}",
        "commit-header": "the author's or committer's name or mail address",
    }.get(place.kind, f"{path}:{place.line}:{place.column}")
    if place.kind == "blob":
        shown += " (committed)"
    elif place.object and place.kind in ("commit-message", "commit-header"):
        shown += f" (of commit {place.object[:10]})"
    if place.via:
        shown += f" (inside {' > '.join(display.safe(step, masks) for step in place.via)})"
    return shown + (" (there at HEAD already)" if place.known else "")


def why(findings: list[Finding]) -> Iterator[Line]:
    """What somebody could do with such a key."""
    from fluxguard.detect.ruleset import built_in

    advice = {rule.id: rule.advice for rule in built_in()}
    for text in dict.fromkeys(advice.get(finding.rule, "") for finding in findings):
        if text:
            yield "", ""
            for line in textwrap.wrap(f"Why it matters: {text}", WIDTH - 2):
                yield "", line


def _steps(report: Report) -> Iterator[Line]:
    yield "", ""
    yield "bold", "What to do now"
    for number, (text, commands) in enumerate(next_steps(report), 1):
        for line in wrapped(f"  {number}. {text}", "     "):
            yield "", line
        for command in commands:
            yield "bold", f"       {command}"


def unread(report: Report, masks: Masks) -> Iterator[Line]:
    """What was not looked at, and how to accept that."""
    refused = [one for one in report.skipped if one.accepted is None]
    accepted = len(report.skipped) - len(refused)
    if refused:
        yield "", ""
        yield f"bold {ORANGE}", f"Not read: {len(refused):,}"
        for one in refused[:PLACES]:
            yield ORANGE, f"  {display.path(one.where, masks)}: {display.safe(one.reason, masks)}"
        if len(refused) > PLACES:
            yield ORANGE, f"  and {len(refused) - PLACES:,} more (all of them: --format json)"
        yield "", "  What can't be read can be accepted, with a reason, in .fluxguard.toml:"
        yield from _exception(refused[0], masks)
    if accepted:
        yield "dim", f"Accepted as unread by the configuration: {accepted:,}"


def _exception(unread: Unread, masks: Masks) -> Iterator[Line]:
    """The entry that accepts it, ready to be copied; not where the name holds a key or can't be written down."""
    name = unread.where.decode("utf-8", "replace")
    if display.path(unread.where, masks) != name or '"' in name or "\\" in name:
        name = "PATH"
    yield "bold", "       [[accept-unread]]"
    yield "bold", f'       path = "{name}"'
    yield "bold", '       reason = "why this is harmless"'
