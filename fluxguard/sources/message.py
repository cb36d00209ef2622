"""A commit message that is about to be used."""

from __future__ import annotations

import os

from fluxguard.chunk import Chunk, Origin
from fluxguard.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 64 << 20
_SCISSORS = b" ------------------------ >8 ------------------------"


def message(path: str) -> Iterator[Chunk]:
    """The message in the file that git hands to `commit-msg`, as the commit will hold it.

    What `git commit --verbose` adds below its scissors line is left out, for git cuts it off, too. Comment lines stay:
    whether git drops them depends on `--cleanup`, and a key in one is worth a word in any case.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise UsageError(
            f"The commit message file can't be read: {error.strerror}.",
            "git names it as the hook's first argument.",
        ) from None
    try:
        parts = []
        size = 0
        while piece := os.read(fd, 1 << 20):
            parts.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise UsageError("The commit message is longer than 64 MiB.", "Write a shorter one.")
    except OSError as error:
        raise UsageError(f"The commit message file can't be read: {error.strerror}.", "") from None
    finally:
        os.close(fd)
    yield Chunk(cut(b"".join(parts)), Origin("commit-message", b""))


def cut(text: bytes) -> bytes:
    """The message down to git's scissors line, whatever its comment character is.

    Only where the diff that `--verbose` shows follows, or nothing but comment: with `-m`, git cuts nothing off.
    """
    at = 0
    for line in text.splitlines(keepends=True):
        if line.rstrip(b"\r\n").endswith(_SCISSORS) and len(line) < 80:
            below = text[at + len(line) :]
            mark = line[:1]
            if b"\ndiff --" in below or all(not rest or rest.startswith(mark) for rest in below.split(b"\n")):
                return text[:at]
        at += len(line)
    return text
