"""An archive without the key: made anew around the members that held it, all else of it as it was; or not at all.

What is made is opened by Python's own reader and compared with what there was, member by member. Where that can't be, or something
does not compare, there is no new archive.
"""

from __future__ import annotations

from collections.abc import Callable

from fluxguard.respond.repacking import seals, streams, tarred, zipped
from fluxguard.respond.repacking.change import Change, Inexact

__all__ = ["Change", "repacked", "vouchers"]

vouchers = seals.vouchers


def repacked(data: bytes, change: Change) -> bytes | None:
    """The archive with what changes in it; None where it is of another kind, or all else could not be kept as it is."""
    make = _maker(data)
    if make is None:
        return None
    try:
        return make(data, change)
    except Inexact:
        return None
    except Exception:  # a hostile file may make the readers raise nearly anything
        return None


def _maker(data: bytes) -> Callable[[bytes, Change], bytes] | None:
    """As detection decides what it is."""
    if (stream := streams.of(data)) is not None:
        return stream
    if data[257:262] == b"ustar":
        return tarred.rebuilt
    if data.startswith(b"PK\3\4") or data[-22:-18] == b"PK\5\6":
        return zipped.rebuilt
    return None
