"""The triggers in one pass of hyperscan. Importing this fails where hyperscan is missing."""

from __future__ import annotations

import sys
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol
else:
    Protocol = object


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


class Shelf(Protocol):
    """A place that keeps bytes by name, or b"" where it has none."""

    def take(self, name: str) -> bytes:
        """What is there."""

    def put(self, name: str, data: bytes) -> None:
        """Keeps it."""


def literals(
    sure: Mapping[bytes, int], hints: Iterable[bytes], shelf: Shelf | None = None
) -> Callable[[bytes], tuple[int, list[bytes]]]:
    """A function that answers with the bits of all the sure literals in its argument, and with the hints in it.

    shelf: where the compiled literals are kept, for compiling takes a hundred times as long as reading them.
    """
    listed = list(hints)
    scan = _scanning(_kept([*sure, *listed], shelf))
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
    database = _database([_quoted(literal) for literal in listed], _hyperscan.HS_FLAG_DOTALL)
    found: list[int] = []

    def on_match(id: int, start: int, end: int, flags: int, context: object) -> bool:
        found.append(end - sizes[id])
        return len(found) > most

    def find(data: bytes) -> list[int] | None:
        found.clear()
        try:
            database.scan(data, match_event_handler=on_match)
        except _hyperscan.ScanTerminated:
            return None
        return list(found)

    return find


def _scanner(patterns: list[bytes]) -> Callable[[bytes], list[int]]:
    """A function that lists the numbers of the patterns in its argument."""
    return _scanning(_database(patterns, _hyperscan.HS_FLAG_SINGLEMATCH | _hyperscan.HS_FLAG_DOTALL))


def _kept(literals: list[bytes], shelf: Shelf | None) -> Any:
    """The compiled literals: from the shelf if they are there, else made and put there."""
    what = f"fluxguard triggers 1\n{literals!r}\n".encode()
    name = f"triggers-{crc32(what):08x}"
    database = _read(shelf.take(name), what, literals) if shelf else None
    if database is None:
        flags = _hyperscan.HS_FLAG_SINGLEMATCH | _hyperscan.HS_FLAG_DOTALL
        database = _database([_quoted(literal) for literal in literals], flags)
        if shelf:
            shelf.put(name, what + _hyperscan.dumpb(database))
    return database


def _read(kept: bytes, what: bytes, literals: list[bytes]) -> Any:
    """What was kept, if it is of these literals, for this machine, and finds every one of them; else None."""
    if not kept.startswith(what):
        return None
    try:
        # Checks version, processor and a checksum of nearly all of it.
        database = _hyperscan.loadb(kept[len(what) :], _hyperscan.HS_MODE_BLOCK)
        database.scratch = _hyperscan.Scratch(database)
        found = _scanning(database)(b"\n".join(literals))
    except _hyperscan.error:
        return None
    return database if sorted(found) == list(range(len(literals))) else None


def _scanning(database: Any) -> Callable[[bytes], list[int]]:
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


def _database(patterns: list[bytes], flags: int) -> Any:
    database = _hyperscan.Database()
    database.compile(patterns, ids=list(range(len(patterns))), elements=len(patterns), flags=flags)
    database.scratch = _hyperscan.Scratch(database)
    return database


def _quoted(literal: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in literal)
