"""Whether git has a file, or would commit it: asked of the repository that the file lies in, be it a submodule or one within another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.repo import run as git
from fluxguard.respond.veil import shown

PATIENCE = 60.0  # seconds for one answer: patterns can be made to take for ever


def kept(paths: Iterable[Path], secret: Secret) -> set[Path]:
    """Those of the paths that git tracks or would commit: all that it does not ignore. What lies in no repository is none of them.

    Raises: FluxguardError where git does not answer. Then it is not known, and nothing may be done by it.
    """
    of: dict[Path, list[Path]] = {}
    for path in paths:
        repository = _repository_of(path.parent)
        if repository is not None:
            of.setdefault(repository, []).append(path)
    return {
        path for repository, inside in of.items()
        for path in set(inside) - _ignored(repository, inside, secret)
    }  # fmt: skip


def _repository_of(folder: Path) -> Path | None:
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one / ".git")), None)


def _ignored(repository: Path, paths: list[Path], secret: Secret) -> set[Path]:
    named = {os.fsencode(path.relative_to(repository)): path for path in paths}
    environment = git.environment(isolated=True)
    environment.pop("GIT_LITERAL_PATHSPECS", None)  # check-ignore does not know them
    try:
        asked = subprocess.run(
            ["git", "-C", str(repository), "-c", "core.fsmonitor=false", "check-ignore", "-z", "--stdin"],
            input=b"\0".join(named) + b"\0", capture_output=True, env=environment, check=False, timeout=PATIENCE,
        )  # fmt: skip
        code = asked.returncode
    except (OSError, subprocess.TimeoutExpired):
        code = -1
    if code not in (0, 1):  # 1: none of them
        where = shown(os.fsencode(repository), secret)
        raise FluxguardError(
            f"git does not say which files it ignores in {where}, so no file there gets the new key.",
            "See what it says: git status, in that folder. Mend it, then resume.",
        )
    return {named[name] for name in asked.stdout.split(b"\0") if name}
