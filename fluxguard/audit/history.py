"""Who brought it, when, and who can see it: from sightings in objects to places in the history."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from fluxguard.audit.depot import Depots
from fluxguard.audit.lineage import Lineage
from fluxguard.errors import GitError
from fluxguard.model import Trace
from fluxguard.repo.graph import Commit, Signature, parse_signature, rfc3339, topological
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.store import TooLarge
from fluxguard.repo.trace import Place, Trees, reaching, trace

LOG = b"log:"  # before the name of a reflog, among the names of refs


class History:
    """The commits and trees of a repository, read when the first leak is to be traced.

    refs: name and hex id of each ref, and of each entry of a reflog, whose name then begins with LOG.
    """

    def __init__(self, depots: Depots, lineage: Lineage, refs: Iterable[tuple[bytes, str]]) -> None:
        self._depots = depots
        self._lineage = lineage
        self.commits = lineage.graph()
        self.truncated = False  # whether a key stands at more paths than are told
        self._targets: list[tuple[bytes, bytes]] = [
            (name, bytes.fromhex(id)) for name, id in self._peeled(refs)
        ]
        self._signatures: dict[bytes, Signature | None] = {}

    def _peeled(self, refs: Iterable[tuple[bytes, str]]) -> Iterator[tuple[bytes, str]]:
        """Each ref with what it points at and, through tags, what stands behind."""
        for name, id in refs:
            for _ in range(64):
                yield name, id
                behind = self._behind(id)
                if behind is None:
                    break
                id = behind

    def _behind(self, id: str) -> str | None:
        if bytes.fromhex(id) in self.commits:
            return None
        try:
            kind, data = self._depots.content(id)
        except (KeyError, Damaged, TooLarge, ValueError):
            return None
        match = re.match(rb"object ([0-9a-f]{40}|[0-9a-f]{64})\n", data) if kind == "tag" else None
        return match[1].decode() if match else None

    # --- single things -------------------------------------------------------------------------------------------

    @property
    def unread(self) -> bool:
        """Whether some of the work could not be done."""
        return self._lineage.unread

    @cached_property
    def order(self) -> list[Commit]:
        """All commits, parents first."""
        return topological({id: self.commits[id] for id in sorted(self.commits)})

    def content(self, id: str) -> tuple[str, bytes]:
        """Kind and content of an object. Raises KeyError, Damaged and TooLarge."""
        return self._depots.content(id)

    def target(self, name: bytes) -> bytes | None:
        """The id that a ref points at, be it a tag's."""
        return next((id for ref, id in self._targets if ref == name), None)

    def tip(self, name: bytes) -> bytes | None:
        """The commit that a ref points at."""
        return next((id for ref, id in self._targets if ref == name and id in self.commits), None)

    # --- answers -------------------------------------------------------------------------------------------------

    def places(self, keys: Mapping[bytes, frozenset[int]]) -> list[tuple[Place, Trace]]:
        """Every stay of every key at a path. keys: by blob, or by tree for what stands in its names."""
        trees = Trees(self._lineage.naming, keys)
        found = trace(keys, trees, self.commits, self._targets, self._stashes())
        self.truncated = self.truncated or trees.truncated
        return [(place, self._of_place(place)) for place in found]

    def _stashes(self) -> frozenset[bytes]:
        return frozenset(
            id
            for name, id in self._targets
            if id in self.commits and name.removeprefix(LOG).rpartition(b":")[2] == b"refs/stash"
        )

    def _of_place(self, place: Place) -> Trace:
        names = list(place.refs)
        if place.commit is None:
            return Trace(refs=_refs(names), logs=_logs(names), tips=_refs(names))
        return Trace(
            commit=place.commit.hex(),
            author=self._author(place.commit),
            date=self._date(place.commit),
            removed=tuple(id.hex() for id in place.removed),
            moved_from=place.moved_from,
            refs=_refs(names),
            tips=_refs(place.tips),
            logs=_logs(names),
        )

    def of_commits(self, ids: Iterable[str]) -> dict[str, Trace]:
        """For what stands in commits themselves."""
        starts = sorted({bytes.fromhex(id) for id in ids})
        names = reaching(topological(self.commits.since(starts)), starts, self._targets)
        return {
            id.hex(): Trace(
                commit=id.hex(),
                author=self._author(id),
                date=self._date(id),
                refs=_refs(names[id]),
                tips=_refs(names[id]),
                logs=_logs(names[id]),
            )
            for id in starts
        }

    def of_tags(self, ids: Iterable[str]) -> dict[str, Trace]:
        """For what stands in tags."""
        found = {}
        for id in set(ids):
            raw = bytes.fromhex(id)
            names = [name for name, target in self._targets if target == raw]
            signature = self._signature(raw, b"tagger")
            found[id] = Trace(
                author=signature.person if signature else b"",
                date=rfc3339(signature),
                refs=_refs(names),
                tips=_refs(names),
                logs=_logs(names),
            )
        return found

    def _author(self, id: bytes) -> bytes:
        signature = self._signature(id)
        return signature.person if signature else b""

    def _date(self, id: bytes) -> str:
        return rfc3339(self._signature(id))

    def _signature(self, id: bytes, header: bytes = b"author") -> Signature | None:
        if id not in self._signatures:
            try:
                _, data = self._depots.content(id.hex())
                self._signatures[id] = parse_signature(data, header)
            except (KeyError, Damaged, TooLarge, GitError):
                self._signatures[id] = None
        return self._signatures[id]


def _refs(names: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({name for name in names if not name.startswith(LOG)}))


def _logs(names: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({name[len(LOG) :] for name in names if name.startswith(LOG)}))
