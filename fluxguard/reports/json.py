"""The contract's report, `fluxguard.report/1`."""

from __future__ import annotations

import base64
import json
from typing import Any, TextIO

import fluxguard
from fluxguard import display
from fluxguard.model import Finding, Location, Report, Suppression, Unread

SCHEMA = "fluxguard.report/1"


def write(report: Report, stream: TextIO) -> None:
    """Writes the report as one JSON object."""
    json.dump(document(report), stream, indent=2)
    stream.write("\n")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    masks = report.masks()
    return {
        "schema": SCHEMA,
        "tool": {"name": "fluxguard", "version": fluxguard.__version__},
        "command": report.command,
        "target": display.safe(report.target, masks),
        "complete": report.complete,
        "stats": {
            "objects": report.stats.objects,
            "bytes": report.stats.bytes,
            "seconds": round(report.stats.seconds, 3),
        },
        "findings": [_finding(finding, masks) for finding in report.findings],
        "skipped": [_unread(unread, masks) for unread in report.skipped],
        "uncovered": [],
        "certificates": [],
        "stale_suppressions": [display.safe(text, masks) for text in report.stale],
        "notes": [display.safe(text, masks) for text in report.notes],
    }


def _finding(finding: Finding, masks: dict[bytes, str]) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "masked": finding.secret.masked,
        "environment": finding.environment,
        "fingerprint": finding.secret.fingerprint,
        "confidence": finding.confidence,
        "severity": finding.severity,
        "suppressed": _suppression(finding.suppressed, masks),
        "status": finding.status,
        "locations": [_location(location, masks) for location in finding.locations],
    }


def _location(location: Location, masks: dict[bytes, str]) -> dict[str, Any]:
    return {
        "kind": location.kind,
        **_path(location.path, "path", masks),
        "line": location.line,
        "column": location.column,
        "via": [display.safe(step, masks) for step in location.via],
        "object": location.object or None,
        "known": location.known,
        "suppressed": _suppression(location.suppressed, masks),
    }


def _path(path: bytes, name: str, masks: dict[bytes, str]) -> dict[str, str]:
    shown = display.path(path, masks)
    try:
        path.decode("utf-8")
        return {name: shown}
    except UnicodeDecodeError:
        hidden = path
        for value, mask in masks.items():
            hidden = hidden.replace(value, mask.encode())
        return {name: shown, f"{name}_b64": base64.b64encode(hidden).decode()}


def _unread(unread: Unread, masks: dict[bytes, str]) -> dict[str, Any]:
    return {
        **_path(unread.where, "where", masks),
        "reason": display.safe(unread.reason, masks),
        "accepted": unread.accepted,
    }


def _suppression(suppression: Suppression | None, masks: dict[bytes, str]) -> dict[str, str] | None:
    return {"by": suppression.by, "reason": display.safe(suppression.reason, masks)} if suppression else None
