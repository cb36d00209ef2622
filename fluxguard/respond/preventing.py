"""What makes the next leak unlikely: hooks in the repository, .gitignore, and the cleaned commits kept from coming back."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from fluxguard.config import Config
from fluxguard.errors import FluxguardError
from fluxguard.guard import managers, place, plan, script
from fluxguard.repo import banned as bans
from fluxguard.repo import gitdir, seen
from fluxguard.words import count
from fluxguard.writing import whole


def prevent(repository: Path, banned: tuple[str, ...]) -> dict[str, Any]:
    """Does what can be done, and says of each thing what came of it. Done again, it changes nothing."""
    done: dict[str, Any] = {}
    if banned:
        common = gitdir.locate(str(repository)).common
        path = Path(common) / bans.NAME
        path.parent.mkdir(exist_ok=True)
        kept = sorted({*bans.listed(common), *banned})
        whole(str(path), lambda stream: stream.write(json.dumps(kept, indent=0) + "\n"))
        done["banned"] = (
            f"{count(len(banned), 'commit')} {'is' if len(banned) == 1 else 'are'} kept from coming back; on a server, put the same list there: {path}"
        )
    for name, work in (("hooks", _hooks), ("gitignore", _gitignore)):
        try:
            done[name] = work(repository)
        except (FluxguardError, OSError) as error:
            words = f"{error.what} {error.hint}" if isinstance(error, FluxguardError) else str(error.strerror)
            done[name] = f"not done: {words}".strip()
    return done


def _hooks(repository: Path) -> str:
    """Our hooks, where nobody else manages them and the folder is this repository's alone."""
    where = place.of(str(repository))
    if where.bare:
        return "run: fluxguard install --server, where the repository is hosted"
    manager = managers.found(where)
    if manager is not None or where.whose in (place.OUTSIDE, place.SHARED):
        return "run: fluxguard install (others look after the hooks here; it says what to add)"
    if os.path.realpath(where.folder) == os.path.realpath(script.shipped()):
        return "there already"
    steps = plan.to_install(where.folder, (*script.LOOKS, *script.NOTES), _command())
    for step in steps:
        plan.do(step)
    if not all(plan.holds(step) for step in steps):
        raise FluxguardError("The hooks are not what was just written.", "Run: fluxguard install")
    seen.begin(where.common, seen.tips(where.common))
    return (
        f"{count(len(steps), 'hook')} installed"
        if any(step.how != plan.NONE for step in steps)
        else "there already"
    )


def _command() -> str:
    """Where this fluxguard is, for a hook to find it."""
    beside = os.path.join(os.path.dirname(sys.executable), "fluxguard")
    for path in (beside, shutil.which("fluxguard") or ""):
        if path and os.access(path, os.X_OK):
            return path
    raise FluxguardError(
        "There is no command `fluxguard` that a hook could call.", "Install it, then: fluxguard install"
    )


def _gitignore(repository: Path) -> str:
    """The lines that .gitignore lacks, where there is a working tree."""
    from fluxguard.gitignore import check
    from fluxguard.gitignore.open import Place

    located = gitdir.locate(str(repository))
    if not located.tree:
        return "a bare repository has no .gitignore"
    place_ = Place(located, located.tree)
    report = check.check(str(repository), place_, Config(), history=False, fix=True, advised=False)
    written = [lines for lines in report.proposed if lines.written]
    open_ = sum(len(gap.paths) for gap in report.uncovered if gap.blocks)
    if open_:
        return f"run: fluxguard gitignore ({open_} paths are still open, or tracked)"
    if not written:
        return "covers what has to be covered"
    return f"{count(sum(len(lines.lines) for lines in written), 'line')} added; commit them"
