"""Numbers, each once and in order, as `np.unique` would give them: that brings in numpy.ma, which takes 15 ms to import."""

from __future__ import annotations

from typing import Any

from fluxguard.repo.arrays import np, npt


def distinct(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The distinct values of an array of one dimension, sorted."""
    ordered = np.sort(numbers)
    keep = np.ones(len(ordered), dtype=bool)
    keep[1:] = ordered[1:] != ordered[:-1]
    return ordered[keep]
