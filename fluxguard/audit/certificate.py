"""What was read of a store, so that anyone can check it.

The digest is the SHA-256 of the sorted hex ids of all the store's objects, a newline behind each. The same comes from
`git cat-file --batch-all-objects --batch-check='%(objectname)' | sha256sum` where the store has no alternates.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from fluxguard.model import Certificate
from fluxguard.repo.store import Store


def certify(store: Store, counted: Counted, unread: Iterable[str]) -> Certificate:
    """The certificate of a store. unread: ids of which no copy could be read."""
    return Certificate(
        store.name,
        counted.kinds,
        counted.total - len(set(unread)),
        counted.digest,
        store.path,
        store.width,
        os.path.lexists(os.path.join(store.path, "info", "alternates")),
    )


@dataclass(frozen=True, slots=True)
class Counted:
    """How many objects of each kind there are in a store, how many in all, and the digest of their ids."""

    kinds: dict[str, int]
    total: int
    digest: str
