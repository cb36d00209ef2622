"""What was read of a store, so that anyone can check it.

The digest is the SHA-256 of the sorted hex ids of all the store's objects, a newline behind each. The same comes from
`git cat-file --batch-all-objects --batch-check='%(objectname)' | sha256sum` where the store has no alternates.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluxguard.audit.depot import Depot
from fluxguard.model import Certificate
from fluxguard.repo.pack import KINDS

_NAMES = ("blob", "tree", "commit", "tag")
_BLOCK = 1 << 16


def certify(depot: Depot, counted: Counted, unread: Iterable[str]) -> Certificate:
    """The certificate of a store. unread: ids of which no copy could be read."""
    return Certificate(
        depot.store.name,
        counted.kinds,
        counted.total - len(set(unread)),
        counted.digest,
        depot.store.path,
        depot.store.width,
        os.path.lexists(os.path.join(depot.store.path, "info", "alternates")),
    )


@dataclass(frozen=True, slots=True)
class Counted:
    """How many objects of each kind there are in a store, how many in all, and the digest of their ids."""

    kinds: dict[str, int]
    total: int
    digest: str


def count(depot: Depot, loose: Mapping[str, str]) -> Counted:
    """Counts a store's objects, each once. loose: the kind of each loose object."""
    width = depot.store.width
    kind = f"S{width}"
    ids = np.concatenate(
        [np.ascontiguousarray(rows).view(kind).ravel() for rows in depot.ids()] or [np.zeros(0, kind)]
    )
    kinds = np.concatenate(
        [
            *(opened.kinds for opened in depot.packs),
            [_number(loose.get(id, "")) for id in depot.store.loose],
        ]
    ).astype(np.uint8)
    order = _sorting(ids)
    if order is not None:
        ids, kinds = ids[order], kinds[order]
    if len(ids):
        new = np.append(True, ids[1:] != ids[:-1])
        kinds = np.maximum.reduceat(kinds, np.flatnonzero(new))  # a copy that can't be read has kind 0
        ids = ids[new]
    counts = {name: int((kinds == _number(name)).sum()) for name in _NAMES}
    unknown = int((kinds == 0).sum())
    if unknown:
        counts["unknown"] = unknown
    return Counted(counts, len(ids), _digest(ids.tobytes(), width))


def _sorting(ids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64] | None:
    """What puts ids into order; None where they are, as those of a single pack.

    Their first eight bytes tell nearly always, and numbers are sorted many times as fast.
    """
    first = (
        np.ascontiguousarray(ids.view(np.uint8).reshape(-1, ids.dtype.itemsize)[:, :8]).view(">u8").ravel()
    )
    first = first.astype(np.uint64)
    if bool((first[1:] > first[:-1]).all()):
        return None
    order = np.argsort(first, kind="stable")
    alike = np.flatnonzero(first[order[1:]] == first[order[:-1]])
    if bool((ids[order[alike]] == ids[order[alike + 1]]).all()):
        return order
    return np.argsort(ids, kind="stable")


def _number(name: str) -> int:
    return next((number for number, known in KINDS.items() if known == name), 0)


def _digest(ids: bytes, width: int) -> str:
    digest = hashlib.sha256()
    step = _BLOCK * width
    for start in range(0, len(ids), step):
        part = ids[start : start + step]
        digest.update(part.hex("\n", width).encode() + b"\n")
    return "sha256:" + digest.hexdigest()
