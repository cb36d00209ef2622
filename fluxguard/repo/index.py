"""What the next commit would contain, asked of git itself.

`git commit -a` and `git commit -- path` hand their hooks a temporary index in GIT_INDEX_FILE; git plumbing honours
it, reading `.git/index` by oneself would not.
"""

from __future__ import annotations

from fluxguard.errors import GitError
from fluxguard.repo import run
from fluxguard.repo.ahead import STAGED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxguard.repo.ahead import Ahead

LINK = "120000"
TREE = "040000"
SUBMODULE = "160000"


class Change:
    """One path that the commit would change.

    status: git's letter (A, M, D, T, U). mode, id: of the new version; base_mode, base: of the one at HEAD.
    An id of zeros means that there is none.
    """

    __slots__ = ("base", "base_mode", "id", "mode", "path", "source", "status")

    def __init__(
        self, status: str, path: bytes, mode: str, id: str, base_mode: str, base: str, source: bytes = b""
    ) -> None:
        self.status = status
        self.path = path
        self.mode = mode
        self.id = id
        self.base_mode = base_mode
        self.base = base
        self.source = source  # where a rename comes from

    def __repr__(self) -> str:
        return f"Change({self.status} {self.path!r} {self.id})"


def is_null(id: str) -> bool:
    """Whether an id stands for "nothing"."""
    return not id.strip("0")


def changes(cwd: str | None = None, started: Ahead | None = None) -> list[Change]:
    """The index compared with HEAD, or with nothing on a branch that has no commit yet.

    Renames are not looked for: a moved file is one path gone and one new.
    Raises GitError outside a repository, or where the index is damaged.
    """
    running = started.take_staged() if started is not None else None
    if running is None:
        running = run.start(*STAGED, cwd=cwd)
    raw = running.readall()
    code, text = running.finish()
    if code and "bad revision" in text and _unborn(cwd):
        empty = run.output("hash-object", "-t", "tree", "/dev/null", cwd=cwd).decode().strip()
        raw = run.output(*(empty if word == "HEAD" else word for word in STAGED), cwd=cwd)
    elif code:
        raise run.failure("diff-index", code, text)
    return list(parse_raw(raw))


def renames(cwd: str | None = None) -> dict[bytes, Change]:
    """The staged renames, by new path, each with the id and path that it comes from."""
    raw = run.try_output(
        "diff-index",
        "--cached",
        "--raw",
        "-z",
        "--no-abbrev",
        "-M",
        "-l2000",
        "--diff-filter=R",
        "HEAD",
        "--",
        cwd=cwd,
    )
    return {change.path: change for change in parse_raw(raw or b"")}


def _unborn(cwd: str | None) -> bool:
    return run.try_output("rev-parse", "--verify", "--quiet", "HEAD", cwd=cwd) is None


def parse_raw(raw: bytes) -> Iterator[Change]:
    """Parses `git diff --raw -z --no-abbrev`: `:mode mode id id status NUL path NUL`, two paths for R and C.

    Format: git-diff(1), "RAW OUTPUT FORMAT". Raises GitError on anything else.
    """
    fields = iter(raw.split(b"\0"))
    for head in fields:
        if not head:
            continue
        parts = head.decode("ascii", "replace").lstrip(":").split(" ")
        path = next(fields, b"")
        if len(parts) != 5 or not path:
            raise GitError("git answered with a list of changes that can't be understood.", "Run: git fsck")
        base_mode, mode, base, id, status = parts
        source = b""
        if status[0] in "RC":
            source, path = path, next(fields, b"")
        yield Change(status[0], path, mode, id, base_mode, base, source)


def tracked(cwd: str | None = None) -> list[tuple[str, str, int, bytes]]:
    """Every entry of the index: (mode, id, stage, path)."""
    raw = run.output("ls-files", "--stage", "-z", "--full-name", cwd=cwd)
    return [_entry(line) for line in raw.split(b"\0") if line]


def deleted(cwd: str | None = None) -> list[bytes]:
    """The paths that are in the index, but not on disk; without those that a sparse checkout leaves out."""
    raw = run.output("ls-files", "--deleted", "-z", "--full-name", cwd=cwd)
    return [path for path in raw.split(b"\0") if path]


def tree_entries(revision: str, paths: list[bytes], cwd: str | None = None) -> list[tuple[str, str, bytes]]:
    """The blobs that stand at `paths` in a commit: (mode, id, path). Raises GitError where there is no such commit."""
    raw = run.output("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", revision, cwd=cwd)
    wanted = set(paths)
    found = []
    for line in raw.split(b"\0"):
        head, _, path = line.partition(b"\t")
        fields = head.decode("ascii", "replace").split(" ")
        if len(fields) == 3 and path in wanted:
            found.append((fields[0], fields[2], path))
    return found


def _entry(line: bytes) -> tuple[str, str, int, bytes]:
    head, _, path = line.partition(b"\t")
    mode, id, stage = head.decode("ascii").split(" ")
    return mode, id, int(stage), path
