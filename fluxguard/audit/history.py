"""Who brought it, when, and who can see it: from sightings in objects to places in the history."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fluxguard.audit.crew import DONE, Crew, Died, hands
from fluxguard.audit.depot import Depots
from fluxguard.audit.sift import Sieve
from fluxguard.errors import GitError
from fluxguard.model import Trace
from fluxguard.repo.graph import Commit, Signature, parse_commit, parse_signature, rfc3339, topological
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.pack import COMMIT, TREE
from fluxguard.repo.store import TooLarge, read_loose
from fluxguard.repo.trace import Place, Trees, naming, reaching, trace

LOG = b"log:"  # before the name of a reflog, among the names of refs
_SHARES = 96


class History:
    """The commits and trees of a repository, read when the first leak is to be traced.

    refs: name and hex id of each ref, and of each entry of a reflog, whose name then begins with LOG.
    loose: the kind of each loose object, per store.
    """

    def __init__(
        self, depots: Depots, loose: list[dict[str, str]], refs: Iterable[tuple[bytes, str]]
    ) -> None:
        self._depots = depots
        self._loose = loose
        self._targets: list[tuple[bytes, bytes]] = [
            (name, bytes.fromhex(id)) for name, id in self._peeled(refs)
        ]
        self.unread = False  # whether some of the work could not be done
        self.commits = self._commits()
        self._order = topological(self.commits)
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
        try:
            kind, data = self._depots.content(id)
        except (KeyError, Damaged, TooLarge, ValueError):
            return None
        match = re.match(rb"object ([0-9a-f]{40}|[0-9a-f]{64})\n", data) if kind == "tag" else None
        return match[1].decode() if match else None

    # --- reading -------------------------------------------------------------------------------------------------

    def _commits(self) -> dict[bytes, Commit]:
        found: dict[bytes, Commit] = {}
        for id, tree, parents in sorted(self._each(COMMIT, "commit", _commit_links)):
            found[id] = Commit(id, tree, tuple(parents))
        return found

    def search(self, wanted: frozenset[bytes]) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
        """The trees that name any of the wanted ids, each with the entries that do."""
        look = _looker(wanted)
        yield from self._each(TREE, "tree", lambda id, data: _naming(id, data, wanted), look)

    def _each(
        self,
        number: int,
        kind: str,
        take: Callable[[bytes, bytes], Any],
        look: Callable[[bytes], int] | None = None,
    ) -> Iterator[Any]:
        """What `take(id, content)` makes of each object of a kind in which `look` finds something."""
        shares = [
            (opened, roots)
            for depot in self._depots.each
            for opened in depot.packs
            for roots in opened.forest.shares(_SHARES, (number,))
        ]

        def work(task: int) -> Iterator[Any]:
            opened, roots = shares[task]
            ids = opened.pack.ids
            if look is None:
                steps: Iterable[tuple[int, bytes]] = (
                    (entry, data) for entry, data, _ in opened.forest.walk(roots)
                )
            else:
                overlap = ids.shape[1] - 1
                steps = Sieve(opened.pack, opened.forest, look, overlap).suspects(roots)
            made = [take(ids[entry].tobytes(), data) for entry, data in steps]
            yield [one for one in made if one is not None]

        for _, value in Crew(len(shares), work, hands()).answers():
            if value is Died:
                self.unread = True
            elif value is not DONE:
                yield from value
        for depot, kinds in zip(self._depots.each, self._loose, strict=True):
            for id, known in kinds.items():
                if known == kind:
                    yield from self._loosely(depot.store, id, take, look)

    def _loosely(
        self,
        store: Any,
        id: str,
        take: Callable[[bytes, bytes], Any],
        look: Callable[[bytes], int] | None,
    ) -> Iterator[Any]:
        try:
            _, data = read_loose(store, id)
        except (Damaged, TooLarge):
            return
        if look is None or look(data):
            made = take(bytes.fromhex(id), data)
            if made is not None:
                yield made

    # --- single things -------------------------------------------------------------------------------------------

    @property
    def order(self) -> list[Commit]:
        """All commits, parents first."""
        return self._order

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
        trees = Trees(self.search, keys)
        found = trace(keys, trees, self.commits, self._targets, self._stashes())
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
        names = reaching(self._order, starts, self._targets)
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


def _commit_links(id: bytes, data: bytes) -> tuple[bytes, bytes, list[bytes]] | None:
    commit = parse_commit(id, data)
    return (commit.id, commit.tree, list(commit.parents)) if commit else None


def _naming(
    id: bytes, data: bytes, wanted: frozenset[bytes]
) -> tuple[bytes, list[tuple[bytes, bytes]]] | None:
    found = list(naming(data, wanted))
    return (id, found) if found else None


def _looker(wanted: frozenset[bytes]) -> Callable[[bytes], int]:
    """A function that says whether any of the wanted ids stands in bytes."""
    try:
        from fluxguard.detect import bulk
    except ImportError:
        pattern = re.compile(b"|".join(map(re.escape, wanted)), re.DOTALL)
        return lambda data: pattern.search(data) is not None
    look = bulk.literals(dict.fromkeys(wanted, 1), ())
    return lambda data: look(data)[0]


def _refs(names: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({name for name in names if not name.startswith(LOG)}))


def _logs(names: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({name[len(LOG) :] for name in names if name.startswith(LOG)}))
