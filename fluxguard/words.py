"""Numbers and dates as people read them."""

from __future__ import annotations


def count(number: int, noun: str, several: str = "") -> str:
    """`1 file`, `2,000 files`. several: the noun of many, where it has no plain s."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def size(size: int) -> str:
    """`9,000 bytes`, `12 kB`, `12 MB`."""
    if size < 10_000:
        return f"{size:,} bytes"
    return f"{size / 1e3:,.0f} kB" if size < 10_000_000 else f"{size / 1e6:,.0f} MB"


def date(moment: int | None) -> str:
    """`Jan 15, 2024`, as FluxLoop's pages write it; `Never` for none. moment: milliseconds since 1970."""
    from datetime import UTC, datetime

    if moment is None:
        return "Never"
    when = datetime.fromtimestamp(moment / 1000, UTC)
    return f"{when:%b} {when.day}, {when.year}"


def short_date(text: str) -> str:
    """`Jan 15`, of an ISO date."""
    from datetime import date as Date

    when = Date.fromisoformat(text)
    return f"{when:%b} {when.day}"


def ago(moment: int, now: int) -> str:
    """`2 hours ago`. moment, now: milliseconds since 1970."""
    seconds = max(0, now - moment) // 1000
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{count(seconds // length, name)} ago"
    return "just now"
