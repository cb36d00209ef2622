"""An audit of a repository in which not one object has come or gone since the last, which found no key in any.

What the objects say is then known, down to the certificate, and nothing of what reads them is loaded. Where anything is
not as it was, or a key has to be brought back from its object, this knows nothing, and `objects` goes to work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fluxguard.audit.cache import Cache
from fluxguard.audit.certificate import Counted, certify
from fluxguard.audit.missing import Beside, Cut, missing_objects, unread_inside
from fluxguard.audit.surroundings import Surroundings
from fluxguard.audit.whole import Clear, Whole, of_stores
from fluxguard.chunk import Skipped
from fluxguard.model import Certificate, Event, Finding, Mention
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.findings import Seen

_WHAT = "unchanged"
_MOST = 10_000  # things that are not there or not read, beyond which they are looked for again


class Unchanged:
    """What is known of all the objects. amount: how many were read, and how many bytes those have."""

    def __init__(self, value: Any, stores: Sequence[Store], memory: Cache) -> None:
        count, size, self._unread, self._lost, counted, self._named, self._absent = value
        self.amount: tuple[int, int] = (count, size)
        self._stores = stores
        self._memory = memory
        self._around: Surroundings
        self._cut: Cut
        self.skipped: list[Skipped] = []
        self.hidden: list[tuple[bytes, str]] = []
        self.pointers: set[str] = set()  # where there are any, nothing is known
        self.mentions: dict[str, Mention] = {}
        self._counted = [Counted(*one) for one in counted]

    @classmethod
    def recalled(cls, memory: Cache, stores: Sequence[Store]) -> Unchanged | None:
        """As it was kept of these stores; None where nothing was, or where anything in them changed."""
        value = of_stores(memory, stores).recall(_WHAT, len(stores))
        return cls(value, stores, memory) if value is not None else None

    def knows(self, beside: Beside) -> bool:
        """Whether it is known of all that refs, reflogs and indexes name whether it is there."""
        return bool(self._named == _digest(beside))

    def surrounded(self, around: Surroundings, cut: Cut) -> None:
        """Takes in what stands beside the objects. cut: what is missing by design."""
        self._around = around
        self._cut = cut

    def settle(self) -> None:
        """Says what is missing, and what could not be looked at."""
        beside = Beside(self._around)
        lost = dict(self._lost)
        self.skipped += missing_objects(lost, self._cut, self._content)
        self.skipped += beside.missing((id for id in self._absent if id not in lost), self._cut)
        self.skipped += unread_inside(self._unread, beside)

    def _content(self, id: str) -> bytes:
        """Of a commit at the boundary of a shallow clone."""
        from fluxguard.audit.depot import Depots
        from fluxguard.audit.known import Known
        from fluxguard.repo.inflate import Damaged
        from fluxguard.repo.store import TooLarge

        try:
            return Depots(self._stores, Known(self._memory).kinds).content(id)[1]
        except (KeyError, Damaged, TooLarge):
            return b""

    def certificates(self, interrupted: bool) -> Iterator[Certificate]:
        """One for each store, all of which is read, whatever was interrupted."""
        for store, counted in zip(self._stores, self._counted, strict=True):
            yield certify(store, counted, ())

    # --- as where there are keys -----------------------------------------------------------------------------------

    @property
    def problems(self) -> list[list[tuple[str, str]]]:
        """Of each store what can't be opened at all: (where, why)."""
        return [store.problems for store in self._stores]

    def seen(self, anew: bool) -> list[Seen]:
        """There is no key."""
        return []

    def hurried(self) -> list[Seen] | None:
        """There is no key."""
        return []

    def untraced(self) -> list[Seen]:
        """There is no key."""
        return []

    def events(self, finding: Finding, family: Sequence[GitDir]) -> tuple[Event, ...]:
        """No object holds it."""
        return ()

    def save(self) -> None:
        """It is kept already."""


def keep(
    whole: Whole,
    amount: tuple[int, int],
    unread: Sequence[tuple[str, str, str]],
    lost: Mapping[str, str],
    counted: Sequence[Counted],
    beside: Beside,
    absent: Sequence[str],
    clear: Clear,
) -> None:
    """Keeps what is known of objects in none of which a key was found. amount: how many, of how many bytes."""
    if len(unread) + len(lost) + len(absent) > _MOST:
        return
    rows = [[one.kinds, one.total, one.digest] for one in counted]
    value = [*amount, [*unread], [*lost.items()], rows, _digest(beside), [*absent]]
    texts = (text for _, where, why in unread for text in (where, why))
    whole.keep(_WHAT, len(counted), value, texts, clear)


def _digest(beside: Beside) -> str:
    return hashlib.sha256("\n".join(beside.ids).encode()).hexdigest()
