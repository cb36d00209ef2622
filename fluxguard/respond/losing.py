"""What git's export drops or adds of its own: signatures, headers of commits that it does not know, taggers where a tag had none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxguard.respond.mirror import contents, git, pointed_anew

# In a commit a header, in a tag a line of its message.
_SIGNATURE = re.compile(
    rb"^(?:gpgsig(?:-sha256)? |-----BEGIN (?:PGP SIGNATURE|SSH SIGNATURE|SIGNED MESSAGE)-----)", re.MULTILINE
)
_KEPT = frozenset((b"tree", b"parent", b"author", b"committer", b"encoding", b"gpgsig", b"gpgsig-sha256"))
_HEADER = re.compile(rb"^([^ \n]+)", re.MULTILINE)
# What git's export writes where a tag has none.
_INVENTED = re.compile(
    rb"\Aobject \S+\ntype \S+\ntag [^\n]*\n(tagger Unspecified Tagger <[^>\n]*> 0 \+0000\n)"
)


_BATCH = 10_000  # commits and tags, which are small


@dataclass(frozen=True, slots=True)
class Lost:
    """What of a repository may be lost. signatures: how many there are, of whatever kind. headers: unknown ones, by name."""

    signatures: int
    headers: Mapping[bytes, int]

    @classmethod
    def of(cls, folder: Path) -> Lost:
        """What there is of it now."""
        signatures, headers = 0, Counter[bytes]()
        for kind, data in _commits_and_tags(folder):
            signatures += len(_SIGNATURE.findall(data))
            if kind == "commit":
                head = data.partition(b"\n\n")[0]
                headers.update({name for name in _HEADER.findall(head) if name not in _KEPT})
        return cls(signatures, headers)

    def since(self, folder: Path) -> tuple[int, dict[bytes, int]]:
        """What is lost of it."""
        now = Lost.of(folder)
        gone = {name: count - now.headers.get(name, 0) for name, count in self.headers.items()}
        return max(0, self.signatures - now.signatures), {
            name: count for name, count in sorted(gone.items()) if count > 0
        }


def _commits_and_tags(folder: Path) -> Iterator[tuple[str, bytes]]:
    ids = git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)")
    wanted = [line.split(" ")[1] for line in ids.decode().splitlines() if line.startswith(("commit", "tag"))]
    return ((kind, data) for _, kind, data in contents(folder, wanted, _BATCH))


def tags_without_tagger(folder: Path) -> None:
    """Tags that had no tagger get rid of the one that git's export invented."""
    pointed_anew(folder, lambda kind, id: _untagged(folder, id) if kind == b"tag" else id)


def _untagged(folder: Path, id: bytes) -> bytes:
    """A tag, and the tags that it leads to, without invented taggers."""
    data = git(folder, "cat-file", "tag", id.decode())
    first, kind, rest = data.split(b"\n", 2)
    child = first.removeprefix(b"object ")
    new = _untagged(folder, child) if kind == b"type tag" else child
    cleaned = b"object %s\n%s\n%s" % (new, kind, rest)
    if invented := _INVENTED.match(cleaned):
        cleaned = cleaned[: invented.start(1)] + cleaned[invented.end(1) :]
    if cleaned == data:
        return id
    return git(folder, "hash-object", "-t", "tag", "-w", "--stdin", data=cleaned).strip()
