"""What becomes of the parts of an archive that hold the key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from fluxguard.respond.forms import forms, replaced


class Inexact(Exception):
    """All else of the archive can't be kept as it is."""


@dataclass(frozen=True, slots=True)
class Change:
    """The key, and where it stands. touched: the members that hold it, as detection calls them (`zip:inner/name`, `gzip`).

    clean: a content without the key, or None where that is impossible.
    """

    key: bytes = field(repr=False)
    touched: frozenset[str]
    clean: Callable[[bytes], bytes | None]
    _cleaned: dict[bytes, bytes | None] = field(default_factory=dict, init=False, repr=False)

    def name(self, name: bytes) -> bytes:
        """A name or a comment without the key."""
        return replaced(name, forms(self.key))

    def text(self, text: str) -> str:
        """The same, of one that was decoded."""
        return self.name(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def content(self, data: bytes) -> bytes:
        """A content without the key. Raises: Inexact."""
        if data not in self._cleaned:  # it is asked for once more when what was made is compared
            self._cleaned[data] = self.clean(data)
        cleaned = self._cleaned[data]
        if cleaned is None:
            raise Inexact
        return cleaned


def must(condition: object) -> None:
    """Raises: Inexact, where it does not hold."""
    if not condition:
        raise Inexact


def must_stay_apart(before: Sequence[object], after: Iterable[object]) -> None:
    """Members whose names differ must not get the same one: one would be lost. Raises: Inexact."""
    must(len(set(before)) == len(set(after)))
