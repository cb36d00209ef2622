"""What trees call after FluxLoop: what stands there is looked at with the rules for such places, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterator

from fluxguard.repo import links

HOME = b"fluxloop"


def homes(data: bytes, width: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The entries of a tree that are called after FluxLoop: (mode, name, id)."""
    if HOME in data.lower():
        for mode, name, id in links.entries(data, width):
            if HOME in name.lower():
                yield mode, name, id
