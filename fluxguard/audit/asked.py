"""Which key is meant, by the beginning of its fingerprint."""

from __future__ import annotations

from collections.abc import Iterable

from fluxguard.errors import UsageError
from fluxguard.model import Finding


class Ambiguous(UsageError):
    """Several keys have a fingerprint that begins as asked."""


def chosen(asked: str, findings: Iterable[Finding]) -> Finding | None:
    """The key whose fingerprint begins as asked, if there is one. Raises Ambiguous where there are several."""
    wanted = [finding for finding in findings if finding.secret.fingerprint.startswith(asked)]
    if len(wanted) > 1:
        raise Ambiguous(
            f"{len(wanted)} keys have a fingerprint that begins with {asked}.",
            "Give more of it: " + ", ".join(finding.secret.fingerprint[:28] for finding in wanted[:4]),
        )
    return wanted[0] if wanted else None
