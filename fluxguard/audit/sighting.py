"""A key in an object, as it is handed on and kept: everything about it, but not the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from fluxguard.model import Secret


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key in an object.

    object: its hex id. kind: the contract's name for the place. line, column: from 1, in the message for a message.
    name: for a path, the how-manieth entry of the tree it is. rule, environment, confidence, via: as in a finding.
    allowed: the reason in an allow comment, or "".
    """

    object: str
    kind: str
    fingerprint: str
    rule: str
    environment: str
    confidence: str
    line: int
    column: int
    via: tuple[str, ...]
    allowed: str = ""
    name: int = -1

    def values(self) -> tuple[Any, ...]:
        """All of it, as values that `marshal` and JSON can carry."""
        return _values(self)

    @classmethod
    def of(cls, values: Any) -> Sighting:
        """What `values` made, even after a journey through JSON."""
        listed = list(values)
        listed[8] = tuple(listed[8])
        return cls(*listed)


# `astuple` would copy each value, which takes ten times as long.
_values: Callable[[Sighting], tuple[Any, ...]] = attrgetter(*(one.name for one in fields(Sighting)))


@dataclass(frozen=True, slots=True)
class Examined:
    """What stands in one object. secrets: the key of each sighting. unread: (where inside, why)."""

    sightings: tuple[Sighting, ...] = ()
    secrets: tuple[Secret, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sightings or self.unread)
