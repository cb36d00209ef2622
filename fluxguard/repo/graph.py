"""The commit graph, and what a commit says: parsed from the objects themselves.

Ids are raw bytes here (20 of SHA-1, 32 of SHA-256).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_HEADER = re.compile(rb"tree ([0-9a-f]+)\n((?:parent [0-9a-f]+\n)*)")
_PERSON = re.compile(rb"(.*?) ?<(.*)> ?(-?\d{1,12})(?: ([+-]\d{4}))?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Commit:
    """Id, tree and parents of a commit; nothing of its words."""

    id: bytes
    tree: bytes
    parents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and when: name and mail as they stand there, seconds since 1970, minutes east of Greenwich."""

    person: bytes
    seconds: int
    offset: int


def parse_commit(id: bytes, data: bytes) -> Commit | None:
    """The links of a commit object; None where it is no commit that git would write.

    Format: gitformat, `tree ID`, then any number of `parent ID`.
    """
    match = _HEADER.match(data)
    size = len(id)
    if not match or len(match[1]) != 2 * size:
        return None
    parents = tuple(
        bytes.fromhex(line[7:].decode()) for line in match[2].splitlines() if len(line) == 7 + 2 * size
    )
    return Commit(id, bytes.fromhex(match[1].decode()), parents)


def parse_signature(data: bytes, header: bytes = b"author") -> Signature | None:
    """The `author` or `committer` of a commit, or the `tagger` of a tag; None where there is none."""
    head = b"\n" + data.partition(b"\n\n")[0] + b"\n"
    at = head.find(b"\n" + header + b" ")
    if at < 0:
        return None
    line = head[at + len(header) + 2 : head.index(b"\n", at + 1)]
    match = _PERSON.match(line)
    if not match:
        return Signature(line, 0, 0)
    zone = match[4] or b"+0000"
    offset = (int(zone[1:3]) * 60 + int(zone[3:5])) * (-1 if zone[:1] == b"-" else 1)
    return Signature(match[1] + b" <" + match[2] + b">", int(match[3]), offset)


def topological(commits: Mapping[bytes, Commit]) -> list[Commit]:
    """Every commit, parents before children; parents that are not there count as none.

    Commits in a cycle, which only a damaged store can hold, are left out.
    """
    missing = {id: sum(parent in commits for parent in set(commit.parents)) for id, commit in commits.items()}
    children: dict[bytes, list[bytes]] = {}
    for id, commit in commits.items():
        for parent in set(commit.parents):
            children.setdefault(parent, []).append(id)
    ready = [id for id, count in missing.items() if not count]
    order = []
    while ready:
        id = ready.pop()
        order.append(commits[id])
        for child in children.get(id, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return order


def descendants(order: Iterable[Commit], marks: Mapping[bytes, int]) -> dict[bytes, int]:
    """For each commit, the bits of all marked commits that it is or descends from. `order`: parents first."""
    reached: dict[bytes, int] = {}
    for commit in order:
        bits = marks.get(commit.id, 0)
        for parent in commit.parents:
            bits |= reached.get(parent, 0)
        if bits:
            reached[commit.id] = bits
    return reached


def rfc3339(signature: Signature | None) -> str:
    """A signature's time; "" where it has none that a calendar knows."""
    return stamp(signature.seconds, signature.offset) if signature else ""


def stamp(seconds: int, offset: int) -> str:
    """Seconds since 1970, and minutes east of Greenwich, as RFC 3339."""
    zone = datetime.timezone(datetime.timedelta(minutes=max(-1439, min(1439, offset))))
    try:
        return datetime.datetime.fromtimestamp(seconds, zone).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
