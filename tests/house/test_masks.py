"""What must not be shown: many values are hidden as surely as few, and in time that grows with the text alone."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from fluxguard.masks import _MANY, Masks

WORDS = st.text("abc", min_size=1, max_size=4)


def _many(more: dict[bytes, str]) -> Masks:
    """The same masks among so many others that the other way is taken."""
    return Masks({**{b"<%d>" % number: "?" for number in range(_MANY)}, **more})


@given(st.dictionaries(WORDS, st.just("*"), max_size=5), st.text("abcx", max_size=20))
def test_few_and_many_hide_the_same(values: dict[str, str], text: str) -> None:
    few = Masks({value.encode(): shown for value, shown in values.items()})
    many = _many(few)
    assert few.hide(text) == many.hide(text)
    assert (
        few.stand_in(text.encode()) == many.stand_in(text.encode()) == any(value in text for value in values)
    )
    assert not any(value in few.hide(text) for value in values)


def test_the_longest_goes_first_and_bytes_that_are_no_text_stay() -> None:
    masks = _many({b"key": "*", b"key-and-more": "**"})
    assert masks.hide("a key-and-more, a key") == "a **, a *"
    assert masks.hide_in(b"\xff key \xfe") == b"\xff * \xfe"
    assert masks.hide("\udcff key") == "\udcff *"
    assert masks.hide("key") == "*"
    assert masks.hide("\ud800 key") == "\\ud800 *"
    assert Masks().hide("key") == "key"


def _seconds(count: int) -> float:
    masks = Masks({b"value-%032d" % number: "***" for number in range(count)})
    names = [b"folder/file-%d/value-%032d" % (number, number) for number in range(count)]
    started = time.process_time()
    assert all(masks.hide_in(name).endswith(b"/***") for name in names)
    return time.process_time() - started


def test_eight_times_the_keys_take_no_more_than_that_much_longer() -> None:
    small = min(_seconds(1000) for _ in range(3))
    assert _seconds(8000) < 24 * small
