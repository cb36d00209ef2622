"""What .gitignore leaves open, for a person: what, why, who opened it, and the commands for this very case."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence

from fluxguard import display
from fluxguard.model import Lines, Report, Uncovered
from fluxguard.reports.advice import KEYS_PAGE
from fluxguard.reports.audited import BLUE, GREEN, GREY, ORANGE, PLACES, RED, Line, numbered, unread, wrapped
from fluxguard.reports.names import Names
from fluxguard.reports.remains import Step
from fluxguard.reports.shell import quoted
from fluxguard.words import count

SHOWN = 4  # paths of one kind before the rest is only counted
COMMANDS = 6  # paths that a command names
_UNENDED = "\0"
_HEADINGS = {
    "tracked": "Tracked by git: no line in .gitignore changes that",
    "staged": "Staged: the next commit would take it along",
    "present": "On disk, and open",
    "expected": "Not there yet, and open when a tool creates it",
    "history": "In the history, tracked no more",
    "shipped": "Packed or built along",
}


def lines(report: Report, advice: bool) -> Iterator[Line]:
    """The whole report. advice: with what to do."""
    names = Names(report)
    yield from wrapped(*headline(report))
    yield from _written(report, names)
    blocking = [gap for gap in report.uncovered if gap.blocks]
    yield from _section(blocking, "bold", "", names)
    rest = [gap for gap in report.uncovered if not gap.blocks and gap.accepted is None]
    yield from _section(rest, ORANGE, "Advised: ", names)
    yield from _accepted(report, names)
    yield from _unmended(report, names)
    yield from unread(report, names)
    for text in report.notes:
        yield "", ""
        yield from wrapped(f"Note: {names(text)}", style=GREY)
    if advice:
        found = list(steps(report, names))
        if found:
            yield "", ""
            yield "bold", "What to do now"
            yield from numbered(found, names)


def headline(report: Report) -> tuple[str, int, str]:
    """What it came to: the text, an indent, and how it is shown."""
    blocking = [gap for gap in report.uncovered if gap.blocks]
    held = sum(len(gap.paths) for gap in blocking if gap.kind in ("tracked", "staged"))
    open_ = sum(len(gap.paths) for gap in blocking if gap.kind in ("present", "expected"))
    parts = [f"leaves {count(open_, 'required path')} open"] if open_ else []
    text = f"fluxguard: .gitignore {parts[0]}" if parts else "fluxguard:"
    if held:
        text += f"{', and' if parts else ''} git tracks {count(held, 'secret file')}"
    if blocking:
        return text + ".", 0, RED
    if not report.complete:
        return (
            "fluxguard: not everything could be looked at, so this is not called covered.",
            0,
            f"bold {ORANGE}",
        )
    asked = f"{count(report.stats.objects, 'path')} asked, {report.stats.seconds:.1f} s"
    return f"fluxguard: .gitignore covers every path that has to be covered ({asked}).", 0, GREEN


def _written(report: Report, names: Names) -> Iterator[Line]:
    for one in report.proposed:
        if one.written:
            yield GREEN, f"Added to {names(one.file)}:"
            yield from (("", f"       {names(line)}") for line in one.lines)


def _section(found: Sequence[Uncovered], style: str, lead: str, names: Names) -> Iterator[Line]:
    for kind, heading in _HEADINGS.items():
        held = [gap for gap in found if gap.kind == kind]
        if not held:
            continue
        yield "", ""
        yield style, lead + (heading[0].lower() + heading[1:] if lead else heading)
        for gap in held[: 3 * PLACES]:
            yield from _gap(gap, names)
        if len(held) > 3 * PLACES:
            yield "", f"  and {count(len(held) - 3 * PLACES, 'more kind')}: --format json shows all"


def _gap(gap: Uncovered, names: Names) -> Iterator[Line]:
    where = f"[{names(gap.tree)}] " if gap.tree else ""
    shown = ", ".join(names(path) for path in gap.paths[:SHOWN])
    more = f" and {len(gap.paths) - SHOWN:,} more" if len(gap.paths) > SHOWN else ""
    by = f"{names(gap.by[0])}: " if gap.kind == "shipped" and gap.by else ""
    yield from wrapped(f"{where}{by}{shown}{more}", 2, BLUE)
    yield from wrapped(names(gap.reason), 4)
    if gap.by and gap.kind != "shipped":
        yield from wrapped(f"opened again by {names(gap.by[0])}:{gap.by[1]}: {names(gap.by[2])}", 4, ORANGE)
    if gap.personal:
        yield from wrapped(
            "covered here alone: by .git/info/exclude, your own excludes, or a .gitignore that no clone has",
            4,
            ORANGE,
        )


def _accepted(report: Report, names: Names) -> Iterator[Line]:
    held = [gap for gap in report.uncovered if gap.accepted is not None]
    if held:
        yield "", ""
        yield GREY, "Excepted by the configuration"
    for gap in held[: 2 * PLACES]:
        shown = ", ".join(names(path) for path in gap.paths[:SHOWN])
        more = f" and {len(gap.paths) - SHOWN:,} more" if len(gap.paths) > SHOWN else ""
        yield from wrapped(f"{shown}{more} ({gap.kind}): {names(gap.accepted or '')}", 2, GREY)
    if len(held) > 2 * PLACES:
        yield GREY, f"  and {len(held) - 2 * PLACES:,} more: --format json shows all"


def _unmended(report: Report, names: Names) -> Iterator[Line]:
    if report.unmended:
        yield "", ""
        yield "bold", "What no line can be written for"
    for path, why in report.unmended[:PLACES]:
        yield from wrapped(f"{names(path)}: {names(why)}", 2, ORANGE)
    if len(report.unmended) > PLACES:
        yield "", f"  and {len(report.unmended) - PLACES:,} more: --format json shows all"


# --- what to do --------------------------------------------------------------------------------------------------


def commands(gap: Uncovered, report: Report, names: Names) -> list[str]:
    """The commands that take a gap's paths out of the index; none where their names can't be written down."""
    if gap.kind not in ("tracked", "staged") or gap.accepted is not None:
        return []
    return _removing(gap.tree or report.root, gap.paths, names)


def _removing(tree: str, paths: Sequence[bytes], names: Names) -> list[str]:
    """Commands for the paths of one working tree, "" for the current folder. Names that hold a key are left out."""
    plain = [path for path in paths if names(path) == display.path(path)]
    at = f"git -C {quoted(os.fsencode(tree))}" if tree else "git"
    return [
        f"{at} rm --cached -- {' '.join(_pathspec(path) for path in plain[start : start + COMMANDS])}"
        for start in range(0, len(plain), COMMANDS)
    ]


def _pathspec(path: bytes) -> str:
    """A path as git takes it for itself alone."""
    return quoted(b":(literal)" + path if re.search(rb"[*?\[\\]|\A:", path) else path)


def steps(report: Report, names: Names) -> Iterator[Step]:
    """What to do now."""
    target = "" if report.target == "." else f" {quoted(os.fsencode(report.target))}"
    proposed = [one for one in report.proposed if not one.written]
    if proposed:
        number = sum(len(one.lines) for one in proposed)
        files = ", ".join(names(one.file) for one in proposed[:3])
        yield Step(
            f"Add {count(number, 'line')} to {files}{' and others' if len(proposed) > 3 else ''} (--diff shows them first), "
            "and commit it:",
            (f"fluxguard gitignore --fix{target}",),
        )
    elif report.proposed:
        written = [quoted(one.file) for one in report.proposed]
        at = f"git -C {quoted(os.fsencode(report.root))}" if report.root else "git"
        yield Step("Commit it, or nobody else has it:", (f"{at} add -- {' '.join(written)}",))
    yield from _untracking(report, names)
    for tree in dict.fromkeys(gap.tree for gap in report.uncovered if gap.tree and gap.kind == "present"):
        yield Step(
            f"{tree} has a .gitignore of its own:",
            (f"fluxguard gitignore --fix {quoted(os.fsencode(tree))}",),
        )
    yield from _leaked(report)
    for gap in report.uncovered:
        if gap.kind == "shipped" and gap.by:
            file = names(gap.by[0])
            if gap.lines:
                yield Step(f"Add to {file}:", tuple(names.all(gap.lines)))
            else:
                yield Step(f"Take out of {file} what packs these files.")
    if any(gap.blocks for gap in report.uncovered):
        yield Step(
            "If one of them is harmless, say so in .fluxguard.toml (docs/configuration.md):",
            ("[[gitignore.except]]", 'paths = ["PATH"]', 'reason = "why it holds no secret"'),
        )


def _untracking(report: Report, names: Names) -> Iterator[Step]:
    held = [gap for gap in report.uncovered if gap.kind in ("tracked", "staged") and gap.accepted is None]
    for blocks in (True, False):
        groups: dict[str, list[bytes]] = {}
        for gap in held:
            if gap.blocks == blocks:
                groups.setdefault(gap.tree or report.root, []).extend(gap.paths)
        found = [command for tree, paths in groups.items() for command in _removing(tree, paths, names)]
        lead = "Take" if blocks else "Where you don't mean to commit them, take"
        if found:
            more = (
                [f"# and {len(found) - PLACES} more: --format json shows all"] if len(found) > PLACES else []
            )
            yield Step(
                f"{lead} these out of the index; the files stay on your disk, and go from others' when they pull the "
                "commit that follows:",
                (*found[:PLACES], *more),
            )
    if any(gap.tree for gap in held):
        yield Step("In a submodule, commit there and push, then commit the submodule's new state here.")
    if any(names(path) != display.path(path) for gap in held for path in gap.paths):
        yield Step("Rename the files whose names hold a key: no command can name them.")


def _leaked(report: Report) -> Iterator[Step]:
    kinds = {gap.kind for gap in report.uncovered if gap.accepted is None and gap.level == "required"}
    if kinds & {"tracked", "history"}:
        target = "" if report.target == "." else f" {quoted(os.fsencode(report.target))}"
        yield Step(
            "What was committed stays in the history for all who can read the repository. See whether a key stands there, and "
            f"regenerate it at {KEYS_PAGE}:",
            (f"fluxguard audit{target}",),
        )


# --- the change --------------------------------------------------------------------------------------------------


def diff(report: Report) -> Iterator[str]:
    """What `--fix` would change, as a unified diff."""
    names = Names(report)
    for one in report.proposed:
        yield from _diff(one, names)


def _diff(one: Lines, names: Names) -> Iterator[str]:
    file = names(one.file)
    source = f"a/{file}" if one.before else "/dev/null"
    for line in difflib.unified_diff(
        _shown(one.before, names), _shown(one.after, names), source, f"b/{file}", lineterm=""
    ):
        yield line.removesuffix(_UNENDED)
        if line.endswith(_UNENDED):
            yield "\\ No newline at end of file"


def _shown(content: bytes, names: Names) -> list[str]:
    """Lines as they may be shown, the last one marked where it has no end."""
    *lines, last = content.split(b"\n")
    return [*names.all(lines), *([names(last) + _UNENDED] if last else [])]


def summary(report: Report) -> Iterator[Line]:
    """The gaps for the report of an audit: a line for all that is not there yet, and the files that are."""
    names = Names(report)
    required = [gap for gap in report.uncovered if gap.blocks]
    if not required:
        return
    paths = sum(len(gap.paths) for gap in required)
    yield (
        f"bold {ORANGE}",
        f".gitignore leaves {count(paths, 'secret path')} to be committed: fluxguard gitignore",
    )
    there = [gap for gap in required if gap.kind != "expected"]
    for gap in there[:PLACES]:
        lead = f"[{names.repository(gap.repository)}] " if gap.repository else ""
        shown = ", ".join(names(path) for path in gap.paths[:SHOWN])
        more = f" and {len(gap.paths) - SHOWN:,} more" if len(gap.paths) > SHOWN else ""
        yield from wrapped(f"{lead}{shown}{more} ({gap.kind})", 2)
    if len(there) > PLACES:
        yield "", f"  and {count(len(there) - PLACES, 'more kind')}: --format json shows all"
