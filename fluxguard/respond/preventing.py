"""What makes the next leak unlikely: hooks in the repository, .gitignore, and the cleaned commits kept from coming back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fluxguard.errors import FluxguardError
from fluxguard.repo import gitdir

BANNED = "fluxguard/banned-commits.json"


def prevent(repository: Path, banned: tuple[str, ...]) -> dict[str, Any]:
    """Does what can be done, and says of each thing what came of it."""
    located = gitdir.locate(str(repository))
    done: dict[str, Any] = {}
    if banned:
        path = Path(located.common) / BANNED
        path.parent.mkdir(exist_ok=True)
        known = set(_read(path))
        from fluxguard.writing import whole

        whole(
            str(path), lambda stream: stream.write(json.dumps(sorted(known | set(banned)), indent=0) + "\n")
        )
        done["banned"] = f"{len(banned)} commits are kept from coming back: {path}"
    for name, work in (("hooks", _hooks), ("gitignore", _gitignore)):
        try:
            done[name] = work(repository)
        except FluxguardError as error:
            done[name] = f"not done: {error.what} {error.hint}".strip()
    return done


def _read(path: Path) -> list[str]:
    try:
        data = json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return []
    return [str(one) for one in data] if isinstance(data, list) else []


def _hooks(repository: Path) -> str:
    return "run: fluxguard install"


def _gitignore(repository: Path) -> str:
    return "run: fluxguard gitignore --fix"
