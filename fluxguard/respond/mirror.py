"""A private mirror of the remote (0700), and git in it, as the user but asking nobody. Nothing that git says is passed on: it could hold a key."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.repo import run as running

LONGEST = 6 * 3600  # seconds that one git may take
_BATCH = 32  # files, of whatever size


class GitFailed(FluxguardError):
    """A git that ended with an error. said: its words, and the remote's; a key may stand in them."""

    def __init__(self, what: str, hint: str = "", said: bytes = b"") -> None:
        super().__init__(what, hint)
        self.said = said


class Moved(GitFailed):
    """The remote has no longer what the mirror was made from."""


def environment() -> dict[str, str]:
    """For a git that may speak to the remote, with the user's own credentials, but asks nobody; and that runs no hook of theirs: names with
    the key in them would go to it, and it could refuse what is done in a copy."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS")
    }
    hookless = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": os.devnull,
    }
    return {**env, **hookless, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1"}


def git(
    folder: Path,
    *arguments: str,
    data: bytes | None = None,
    good: tuple[int, ...] = (0,),
    env: Mapping[str, str] | None = None,
) -> bytes:
    """Runs git there. Raises: FluxguardError, in whose words nothing stands that git said: it could hold a key."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], input=data, capture_output=True, env={**environment(), **(env or {})}, check=False,
            timeout=LONGEST, stdin=subprocess.DEVNULL if data is None else None,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        raise FluxguardError(f"git {_command(arguments)} could not be run, or did not end.") from None
    if done.returncode not in good:
        kind = Moved if b"stale info" in done.stderr or b"cannot lock ref" in done.stderr else GitFailed
        raise kind(
            f"git {_command(arguments)} failed ({done.returncode}).",
            hint_of(done.stderr) or f"Try it yourself in {folder}, then resume.",
            done.stderr,
        )
    return done.stdout


def _command(arguments: tuple[str, ...]) -> str:
    """Which command it is, behind git's own options."""
    at = 0
    while arguments[at].startswith("-"):
        at += 2 if arguments[at] == "-c" else 1
    return arguments[at]


def hint_of(said: bytes) -> str:
    for sign, words in (
        (
            b"Authentication failed",
            "The remote wants other credentials; see whether `git fetch` works, then resume.",
        ),
        (
            b"could not read Username",
            "The remote wants credentials; see whether `git fetch` works without asking, then resume.",
        ),
        (b"stale info", "Somebody pushed meanwhile: resume, and it starts from what is there now."),
        (
            b"rotected branch",
            "The branch is protected against force-pushes: lift that for the moment, then resume.",
        ),
        (
            b"denying non-fast-forward",
            "The remote forbids force-pushes: lift that for the moment, then resume.",
        ),
        (
            b"denying ref deletion",
            "The remote forbids that refs are deleted: lift that for the moment, then resume.",
        ),
        (
            b"deletion of the current branch prohibited",
            "The name of the remote's default branch holds the key: choose another default branch there, then resume.",
        ),
        (b"hook declined", "A hook of the remote refused it: lift that for the moment, then resume."),
        (b"No space left", "The disk is full: make room, then resume."),
        (
            b"does not appear to be a git repository",
            "There is no repository where the remote should be: see `git remote -v`, then resume.",
        ),
        (
            b"epository not found",
            "The host knows no such repository, or not for these credentials: see whether `git fetch` works, then resume.",
        ),
        (
            b"Could not resolve",
            "The remote's host can't be found: see the network and `git remote -v`, then resume.",
        ),
        (b"onnect to", "The remote can't be reached: see the network and `git remote -v`, then resume."),
        (b"Connection ", "The remote can't be reached: see the network and `git remote -v`, then resume."),
        (
            b"Permission denied",
            "The remote wants other credentials; see whether `git fetch` works, then resume.",
        ),
        (
            b"Host key verification failed",
            "The host is not known here: `git fetch` once by hand, then resume.",
        ),
        (
            b"' not allowed",
            "git does not allow this kind of address: give the remote another one (git remote set-url), then resume.",
        ),
    ):
        if sign in said:
            return words
    return ""


def mirror(source: str, folder: Path, repository: Path) -> dict[str, str]:
    """Fetches every ref into a new bare repository. Returns the refs. The URL reaches git by the configuration file alone: it may hold a key."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    git(folder, "init", "--quiet", "--bare", "--template=", *_format(repository), ".")
    where = (
        source
        if "://" in source or (":" in source and not source.startswith(("/", ".")))
        else _absolute(source, repository)
    )
    with (folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(
            f'[remote "origin"]\n\turl = {quoted(where)}\n\tfetch = +refs/*:refs/*\n\tmirror = true\n[gc]\n\tauto = 0\n'
        )
    _fetch(folder)
    head = git(folder, "ls-remote", "--symref", "origin", "HEAD").split(b"\n")[0]
    if head.startswith(b"ref: "):
        (folder / "HEAD").write_bytes(
            head.split(b"\t")[0] + b"\n"
        )  # by no argument: the name may hold the key
    return refs(folder)


def _fetch(folder: Path) -> None:
    """Brings everything, and looks whether it did: somebody may push meanwhile, and not all that a remote has is always sent."""
    for _ in range(3):
        git(folder, "fetch", "--quiet", "--no-write-fetch-head", "--prune", "origin")
        there = remote_refs(folder)
        if refs(folder) == there:
            return
    raise FluxguardError(
        "The mirror does not hold what the remote says it has: it changes all the time, or git did not bring all of it.",
        "Nothing was proved. Resume when nobody pushes.",
    )


def _format(repository: Path) -> list[str]:
    said = running.try_output("rev-parse", "--show-object-format", cwd=str(repository), isolated=True)
    return ["--object-format=sha256"] if said and said.strip() == b"sha256" else []


def _absolute(path: str, repository: Path) -> str:
    return os.path.abspath(os.path.join(repository, path))


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def refs(folder: Path) -> dict[str, str]:
    """Every ref with its id."""
    lines = git(folder, "for-each-ref", "--format=%(refname)%00%(objectname)").split(b"\n")
    pairs = [line.split(b"\0") for line in lines if line]
    return {name.decode("utf-8", "surrogateescape"): id.decode() for name, id in pairs}


def contents(folder: Path, ids: Iterable[str], batch: int = _BATCH) -> Iterator[tuple[str, str, bytes]]:
    """Objects by their ids: id, kind and content; what is not there is left out. batch: how many are in memory at a time."""
    listed = list(ids)
    for start in range(0, len(listed), batch):
        some = listed[start : start + batch]
        data = git(folder, "cat-file", "--batch", data="".join(f"{id}\n" for id in some).encode())
        at = 0
        for id in some:
            end = data.index(b"\n", at)
            if data[at:end].endswith(b" missing"):  # in another store than this one: a submodule's, say
                at = end + 1
                continue
            _, kind, size = data[at:end].split(b" ")
            yield id, kind.decode(), data[end + 1 : end + 1 + int(size)]
            at = end + int(size) + 2


def pointed_anew(folder: Path, became: Callable[[bytes, bytes], bytes]) -> int:
    """Refs that lead to no commit are given what became of the object, by its kind and id. Returns how many changed."""
    lines = git(folder, "for-each-ref", "--format=%(objecttype) %(objectname) %(refname)").split(b"\n")
    moves = b""
    for kind, id, name in (line.split(b" ", 2) for line in lines if line and not line.startswith(b"commit ")):
        new = became(kind, id)
        if new != id:
            moves += b"update %s\0%s\0%s\0" % (name, new, id)
    if moves:
        git(folder, "update-ref", "-z", "--stdin", data=moves)
    return moves.count(b"update ")


def remote_refs(folder: Path) -> dict[str, str]:
    """Every ref that the remote has now. `--refs` would leave out refs/stash."""
    lines = git(folder, "ls-remote", "origin").split(b"\n")
    pairs = [line.split(b"\t") for line in lines if line]
    return {
        name.decode("utf-8", "surrogateescape"): id.decode() for id, name in pairs
        if name.startswith(b"refs/") and not name.endswith(b"^{}")
    }  # fmt: skip
