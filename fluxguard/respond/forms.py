"""How a key may stand in bytes, and what takes its place."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

REMOVED = b"REMOVED-BY-FLUXGUARD"
NOTICE = b"This file held a FluxLoop API key in a form that can't be taken out by itself. It was removed from the history.\n"


def forms(key: bytes) -> list[tuple[bytes, bytes]]:
    """How the key may stand in bytes, each with what takes its place: a form that still decodes."""
    text = key.decode("ascii")
    removed = REMOVED.decode()
    found = [(key, REMOVED)]
    found += [
        (text.encode(name), removed.encode(name))
        for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    ]
    found += [
        (key.hex().encode(), REMOVED.hex().encode()),
        (key.hex().upper().encode(), REMOVED.hex().upper().encode()),
    ]
    found += [
        ("".join(f"%{byte:02x}" for byte in key).encode(), REMOVED),
        ("".join(f"%{byte:02X}" for byte in key).encode(), REMOVED),
    ]
    found += [
        ("".join(f"\\u{byte:04x}" for byte in key).encode(), REMOVED),
        ("".join(f"\\x{byte:02x}" for byte in key).encode(), REMOVED),
    ]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            run = encode(b"\0" * shift + key)
            whole = run[(0, 2, 3)[shift] : len(run) - (0, 2, 3)[-(shift + len(key)) % 3] or None]
            found.append((whole, b"A" * len(whole)))
    return list(dict(found).items())


def renamed(
    names: Iterable[bytes], key: bytes, known: Mapping[bytes, bytes] | None = None
) -> dict[bytes, bytes]:
    """New names of those that held the key. Two never get the same one: the second is numbered, for one would be lost.

    known: names that have theirs already.
    """
    all_names, found, by = sorted(set(names)), dict(known or {}), forms(key)
    taken = {name for name in all_names if not any(form in name for form, _ in by)} | set(found.values())
    for name in all_names:
        if name in taken or name in found:
            continue
        wanted = fresh = replaced(name, by)
        number = 1
        while fresh in taken:
            number += 1
            fresh = wanted + b"-%d" % number
        taken.add(fresh)
        found[name] = fresh
    return found


def replaced(data: bytes, by: list[tuple[bytes, bytes]]) -> bytes:
    for form, instead in by:
        if form in data:
            data = data.replace(form, instead)
    return data
