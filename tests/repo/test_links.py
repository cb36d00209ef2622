"""What is left out of the search for missing objects is never an entry of a tree, whatever names and ids look like."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxguard.repo import links

MANY = settings(max_examples=400, deadline=None)
PIECES = st.sampled_from(
    [b"\0", b" ", b"160000 ", b"100644 ", b"40000 ", b"0", b"7", b"a", b"160000 m\0", b"10 ", b"\xee" * 5]
)


@st.composite
def ids(draw: st.DrawFn, width: int) -> bytes:
    made = b"".join(draw(st.lists(PIECES, max_size=9)))
    return (made + draw(st.binary(min_size=width, max_size=width)))[:width]


@st.composite
def trees(draw: st.DrawFn, width: int) -> list[tuple[bytes, bytes, bytes]]:
    name = st.lists(PIECES, min_size=1, max_size=4).map(lambda made: b"".join(made).replace(b"\0", b"x"))
    mode = st.sampled_from([b"160000", b"160000", b"100644", b"100755", b"120000", b"40000", b"040000"])
    return draw(st.lists(st.tuples(mode, name, ids(width)), min_size=1, max_size=6))


def expected(stretch: bytes, width: int, spans: list[tuple[int, int, bytes]], start: int) -> set[int]:
    """Where in a stretch an id stands whose whole entry is in it, and that is no submodule's."""
    end = start + len(stretch)
    return {
        at - start
        for first, at, mode in spans
        if start <= first and at + width <= end and mode != links.SUBMODULE
    }


@MANY
@given(data=st.data(), width=st.sampled_from([20, 32]))
def test_only_what_is_no_entry_is_left_out(data: st.DataObject, width: int) -> None:
    entries = data.draw(trees(width))
    whole, spans = b"", []
    for mode, name, id in entries:
        spans.append((len(whole), len(whole) + len(mode) + len(name) + 2, mode))
        whole += mode + b" " + name + b"\0" + id
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    cuts = [0, *cuts, len(whole)] if len(cuts) % 2 else [*cuts] or [0, len(whole)]
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    named = links.Links(links.Present([]), width)
    named.tree(1, links.SEAM.join([whole[start:end] for start, end in pairs]))
    named.flush()
    found = {prefix for prefix, _ in named.missing}
    for start, end in pairs:
        for at in expected(whole[start:end], width, spans, start):
            # Behind an id stands the mode of a next entry or a stretch's end: else it is not looked at, here or before.
            behind = (whole[start:end] + links.SEAM)[at + width : at + width + 2]
            if behind in (b"10", b"12", b"16", b"40", b"04"):
                assert int.from_bytes(whole[start + at : start + at + 8], "big") in found


def test_submodules_are_left_out() -> None:
    id = bytes(range(128, 148))
    named = links.Links(links.Present([]), 20)
    named.tree(1, b"100644 a\0" + id + b"160000 module\0" + bytes(range(200, 220)))
    named.flush()
    assert named.missing == {(int.from_bytes(id[:8], "big"), 1)}
    assert isinstance(named.outside, np.ndarray)
