"""One key's story: what happened to it, in the order in which it happened.

Introductions and removals come from the traces of its places. The rest is read from the graph and the reflogs: the merge
that brought it into a branch is the last commit, on the way back along the branch's first parents, that still descends
from an introduction; a remote has had it since the first entry of the remote-tracking ref's reflog that does.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fluxguard.audit.history import History
from fluxguard.errors import GitError
from fluxguard.model import Event, Finding, Location, Mention, Trace
from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.graph import Signature, descendants, parse_signature, rfc3339, stamp
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.refs import small_file
from fluxguard.repo.store import TooLarge

MOST_REFS = 500  # of each kind, whose own story is told
_LOG = re.compile(rb"(?m)^[0-9a-f]{40,64} ([0-9a-f]{40,64}) (.*?)> (\d{1,12}) ([+-]\d{4})(?:\t(.*))?$")
_LARGEST_LOG = 64 << 20
_ORDER = ("introduced", "brought-back", "again", "spread", "written", "moved", "removed", "merged", "tagged")


def mentions(history: History, traces: Iterable[Trace], most: int = 20_000) -> dict[str, Mention]:
    """What the commits say that the traces name: at the most so many of them."""
    found: dict[str, Mention] = {}
    for trace in traces:
        for id in (trace.commit, *trace.removed):
            if id and id not in found and len(found) < most:
                mention = mentioned(history, id)
                if mention is not None:
                    found[id] = mention
    return found


def mentioned(history: History, id: str) -> Mention | None:
    """What a commit says of itself; None where it can't be read."""
    try:
        _, data = history.content(id)
        author, committer = parse_signature(data), parse_signature(data, b"committer")
    except (KeyError, Damaged, TooLarge, GitError):
        return None
    subject = data.partition(b"\n\n")[2].strip(b"\n").partition(b"\n")[0][:500]
    commit = history.commits.get(bytes.fromhex(id))
    return Mention(
        author.person if author else b"",
        rfc3339(author),
        rfc3339(committer),
        subject,
        len(commit.parents) if commit else 0,
    )


class Teller:
    """Tells stories of keys in one repository. said: what the commits say that the places name."""

    def __init__(self, history: History, family: Sequence[GitDir], said: Mapping[str, Mention]) -> None:
        self._history = history
        self._family = {member.name: member for member in reversed(family)}
        self._said = dict(said)

    def events(self, finding: Finding) -> tuple[Event, ...]:
        """All that happened to a key."""
        places = _distinct(finding.locations)
        starts = {bytes.fromhex(place.trace.commit) for place in places if place.trace and place.trace.commit}
        reached = descendants(self._history.order, dict.fromkeys(starts, 1))
        refs = sorted({name for place in places if place.trace for name in place.trace.refs})
        told = [
            *self._of_places(places),
            *self._merged(refs, reached, starts),
            *self._tagged(refs, reached),
            *self._pushed(refs, reached),
        ]
        return in_order(told)

    # --- in the history ------------------------------------------------------------------------------------------

    def _of_places(self, places: Sequence[Location]) -> Iterator[Event]:
        removals: dict[bytes, list[bytes]] = {}
        moves = {
            (place.trace.commit, place.trace.moved_from)
            for place in places
            if place.trace and place.trace.moved_from
        }
        for place in places:
            for commit in place.trace.removed if place.trace else ():
                removals.setdefault(place.path, []).append(bytes.fromhex(commit))
        known: set[bytes] = set()
        for place in sorted(places, key=self._when):
            trace = place.trace
            if trace is None or not trace.commit:
                continue
            what = self._what(place, trace, known, removals)
            known.add(place.path)
            yield self._event(what, trace.commit, place.path, trace.moved_from)
            for commit in trace.removed:
                if (commit, place.path) not in moves:
                    yield self._event("removed", commit, place.path)

    def _when(self, place: Location) -> tuple[float, bytes]:
        event = self._event("", place.trace.commit if place.trace else "", b"")
        return instant(event.date), place.path

    def _what(
        self, place: Location, trace: Trace, known: set[bytes], removals: Mapping[bytes, Sequence[bytes]]
    ) -> str:
        if place.kind not in ("blob", "path"):
            return "written"
        if trace.moved_from:
            return "moved"
        if place.path in known:
            return "brought-back" if self._after(trace.commit, removals.get(place.path, ())) else "again"
        return "spread" if known else "introduced"

    def _after(self, commit: str, removals: Iterable[bytes]) -> bool:
        marks = dict.fromkeys(removals, 1)
        return bool(marks) and bytes.fromhex(commit) in descendants(self._history.order, marks)

    def _event(
        self, what: str, commit: str, path: bytes, source: bytes = b"", names: tuple[bytes, ...] = ()
    ) -> Event:
        if commit and commit not in self._said:
            found = mentioned(self._history, commit)
            if found is not None:
                self._said[commit] = found
        said = self._said.get(commit)
        return Event(
            what, said.committed if said else "", commit, said.author if said else b"", path, source, names
        )

    @property
    def said(self) -> dict[str, Mention]:
        """What the commits say that the events name."""
        return self._said

    def _merged(
        self, refs: Iterable[bytes], reached: Mapping[bytes, int], starts: set[bytes]
    ) -> Iterator[Event]:
        entries: dict[bytes, list[bytes]] = {}
        for name in _kind(refs, b"refs/heads/", b"refs/remotes/"):
            tip = self._history.tip(name)
            entry = self._entry(tip, reached) if tip else None
            if entry is not None and entry not in starts and len(self._history.commits[entry].parents) > 1:
                entries.setdefault(entry, []).append(name)
        for commit, names in entries.items():
            yield self._event("merged", commit.hex(), b"", names=tuple(names))

    def _entry(self, tip: bytes, reached: Mapping[bytes, int]) -> bytes | None:
        """Where the key came into a branch: the earliest commit on its first-parent line that descends from it."""
        if tip not in reached:
            return None
        while True:
            parents = self._history.commits[tip].parents
            if not parents or parents[0] not in reached or parents[0] not in self._history.commits:
                return tip
            tip = parents[0]

    # --- in refs -------------------------------------------------------------------------------------------------

    def _tagged(self, refs: Iterable[bytes], reached: Mapping[bytes, int]) -> Iterator[Event]:
        for name in _kind(refs, b"refs/tags/"):
            tip = self._history.tip(name)
            if tip is None or tip not in reached:
                continue
            tagger = self._tagger(name)
            made = self._event("tagged", tip.hex(), b"", names=(name,))
            yield replace(made, date=rfc3339(tagger), who=tagger.person) if tagger else made

    def _tagger(self, name: bytes) -> Signature | None:
        target = self._history.target(name)
        try:
            kind, data = self._history.content(target.hex()) if target else ("", b"")
            return parse_signature(data, b"tagger") if kind == "tag" else None
        except (KeyError, Damaged, TooLarge, GitError):
            return None

    def _pushed(self, refs: Iterable[bytes], reached: Mapping[bytes, int]) -> Iterator[Event]:
        for name in _kind(refs, b"refs/remotes/"):
            entry = self._first_entry(name, reached)
            if entry is None:
                tip = self._history.tip(name)
                if tip in reached:
                    yield Event("seen-on-remote", "", names=(name,))
                continue
            commit, person, date, message = entry
            what = "pushed" if message.startswith(b"update by push") else "seen-on-remote"
            yield Event(what, date, commit, person, names=(name,))

    def _first_entry(self, name: bytes, reached: Mapping[bytes, int]) -> tuple[str, bytes, str, bytes] | None:
        prefix, _, ref = name.rpartition(b":")
        member = self._family.get(os.fsdecode(prefix) or ".git")
        if member is None or b".." in ref:
            return None
        path = os.path.join(member.common, "logs", os.fsdecode(ref))
        for match in _LOG.finditer(small_file(path, _LARGEST_LOG)):
            if bytes.fromhex(match[1].decode()) in reached:
                zone = match[4]
                offset = (int(zone[1:3]) * 60 + int(zone[3:5])) * (-1 if zone[:1] == b"-" else 1)
                return match[1].decode(), match[2] + b">", stamp(int(match[3]), offset), match[5] or b""
        return None


def _kind(names: Iterable[bytes], *prefixes: bytes) -> list[bytes]:
    found = [name for name in names if name.rpartition(b":")[2].startswith(prefixes)]
    return [name for name in found if not name.endswith(b"/HEAD")][:MOST_REFS]


def _distinct(places: Iterable[Location]) -> list[Location]:
    """One of the places that share a path and a commit: a key that stands twice in a file has one story."""
    found: dict[tuple[str, bytes, str], Location] = {}
    for place in places:
        found.setdefault((place.kind, place.path, place.trace.commit if place.trace else ""), place)
    return list(found.values())


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Events by their time, and where that is the same, in the order in which such things happen."""

    def order(event: Event) -> tuple[float, int, bytes]:
        rank = _ORDER.index(event.what) if event.what in _ORDER else len(_ORDER)
        return instant(event.date), rank, event.path

    return tuple(sorted(events, key=order))


def instant(date: str) -> float:
    """A date as a number to sort by; what has none comes last."""
    try:
        return datetime.datetime.fromisoformat(date).timestamp()
    except (ValueError, OverflowError):
        return float("inf")
