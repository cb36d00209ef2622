"""What was worked out from all the objects of a repository together: good for as long as there is not one more and not one less.

Nothing here imports numpy: an audit that finds a repository as it was has no other use for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fluxguard.audit import cache as caches
from fluxguard.audit.cache import Cache, Identity, Record
from fluxguard.repo.store import Store

Clear = Callable[[str], bool]  # whether a text holds no key
Stamps = dict[str, tuple[int, ...]]


class Whole:
    """The values that were kept for one state of the object stores."""

    def __init__(self, cache: Cache | None, name: str, state: bytes) -> None:
        self._cache = cache
        self._name = name
        self._state = state
        record = cache.read(name, state) if cache else None
        self._values: dict[str, Any] = record.value if record else {}
        self._fresh: dict[str, Any] = {}

    def recall(self, what: str, depends: Any) -> Any:
        """The value kept under the name, for the same of what else it depends on; None where there is none."""
        kept = self._values.get(what)
        if kept is None or kept[0] != _digest(depends):
            return None
        return kept[1]

    def keep(self, what: str, depends: Any, value: Any, texts: Iterable[str], clear: Clear) -> None:
        """Keeps a value that JSON can carry. texts: all in it that could hold a key."""
        if self._cache is not None and all(map(clear, set(texts))):
            self._fresh[what] = [_digest(depends), value]

    def save(self) -> None:
        """Puts what was kept into the cache."""
        if self._cache is not None and self._fresh:
            self._cache.write(self._name, self._state, Record({**self._values, **self._fresh}))


NOTHING = Whole(None, "", b"")


def of_stores(cache: Cache, stores: Sequence[Store]) -> Whole:
    """What was kept for the packs and loose objects that are there now; nothing where any of them changed just now."""
    packs = {}
    loose = []
    for store in stores:
        for path in store.packs:
            identity = caches.identity(path, store.width)
            if identity is None or not cache.settled(*identity.seen):
                return NOTHING
            packs[path] = identity
        stamps = loose_stamps(cache, store)
        if len(stamps) != len(store.loose):
            return NOTHING
        loose.append(loose_digest(stamps))
    return Whole(cache, *state(stores, packs, loose))


def state(stores: Sequence[Store], packs: Mapping[str, Identity], loose: Sequence[str]) -> tuple[str, bytes]:
    """The name of the record, and what tells whether it is about these very objects. loose: see `loose_digest`."""
    rows = [
        [store.path, [packs[path].value.hex() for path in store.packs], singles]
        for store, singles in zip(stores, loose, strict=True)
    ]
    name = f"whole {os.path.realpath(stores[0].path)}" if stores else ""
    return name, json.dumps(rows).encode()


def loose_stamps(cache: Cache, store: Store) -> Stamps:
    """Of each loose object what tells whether it is still the same; of none that changed just now."""
    stamps: Stamps = {}
    folder = os.path.join(store.path, "")
    for id in store.loose:
        try:
            seen = os.lstat(f"{folder}{id[:2]}/{id[2:]}")
        except OSError:
            continue
        if stat.S_ISREG(seen.st_mode) and cache.settled(seen):
            stamps[id] = caches.stamp(seen)
    return stamps


def loose_digest(stamps: Stamps) -> str:
    """Which objects these are."""
    return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()


def _digest(depends: Any) -> str:
    return hashlib.sha256(repr(depends).encode("utf-8", "surrogateescape")).hexdigest()
