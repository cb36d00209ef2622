"""Lets one commit or push pass in spite of what was found: only with a reason, and never without a trace.

`FLUXGUARD_BYPASS="reason" git commit ...`. What was let pass is written to a log in the git directory, with the
fingerprints of the keys, and never a key; `fluxguard audit` and `fluxguard doctor` show it. A server knows no bypass.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from fluxguard import display
from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Report
from fluxguard.repo import layout, seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime

VARIABLE = "FLUXGUARD_BYPASS"
LOG = "bypassed.jsonl"
SCHEMA = "fluxguard.bypass/1"
_LONGEST_REASON = 500
_LARGEST_LOG = 16 << 20


def asked(env: Mapping[str, str]) -> str | None:
    """The reason for a bypass, None where nobody asked for one. Raises UsageError for one without a reason."""
    reason = env.get(VARIABLE)
    if reason is None:
        return None
    if not any(character.isalnum() for character in reason):
        raise UsageError(
            f"{VARIABLE} is set, but gives no reason, so nothing is let pass.",
            f'Give one: {VARIABLE}="why this may pass" git ...',
        )
    return reason[:_LONGEST_REASON]


def grant(report: Report, hook: str, reason: str, now: datetime.datetime) -> None:
    """Writes it down, and says so. Raises FluxguardError where it can't be written: then nothing is let pass."""
    entry = {
        "schema": SCHEMA,
        "time": now.isoformat(timespec="seconds"),
        "hook": hook,
        "reason": display.safe(reason, report.masks()),
        "unread": sum(one.accepted is None for one in report.skipped),
        "findings": [
            {
                "rule": finding.rule,
                "masked": finding.secret.masked,
                "fingerprint": None if finding.secret.guessable else finding.secret.fingerprint,
            }
            for finding in report.findings
            if finding.blocks
        ],
    }
    try:
        path = _append(json.dumps(entry) + "\n")
    except OSError as error:
        raise FluxguardError(
            f"The bypass can't be written down ({error.strerror}), so nothing is let pass.",
            "Make the git directory writable, or mend what was found.",
        ) from None
    sys.stderr.write(
        f"\nfluxguard: let pass all the same, for: {entry['reason']}\n"
        f"  Written to {display.safe(path)}; fluxguard audit and fluxguard doctor show it.\n"
    )


def _append(line: str) -> str:
    common = layout.common_dir()
    if common is None:
        raise FluxguardError(
            "There is no git directory to write the bypass to.", "Mend what was found instead."
        )
    folder = os.path.join(common, seen.FOLDER)
    if os.path.islink(folder):
        raise OSError(40, "its folder is a symbolic link")
    os.makedirs(folder, 0o700, exist_ok=True)
    path = os.path.join(folder, LOG)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    return path


def told(common: str) -> Iterator[str]:
    """What was let pass in a repository, oldest first, as sentences. common: its git directory."""
    for entry in entries(common):
        keys = [str(finding.get("masked")) for finding in entry["findings"] if isinstance(finding, dict)]
        what = ", ".join(keys) if keys else "what could not be read"
        yield display.safe(
            f"Let pass on {entry['time']} by {entry['hook']}: {what}; reason: {entry['reason']}"
        )


def entries(common: str) -> list[dict[str, Any]]:
    """The log's entries; a line that is none is passed over."""
    path = os.path.join(common, seen.FOLDER, LOG)
    found = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as stream:
            lines = stream.read(_LARGEST_LOG).splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if _is_entry(entry):
            found.append(entry)
    return found


def _is_entry(entry: Any) -> bool:
    named = isinstance(entry, dict) and {"time", "hook", "reason", "findings"} <= entry.keys()
    return named and isinstance(entry["findings"], list)
