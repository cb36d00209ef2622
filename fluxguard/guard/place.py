"""Where git looks for a repository's hooks, and whose folder that is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fluxguard.errors import UsageError
from fluxguard.repo import run

OWN, TREE, OUTSIDE, SHARED = "own", "tree", "outside", "shared"


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the hooks.

    common: the git directory that all working trees share. top: the working tree, or the git directory of a bare
    repository. configured: the value of core.hooksPath, or "". scope: where git has that from (`local`, `global` ...).
    whose: OWN, within the git directory; TREE, within the working tree; OUTSIDE, elsewhere, though this repository
    alone says so; SHARED by all repositories of this person or machine.
    """

    folder: str
    common: str
    top: str
    bare: bool
    configured: str
    scope: str
    whose: str


def of(cwd: str) -> Place:
    """The place of the repository that `cwd` lies in. Raises GitError where there is none, UsageError for a bad setting."""
    said = run.output("rev-parse", "--is-bare-repository", "--git-common-dir", cwd=cwd).splitlines()
    bare = said[0] == b"true"
    common = os.path.realpath(os.path.join(cwd, os.fsdecode(said[1])))
    top = common if bare else os.fsdecode(run.output("rev-parse", "--show-toplevel", cwd=cwd).rstrip(b"\n"))
    scope, configured = _configured(cwd)
    folder = os.path.join(top, configured) if configured else os.path.join(common, "hooks")
    return Place(folder, common, top, bare, configured, scope, _whose(folder, common, top, scope))


def _configured(cwd: str) -> tuple[str, str]:
    """Scope and value of core.hooksPath, ("", "") where it is not set. Values of the command line count for one command only."""
    raw = (
        run.try_output("config", "--show-scope", "--path", "-z", "--get-all", "core.hooksPath", cwd=cwd)
        or b""
    )
    fields = [os.fsdecode(field) for field in raw.split(b"\0")]
    pairs = [pair for pair in zip(fields[::2], fields[1::2], strict=False) if pair[0] != "command"]
    scope, value = pairs[-1] if pairs else ("", "")
    if scope and not value:
        raise UsageError(
            "core.hooksPath is set, but empty: git runs no hook at all.",
            f"Take it away: git config --{scope} --unset-all core.hooksPath",
        )
    return scope, value


def _whose(folder: str, common: str, top: str, scope: str) -> str:
    real = os.path.realpath(folder)
    if scope in ("global", "system"):
        return SHARED
    if is_within(real, os.path.realpath(common)):
        return OWN
    return TREE if is_within(real, os.path.realpath(top)) else OUTSIDE


def is_within(path: str, folder: str) -> bool:
    """Whether a path, links resolved in both, is a folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
