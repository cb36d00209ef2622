"""What a delta brings that its base had not: nothing that a window can hold escapes `novel`, nothing inserted escapes `inserted`."""

from __future__ import annotations

import random

import packing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import Copy, Insert, Instruction

from fluxguard.repo import delta as deltas
from fluxguard.repo.inflate import Damaged

LETTERS = st.lists(st.sampled_from(b"abc"), min_size=1, max_size=60).map(bytes)


@st.composite
def changes(draw: st.DrawFn) -> tuple[bytes, tuple[Instruction, ...]]:
    """A base and instructions on it, long copies among them."""
    base = draw(LETTERS) * draw(st.sampled_from([1, 1, 1, 2000]))
    found: list[Instruction] = []
    for _ in range(draw(st.integers(1, 7))):
        if draw(st.booleans()):
            start = draw(st.integers(0, len(base) - 1))
            size = draw(st.sampled_from([1, 2, 5, 40, 255, 256, 65_535, 65_536, 70_000]))
            found.append(Copy(start, min(size, len(base) - start), draw(st.booleans())))
        else:
            found += packing.inserts(draw(st.one_of(LETTERS, st.just(b"z" * 300))))
    return base, tuple(found)


@settings(max_examples=400, deadline=None)
@given(change=changes(), overlap=st.integers(0, 12))
def test_every_window_stands_in_the_base_or_in_a_stretch(
    change: tuple[bytes, tuple[Instruction, ...]], overlap: int
) -> None:
    base, instructions = change
    result = packing.made(base, instructions)
    raw = packing.delta(len(base), len(result), instructions)
    assert deltas.result_size(raw) == len(result)
    assert deltas.apply(base, raw) == result
    stretches = deltas.novel(raw, result, overlap)
    size = overlap + 1
    novel = {one[at : at + size] for one in stretches for at in range(len(one) - size + 1)}
    old = {base[at : at + size] for at in range(len(base) - size + 1)}
    assert {result[at : at + size] for at in range(len(result) - size + 1)} <= old | novel
    place = 0
    for one in stretches:  # they are parts of the result, in order
        place = result.index(one, place)


@pytest.mark.parametrize("size", [1, 255, 256, 65_535, 65_536, 65_537, 0x10100])
def test_a_copy_of_any_size_in_front_of_an_insert(size: int) -> None:
    base = random.Random(1).randbytes(70_000)
    for long in (False, True):
        instructions = [Copy(3, size, long), Insert(b"new"), Copy(9, 100)]
        result = packing.made(base, instructions)
        raw = packing.delta(len(base), len(result), instructions)
        assert deltas.apply(base, raw) == result
        assert deltas.novel(raw, result, 4) == [result[max(0, size - 4) : size + 7]]
        assert deltas.inserted(raw, result, 1, 2) == [result[size - 1 : size + 5]]


@settings(max_examples=200, deadline=None)
@given(change=changes(), before=st.integers(0, 9), behind=st.integers(0, 9))
def test_all_that_is_inserted_stands_in_a_stretch_with_its_surroundings(
    change: tuple[bytes, tuple[Instruction, ...]], before: int, behind: int
) -> None:
    base, instructions = change
    result = packing.made(base, instructions)
    stretches = deltas.inserted(packing.delta(len(base), len(result), instructions), result, before, behind)
    place = 0
    for one in instructions:
        if isinstance(one, Insert):
            wanted = result[max(0, place - before) : place + len(one.data) + behind]
            assert any(wanted in stretch for stretch in stretches)
            place += len(one.data)
        else:
            place += one.size


def by_the_book(base: bytes, raw: bytes) -> bytes | None:
    """What git's patch-delta.c makes of it; None where it refuses."""
    try:
        at, sizes = 0, []
        for _ in range(2):
            value = shift = 0
            while True:
                byte = raw[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            sizes.append(value)
        if sizes[0] != len(base):
            return None
        result = b""
        while at < len(raw):
            code = raw[at]
            at += 1
            if code & 128:
                fields = [0, 0]
                for bit in range(7):
                    if code >> bit & 1:
                        fields[bit > 3] |= raw[at] << 8 * (bit - 4 * (bit > 3))
                        at += 1
                start, size = fields[0], fields[1] or 0x10000
                if start + size > len(base):
                    return None
                result += base[start : start + size]
            else:
                if not code or at + code > len(raw):
                    return None
                result += raw[at : at + code]
                at += code
            if len(result) > sizes[1]:
                return result[: sizes[1]]  # git refuses; a library that does not still ends there
    except IndexError:
        return None
    return result if len(result) == sizes[1] else None


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_damaged_deltas_give_an_error_or_what_the_format_says(data: st.DataObject) -> None:
    base = data.draw(st.binary(max_size=50))
    if data.draw(st.booleans()):
        raw = bytearray(data.draw(st.binary(max_size=24)))
    else:
        made = b"some text that is inserted" + base
        instructions = [*packing.inserts(made[:26]), *([Copy(0, len(base))] if base else [])]
        raw = bytearray(packing.delta(len(base), len(made), instructions))
        for _ in range(data.draw(st.integers(0, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        del raw[data.draw(st.integers(0, len(raw))) :]
    try:
        if deltas.result_size(bytes(raw)) > 1 << 25:
            return
        made = deltas.apply(base, bytes(raw))
    except Damaged:
        expected = by_the_book(base, bytes(raw))
        # An empty result with nothing behind it is one that libraries and git disagree on.
        assert expected is None or not expected or len(expected) == deltas.result_size(bytes(raw))
        return
    assert made == by_the_book(base, bytes(raw))
    # Taking it apart ends as well.
    deltas.novel(bytes(raw), made, 5)
    deltas.inserted(bytes(raw), made, 5, 5)


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x05", b"\x05\x80", b"\xff" * 5000])
def test_a_delta_without_sizes(raw: bytes) -> None:
    with pytest.raises(Damaged):
        deltas.result_size(raw)
