"""The baseline: the fingerprints of keys that are known, never the keys."""

from __future__ import annotations

import json
import os

from fluxguard import settings, writing
from fluxguard.config import BASELINE_SCHEMA, read_entries
from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Report


def write(report: Report, path: str, whole: bool) -> tuple[int, int]:
    """Writes the findings' fingerprints, keeping the reasons that stood there: (written, left out as guessable).

    whole: the report is about all that there is, so that what it does not find any more can go.
    """
    known = read_entries(path, path) if os.path.exists(path) else {}
    found = {finding.secret.fingerprint for finding in report.findings}
    entries = [] if whole else [entry for fingerprint, entry in known.items() if fingerprint not in found]
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
                "reason": known.get(fingerprint, {}).get("reason", ""),
            }
        )
    entries.sort(key=lambda entry: entry["fingerprint"])
    content = json.dumps({"schema": BASELINE_SCHEMA, "findings": entries}, indent=2) + "\n"
    try:
        writing.whole(path, lambda stream: stream.write(content))
    except OSError as error:
        what = f"The baseline can't be written to {path}: {error.strerror}."
        if writing.is_full(error):
            raise FluxguardError(
                what, "Make room, and write it again; what stood there is untouched."
            ) from None
        raise UsageError(what, f"The usual name is {settings.BASELINE}.") from None
    return len(entries), left_out
