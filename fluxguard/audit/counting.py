"""Counts the objects of a store, each once, and makes the digest of their ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fluxguard.audit.certificate import Counted
from fluxguard.audit.depot import Depot
from fluxguard.repo.arrays import np, npt
from fluxguard.repo.pack import KINDS

_NAMES = ("blob", "tree", "commit", "tag")
_BLOCK = 1 << 16


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
