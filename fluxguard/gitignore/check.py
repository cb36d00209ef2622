"""The whole of it for one repository: its working tree, linked ones, submodules, history, and lists of what is shipped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

from fluxguard.chunk import Skipped
from fluxguard.config import Config
from fluxguard.errors import BrokenRepository, FluxguardError, GitError
from fluxguard.gitignore import mend
from fluxguard.gitignore.lines import Plan, changes, planned
from fluxguard.gitignore.open import Place, grouped, held_by
from fluxguard.gitignore.shipped import shipped
from fluxguard.gitignore.survey import Survey, survey
from fluxguard.model import Lines, Report, Stats, Uncovered, Unread
from fluxguard.repo import gitdir, holdings
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.past import Past
from fluxguard.secretpaths import listed

_A_CLONE = "A-CLONE-OF-IT"  # where the commands for a bare repository have to be run
_DEEPEST = 8  # submodules within one another


def check(
    target: str,
    place: Place,
    config: Config,
    history: bool = True,
    fix: bool = False,
    advised: bool = True,
) -> Report:
    """The report on one repository. fix: writes the missing lines first. advised: those of advised paths, too.

    Raises GitError, and FluxguardError where a file can't be written.
    """
    return _Check(target, place, config).report(history, fix, advised)


class _Check:
    def __init__(self, target: str, place: Place, config: Config) -> None:
        self._started = time.perf_counter()
        self._target = target
        self._place = place
        self._config = config
        self._listed = listed(config.secret_paths, config.no_secrets)
        self._skipped: list[Skipped] = []
        self._notes: list[str] = []

    def report(self, history: bool, fix: bool, advised: bool) -> Report:
        cwd = self._place.tree or self._place.git.common
        past = Past(cwd, self._place.isolated) if history else None
        try:
            found = survey(held_by(self._place), self._listed, self._config)
            plan = planned(found, self._listed, advised)
            proposed = [*_proposed(plan, found)] if self._place.tree is not None else []
            if fix:
                found, proposed = self._fixed(found, plan, proposed)
            uncovered = [*grouped(found.gaps), *self._beside(found)]
            uncovered += self._in_history(past, found) if past is not None else []
        except BaseException:
            if past is not None:
                past.stop()
            raise
        self._skipped[:0] = found.skipped
        self._note(found, plan, fix)
        return Report(
            "gitignore",
            self._target,
            skipped=tuple(self._unread()),
            stats=Stats(found.asked, 0, time.perf_counter() - self._started),
            notes=tuple(self._notes),
            uncovered=tuple(sorted(uncovered, key=_importance)),
            proposed=tuple(proposed),
            unmended=tuple(plan.left.items()),
            root=_A_CLONE if self._place.tree is None else "" if _same(cwd, ".") else cwd,
        )

    def _unread(self) -> Iterator[Unread]:
        for item in self._skipped:
            yield Unread(item.where, item.reason, self._config.acceptance(item.where, item.object))

    def _fixed(self, found: Survey, plan: Plan, proposed: list[Lines]) -> tuple[Survey, list[Lines]]:
        """Writes, and looks again: what remains is what the second look says."""
        if self._place.tree is None:
            raise GitError(
                "This repository is bare: there is no .gitignore to write to.",
                "Clone it, run `fluxguard gitignore --fix` there, commit, and push.",
            )
        if not plan.lines:
            return found, []
        written = set(mend.write(plan, found.held))
        again = survey(held_by(self._place), self._listed, self._config)
        return again, [replace(one, written=one.file in written) for one in proposed]

    # --- other working trees ---

    def _beside(self, found: Survey) -> Iterator[Uncovered]:
        for one in shipped(found, self._listed):
            yield Uncovered(
                "shipped", "advised", "shipped", one.why, one.paths, (one.file, 0, b""), lines=one.lines
            )
        if self._place.tree is None:
            return
        yield from self._submodules(found.held, self._place.tree, _DEEPEST)
        for member in gitdir.family(self._place.git):
            if member.tree and not _same(member.tree, self._place.tree) and _points_back(member):
                yield from self._other(member.tree, os.fsencode(member.tree))

    def _submodules(self, held: holdings.Holdings, root: str, depth: int) -> Iterator[Uncovered]:
        for path in held.submodules:
            tree = os.path.join(root, os.fsdecode(path))
            if os.path.islink(tree) or not os.path.lexists(os.path.join(tree, ".git")):
                continue  # it was never fetched
            if depth == 0:
                self._skipped.append(Skipped(path, "submodules are nested too deep"))
                continue
            yield from self._other(tree, os.fsencode(os.path.relpath(tree, self._place.tree)), depth)

    def _other(self, tree: str, shown: bytes, depth: int = 0) -> Iterator[Uncovered]:
        """A submodule or a linked working tree: what is there counts, not what tools might create."""
        try:
            found = survey(holdings.of_tree(tree), self._listed, self._config, expected=False)
        except (GitError, OSError) as error:
            what = error.what if isinstance(error, FluxguardError) else "it can't be read"
            self._skipped.append(Skipped(shown, what))
            return
        self._skipped += [Skipped(os.path.join(shown, item.where), item.reason) for item in found.skipped]
        for gap in grouped(found.gaps):
            yield replace(gap, tree=os.fsdecode(shown))
        if depth:
            yield from self._submodules(found.held, tree, depth - 1)

    # --- history ---

    def _in_history(self, past: Past, found: Survey) -> Iterator[Uncovered]:
        """Secret files of old commits that are tracked no more. What is tracked is told with its own gap."""
        try:
            names = past.names() - set(found.held.tracked)
        except GitError as error:
            self._skipped.append(Skipped(b"the history", error.what))
            return
        groups: dict[str, list[bytes]] = {}
        entries = self._listed.among(sorted(names))
        for path, entry in entries.items():
            if entry.holds is None and self._listed.exception(entry, path, entry.level, brought=True) is None:
                groups.setdefault(entry.id, []).append(path)
        for paths in groups.values():
            entry = entries[paths[0]]
            yield Uncovered("history", entry.level, entry.id, entry.reason, tuple(paths), covered=True)

    # --- what else to know ---

    def _note(self, found: Survey, plan: Plan, fix: bool) -> None:
        held = found.held
        if self._place.tree is None and plan.lines:
            self._notes.append(
                "This repository is bare. Mend it in a clone: fluxguard gitignore --fix, commit, push."
            )
        for path, why in held.unshared.items():
            if path == b".gitignore" or path in held.tracked:
                self._notes.append(f"{os.fsdecode(path)} does not count: {why}.")
        if found.uncommitted:
            self._notes.append(
                "Some paths are covered only by changes to .gitignore that are not committed yet. Nobody else has them "
                "until they are: commit .gitignore."
            )
        for file, line, pattern in plan.overridden if fix else ():
            self._notes.append(
                f"The new lines close what {os.fsdecode(file)}:{line} opens: {os.fsdecode(pattern)}"
            )
        if held.nested:
            shown = ", ".join(os.fsdecode(path) for path in held.nested[:3])
            self._notes.append(
                f"{len(held.nested)} of the folders here are repositories of their own, and were not looked into ({shown})."
            )


def _importance(gap: Uncovered) -> tuple[bool, bool, int]:
    kinds = ("tracked", "staged", "present", "expected", "history", "shipped")
    return not gap.blocks, gap.accepted is not None, kinds.index(gap.kind)


def _proposed(plan: Plan, found: Survey) -> Iterator[Lines]:
    for file, before, after in changes(plan, found.held.ignores):
        yield Lines(file, plan.lines[os.path.dirname(file)], before, after)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _points_back(member: GitDir) -> bool:
    """Whether a linked working tree says itself that it belongs to this repository, which may claim any folder."""
    try:
        return gitdir.locate(member.tree).path == os.path.realpath(member.path)
    except BrokenRepository:
        return False
