"""Commits that a cleaned history gave up, and that must not come back: kept in the git directory, asked at each push.

A list of ids in `fluxguard/banned-commits.json` below the common git directory, which `respond` writes; on a server its owner puts it there.
"""

from __future__ import annotations

import os

from fluxguard.errors import ExitCode, FluxguardError
from fluxguard.repo import run

NAME = "fluxguard/banned-commits.json"
_LARGEST = 16 << 20


class BroughtBack(FluxguardError):
    """A push would bring back what was cleaned."""

    exit_code = ExitCode.FOUND


def refuse(folder: str, tips: list[str]) -> None:
    """Raises BroughtBack where one of the banned commits is in the history of a tip. folder: the common git directory.

    tips: hex ids. Where there is no list, which is nearly always, this costs one look for a file.
    """
    for commit in listed(folder):
        for tip in tips:
            # An id that is not here at all is in no history: git answers with an error, too.
            if run.try_output("merge-base", "--is-ancestor", commit, tip) is not None:
                raise BroughtBack(
                    f"The push would bring back commit {commit[:12]}, which a cleaned history gave up: a leaked key stands in it.",
                    "Save what is yours as patches (git format-patch), clone anew, and apply them there (git am).",
                )


def listed(folder: str) -> list[str]:
    """The banned commits. Raises FluxguardError where the list is there and can't be read: then nothing is known."""
    try:
        fd = os.open(os.path.join(folder, NAME), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(error.strerror or "") from None
    import json

    with os.fdopen(fd, "rb") as stream:
        try:
            data = json.loads(stream.read(_LARGEST))
        except (ValueError, OSError, RecursionError):
            raise _unreadable("it is no JSON") from None
    if not isinstance(data, list) or not all(isinstance(one, str) and _is_id(one) for one in data):
        raise _unreadable("it is no list of commits")
    return data


def _is_id(text: str) -> bool:
    return len(text) in (40, 64) and not text.strip("0123456789abcdef")


def _unreadable(why: str) -> FluxguardError:
    return FluxguardError(
        f"The list of commits that must not come back can't be read: {why}.",
        f"It lies in the git directory, {NAME}: mend it, or remove it.",
    )
