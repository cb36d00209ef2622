"""The proof that a key is dead: it is used, and opens nothing."""

from __future__ import annotations

from fluxguard.platform.errors import PlatformError
from fluxguard.respond.course import Run


def opens(run: Run) -> bool:
    """Whether the old key still opens the platform. Raises: PlatformError where that can't be told now."""
    trial = run.trial(run.api.address, run.old)
    try:
        if _like_the_public_one(run):
            trial.projects()
        else:
            trial.me()
    except PlatformError as error:
        if error.status == 401:
            return False
        if error.status == 403 or (error.status == 429 and not _like_the_public_one(run)):
            return True  # our own platform knows the key before it counts
        error.what = f"Whether the old key is dead can't be told now. {error.what}"
        raise
    finally:
        trial.close()
    return True


def _like_the_public_one(run: Run) -> bool:
    return run.api.address.public or bool(run.known("verify").get("public"))
