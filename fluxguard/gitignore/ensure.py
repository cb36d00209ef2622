"""Makes sure that one path is covered before a secret is written to it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from fluxguard.errors import BrokenRepository
from fluxguard.gitignore import mend
from fluxguard.gitignore.lines import planned
from fluxguard.gitignore.survey import Gap, Survey, also_here
from fluxguard.repo import gitdir, holdings
from fluxguard.repo.ignore import Shadow
from fluxguard.secretpaths import listed


@dataclass(frozen=True, slots=True)
class Ensured:
    """How a path stands now.

    state: `covered` (it was), `added` (lines were written), `outside` (no repository around it), `tracked` (git commits it
    whatever .gitignore says), `open` (nothing could be done: see why). files: the .gitignore files that were written, with
    `lines` in all. why: a sentence for a person, "" where all is well.
    """

    state: str
    files: tuple[bytes, ...] = ()
    lines: tuple[bytes, ...] = ()
    why: str = ""

    @property
    def safe(self) -> bool:
        """Whether a secret may be written there: no `git add` takes it along unless it is forced to."""
        return self.state in ("covered", "added", "outside")


def ensure(path: str) -> Ensured:
    """Covers the file at `path`, which need not exist, by the .gitignore files of the repository around it.

    Raises GitError where git does not answer, and FluxguardError where a .gitignore can't be written.
    """
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    whole = os.path.join(folder, os.path.basename(path))
    tree = _tree(folder)
    if tree is None:
        return Ensured("outside")
    name = os.fsencode(os.path.relpath(whole, tree))
    held = holdings.of_tree(tree)
    if name in held.tracked:
        return Ensured(
            "tracked", why=f"git tracks {os.fsdecode(name)}: git rm --cached -- {os.fsdecode(name)}"
        )
    found = _asked(held, name)
    if not found.gaps:
        return Ensured("covered")
    plan = planned(found, listed())
    if plan.left:
        return Ensured("open", why=next(iter(plan.left.values())))
    files = mend.write(plan, held)
    if _asked(holdings.of_tree(tree), name).gaps:
        return Ensured("open", tuple(files), why="the lines that were added do not cover it")
    return Ensured("added", tuple(files), tuple(line for lines in plan.lines.values() for line in lines))


def _tree(folder: str) -> str | None:
    """The working tree around a folder, which need not exist yet."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    try:
        return gitdir.locate(folder).tree or None
    except BrokenRepository:
        return None


def _asked(held: holdings.Holdings, name: bytes) -> Survey:
    """A survey of this one path. It is required, whatever it is called."""
    entries = listed()
    entry = entries.of(name) or replace(entries.paths[0], id="asked", lines=(), keep=(), examples=())
    with Shadow(held.ignores) as shadow:
        verdict = also_here(held, [name], shadow.verdicts([name]))[0]
    gap = Gap(name, entry, "expected", "required", verdict)
    return Survey(held, () if verdict.covered else (gap,), 1, {})
