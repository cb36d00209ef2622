"""The triggers in one pass of hyperscan. Importing this fails where hyperscan is missing."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def _compiled_half() -> Any:
    """hyperscan without the module around it, which imports `typing` and so takes four times as long as all the rest.

    Raises ImportError where there is none.
    """
    if "hyperscan" in sys.modules:
        import hyperscan

        return hyperscan
    specs = (finder.find_spec("hyperscan", None) for finder in sys.meta_path)
    spec = next((spec for spec in specs if spec and spec.submodule_search_locations), None)
    if spec is None:
        raise ImportError("there is no hyperscan")
    package: Any = type(sys)("hyperscan")
    package.__path__ = spec.submodule_search_locations
    sys.modules["hyperscan"] = package
    try:
        from hyperscan import _hs_ext  # type: ignore[attr-defined,unused-ignore]
    finally:
        del sys.modules["hyperscan"]  # who imports it in the ordinary way gets all of it
    return _hs_ext


_hyperscan = _compiled_half()


def literals(sure: Mapping[bytes, int], hints: Iterable[bytes]) -> Callable[[bytes], tuple[int, list[bytes]]]:
    """A function that answers with the bits of all the sure literals in its argument, and with the hints in it."""
    listed = list(hints)
    patterns = [b"".join(b"\\x%02x" % byte for byte in literal) for literal in (*sure, *listed)]
    scan = _scanner(patterns)
    bits = list(sure.values())

    def look(data: bytes) -> tuple[int, list[bytes]]:
        found = 0
        hinted = []
        for number in scan(data):
            if number < len(bits):
                found |= bits[number]
            else:
                hinted.append(listed[number - len(bits)])
        return found, hinted

    return look


def expressions(patterns: Mapping[int, bytes]) -> Callable[[bytes, int], int]:
    """A function that answers with the bits, of those wanted, whose expression matches in its argument."""
    bits = list(patterns)
    scan = _scanner(list(patterns.values()))

    def search(data: bytes, wanted: int) -> int:
        found = 0
        for number in scan(data):
            found |= bits[number]
        return found & wanted

    return search


def _scanner(patterns: list[bytes]) -> Callable[[bytes], list[int]]:
    """A function that lists the numbers of the patterns in its argument."""
    database = _hyperscan.Database()
    database.compile(
        patterns,
        ids=list(range(len(patterns))),
        elements=len(patterns),
        flags=_hyperscan.HS_FLAG_SINGLEMATCH | _hyperscan.HS_FLAG_DOTALL,
    )
    database.scratch = _hyperscan.Scratch(database)
    found: list[int] = []

    def on_match(id: int, start: int, end: int, flags: int, context: object) -> None:
        found.append(id)

    def scan(data: bytes) -> list[int]:
        if not data:
            return []
        found.clear()
        database.scan(data, match_event_handler=on_match)
        return found

    return scan
