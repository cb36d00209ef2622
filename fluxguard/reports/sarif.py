"""SARIF 2.1.0, as OASIS defines it and as GitHub's code scanning takes it.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/ and GitHub's "SARIF support for code scanning". One result for each key, at
the place that counts most; the others are related locations. Times are left out, so that nothing but findings changes it.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

import fluxguard
from fluxguard.detect.ruleset import built_in
from fluxguard.display import safe
from fluxguard.model import Finding, Report, Suppression, Unread
from fluxguard.reports import standing, uncovered
from fluxguard.reports.names import Names
from fluxguard.reports.standing import Spot, Standing
from fluxguard.reports.uncovered import Open, Place

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HOME = "https://github.com/fluxguard/fluxguard"
ROOT = "%SRCROOT%"
RESULTS = 25_000  # GitHub rejects a run with more
PLACES = 100  # further places of one key; GitHub ignores more
_RANK = {"high": 95.0, "medium": 75.0, "low": 40.0}  # SARIF's priority, from 0 to 100
_GRAVE = {"fluxloop-api-key": "9.3", "fluxloop-legacy-key": "8.1"}  # of CVSS; GitHub calls over 9.0 critical
_SURE = {"fluxloop-api-key": "very-high", "fluxloop-legacy-key": "high"}


def _text(text: str) -> str:
    """Text for a SARIF message (3.11): no name in it makes a link or a placeholder."""
    for character in "\\[]":
        text = text.replace(character, "\\" + character)
    return text.replace("{", "{{").replace("}", "}}")


def _marked(text: str) -> str:
    """Text for Markdown, where a rule's own words may hold anything."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>()#+!|&~" else one for one in text)


def write(report: Report, stream: TextIO) -> None:
    """Writes the report as a SARIF log with one run."""
    json.dump(document(report), stream, indent=2)
    stream.write("\n")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    names = Names(report)
    places = Standing(report, names)
    gaps = uncovered.listed(report, places)
    rules = [*_rules(report), *([_GAP_RULE] if gaps else [])]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    run = {
        "tool": {"driver": _driver(rules)},
        "automationDetails": {"id": f"fluxguard/{report.command.replace(' ', '')}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"description": {"text": "The top folder of the repository."}}},
        "invocations": [_invocation(report, places)],
        "results": [
            *(_result(one, index[one.rule], places) for one in report.findings[:RESULTS]),
            *(_gap(one, index[GAP]) for one in gaps[: max(0, RESULTS - len(report.findings))]),
        ],
        **_provenance(report, names),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _driver(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "fluxguard",
        "organization": "fluxguard",
        "version": fluxguard.__version__,
        "semanticVersion": fluxguard.__version__,
        "informationUri": HOME,
        "rules": rules,
        "notifications": [
            _descriptor(
                "not-read", "NotRead", "Something was not looked at, so that it does not count as clean."
            ),
            _descriptor("remark", "Note", "Something that whoever reads the report should know."),
        ],
    }


def _descriptor(id: str, name: str, text: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": text},
        "helpUri": f"{HOME}/blob/main/docs/report.md",
    }


def _rules(report: Report) -> list[dict[str, Any]]:
    """The rules that come with fluxguard, and those that a configuration added and that found something."""
    known = [rule.id for rule in built_in()]
    added = sorted({finding.rule for finding in report.findings} - set(known))
    return [_rule(id) for id in (*known, *added)]


def _rule(id: str) -> dict[str, Any]:
    what, why = standing.what(id), standing.why(id)
    return {
        "id": id,
        "name": "".join(word.capitalize() for word in id.split("-")),
        "shortDescription": {"text": _text(f"{what} in the repository.")},
        "fullDescription": {"text": _text(f"{what} in the repository. {why}")},
        "help": {"text": _text(f"{why} {_HELP}"), "markdown": f"{_marked(why)}\n\n{_HELP_MARKDOWN}"},
        "helpUri": f"{HOME}#what-it-finds",
        "defaultConfiguration": {"level": "error"},
        "properties": {
            "precision": _SURE.get(id, "medium"),
            "problem.severity": "error",
            "security-severity": _GRAVE.get(id, "7.5"),
            "tags": ["security", "secret", "external/cwe/cwe-798"],
        },
    }


_HELP = (
    "Regenerate the key first: whoever has a copy of the repository has it, and taking it out of the file does not help. "
    "Then put the new one into the environment as FLUXLOOP_API_KEY, or into .fluxloop/.env, which .gitignore has to cover. "
    "A false alarm: a comment with fluxguard:allow and a reason on that line, or [[allow]] in .fluxguard.toml."
)
_HELP_MARKDOWN = (
    "1. **Regenerate the key first.** Whoever has a copy of the repository has it, and taking it out of the file does not help.\n"
    "2. Put the new one into the environment as `FLUXLOOP_API_KEY`, or into `.fluxloop/.env`, which `.gitignore` has to cover.\n"
    "3. `fluxguard audit` says who brought it, and which branches and tags still lead to it.\n\n"
    "A false alarm: a comment with `fluxguard:allow` and a reason on that line, or `[[allow]]` in `.fluxguard.toml`."
)


GAP = "uncovered-path"
_GAP_WHAT = "A path that holds secrets, or will, can be committed: .gitignore does not cover it."
_GAP_HELP = (
    "fluxguard gitignore says which, why, and what opens it again; with --fix it writes the missing lines. What git tracks "
    "already is taken out of the index by git rm --cached. A false alarm: [[gitignore.except]] in .fluxguard.toml."
)
_GAP_RULE = {
    "id": GAP,
    "name": "UncoveredPath",
    "shortDescription": {"text": _GAP_WHAT},
    "fullDescription": {"text": _GAP_WHAT},
    "help": {"text": _text(_GAP_HELP), "markdown": _marked(_GAP_HELP)},
    "helpUri": f"{HOME}/blob/main/docs/report.md",
    "defaultConfiguration": {"level": "warning"},
    "properties": {
        "precision": "high",
        "problem.severity": "warning",
        "security-severity": "4.0",
        "tags": ["security", "external/cwe/cwe-538"],
    },
}


def _result(finding: Finding, index: int, places: Standing) -> dict[str, Any]:
    first, *others = places.spots(finding)
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "kind": "fail",
        "level": _level(finding),
        "rank": _RANK[finding.confidence],
        "message": {"text": _message(finding, first, others)},
        "locations": [_location(first)],
        "relatedLocations": [
            {"id": number, **_location(spot), "message": {"text": _text(spot.words)}}
            for number, spot in enumerate(others[:PLACES], 1)
        ],
        "partialFingerprints": {
            "fluxguardKey/v1": finding.secret.fingerprint,
            # GitHub's own would be a hash of the line; this one stays when the line changes, and another key gets another.
            "primaryLocationLineHash": f"{finding.secret.fingerprint[4:36]}:1",
        },
        "suppressions": [_suppression(finding.suppressed, places.names)] if finding.suppressed else [],
        "properties": {
            "masked": finding.secret.masked,
            "environment": safe(finding.environment),
            "confidence": finding.confidence,
            "severity": finding.severity,
            "status": finding.status,
            "places": len(finding.locations),
        },
    }


def _gap(gap: Open, index: int) -> dict[str, Any]:
    """A gap: the path that nothing keeps from being committed, with the line that opens it among the related places."""
    others = [*([gap.by] if gap.by and gap.by != gap.first else []), *gap.others][:PLACES]
    accepted = gap.accepted is not None
    return {
        "ruleId": GAP,
        "ruleIndex": index,
        "kind": "fail",
        "level": gap.level,
        "message": {"text": _text(gap.text)},
        "locations": [_file(gap.first)],
        "relatedLocations": [
            {"id": number, **_file(place), "message": {"text": _text(place.file)}}
            for number, place in enumerate(others, 1)
        ],
        "partialFingerprints": {"fluxguardGap/v1": f"{gap.kind}:{gap.entry}:{gap.first.uri}"},
        "suppressions": [{"kind": "external", "status": "accepted", "justification": gap.accepted}] if accepted else [],
        "properties": {"kind": gap.kind, "entry": gap.entry, "required": gap.required},
    }  # fmt: skip


def _file(place: Place) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": _artifact(place.uri),
            "region": {"startLine": place.line},
        }
    }


def _level(finding: Finding) -> str:
    """GitHub knows no suppressions, so what is suppressed is at least not an error there."""
    if finding.suppressed is not None:
        return "note"
    return "error" if finding.severity == "block" else "warning"


def _message(finding: Finding, first: Spot, others: list[Spot]) -> str:
    text = f"{standing.sentence(finding)} stands in {first.words}"
    text = _text(f"{text} ({first.note})." if first.note else f"{text}.")
    if others:
        links = ", ".join(f"[{_text(spot.words)}]({number})" for number, spot in enumerate(others[:10], 1))
        more = f" and {len(others) - 10:,} more" if len(others) > 10 else ""
        text += f" Also in {links}{more}."
    return f"{text} {_text(standing.why(finding.rule))}"


def _location(spot: Spot) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": _artifact(spot.uri),
            "region": {
                "startLine": spot.line,
                "startColumn": spot.column,
                "endLine": spot.line,
                "endColumn": spot.end,
            },
        },
        **(
            {}
            if spot.in_tree
            else {"logicalLocations": [{"fullyQualifiedName": spot.words, "kind": "resource"}]}
        ),
    }


def _artifact(uri: str) -> dict[str, str]:
    return {"uri": uri} if uri.startswith("file:") else {"uri": uri, "uriBaseId": ROOT}


def _suppression(suppression: Suppression, names: Names) -> dict[str, str]:
    kind = "inSource" if suppression.by == "allow-comment" else "external"
    reason = names(suppression.reason)
    return {
        "kind": kind,
        "status": "accepted",
        "justification": f"{suppression.by}: {reason}" if reason else suppression.by,
    }


def _invocation(report: Report, places: Standing) -> dict[str, Any]:
    notes = [places.names(text) for text in (*report.stale, *report.notes, uncovered.to_come(report)) if text]
    left_out = len(report.findings) - RESULTS
    if left_out > 0:
        notes.append(
            f"{left_out:,} more keys are not in this file: it takes {RESULTS:,}. --format json has all."
        )
    return {
        "executionSuccessful": report.complete and not report.interrupted,
        "exitCode": report.exit_code,
        "toolExecutionNotifications": [
            *(_notification(unread, places) for unread in report.skipped),
            *({"descriptor": {"id": "remark", "index": 1}, "level": "note", "message": {"text": _text(note)}} for note in notes),
        ],
    }  # fmt: skip


def _notification(unread: Unread, places: Standing) -> dict[str, Any]:
    text = f"Not read: {places.names(unread.where)}: {places.names(unread.reason)}."
    if unread.accepted is not None:
        text += f" Accepted: {places.names(unread.accepted)}."
    return {
        "descriptor": {"id": "not-read", "index": 0},
        "level": "error" if unread.accepted is None else "note",
        "message": {"text": _text(text)},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(places.where(unread.where))}}],
    }


def _provenance(report: Report, names: Names) -> dict[str, Any]:
    checkout = report.checkout
    if checkout is None or not checkout.remote:
        return {}
    return {
        "versionControlProvenance": [
            {
                "repositoryUri": names(checkout.remote),
                **({"revisionId": checkout.revision} if checkout.revision else {}),
                **({"branch": names(checkout.branch)} if checkout.branch else {}),
                "mappedTo": {"uriBaseId": ROOT},
            }
        ]
    }
