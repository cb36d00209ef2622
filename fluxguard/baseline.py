"""The baseline: the fingerprints of keys that are known, never the keys."""

from __future__ import annotations

import json
import os

from fluxguard import settings
from fluxguard.config import BASELINE_SCHEMA, read_baseline
from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Report
from fluxguard.writing import is_full, whole


def write(report: Report, path: str) -> tuple[int, int]:
    """Writes the findings' fingerprints, keeping the reasons that stood there: (written, left out as guessable)."""
    known = read_baseline(path, path) if os.path.lexists(path) else {}
    entries = []
    left_out = 0
    for finding in sorted(report.findings, key=lambda finding: finding.secret.fingerprint):
        if finding.suppressed is not None and finding.suppressed.by != "baseline":
            continue
        if finding.secret.guessable:
            left_out += 1
            continue
        fingerprint = finding.secret.fingerprint
        entries.append(
            {
                "fingerprint": fingerprint,
                "masked": finding.secret.masked,
                "rule": finding.rule,
                "reason": known.get(fingerprint, ""),
            }
        )
    content = json.dumps({"schema": BASELINE_SCHEMA, "findings": entries}, indent=2) + "\n"
    try:
        whole(path, lambda stream: stream.write(content))
    except OSError as error:
        what = f"The baseline can't be written to {path}: {error.strerror}."
        if is_full(error):
            raise FluxguardError(
                what, "Make room, and write it again; what stood there is untouched."
            ) from None
        raise UsageError(what, f"The usual name is {settings.BASELINE}.") from None
    return len(entries), left_out
