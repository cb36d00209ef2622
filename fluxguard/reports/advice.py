"""The next commands for what was found: for this case, ready to be copied."""

from __future__ import annotations

from fluxguard.model import Finding, Location, Report
from fluxguard.reports.shell import quoted as _quoted

Step = tuple[str, tuple[str, ...]]
NAMES = 5  # files that a command names
KEYS_PAGE = "https://app.fluxloop.ai/settings/api-keys"


def next_steps(report: Report) -> list[Step]:
    """What the person should do, in this order: (sentence, commands)."""
    blocking = [finding for finding in report.findings if finding.blocks]
    places = [
        place
        for finding in blocking
        for place in finding.locations
        if place.suppressed is None and not place.known
    ]
    steps: list[Step] = []
    steps += _take_out(report, places)
    steps += _committed(places)
    if any(place.kind in ("staged", "file", "blob") for place in places):
        steps.append(
            (
                "Keep the key outside the repository: in the environment, or in .fluxloop/.env, which .gitignore has to "
                "cover. Read it from there as FLUXLOOP_API_KEY.",
                (),
            )
        )
    if blocking:
        steps.append(_false_alarm(places))
        steps.append(_leaked(blocking))
    if any(place.known for finding in report.findings for place in finding.locations):
        known = {place.path for finding in report.findings for place in finding.locations if place.known}
        steps.append(
            (
                "A key that is at HEAD already stands in the history, for all who can read the repository. See since when:",
                (_history(report, known),),
            )
        )
    return steps


def _history(report: Report, paths: set[bytes]) -> str:
    """The command that shows where a committed key comes from."""
    from fluxguard.cli import COMMANDS

    if "audit" in COMMANDS:
        return "fluxguard audit"
    masks = report.masks()
    names = [_quoted(path) for path in sorted(paths)[:NAMES] if not masks.stand_in(path)]
    return " ".join(["git log --oneline --all", *(["--", *names] if names else [])])


def _committed(places: list[Location]) -> list[Step]:
    if not any(place.kind == "blob" for place in places):
        return []
    return [
        (
            "It is committed. Take it out of the file and commit that; the history keeps it, so have the key regenerated, too.",
            (),
        )
    ]


def _take_out(report: Report, places: list[Location]) -> list[Step]:
    steps: list[Step] = []
    # A name that holds a key can't be told from one that is committed already, where all kinds of files were named.
    brought = ("staged", "path") if report.command == "scan --staged" else ("staged",)
    steps += _unstage(report, sorted({place.path for place in places if place.kind in brought}))
    if any(place.kind == "path" for place in places):
        steps.append(("Rename the file or folder whose name holds the key:", ("git mv -- OLD NEW",)))
    if any(place.kind == "ref-name" for place in places):
        steps.append(("Rename the branch, whose name holds the key:", ("git branch -m NEW-NAME",)))
    if any(place.kind == "commit-message" for place in places):
        steps.append(
            (
                "Write the message without the key; your draft is kept:",
                ('git commit -e -F "$(git rev-parse --git-path COMMIT_EDITMSG)"',),
            )
        )
    return steps


def _unstage(report: Report, staged: list[bytes]) -> list[Step]:
    masks = report.masks()
    names = [path for path in staged if not masks.stand_in(path)]
    if not names:
        return []
    command = "git restore --staged --" if report.born else "git rm -r --cached --"
    if len(names) > NAMES:
        text = f"Take them out of the commit (this takes out all {len(names):,} and what else is staged), then out of the files:"
        return [(text, (f"{command} :/",))]
    return [
        ("Take it out of the commit, then out of the file:", (" ".join([command, *map(_quoted, names)]),))
    ]


def _false_alarm(places: list[Location]) -> Step:
    kinds = {place.kind for place in places}
    if "commit-message" in kinds:
        return (
            "A false alarm? Say so on that line of the message, behind the key:",
            ("# fluxguard:allow why this is no key",),
        )
    if kinds <= {"ref-name", "path"}:
        return (
            "A false alarm? Take it for known, by its fingerprint, and commit that file, too:",
            ("fluxguard scan --staged --write-baseline",),
        )
    return (
        "A false alarm? Say so in a comment on the line, or for a whole path with [[allow]] in .fluxguard.toml:",
        ("# fluxguard:allow why this is no key",),
    )


def _leaked(findings: list[Finding]) -> Step:
    from fluxguard.cli import COMMANDS

    if "respond" in COMMANDS:
        return (
            "Was it ever pushed, or shown to anybody? Then it is leaked, and taking it out of the file does not help:",
            (f"fluxguard respond start --finding {findings[0].secret.fingerprint[:20]}",),
        )
    return (
        "Was it ever pushed, or shown to anybody? Then it is leaked: regenerate it now, and use the new one.",
        (KEYS_PAGE,),
    )


def has_command(name: str) -> bool:
    """Whether this fluxguard has a command, so that it can be advised."""
    from fluxguard.cli import COMMANDS

    return name in COMMANDS
