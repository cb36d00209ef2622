"""Puts hooks into a folder, and takes them out again: planned, done, checked, and resumed after a kill at any point.

There is no record beside the files: a hook of ours is known by its text, and the one that it took the place of lies
beside it. Each change is one `link` or one `rename`, so that there is no moment at which a hook is half there, or an
old one is gone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from fluxguard.errors import FluxguardError
from fluxguard.guard import script
from fluxguard.repo.plain import small_file
from fluxguard.writing import settle

_NEW = ".fluxguard-new"
WRITE, UPDATE, KEEP, NONE = "write", "update", "keep", "none"
REMOVE, RESTORE = "remove", "restore"


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one hook. how: WRITE, UPDATE, KEEP (write, the one there is run first), NONE; or REMOVE, RESTORE."""

    kind: str
    path: str
    how: str
    content: bytes = b""

    @property
    def kept(self) -> str:
        """Where the hook lies that was there before."""
        return self.path + script.KEPT


class NotOurs(FluxguardError):
    """A file stands in the way that is not ours to change."""


def to_install(folder: str, kinds: tuple[str, ...], recorded: str) -> list[Step]:
    """What is to be done for these hooks to be in a folder. Raises NotOurs."""
    return [_step(os.path.join(folder, kind), kind, script.text(kind, recorded)) for kind in kinds]


def _step(path: str, kind: str, content: bytes) -> Step:
    kept = path + script.KEPT
    if not os.path.lexists(path):
        return Step(kind, path, WRITE, content)
    there = _read(path)
    if there == content and os.access(path, os.X_OK):
        return Step(kind, path, NONE, content)
    if script.is_intact(there) or script.is_plain(there, kind):
        return Step(kind, path, UPDATE, content)
    if not (os.path.isfile(path) or os.path.islink(path)):
        raise NotOurs(f"{path} is no file, so no hook.", "Move it away, then: fluxguard install")
    if script.is_ours(there):
        raise NotOurs(
            f"{path} is a hook of fluxguard's that somebody has changed since.",
            f"Move it away, then: fluxguard install. What was changed is in: {path}",
        )
    if os.path.lexists(kept) and not _same(path, kept):
        raise NotOurs(
            f"{path} has taken the place of fluxguard's hook, and there is an older one already at {kept}.",
            f"Call that one from the new one, or delete it: then fluxguard install. See both: ls -l {path}*",
        )
    if script.asks_for_its_name(there):
        raise NotOurs(
            f"{path} does what its own name says, so it would not work under another name beside fluxguard's.",
            f'Add a line to it instead, before its end: fluxguard hook {kind} "$@"',
        )
    return Step(kind, path, KEEP, content)


def to_uninstall(folder: str) -> list[Step]:
    """What is to be done for no hook of ours to be in a folder. Raises NotOurs."""
    steps = []
    for kind in script.ALL:
        path = os.path.join(folder, kind)
        kept = os.path.lexists(path + script.KEPT)
        there = _read(path) if os.path.lexists(path) else b""
        if script.is_intact(there) or (kept and not os.path.lexists(path)):
            steps.append(Step(kind, path, RESTORE if kept else REMOVE))
        elif script.is_ours(there):
            raise NotOurs(
                f"{path} is a hook of fluxguard's that somebody has changed since, so it is not deleted.",
                f"Look at it, and delete it yourself: rm {path}",
            )
        elif kept and not _same(path, path + script.KEPT):
            raise NotOurs(
                f"{path} has taken the place of fluxguard's hook; the one from before is still at {path}{script.KEPT}.",
                "Keep the one of the two that is right, under the name without the ending.",
            )
        elif kept:
            steps.append(Step(kind, path, RESTORE))
    return steps


def do(step: Step) -> None:
    """Does one step. Raises OSError, and then everything is as before or as after."""
    if step.how in (WRITE, UPDATE, KEEP):
        _put(step)
    elif step.how == RESTORE:
        os.replace(step.kept, step.path)
    elif step.how == REMOVE:
        os.unlink(step.path)
    _settle(os.path.dirname(step.path))


def _put(step: Step) -> None:
    os.makedirs(os.path.dirname(step.path), exist_ok=True)
    new = step.path + _NEW
    if os.path.lexists(new):
        os.unlink(new)  # of a run that was killed
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(step.content)
            stream.flush()
            os.fchmod(fd, 0o755)
            os.fsync(fd)
        if step.how == KEEP and not os.path.lexists(step.kept):
            _keep(step)
        os.replace(new, step.path)
    except BaseException:
        if os.path.lexists(new):
            os.unlink(new)
        raise


def _keep(step: Step) -> None:
    """A second name for the hook that is there; where the file system knows no such thing, its new one."""
    try:
        os.link(step.path, step.kept, follow_symlinks=False)
    except (OSError, NotImplementedError):
        os.rename(step.path, step.kept)


def _settle(folder: str) -> None:
    try:
        settle(folder)
    except OSError:
        pass  # some file systems can't


def holds(step: Step) -> bool:
    """Whether a step was done."""
    if step.how in (REMOVE, RESTORE):
        there = _read(step.path) if os.path.lexists(step.path) else b""
        return not script.is_ours(there) and not os.path.lexists(step.kept)
    return _read(step.path) == step.content and os.access(step.path, os.X_OK)


def _read(path: str) -> bytes:
    """A hook's text; nothing for what is no plain file, which is then not ours."""
    return small_file(path, 1 << 20)


def _same(one: str, other: str) -> bool:
    """Whether two names are of one file."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False
