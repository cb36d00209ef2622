"""The contract's report, `fluxguard.report/1`."""

from __future__ import annotations

import json
from typing import Any, TextIO

import fluxguard
from fluxguard.model import (
    Beside,
    Certificate,
    Event,
    Finding,
    Location,
    Report,
    Story,
    Suppression,
    Trace,
    Uncovered,
    Unread,
)
from fluxguard.reports import gaps, remains
from fluxguard.reports.names import Names

SCHEMA = "fluxguard.report/1"


def write(report: Report, stream: TextIO) -> None:
    """Writes the report as one JSON object."""
    json.dump(document(report), stream, indent=2)
    stream.write("\n")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    names = Names(report)
    made = {
        "schema": SCHEMA,
        "tool": {"name": "fluxguard", "version": fluxguard.__version__},
        "command": report.command,
        "target": names(report.target),
        "complete": report.complete,
        "stats": {
            "objects": report.stats.objects,
            "bytes": report.stats.bytes,
            "seconds": round(report.stats.seconds, 3),
        },
        "findings": [_finding(finding, names) for finding in report.findings],
        "skipped": [_unread(unread, names) for unread in report.skipped],
        "uncovered": [_uncovered(gap, report, names) for gap in report.uncovered],
        "certificates": [_certificate(certificate, names) for certificate in report.certificates],
        "stale_suppressions": [names(text) for text in report.stale],
        "notes": [names(text) for text in report.notes],
    }
    if report.command == "audit":
        made["interrupted"] = report.interrupted
        made["repositories"] = [_beside(beside, names) for beside in report.beside]
        made["commits"] = {
            id: {
                "author": names(said.author),
                "date": said.date or None,
                "committed": said.committed or None,
                "subject": names(said.subject),
                "parents": said.parents,
            }
            for id, said in report.mentions.items()
        }
    if report.command == "gitignore":
        made["proposed"] = [
            {**_name(one.file, "file", names), "lines": names.all(one.lines), "written": one.written}
            for one in report.proposed
        ]
        made["unmended"] = [
            {**_name(path, "path", names), "reason": names(why)} for path, why in report.unmended
        ]
    if report.story is not None:
        made["story"] = _story(report, report.story, names)
    return made


def _finding(finding: Finding, names: Names) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "masked": finding.secret.masked,
        "environment": finding.environment,
        "fingerprint": finding.secret.fingerprint,
        "confidence": finding.confidence,
        "severity": finding.severity,
        "suppressed": _suppression(finding.suppressed, names),
        "status": finding.status,
        "locations": [_location(location, names) for location in finding.locations],
    }


def _location(location: Location, names: Names) -> dict[str, Any]:
    return {
        "kind": location.kind,
        **_name(location.path, "path", names),
        "line": location.line,
        "column": location.column,
        "via": [names(step) for step in location.via],
        "object": location.object or None,
        "known": location.known,
        "suppressed": _suppression(location.suppressed, names),
        **(_trace(location.trace, names) if location.trace else {}),
        **_repository(location.repository, names),
    }


def _trace(trace: Trace, names: Names) -> dict[str, Any]:
    return {
        "commit": trace.commit or None,
        "author": names(trace.author) if trace.author else None,
        "date": trace.date or None,
        "removed_in": trace.removed[0] if trace.removed else None,
        "removed": list(trace.removed),
        "refs": [names(ref) for ref in trace.refs],
        "tips": [names(ref) for ref in trace.tips],
        "logs": [names(log) for log in trace.logs],
        "reachable": trace.reachable,
        **(_name(trace.moved_from, "moved_from", names) if trace.moved_from else {"moved_from": None}),
    }


def _repository(name: str, names: Names) -> dict[str, str]:
    return {"repository": names(name)} if name else {}


def _name(name: bytes, field: str, names: Names) -> dict[str, str]:
    try:
        name.decode("utf-8")
        return {field: names(name)}
    except UnicodeDecodeError:
        return {field: names(name), f"{field}_b64": names.base64(name)}


def _unread(unread: Unread, names: Names) -> dict[str, Any]:
    return {
        **_name(unread.where, "where", names),
        "reason": names(unread.reason),
        "accepted": None if unread.accepted is None else names(unread.accepted),
        **_repository(unread.repository, names),
    }


def _certificate(certificate: Certificate, names: Names) -> dict[str, Any]:
    return {
        "store": names(certificate.store),
        "objects": dict(certificate.objects),
        "read": certificate.read,
        "digest": certificate.digest,
        **_repository(certificate.repository, names),
    }


def _beside(beside: Beside, names: Names) -> dict[str, Any]:
    return {
        **_repository(beside.repository, names),
        "path": names(beside.path),
        "refs": [
            {"name": name, "id": id}
            for name, (_, id) in zip(names.all([name for name, _ in beside.refs]), beside.refs, strict=True)
        ],
        "files": {kind: names.all(files) for kind, files in sorted(beside.files.items())},
    }


def _story(report: Report, story: Story, names: Names) -> dict[str, Any]:
    return {
        "asked": story.asked,
        "fingerprint": story.finding.secret.fingerprint if story.finding else None,
        "events": [_event(event, names) for event in story.events],
        "seen_in": {
            group: [names(name) for name in held] for group, held in remains.seen_in(story.finding).items()
        },
        "remaining": [
            {"what": names(step.what), "commands": [names(command) for command in step.commands]}
            for step in remains.cleaning(report, story.finding)
        ],
    }


def _event(event: Event, names: Names) -> dict[str, Any]:
    return {
        "what": event.what,
        "date": event.date or None,
        "commit": event.commit or None,
        "who": names(event.who) if event.who else None,
        **(_name(event.path, "path", names) if event.path else {}),
        **(_name(event.source, "moved_from", names) if event.source else {}),
        "refs": [names(name) for name in event.names],
        **_repository(event.repository, names),
    }


def _uncovered(gap: Uncovered, report: Report, names: Names) -> dict[str, Any]:
    file, line, pattern = gap.by or (b"", 0, b"")
    by = {**_name(file, "file", names), "line": line or None, "pattern": names(pattern) if pattern else None}
    return {
        "kind": gap.kind,
        "level": gap.level,
        "entry": gap.entry,
        "reason": names(gap.reason),
        "paths": [_name(path, "path", names) for path in gap.paths],
        "by": by if gap.by else None,
        "covered": gap.covered,
        "personal": gap.personal,
        "accepted": None if gap.accepted is None else names(gap.accepted),
        "lines": names.all(gap.lines),
        "commands": [names(command) for command in gaps.commands(gap, report, names)],
        "tree": names(gap.tree) if gap.tree else None,
        **_repository(gap.repository, names),
    }


def _suppression(suppression: Suppression | None, names: Names) -> dict[str, str] | None:
    return {"by": suppression.by, "reason": names(suppression.reason)} if suppression else None
