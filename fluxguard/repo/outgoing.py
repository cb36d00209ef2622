"""Which objects one side of a push lacks: what is pushed, without all that the other side is known to hold."""

from __future__ import annotations

from fluxguard.errors import GitError, UsageError
from fluxguard.repo import layout, run, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NOT_IN_A_NAME = frozenset(":\\ *?[]~^\t\n")  # of a remote; with these it is a URL or a path


class Update:
    """One ref of a push. name: at the receiving side. old, new: ids as hex, "" for none. source: its name here, or b""."""

    __slots__ = ("name", "new", "old", "source")

    def __init__(self, name: bytes, old: str, new: str, source: bytes = b"") -> None:
        self.name = name
        self.old = old
        self.new = new
        self.source = source

    def __repr__(self) -> str:
        return f"Update({self.name!r} {self.old[:10]}..{self.new[:10]})"


class Lacking:
    """What is to be looked at.

    objects: hex id and the first path at which it stands (b"" for commits and root trees; a path with a line feed in it
    ends there). missing: ids that are needed and not here. cut: commits at which a shallow clone ends.
    at_hand: kind and content of those that were read on the way.
    """

    def __init__(self) -> None:
        self.objects: list[tuple[str, bytes]] = []
        self.at_hand: dict[str, tuple[str, bytes]] = {}
        self.missing: list[str] = []
        self.cut: list[str] = []


def pushed(data: bytes) -> list[Update]:
    """What git tells pre-push on standard input: `local-ref local-id remote-ref remote-id`, a line for each ref.

    Format: githooks(5). Raises UsageError on anything else.
    """
    return [
        Update(name, _id(old), _id(new), source)
        for source, new, name, old in (_fields(line, 4) for line in data.splitlines())
    ]


def received(data: bytes) -> list[Update]:
    """What git tells pre-receive: `old-id new-id ref`, a line for each ref. Format: githooks(5)."""
    return [
        Update(name, _id(old), _id(new))
        for old, new, name in (_fields(line, 3) for line in data.splitlines())
    ]


def changed(data: bytes) -> list[Update]:
    """What git tells reference-transaction: `old-id new-id ref`, a line for each ref that changes.

    Symbolic refs, which change what they name (`ref:...`), and names outside of refs/ (HEAD ...) are left out.
    Format: githooks(5).
    """
    fields = (_fields(line, 3) for line in data.splitlines())
    return [
        Update(name, "" if old.startswith(b"ref:") else _id(old), _id(new))
        for old, new, name in fields
        if name.startswith(b"refs/") and not new.startswith(b"ref:")
    ]


def _fields(line: bytes, count: int) -> list[bytes]:
    fields = line.rsplit(b" ", count - 1) if count == 4 else line.split(b" ", count - 1)
    if len(fields) != count:
        raise UsageError(
            "Standard input is not what git gives to this hook.", "git writes it; see: git help hooks"
        )
    return fields


def _id(text: bytes) -> str:
    if len(text) not in (40, 64) or text.strip(b"0123456789abcdef"):
        raise UsageError(
            "Standard input names no object where git does.", "git writes it; see: git help hooks"
        )
    return text.decode() if text.strip(b"0") else ""


def lacked_by_remote(updates: Sequence[Update], remote: str, url: str) -> Listing:
    """The objects that a remote lacks, for which git begins to look. remote: its name, or the URL where it has none.

    It is known to hold what the refs that are pushed point at there, and what its remote-tracking refs say. These are
    not believed where they can't be about this place: see `_tracked`.
    """
    wanted = [update.new for update in updates if update.new]
    held = [update.old for update in updates if update.old]
    return Listing(wanted, held + _tracked(updates, remote, url))


def surely_lacked(updates: Sequence[Update], remote: str, url: str) -> Lacking | None:
    """As `lacked_by_remote`, mostly without a git process, and perhaps with some more; None where only git can tell."""
    held = [update.old for update in updates if update.new and update.old]
    if len(held) < sum(1 for update in updates if update.new):
        held += _tracked(updates, remote, url)
    found = walk.walked((update.new for update in updates if update.new), held)
    if found is None:
        return None
    lacking = Lacking()
    lacking.objects, lacking.at_hand = found.objects, found.at_hand
    return lacking


def lacked_here(updates: Iterable[Update]) -> Listing:
    """The objects of a push that the receiving repository, in which this runs, has in none of its refs."""
    return Listing([update.new for update in updates if update.new], [], ("--not", "--all"))


def is_name(remote: str) -> bool:
    """Whether this is a remote's name; else it is a URL, or a path."""
    return bool(remote) and remote[0] not in "/.-" and ".." not in remote and not _NOT_IN_A_NAME & set(remote)


def _tracked(updates: Sequence[Update], remote: str, url: str) -> list[str]:
    """What the remote-tracking refs of a remote point at; nothing where they may be about another place.

    They are not about this one where the remote pushes to another place than it fetches from, or where it lacks a ref
    that it is said to have: its URL was changed, to a new and empty repository say.
    """
    if not is_name(remote):
        return []
    prefix = f"refs/remotes/{remote}/"
    asked = run.start("remote", "get-url", "--", remote)
    refs = run.output("for-each-ref", "--format=%(objectname) %(refname)", prefix)
    known = {name: id for id, _, name in (line.partition(b" ") for line in refs.splitlines())}
    fetched_from = asked.readall()
    if asked.finish()[0] or not same_place(fetched_from.decode("utf-8", "replace").strip(), url):
        return []
    for update in updates:
        branch = update.name.removeprefix(b"refs/heads/")
        if not update.old and branch != update.name and prefix.encode() + branch in known:
            return []
    return [id.decode() for id in dict.fromkeys(known.values())]


def same_place(one: str, other: str) -> bool:
    """Whether two URLs are of the same repository, be it by other protocols, users or ports."""
    return one == other or _place(one) == _place(other)


def _place(url: str) -> str:
    import re

    if "://" not in url and re.match(r"[^/]+:", url):  # host:path, as ssh takes it
        url = "ssh://" + url.replace(":", "/", 1)
    scheme, _, rest = url.rpartition("://")
    if scheme in ("", "file"):
        return re.sub(r"(?:/\.git)?/*\Z", "", rest)
    host, _, path = rest.partition("/")
    host = re.sub(r":\d*\Z", "", host.rpartition("@")[2]).lower()
    return f"{host}/{path.strip('/').removesuffix('.git')}"


def new_here(updates: Iterable[Update]) -> Listing:
    """The objects that a change of refs brings into this repository, which has them in none of its refs yet.

    HEAD does not count: a rebase moves it before it moves the branch.
    """
    return Listing([update.new for update in updates if update.new], [], ("--not", "--glob=refs/*"))


class Listing:
    """All that `wanted` leads to, without what `held` leads to, while git is looking for it.

    held: ids; those that are not here say nothing. options: what else git is to leave out.
    """

    def __init__(self, wanted: Iterable[str], held: Iterable[str], options: tuple[str, ...] = ()) -> None:
        self._wanted = list(dict.fromkeys(wanted))
        self._held = list(dict.fromkeys(held))
        self._options = options
        self._running = self._started() if self._wanted else None

    def _started(self) -> run.Running:
        asked = "".join(f"{id}\n" for id in [*self._wanted, *(f"^{id}" for id in self._held)]).encode()
        # With --missing git looks for nothing at the promisor of a partial clone.
        return run.start("rev-list", "--objects", "--missing=print", "--stdin", *self._options, stdin=asked)

    def read(self) -> Lacking:
        """What there is. Raises GitError where it can't be listed."""
        if self._running is None:
            return Lacking()
        found = _listed(self._running)
        if found is None:
            self._held = _present(self._held)
            found = _listed(self._started())
        if found is None:
            raise GitError(
                "What is to be pushed can't be listed: an object is missing or damaged.",
                "Look with: git fsck",
            )
        return found

    def close(self) -> None:
        """Ends git, if nothing was read."""
        if self._running is not None:
            self._running.kill()


def _listed(running: run.Running) -> Lacking | None:
    lacking = Lacking()
    for line in run.all_of(running).split(b"\n"):
        id, _, path = line.partition(b" ")
        if line.startswith(b"?"):
            lacking.missing.append(line[1:].decode())
        elif id:
            lacking.objects.append((id.decode(), path))
    code, text = running.finish()
    if code:
        if "not a git repository" in text or "dubious ownership" in text:
            raise run.failure("rev-list", code, text)
        return None
    shallow = _shallow()
    if shallow:
        lacking.cut = [id for id, path in lacking.objects if id in shallow]
    return lacking


def _present(ids: list[str]) -> list[str]:
    asked = "".join(f"{id}\n" for id in ids).encode()
    answers = run.output("cat-file", "--batch-check", stdin=asked)
    return [line.split(b" ")[0].decode() for line in answers.splitlines() if not line.endswith(b" missing")]


def _shallow() -> frozenset[str]:
    """The commits at which the history of a shallow clone ends."""
    try:
        with open(layout.shallow_file(), "rb") as stream:
            return frozenset(stream.read().decode("ascii", "replace").split())
    except OSError:
        return frozenset()
