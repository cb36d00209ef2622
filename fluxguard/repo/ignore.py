"""Asks git which paths a set of .gitignore files covers, in a repository made for the question.

That repository holds nothing but these files: no info/exclude, no configuration of the person's, no index. So the answer is
the one that a fresh clone would give. `git check-ignore` answers; nothing of its rules is copied here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fluxguard.errors import GitError
from fluxguard.repo import run

PATIENCE = 60.0  # seconds that git may take for one question; patterns can be made to take for ever
NAME = b".gitignore"
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Decider:
    """The pattern that decided. folder: of its .gitignore, b"" for the top. line: from 1. pattern: as it is written there."""

    folder: bytes
    line: int
    pattern: bytes

    @property
    def negates(self) -> bool:
        """Whether it opens the path again."""
        return self.pattern.startswith(b"!")

    @property
    def file(self) -> bytes:
        """The path of its .gitignore."""
        return os.path.join(self.folder, NAME)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a path is ignored wherever the repository is cloned, and which pattern says so (or opens it again)."""

    covered: bool
    decider: Decider | None = None


class Shadow:
    """A throw-away repository with these .gitignore files. To be used with `with`: it lies in a private folder.

    files: content by folder, b"" for the top, `/` between the parts. excludes: what stands in its info/exclude.
    Raises GitError where it can't be made, or where git does not answer.
    """

    def __init__(self, files: Mapping[bytes, bytes], excludes: bytes = b"") -> None:
        self._files = dict(files)
        self._excludes = excludes
        self._base = b""
        self._parents: set[bytes] = set()

    def __enter__(self) -> Shadow:
        self._base = os.fsencode(tempfile.mkdtemp(prefix="fluxguard-"))
        try:
            self._build()
        except OSError as error:
            self.close()
            raise GitError(
                f"The .gitignore files could not be laid out for the question: {error.strerror}.",
                "Make room in the folder for temporary files (TMPDIR), and try again.",
            ) from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes it."""
        shutil.rmtree(self._base, ignore_errors=True)

    def _build(self) -> None:
        git = os.path.join(self._base, b"git")
        for folder in (b"objects", b"refs", b"info"):
            os.makedirs(os.path.join(git, folder))
        _write(os.path.join(git, b"HEAD"), b"ref: refs/heads/main\n")
        _write(os.path.join(git, b"config"), b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
        if self._excludes:
            _write(os.path.join(git, b"info", b"exclude"), self._excludes)
        os.makedirs(self._tree)
        for folder, content in self._files.items():
            self._lay(folder, content)

    @property
    def _tree(self) -> bytes:
        # Beside the git directory, not around it: a folder of the repository's may be called .git on other systems.
        return os.path.join(self._base, b"tree")

    def _lay(self, folder: bytes, content: bytes) -> None:
        place = os.path.join(self._tree, folder)
        os.makedirs(place, exist_ok=True)
        _write(os.path.join(place, NAME), content)
        while folder:
            self._parents.add(folder)
            folder = os.path.dirname(folder)

    def put(self, folder: bytes, content: bytes) -> None:
        """Puts another content into the .gitignore of a folder."""
        self._files[folder] = content
        try:
            os.unlink(os.path.join(self._tree, folder, NAME))
        except FileNotFoundError:
            pass
        self._lay(folder, content)

    def verdicts(self, paths: Sequence[bytes]) -> list[Verdict]:
        """For each path, taken as that of a file: whether it is ignored on every system, those that fold case and those that don't."""
        folders = [path for path in paths if path in self._parents]
        if not folders:
            return self._ask(paths)
        # git looks what a path is, and a folder stands there, with a .gitignore below it. A file in its place has none.
        plain = iter(self._ask([path for path in paths if path not in self._parents]))
        rest = {
            folder: content
            for folder, content in self._files.items()
            if not any(folder == path or folder.startswith(path + b"/") for path in folders)
        }
        with Shadow(rest, self._excludes) as other:
            apart = iter(other._ask(folders))
        return [next(apart) if path in self._parents else next(plain) for path in paths]

    def _ask(self, paths: Sequence[bytes]) -> list[Verdict]:
        if not paths:
            return []
        # `./` in front: git takes a colon at the beginning for a sign of its own.
        asked = b"".join(b"./%s\0" % path for path in paths)
        both = [self._start(asked, fold) for fold in ("false", "true")]
        try:
            exact, folded = (self._answers(running, len(paths)) for running in both)
        except BaseException:
            both[1].kill()
            raise
        return [
            Verdict(_covers(one) and _covers(two), two if _covers(one) else one)
            for one, two in zip(exact, folded, strict=True)
        ]

    def _start(self, asked: bytes, fold: str) -> run.Running:
        tree, git = os.fsdecode(self._tree), os.fsdecode(os.path.join(self._base, b"git"))
        return run.start(
            "--no-literal-pathspecs", "-c", "core.excludesFile=", "-c", f"core.ignoreCase={fold}", f"--git-dir={git}",
            f"--work-tree={tree}", "check-ignore", "--no-index", "--stdin", "-z", "--verbose", "--non-matching",
            cwd=tree, stdin=asked, isolated=True,
        )  # fmt: skip

    def _answers(self, running: run.Running, count: int) -> list[Decider | None]:
        raw = within(running, "check-ignore", (0, 1))
        fields = raw.split(b"\0")
        if len(fields) != count * _FIELDS + 1:
            raise GitError(
                "git did not answer for every path that it was asked for.",
                "Try again; update git if it happens again.",
            )
        return [self._decider(*fields[at : at + 3]) for at in range(0, count * _FIELDS, _FIELDS)]

    def _decider(self, source: bytes, line: bytes, pattern: bytes) -> Decider | None:
        if not source:
            return None
        if os.path.isabs(source) or source.startswith(b"../"):
            return Decider(b"", int(line), pattern)  # the shadow's info/exclude
        return Decider(os.path.dirname(source), int(line), pattern)


def _covers(decider: Decider | None) -> bool:
    return decider is not None and not decider.negates


def within(running: run.Running, command: str, fine: tuple[int, ...] = (0,)) -> bytes:
    """All that a git prints which goes through patterns. Raises GitError where it takes longer than PATIENCE, or fails.

    fine: the exit codes that are no failure.
    """
    late = threading.Event()

    def stop() -> None:
        late.set()
        running.kill()

    timer = threading.Timer(PATIENCE, stop)
    timer.start()
    try:
        raw = running.readall()
        code, text = running.finish()
    except BaseException:
        running.kill()
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise GitError(
            f"git took more than {PATIENCE:.0f} seconds for the patterns of .gitignore, and was stopped.",
            "Some pattern there has too many stars, there are too many, or a .gitignore is no file. Look through them.",
        )
    if code not in fine:
        raise run.failure(command, code, text)
    return raw


def _write(path: bytes, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(content)
