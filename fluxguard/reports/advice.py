"""The next commands for what was found: for this case, ready to be copied."""

from __future__ import annotations

from fluxguard.model import Finding, Location, Report
from fluxguard.reports.shell import quoted as _quoted

Step = tuple[str, tuple[str, ...]]
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
    if any(place.kind in ("staged", "file") for place in places):
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
        steps.append(
            (
                "A key that is at HEAD already stands in the history. See who can read it:",
                ("fluxguard audit",),
            )
        )
    return steps


def _take_out(report: Report, places: list[Location]) -> list[Step]:
    steps: list[Step] = []
    staged = sorted({place.path for place in places if place.kind in ("staged", "path")})
    if report.command == "scan --staged" and staged:
        names = [_quoted(path) for path in staged[:5] if not report.names_key(path)]
        command = ("git restore --staged -- " + " ".join(names),) if names and report.born else ()
        if names and not report.born:
            command = ("git rm --cached -- " + " ".join(names),)
        steps.append(("Take it out of the commit, then out of the file:", command))
    if any(place.kind == "path" for place in places):
        steps.append(("Rename the file: its name is a key, or holds one.", ("git mv -- OLD NEW",)))
    if any(place.kind == "ref-name" for place in places):
        steps.append(("Rename the branch: its name holds the key.", ("git branch -m NEW-NAME",)))
    if any(place.kind == "commit-message" for place in places):
        steps.append(
            (
                "Write the message without the key; your draft is kept:",
                ('git commit -e -F "$(git rev-parse --git-path COMMIT_EDITMSG)"',),
            )
        )
    return steps


def _false_alarm(places: list[Location]) -> Step:
    if all(place.kind in ("commit-message", "ref-name", "path") for place in places):
        return ("A false alarm? Allow it by fingerprint: fluxguard scan --write-baseline", ())
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
