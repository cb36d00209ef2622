"""The values that the rooms hand to one another: frozen, and shy about keys."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

FINGERPRINT = b"fluxguard/fp/v1\0"
_PREFIX = re.compile(rb"(?:flux|flx|fl)_(?:[a-z][a-z0-9]{0,11}_)?")
SHORTEST_BODY = 16
_LONG_BODY = 28


class Secret:
    """A key. Shows itself masked wherever it is printed; `reveal()` is the one way to its bytes."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The key in clear. Few places may ask: see `contract.md`."""
        return self._value

    @property
    def masked(self) -> str:
        """As FluxLoop's pages show a key: prefix, four characters, three dots, the last five (three of a short one)."""
        prefix = _PREFIX.match(self._value)
        body = self._value[prefix.end() :] if prefix else b""
        if len(body) < SHORTEST_BODY or prefix is None:
            return "***"
        tail = 5 if len(body) >= _LONG_BODY else 3
        shown = prefix[0] + body[:4] + b"..." + body[-tail:]
        return shown.decode("ascii", "replace")

    @property
    def fingerprint(self) -> str:
        """`fg1:` and the SHA-256 of the version string, a NUL and the key, in hex."""
        return "fg1:" + hashlib.sha256(FINGERPRINT + self._value).hexdigest()

    @property
    def guessable(self) -> bool:
        """Whether the fingerprint of this value could be turned back into it by trying: it may not be committed."""
        return self.masked == "***"

    def __repr__(self) -> str:
        return self.masked

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not to be pickled")


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why a finding does not block. by: `allow-comment`, `path` or `baseline`."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trace:
    """How a place came to be, and who can see it.

    commit: hex id of the one that brought it, "" where no commit holds it. author, date (RFC 3339): of that commit.
    removed: the commits that took it away. moved_from: the path it had before, or b"". refs: those from whose history it
    can be reached. tips: those of them that hold it still. logs: reflogs that lead to it, where no ref does.
    """

    commit: str = ""
    author: bytes = b""
    date: str = ""
    removed: tuple[str, ...] = ()
    moved_from: bytes = b""
    refs: tuple[bytes, ...] = ()
    tips: tuple[bytes, ...] = ()
    logs: tuple[bytes, ...] = ()

    @property
    def reachable(self) -> bool:
        """Whether git counts it as in use: a ref leads to it, or the HEAD of a working tree; not ORIG_HEAD and its like."""
        names = (name.rpartition(b":")[2] for name in self.refs)
        return any(name == b"HEAD" or name.startswith(b"refs/") for name in names)


@dataclass(frozen=True, slots=True)
class Location:
    """One place where a key stands.

    kind: the contract's name for it. path: as git has it, bytes. line, column: from 1, of the outermost text.
    via: the layers between the bytes on disk and the key, outermost first. object: blob id or "".
    known: it stood there at HEAD already, so that this commit does not bring it. repository: where several were audited.
    """

    kind: str
    path: bytes
    line: int
    column: int
    via: tuple[str, ...] = ()
    object: str = ""
    known: bool = False
    suppressed: Suppression | None = None
    trace: Trace | None = None
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One distinct key, with every place where it stands.

    confidence: `high`, `medium`, `low`. severity: `block` or `warn`. status: what the platform says, or `unknown`.
    """

    rule: str
    secret: Secret
    environment: str
    confidence: str
    severity: str
    locations: tuple[Location, ...]
    suppressed: Suppression | None = None
    status: str = "unknown"

    @property
    def blocks(self) -> bool:
        """Whether it makes the run end with exit code 1."""
        return self.severity == "block" and self.suppressed is None


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that was not looked at. accepted: the reason for which the configuration accepts it, or None."""

    where: bytes
    reason: str
    accepted: str | None = None
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was read of an object store.

    objects: how many there are of each type. read: how many of them all were read. digest: `sha256:` and the SHA-256 of
    their sorted hex ids, a newline behind each. path: the store's folder. width: bytes of an id. shared: git, asked for
    the objects of this store, answers with those of other stores, too (its alternates). repository: as in a Location.
    """

    store: str
    objects: Mapping[str, int]
    read: int
    digest: str
    path: str = ""
    width: int = 20
    shared: bool = False
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """What of a repository was looked at beside its objects.

    path: its git directory. refs: name and hex id. files: names by the contract's kinds of places; of an index, those
    of the entries. repository: as in a Location.
    """

    path: str
    refs: tuple[tuple[bytes, str], ...]
    files: Mapping[str, tuple[bytes, ...]]
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """What a commit says that a report names. date: the author's, committed: the committer's (RFC 3339, or "")."""

    author: bytes
    date: str
    committed: str
    subject: bytes
    parents: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a key.

    what: `introduced`, `spread` (to another path), `again` (on another line of history), `brought-back`, `moved`,
    `removed`, `merged`, `tagged`, `pushed`, `seen-on-remote`, `written` (into a message, a header or a tag).
    date: RFC 3339, or "" where nothing says when. path: where it stands then. source: the path that it moved from.
    names: refs that it came into. commit: hex id, or "".
    """

    what: str
    date: str
    commit: str = ""
    who: bytes = b""
    path: bytes = b""
    source: bytes = b""
    names: tuple[bytes, ...] = ()
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to one key, in order. asked: the fingerprint that was asked for, or the beginning of one.

    finding: None where no key has such a fingerprint.
    """

    asked: str
    finding: Finding | None = None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkout:
    """The working copy that a report is about.

    top: its folder. here: where the command ran. remote: the origin's URL, without any password, or "". revision: the
    commit at HEAD, "" before the first. branch: what HEAD points at, b"" where it is detached.
    """

    top: bytes
    here: bytes
    remote: str = ""
    revision: str = ""
    branch: bytes = b""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Paths that hold secrets, or will, and that nothing keeps from being committed (or shipped).

    kind: `present` (on disk), `expected` (tools create it), `tracked` (committed), `staged`, `history` (in a commit, no longer
    tracked), `shipped` (a list packs it). level: `required` or `advised`. entry: id of the kind of path, with its `reason`.
    paths: from the top of the working tree. by: file, line and pattern that open it again, or the list that ships it.
    covered: .gitignore covers it, which does not help what is tracked. personal: only this person's own excludes cover it.
    accepted: the configuration's reason, or None. lines: what the list needs. tree: which working tree, "" for the first.
    """

    kind: str
    level: str
    entry: str
    reason: str
    paths: tuple[bytes, ...]
    by: tuple[bytes, int, bytes] | None = None
    covered: bool = False
    personal: bool = False
    accepted: str | None = None
    lines: tuple[bytes, ...] = ()
    tree: str = ""
    repository: str = ""

    @property
    def blocks(self) -> bool:
        """Whether `gitignore` ends with exit code 1 for it."""
        mendable = self.kind in ("present", "expected", "tracked", "staged")
        return mendable and self.level == "required" and self.accepted is None


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines for a .gitignore. file: its path. before, after: its content. written: they are there already."""

    file: bytes
    lines: tuple[bytes, ...]
    before: bytes
    after: bytes
    written: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """What a run looked at. objects: files, names and messages; bytes: of their contents; seconds: wall clock."""

    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a command found.

    complete: False where anything was left unread without having been accepted.
    stale: suppressions that no longer match anything, in words. notes: what else a person should know.
    hidden: stretches of names in which a key stands encoded, each with what is shown instead.
    born: False on a branch that has no commit yet. beside: what was looked at beside objects, for each repository.
    occasion: on which git is about to commit (fluxguard.repo.occasion), "" where it is about no commit. inherited: paths whose
    keys stand in what is being merged, too. start: the commit from which on a range was looked at, "" where none was.
    mentions: what the commits say that are named, by hex id. interrupted: somebody ended the run before its end.
    checkout: the working copy around it, for the formats that name one. ended: when, in seconds since 1970; 0: not said.
    uncovered: what .gitignore leaves open. proposed: the lines that would cover it. unmended: what no line covers, and why.
    root: the folder that the paths of these are counted from, "" where it is the current one.
    """

    command: str
    target: str
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Unread, ...] = ()
    stats: Stats = field(default_factory=Stats)
    stale: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hidden: tuple[tuple[bytes, str], ...] = ()
    born: bool = True
    occasion: str = ""
    inherited: tuple[bytes, ...] = ()
    start: str = ""
    certificates: tuple[Certificate, ...] = ()
    beside: tuple[Beside, ...] = ()
    mentions: Mapping[str, Mention] = field(default_factory=dict)
    story: Story | None = None
    interrupted: bool = False
    checkout: Checkout | None = None
    ended: int = 0
    uncovered: tuple[Uncovered, ...] = ()
    proposed: tuple[Lines, ...] = ()
    unmended: tuple[tuple[bytes, str], ...] = ()
    root: str = ""

    def masks(self) -> dict[bytes, str]:
        """What must not be shown wherever it turns up, and what stands in its place."""
        shown = {finding.secret.reveal(): finding.secret.masked for finding in self.findings}
        return {**dict(self.hidden), **shown}

    @property
    def repositories(self) -> list[str]:
        """What the repositories are called, where several were audited."""
        named = [one.repository for one in self.beside] + [one.repository for one in self.skipped]
        return list(dict.fromkeys(name for name in named if name))

    def names_key(self, path: bytes) -> bool:
        """Whether a path holds a key, so that no command can name it."""
        return any(value in path for value in self.masks())

    @property
    def complete(self) -> bool:
        """Whether everything was looked at, or accepted as unread."""
        return all(unread.accepted is not None for unread in self.skipped)

    @property
    def exit_code(self) -> int:
        """The contract's exit code: 1 wins over 3, and an interruption over both."""
        if self.interrupted:
            return 130
        if any(finding.blocks for finding in self.findings):
            return 1
        if self.command == "gitignore" and any(gap.blocks for gap in self.uncovered):
            return 1
        return 0 if self.complete else 3
