"""The triggers in one pass of hyperscan. Importing this fails where hyperscan is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import hyperscan


def scanner(literals: Mapping[bytes, int], expressions: Mapping[bytes, int]) -> Callable[[bytes], int]:
    """A function that answers as `Triggers.find` does: the bits of all the triggers that stand in its argument."""
    patterns = [b"".join(b"\\x%02x" % byte for byte in literal) for literal in literals]
    patterns += expressions
    bits = [*literals.values(), *expressions.values()]
    database = hyperscan.Database()
    database.compile(
        patterns,
        ids=list(range(len(patterns))),
        elements=len(patterns),
        flags=hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL,
    )
    database.scratch = hyperscan.Scratch(database)
    found = 0

    def on_match(id: int, start: int, end: int, flags: int, context: object) -> None:
        nonlocal found
        found |= bits[id]

    def kinds(data: bytes) -> int:
        nonlocal found
        found = 0
        if data:
            database.scan(data, match_event_handler=on_match)
        return found

    return kinds
