"""The triggers in one pass of hyperscan. Importing this fails where hyperscan is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import hyperscan


def literals(sure: Mapping[bytes, int], hints: Iterable[bytes]) -> Callable[[bytes], tuple[int, list[bytes]]]:
    """A function that answers with the bits of all the sure literals in its argument, and with the hints in it."""
    listed = list(hints)
    scan = _scanner([_quoted(literal) for literal in (*sure, *listed)])
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


def places(literals: Iterable[bytes], most: int) -> Callable[[bytes], list[int] | None]:
    """A function that answers where the literals begin in its argument, in any order; None where there are more than `most`."""
    listed = list(literals)
    sizes = [len(literal) for literal in listed]
    database = _database([_quoted(literal) for literal in listed], hyperscan.HS_FLAG_DOTALL)
    found: list[int] = []

    def on_match(id: int, start: int, end: int, flags: int, context: object) -> bool:
        found.append(end - sizes[id])
        return len(found) > most

    def find(data: bytes) -> list[int] | None:
        found.clear()
        try:
            database.scan(data, match_event_handler=on_match)
        except hyperscan.ScanTerminated:
            return None
        return list(found)

    return find


def _scanner(patterns: list[bytes]) -> Callable[[bytes], list[int]]:
    """A function that lists the numbers of the patterns in its argument."""
    database = _database(patterns, hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL)
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


def _database(patterns: list[bytes], flags: int) -> hyperscan.Database:
    database = hyperscan.Database()
    database.compile(patterns, ids=list(range(len(patterns))), elements=len(patterns), flags=flags)
    database.scratch = hyperscan.Scratch(database)
    return database


def _quoted(literal: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in literal)
