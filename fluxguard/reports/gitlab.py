"""GitLab's secret-detection report, format 15.2: one vulnerability for each place of each key that is not suppressed.

https://gitlab.com/gitlab-org/security-products/security-report-schemas (dist/secret-detection-report-format.json).
"""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from typing import Any, TextIO

import fluxguard
from fluxguard.detect.ruleset import built_in
from fluxguard.model import Finding, Location, Report, Unread
from fluxguard.reports import standing, uncovered
from fluxguard.reports.markdown import code
from fluxguard.reports.names import Names
from fluxguard.reports.sarif import HOME
from fluxguard.reports.standing import Spot, Standing

VERSION = "15.2.4"
SCHEMA = (
    "https://gitlab.com/gitlab-org/security-products/security-report-schemas/-/raw/"
    f"v{VERSION}/dist/secret-detection-report-format.json"
)
NO_COMMIT = "0000000"  # what GitLab's own analyzer writes where there is none
_LONGEST = 1_000_000  # of a description; 1,048,576 are allowed
_TOOL = {
    "id": "fluxguard",
    "name": "fluxguard",
    "url": HOME,
    "version": fluxguard.__version__,
    "vendor": {"name": "fluxguard"},
}
_SOLUTION = (
    "Regenerate the key first: whoever has a copy of the repository has it. Then take it out of the file, and read the new "
    "one from the environment. fluxguard audit says who brought it, and which branches and tags still lead to it."
)


def write(report: Report, stream: TextIO) -> None:
    """Writes the report as one JSON object."""
    json.dump(document(report), stream, indent=2)
    stream.write("\n")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    places = Standing(report)
    return {
        "version": VERSION,
        "schema": SCHEMA,
        "scan": {
            "type": "secret_detection",
            "status": "success" if report.complete and not report.interrupted else "failure",
            "start_time": _time(report.ended - round(report.stats.seconds)),
            "end_time": _time(report.ended),
            "analyzer": _TOOL,
            "scanner": _TOOL,
            "primary_identifiers": [_rule(rule.id) for rule in built_in()],
            "messages": _messages(report, places),
        },
        "vulnerabilities": [
            _vulnerability(report, finding, place, places)
            for finding in report.findings
            for place in finding.locations
            if place.suppressed is None
        ],
    }


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(max(seconds, 0), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _vulnerability(report: Report, finding: Finding, place: Location, places: Standing) -> dict[str, Any]:
    spot = places.spot(finding, place)
    fingerprint = finding.secret.fingerprint
    commit = _commit(report, place, places.names)
    identity = "\0".join((fingerprint, spot.uri, str(spot.line), str(spot.column), commit["sha"], place.kind))
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{HOME}\0{identity}")),
        "name": standing.what(finding.rule)[:255],
        "description": _description(finding, spot),
        "severity": _severity(finding),
        "solution": _SOLUTION,
        "raw_source_code_extract": finding.secret.masked,
        "identifiers": [
            _rule(finding.rule),
            {"type": "fluxguard_fingerprint", "name": fingerprint, "value": fingerprint},
            {
                "type": "cwe",
                "name": "CWE-798",
                "value": "798",
                "url": "https://cwe.mitre.org/data/definitions/798.html",
            },
        ],
        "location": {"file": spot.file, "start_line": spot.line, "end_line": spot.line, "commit": commit},
        "tracking": _tracking(fingerprint, spot),
    }


def _rule(id: str) -> dict[str, str]:
    return {"type": "fluxguard_rule", "name": f"fluxguard rule {id}", "value": id}


def _severity(finding: Finding) -> str:
    if finding.severity != "block":
        return "Low" if finding.confidence == "low" else "Medium"
    return "High" if finding.confidence == "low" else "Critical"


def _description(finding: Finding, spot: Spot) -> str:
    note = f" ({code(spot.note)})" if spot.note else ""
    text = (
        f"{code(standing.sentence(finding))} stands in {code(spot.words)}{note}.\n\n"
        f"{code(standing.why(finding.rule))}\n\nFingerprint: {code(finding.secret.fingerprint)}"
    )
    return text[:_LONGEST]


def _commit(report: Report, place: Location, names: Names) -> dict[str, str]:
    """The commit that brought it; of a file on disk, the one at HEAD."""
    trace = place.trace
    if trace is None or not trace.commit:
        at_head = report.checkout.revision if report.checkout and place.kind in ("file", "staged") else ""
        return {"sha": at_head or NO_COMMIT}
    said = report.mentions.get(trace.commit)
    return {
        "sha": trace.commit,
        "author": names(trace.author),
        "date": trace.date,
        **({"message": names(said.subject)} if said else {}),
    }


def _tracking(fingerprint: str, spot: Spot) -> dict[str, Any]:
    """Tells two keys on one line apart, and knows one again that moved to another line."""
    value = hashlib.sha256(f"{fingerprint}\0{spot.uri}".encode()).hexdigest()
    return {
        "type": "source",
        "items": [
            {
                "file": spot.file,
                "start_line": spot.line,
                "end_line": spot.line,
                "signatures": [{"algorithm": "hash", "value": value}],
            }
        ],
    }


def _messages(report: Report, places: Standing) -> list[dict[str, str]]:
    """What is no key: the format has no other place for what .gitignore leaves open."""
    names = places.names
    counts = standing.counted(report)
    found = [
        _message("warn" if one.accepted is None else "info", _unread(one, names)) for one in report.skipped
    ]
    if report.interrupted:
        found.append(_message("fatal", "The scan was interrupted."))
    if counts["suppressed"]:
        found.append(_message("info", f"{counts['suppressed']:,} suppressed keys are not listed."))
    found += [
        _message("info" if gap.level == uncovered.NOTE else "warn", _gap(gap))
        for gap in uncovered.listed(report, places)
    ]
    return found + [
        _message("info", names(text))
        for text in (*report.stale, *report.notes, uncovered.to_come(report))
        if text
    ]


def _gap(gap: uncovered.Open) -> str:
    return gap.text if gap.accepted is None else f"{gap.text} (accepted: {gap.accepted})"


def _unread(unread: Unread, names: Names) -> str:
    accepted = "" if unread.accepted is None else f" (accepted: {names(unread.accepted)})"
    return f"Not read: {names(unread.where)}: {names(unread.reason)}{accepted}"


def _message(level: str, value: str) -> dict[str, str]:
    return {"level": level, "value": value}
