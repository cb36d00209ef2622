"""The next commands for what was found: for this case, ready to be copied."""

from __future__ import annotations

from fluxguard.model import Finding, Location, Report
from fluxguard.repo.occasion import FILES, MERGE, PATCH
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
    steps += _committed(report, places)
    if any(place.kind in ("staged", "file", "blob") for place in places):
        steps.append(
            (
                "Keep the key outside the repository: in the environment, or in .fluxloop/.env, which .gitignore has to "
                "cover. Read it from there as FLUXLOOP_API_KEY.",
                (),
            )
        )
    if blocking:
        if {place.kind for place in places} != {"commit-header"}:
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
    names = [_quoted(path) for path in sorted(paths)[:NAMES] if not report.names_key(path)]
    return " ".join(["git log --oneline --all", *(["--", *names] if names else [])])


def _committed(report: Report, places: list[Location]) -> list[Step]:
    written = [
        place for place in places if place.kind in ("commit-message", "commit-header") and place.object
    ]
    blobs = list(dict.fromkeys(place.object for place in places if place.kind == "blob"))
    steps: list[Step] = []
    if blobs and not report.start:
        steps.append(
            (
                "It is committed. Take it out of the file and commit that; the history keeps it, so have the key regenerated, "
                "too.",
                (),
            )
        )
    elif blobs or written:
        shown = [f"git log --oneline --find-object={id} {report.start[:12]}.." for id in blobs[:NAMES]]
        steps.append(
            (
                "It is in the commits of this range, even where a later one took it out. Write them anew without it before "
                "they are pushed"
                + (
                    ", and have the key regenerated if they were. Which commits bring it and take it out:"
                    if shown
                    else "."
                ),
                tuple(shown),
            )
        )
    return steps


def _take_out(report: Report, places: list[Location]) -> list[Step]:
    steps: list[Step] = []
    # A name that holds a key can't be told from one that is committed already, where all kinds of files were named.
    brought = ("staged", "path") if report.command == "scan --staged" else ("staged",)
    steps += _unstage(report, sorted({place.path for place in places if place.kind in brought}))
    if any(place.kind == "path" for place in places):
        steps.append(("Rename the file or folder whose name holds the key:", ("git mv -- OLD NEW",)))
    if any(place.kind == "ref-name" for place in places):
        steps.append(("Rename the branch, whose name holds the key:", ("git branch -m NEW-NAME",)))
    if any(place.kind == "commit-message" and not place.object for place in places):
        steps.append(_message(report.occasion))
    if any(place.kind == "commit-header" and not place.object for place in places):
        steps.append(_identity(report.occasion))
    return steps


def _message(occasion: str) -> Step:
    if occasion == PATCH:
        return (
            "Take the key out of the patch's message, and go on with it. Or leave the patch out: git am --skip.",
            (
                '"${EDITOR:-vi}" "$(git rev-parse --git-path rebase-apply/final-commit)"',
                "git am --continue",
            ),
        )
    if occasion == MERGE:
        return "Conclude the merge, and take the key out of its message in the editor:", ("git commit -e",)
    return (
        "Write the message without the key; your draft is kept. If you gave --amend, -a or paths, give them again:",
        ('git commit -e -F "$(git rev-parse --git-path COMMIT_EDITMSG)"',),
    )


def _identity(occasion: str) -> Step:
    if occasion == PATCH:
        return "The patch's author holds the key: leave it out, and have it sent anew.", ("git am --skip",)
    return (
        "A name or mail address of the commit holds the key. It comes from --author, from GIT_AUTHOR_NAME and its like, from "
        "the commit that is amended, or from one of these settings:",
        ("git config --show-origin --name-only --get-regexp '^(user|author|committer)[.]'",),
    )


def _unstage(report: Report, staged: list[bytes]) -> list[Step]:
    names = [path for path in staged if not report.names_key(path)]
    if not names:
        return []
    if report.occasion == FILES:
        return [
            ("Take it out of the file as it is on disk, where this commit reads it, and commit again.", ())
        ]
    if report.occasion == PATCH:
        return _from_patch(names)
    if report.occasion == MERGE:
        return _from_merge(report, names)
    command = "git restore --staged --" if report.born else "git rm -r --cached --"
    if len(names) > NAMES:
        text = f"Take them out of the commit (this takes out all {len(names):,} and what else is staged), then out of the files:"
        return [(text, (f"{command} :/",))]
    return [
        ("Take it out of the commit, then out of the file:", (" ".join([command, *map(_quoted, names)]),))
    ]


def _listed(names: list[bytes]) -> str:
    return " ".join(map(_quoted, names[:NAMES])) if len(names) <= NAMES else ":/"


def _from_patch(names: list[bytes]) -> list[Step]:
    return [
        (
            "The patch brings it. Take it out of the file, and go on:",
            (f"git add -- {_listed(names)}", "git am --continue"),
        ),
        ("Or leave the patch out, and have it sent without the key:", ("git am --skip",)),
    ]


def _from_merge(report: Report, names: list[bytes]) -> list[Step]:
    steps: list[Step] = []
    theirs = [name for name in names if name in report.inherited]
    ours = [name for name in names if name not in report.inherited]
    if theirs:
        steps.append(
            (
                "What you merge holds it in its history, and would bring it into yours: taking it out of the file does not "
                "help. Give the merge up, and take the key out of that branch's commits first; if others have them, have "
                "the key regenerated:",
                ("git merge --abort",),
            )
        )
    if ours:
        steps.append(
            (
                "Take it out of the file, and conclude the merge:",
                (f"git add -- {_listed(ours)}", "git commit"),
            )
        )
    return steps


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
