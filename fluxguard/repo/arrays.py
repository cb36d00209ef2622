"""numpy, as everything here imports it: without the threads of its linear algebra, which nothing here uses.

OpenBLAS, which comes with numpy, starts one for each core as it is loaded; that takes half as long again as all the rest.
"""

from __future__ import annotations

import os

_THREADS = "OPENBLAS_NUM_THREADS"
_unasked = _THREADS not in os.environ
if _unasked:
    os.environ[_THREADS] = "1"

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

if _unasked:
    del os.environ[_THREADS]  # it is read once; those that we start decide for themselves

__all__ = ["np", "npt"]
