"""Which of some new commits brought a blob, a name or a folder to a path, and what stood there before.

Asked of `git diff-tree`, for all the commits of a push at once, and only where something was found.
"""

from __future__ import annotations

from fluxguard.repo import index, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fluxguard.repo.index import Change


class Arrival:
    """A commit by which something came to a path. change: its new and old blob or tree. left: what the commit took away."""

    __slots__ = ("before", "change", "commit", "left")

    def __init__(self, commit: str, change: Change, before: list[str], left: list[Change]) -> None:
        self.commit = commit
        self.change = change
        self.before = before  # the blob at the same path in each parent, zeros for none
        self.left = left

    def __repr__(self) -> str:
        return f"Arrival({self.commit[:10]} {self.change!r})"


def arrivals(commits: Sequence[str], parents: Mapping[str, int]) -> Iterator[Arrival]:
    """What each commit brought that none of its parents has. commits: in the order in which to answer.

    parents: how many each has. Renames are not followed: what went is in `left`.
    """
    for commit, differences in _differences(commits):
        if len(differences) < parents.get(commit, 1):
            continue  # it is the same as one of its parents
        left = [change for change in differences[0] if change.status == "D"]
        if len(differences) == 1:
            for change in differences[0]:
                if change.status != "D":
                    yield Arrival(commit, change, [change.base], left)
            continue
        others = [{change.path: change for change in one} for one in differences[1:]]
        for change in differences[0]:
            if change.status != "D" and all(change.path in other for other in others):
                before = [change.base, *(other[change.path].base for other in others)]
                yield Arrival(commit, change, before, left)


def _differences(commits: Sequence[str]) -> Iterator[tuple[str, list[list[Change]]]]:
    """Each commit with the changes against each parent from which it differs; against nothing for a root."""
    asked = "".join(f"{id}\n" for id in commits).encode()
    raw = run.output(
        "diff-tree", "--stdin", "-m", "-r", "-t", "--root", "-z", "--raw", "--no-abbrev", "--no-renames",
        "--ignore-submodules=none", stdin=asked,
    )  # fmt: skip
    current = ""
    differences: list[list[Change]] = []
    fields: list[bytes] = []
    for field in _blocks(raw):
        if isinstance(field, str):
            if fields:
                differences.append(list(index.parse_raw(b"\0".join(fields))))
            if field != current:
                if current:
                    yield current, differences
                current, differences = field, []
            fields = []
        else:
            fields += field
    if current:
        yield current, [*differences, list(index.parse_raw(b"\0".join(fields)))]


def _blocks(raw: bytes) -> Iterator[str | list[bytes]]:
    """The ids of commits, and what follows them: a head and a path at a time."""
    fields = iter(raw.split(b"\0"))
    for field in fields:
        if field.startswith(b":"):
            yield [field, next(fields, b"")]
        elif field:
            yield field.decode("ascii", "replace")
