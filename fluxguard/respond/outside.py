"""The state of incidents, with its vaults, lies outside of the repository: in there it would be the next thing to be committed."""

from __future__ import annotations

import os

from fluxguard.errors import UsageError
from fluxguard.platform.address import state_folder
from fluxguard.repo import gitdir


def must_lie_outside(repository: gitdir.GitDir) -> None:
    """Raises: UsageError where the state folder is in a working tree or a git directory of the repository, or is one."""
    state = os.path.realpath(state_folder())
    family = gitdir.family(repository)
    folders = {
        folder for one in (repository, *family) for folder in (one.path, one.common, one.tree) if folder
    }
    for folder in map(os.path.realpath, folders):
        if state == folder or state.startswith(folder.rstrip(os.sep) + os.sep):
            raise UsageError(
                f"The state folder lies in the repository: {state}",
                "Set FLUXGUARD_STATE_DIR to a folder outside of it: keys are sealed there while an incident is open.",
            )
