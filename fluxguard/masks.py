"""Values that must not be shown, and what stands in their place: however many they are, a text is gone through once."""

from __future__ import annotations

_MANY = 128  # values, from which on it is faster to go through the text than through them


class Masks(dict[bytes, str]):
    """Value -> what is shown instead. Filled when it is made, and left as it is.

    A text is compared with all values of one length at a time. Lengths are few: those of n bytes of values in all are
    no more than the root of 2n.
    """

    def hide(self, text: str) -> str:
        """`text` with every value replaced; where several begin at one place, the longest."""
        if not self:
            return text
        try:
            raw = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character, which stands for no byte
            raw = text.encode("utf-8", "backslashreplace")
        return self.hide_in(raw).decode("utf-8", "surrogateescape")

    def hide_in(self, data: bytes) -> bytes:
        """The same in bytes."""
        if not self.stand_in(data):
            return data
        parts = []
        done = at = 0
        lengths = self._lengths(len(data))
        while lengths and at <= len(data) - lengths[-1]:
            length = self._match(data, at, lengths)
            if length:
                parts += [data[done:at], self[data[at : at + length]].encode()]
                done = at = at + length
            else:
                at += 1
        return b"".join([*parts, data[done:]])

    def stand_in(self, data: bytes) -> bool:
        """Whether a value stands anywhere in `data`."""
        if len(self) < _MANY:
            return any(value in data for value in self if value)
        lengths = self._lengths(len(data))
        return any(self._match(data, at, lengths) for at in range(len(data))) if lengths else False

    def _match(self, data: bytes, at: int, lengths: list[int]) -> int:
        """The length of the longest value that begins there; 0 for none."""
        for length in lengths:
            if data[at : at + length] in self:
                return length
        return 0

    def _lengths(self, most: int) -> list[int]:
        """The lengths that values have, up to `most`, the longest first."""
        if not hasattr(self, "_all_lengths"):
            self._all_lengths = sorted({len(value) for value in self if value}, reverse=True)
        return [length for length in self._all_lengths if length <= most]
