"""Where the old key stands on this machine, found by value, and how the new one is put there: to the byte, or not at all.

A file that git tracks, or would commit, never gets the new key: it would be the next leak. Where the key stands encoded or packed, in a file that
is no text, or under several names, it can't be put in its place without damage. Such files are named, with what to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.respond.kept import kept
from fluxguard.respond.standing import Look, Standing, holds, is_file, said
from fluxguard.writing import exactly

_SKIPPED = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache"})
_OWN = (".env", "credentials", "config.yaml")  # in the home folder's .fluxloop
IN_GIT = "git has this file, or would commit it: take the key out of it, and read it from the environment"


@dataclass(frozen=True, slots=True)
class Place:
    """A file that holds the key. path: what is written; of a link, what it leads to. tracked: git has it, or would commit it.

    why: what hinders us from putting the new key there, and what the person does; "" where nothing does.
    """

    path: Path
    tracked: bool
    why: str = ""


def find(trees: list[Path], secret: Secret, home: Path) -> tuple[list[Place], list[str]]:
    """Files that hold the key, below working trees and in the home folder's FluxLoop folder; and what could not be read.

    Raises: FluxguardError where git does not say what it ignores.
    """
    unread: list[str] = []
    look = Look(secret)
    holding = {}
    for path in dict.fromkeys(_files(trees, home, unread)):
        there = look.into(path.resolve() if path.is_symlink() else path, unread)
        if there is not None:
            holding[path] = there
    real = {path: path.resolve() for path in holding}
    in_git = kept({*holding, *real.values()}, secret)
    found: dict[Path, list[Place]] = {}
    for path, there in holding.items():
        tracked = path in in_git or real[path] in in_git
        found.setdefault(real[path], _places(real[path], tracked, there))
    return [place for places in found.values() for place in places], list(dict.fromkeys(unread))


def _places(path: Path, tracked: bool, there: Standing) -> list[Place]:
    """One for the key in clear, and one for all the ways in which it stands encoded."""
    encoded = ", and as ".join(there.encoded)
    if tracked:
        return [Place(path, True, IN_GIT if there.clear else f"{IN_GIT}. It stands there as {encoded}")]
    found = [Place(path, False, there.hindrance)] if there.clear else []
    if encoded and not there.hindrance:
        found.append(
            Place(
                path, False, f"it stands there as {encoded}: put the new key there by hand, in the same way"
            )
        )
    return found


def holding(trees: list[Path], secret: Secret, home: Path) -> list[Place]:
    """Files in which a key stands in clear: where an earlier run put it, or a person did."""
    found = [path for path in _files(trees, home, []) if holds(path, secret)]
    in_git = kept(found, secret)
    return [Place(path.resolve(), path in in_git) for path in found]


def _files(trees: list[Path], home: Path, unread: list[str]) -> Iterator[Path]:
    for tree in trees:
        for folder, names, files in os.walk(tree, onerror=lambda error: unread.append(str(error.filename))):
            names[:] = [name for name in names if name not in _SKIPPED]
            yield from (path for name in files if is_file(path := Path(folder) / name))
    yield from (path for name in _OWN if is_file(path := home / ".fluxloop" / name))


def replace(path: Path, old: Secret, new: Secret) -> str:
    """Puts the new key where the old one stands. Returns `written`, or `there` where the new one stands already.

    Everything else of the file stays: line ends, quotes, comments, mode, owner. On disk when this returns, or nothing changed.
    Raises: FluxguardError where the file holds neither key any more, or can't be replaced.
    """
    name = said(path, old)
    try:
        data = path.read_bytes()
        facts = path.stat()
    except OSError as error:
        raise FluxguardError(f"{name} can't be read: {error.strerror}.") from None
    if old.reveal() not in data:
        if new.reveal() in data:
            return "there"
        raise FluxguardError(
            f"{name} holds neither the old key nor the new one any more.", "Look at it, then resume."
        )
    wanted = data.replace(old.reveal(), new.reveal())
    try:
        exactly(path, wanted, stat.S_IMODE(facts.st_mode), (facts.st_uid, facts.st_gid))
    except OSError as error:
        raise FluxguardError(
            f"{name} can't be written: {error.strerror}.", "Mend that, then resume."
        ) from None
    if path.read_bytes() != wanted:
        raise FluxguardError(f"{name} was changed while the new key was written.", "Look at it, then resume.")
    return "written"
