"""The history cleaned: a mirror of its own, git-filter-repo with everything it takes, and the proof by the audit over all of it.

The mirror is a private folder (0700), never the user's clone. Nothing is pushed by what stands here but `push`, ref by ref, each only if the
remote still has what it had.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxguard.audit import run as auditing
from fluxguard.config import Config
from fluxguard.errors import FluxguardError
from fluxguard.masks import Masks
from fluxguard.model import Finding, Secret, Unread
from fluxguard.repo import run as git

MOST_PASSES = 4
FOREIGN = ("refs/pull/", "refs/merge-requests/", "refs/changes/", "refs/keep-around/", "refs/pipelines/")
# In a commit a header, in a tag a line of its message.
_SIGNATURE = re.compile(
    rb"^(?:gpgsig(?:-sha256)? |-----BEGIN (?:PGP SIGNATURE|SSH SIGNATURE|SIGNED MESSAGE)-----)", re.MULTILINE
)
LONGEST = 6 * 3600  # seconds that one git may take


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What was rewritten. before, after: refs with their ids; counts: what was replaced, by kind; first: first changed commits.

    unexpected: paths of tips that differ, and held no key. left: places that still hold it, in words. unread: what could not be looked at.
    read: the audit's figures. signatures: how many were stripped. notes: how many went to the commits' new ids. submodules: paths.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    counts: Mapping[str, int]
    banned: tuple[str, ...]
    unexpected: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    read: Mapping[str, object] = field(default_factory=dict)
    signatures: int = 0
    unread: tuple[str, ...] = ()
    notes: int = 0
    submodules: tuple[str, ...] = ()

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """Refs that differ: what they were, and what they are ("" where the ref is new, or gone)."""
        names = {*self.before, *self.after}
        pairs = {name: (self.before.get(name, ""), self.after.get(name, "")) for name in sorted(names)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


class Moved(FluxguardError):
    """The remote has no longer what the mirror was made from."""


def _environment() -> dict[str, str]:
    """For a git that may speak to the remote, with the user's own credentials, but asks nobody."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS")
    }
    return {**env, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1"}


def _git(folder: Path, *arguments: str, data: bytes | None = None, good: tuple[int, ...] = (0,)) -> bytes:
    """Runs git there. Raises: FluxguardError, without what git said: it could hold a key."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], input=data, capture_output=True, env=_environment(), check=False,
            timeout=LONGEST, stdin=subprocess.DEVNULL if data is None else None,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        raise FluxguardError(f"git {arguments[0]} could not be run, or did not end.") from None
    if done.returncode not in good:
        kind = Moved if b"stale info" in done.stderr or b"cannot lock ref" in done.stderr else FluxguardError
        raise kind(
            f"git {arguments[0]} failed ({done.returncode}).",
            _hint(done.stderr) or f"Try it yourself in {folder}, then resume.",
        )
    return done.stdout


def _hint(said: bytes) -> str:
    for sign, words in (
        (
            b"Authentication failed",
            "The remote wants other credentials; see whether `git fetch` works, then resume.",
        ),
        (
            b"could not read",
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
        (b"hook declined", "A hook of the remote refused it: lift that for the moment, then resume."),
        (b"No space left", "The disk is full: make room, then resume."),
    ):
        if sign in said:
            return words
    return ""


def source_of(repository: Path) -> str:
    """What is cleaned: the remote's URL, or the repository itself where it has none."""
    url = git.try_output("config", "--get", "remote.origin.url", cwd=str(repository), isolated=True)
    return os.fsdecode(url).strip() if url and url.strip() else str(repository)


def mirror(source: str, folder: Path, repository: Path) -> dict[str, str]:
    """Fetches every ref into a new bare repository. Returns the refs. The URL reaches git by the configuration file alone: it may hold a key."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    _git(folder, "init", "--quiet", "--bare", "--template=", *_format(repository), ".")
    where = (
        source
        if "://" in source or (":" in source and not source.startswith(("/", ".")))
        else _absolute(source, repository)
    )
    with (folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(
            f'[remote "origin"]\n\turl = {_quoted(where)}\n\tfetch = +refs/*:refs/*\n\tmirror = true\n[gc]\n\tauto = 0\n'
        )
    _git(folder, "fetch", "--quiet", "--no-write-fetch-head", "--prune", "origin")
    head = _git(folder, "ls-remote", "--symref", "origin", "HEAD").split(b"\n")[0]
    if head.startswith(b"ref: "):
        _git(folder, "symbolic-ref", "HEAD", head[5:].split(b"\t")[0].decode("utf-8", "surrogateescape"))
    return refs(folder)


def _format(repository: Path) -> list[str]:
    said = git.try_output("rev-parse", "--show-object-format", cwd=str(repository), isolated=True)
    return ["--object-format=sha256"] if said and said.strip() == b"sha256" else []


def _absolute(path: str, repository: Path) -> str:
    return os.path.abspath(os.path.join(repository, path))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def refs(folder: Path) -> dict[str, str]:
    """Every ref with its id."""
    lines = _git(folder, "for-each-ref", "--format=%(refname)%00%(objectname)").split(b"\n")
    pairs = [line.split(b"\0") for line in lines if line]
    return {name.decode("utf-8", "surrogateescape"): id.decode() for name, id in pairs}


def remote_refs(folder: Path) -> dict[str, str]:
    """Every ref that the remote has now."""
    lines = _git(folder, "ls-remote", "--refs", "origin").split(b"\n")
    pairs = [line.split(b"\t") for line in lines if line]
    return {name.decode("utf-8", "surrogateescape"): id.decode() for id, name in pairs}


def rewrite(folder: Path, secret: Secret, say: Callable[[str], None]) -> Rewrite:
    """Rewrites the mirror until the audit finds the key nowhere in it, or nothing changes any more."""
    before, trees = refs(folder), _tips(folder)
    config = (folder / "config").read_bytes()
    holding = _paths_with_key(folder, secret)
    signatures = _signatures(folder)
    counts: dict[str, int] = {}
    whole: set[str] = set()
    banned: set[str] = set()
    notes = 0
    for number in range(MOST_PASSES):
        say(f"pass {number + 1}: rewriting")
        for kind, count in _filtered(folder, secret, whole).items():
            counts[kind] = counts.get(kind, 0) + count
        if count := _without_commit(folder, secret, whole):
            counts["tags of files and folders"] = counts.get("tags of files and folders", 0) + count
        (folder / "config").write_bytes(config)  # git-filter-repo takes the remote away
        if number == 0:
            banned = _first_changed(folder)
        notes = max(notes, _notes_moved(folder))
        _scrub(folder)
        say(f"pass {number + 1}: auditing everything that is left")
        report = auditing.audit(str(folder), Config(), full=True)
        found = [one for one in report.findings if one.secret == secret]
        still = {
            place.object for one in found for place in one.locations if place.kind == "blob" and place.object
        }
        if not found or (still <= whole and number):
            break
        whole |= still
    _git(folder, "fsck", "--full", "--no-dangling", "--no-progress")
    after = refs(folder)
    read = {
        one.store: f"{one.read} of {sum(one.objects.values())} objects read, {one.digest}"
        for one in report.certificates
    }
    now = _tips(folder)
    unexpected = _unexpected(trees, now, holding, secret)
    return Rewrite(
        before, after, counts, tuple(sorted(banned)), unexpected, tuple(places_of(found)), read,
        max(0, signatures - _signatures(folder)), (*unread_of(report.skipped, secret), *_beside(folder)), notes,
        tuple(sorted({_told(path, secret) for files in now.values() for path, what in files.items() if what.startswith(b"160000")})),
    )  # fmt: skip


def unread_of(skipped: Iterable[Unread], secret: Secret) -> list[str]:
    return [f"{_told(one.where, secret)}: {one.reason}" for one in skipped]


def _told(name: bytes, secret: Secret) -> str:
    from fluxguard import display

    return display.path(name, Masks({secret.reveal(): secret.masked}))


def _filtered(folder: Path, secret: Secret, whole: Iterable[str]) -> dict[str, int]:
    wish = json.dumps({"key": secret.reveal().hex(), "blobs": sorted(whole)}).encode()
    done = subprocess.run(
        [sys.executable, "-m", "fluxguard.respond.rewriting"], input=wish, capture_output=True, cwd=folder,
        env=_environment(), check=False, timeout=LONGEST,
    )  # fmt: skip
    if done.returncode:
        raise FluxguardError(
            "git-filter-repo failed on the mirror; nothing of yours was changed.",
            "Is git-filter-repo installed? pip install git-filter-repo",
        )
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts


def _first_changed(folder: Path) -> set[str]:
    """The commits whose ids were given up and whose parents' were not: what must not come back. From the tool's commit map."""
    path = folder / "filter-repo" / "first-changed-commits"
    if path.is_file():
        return set(path.read_text("ascii").split())
    return set(_commit_map(folder))


def _without_commit(folder: Path, secret: Secret, whole: Iterable[str]) -> int:
    """Refs that lead straight to a file or a folder: git's export, and so the tool, leaves them as they are. Returns how many changed."""
    lines = _git(folder, "for-each-ref", "--format=%(objecttype) %(objectname) %(refname)").split(b"\n")
    clean = _Objects(folder, secret, frozenset(whole))
    moves = b""
    for kind, id, name in (line.split(b" ", 2) for line in lines if not line.startswith(b"commit ") and line):
        new = clean.by_kind(kind)(id)
        if new != id:
            moves += b"update %s\0%s\0%s\0" % (name, new, id)
    if moves:
        _git(folder, "update-ref", "-z", "--stdin", data=moves)
    return moves.count(b"update ")


class _Objects:
    """Files and folders without the key, written anew where they held it."""

    def __init__(self, folder: Path, secret: Secret, whole: frozenset[str]) -> None:
        from fluxguard.respond.rewriting import forms

        self._folder, self._whole = folder, whole
        self._forms = forms(secret.reveal())

    def by_kind(self, kind: bytes) -> Callable[[bytes], bytes]:
        """How an object of a kind is cleaned; commits are the tool's work."""
        return {b"blob": self.blob, b"tree": self.tree, b"tag": self.tag}.get(kind, bytes)

    def tag(self, id: bytes) -> bytes:
        """A tag, where what it leads to is another now."""
        from fluxguard.respond.rewriting import replaced

        data = _git(self._folder, "cat-file", "tag", id.decode())
        first, kind, rest = data.split(b"\n", 2)
        child = first.removeprefix(b"object ")
        new = self.by_kind(kind.removeprefix(b"type "))(child)
        if new == child:
            return id
        cleaned = b"object %s\n%s\n%s" % (new, kind, replaced(rest, self._forms))
        return _git(self._folder, "hash-object", "-t", "tag", "-w", "--stdin", data=cleaned).strip()

    def blob(self, id: bytes) -> bytes:
        from fluxguard.respond.rewriting import NOTICE, replaced

        data = _git(self._folder, "cat-file", "blob", id.decode())
        cleaned = NOTICE if id.decode() in self._whole else replaced(data, self._forms)
        if cleaned == data:
            return id
        return _git(self._folder, "hash-object", "-w", "--stdin", data=cleaned).strip()

    def tree(self, id: bytes) -> bytes:
        from fluxguard.respond.rewriting import replaced

        listed = _git(self._folder, "ls-tree", "-z", id.decode())
        entries = []
        for entry in filter(None, listed.split(b"\0")):
            what, path = entry.split(b"\t", 1)
            mode, kind, child = what.split(b" ")
            new = self.by_kind(kind)(child)
            entries.append(b"%s %s %s\t%s\0" % (mode, kind, new, replaced(path, self._forms)))
        if b"".join(entries) == listed:
            return id
        return _git(self._folder, "mktree", "-z", "--missing", data=b"".join(entries)).strip()


def _commit_map(folder: Path) -> dict[str, str]:
    """Commits' old ids and their new ones, where they differ."""
    with (folder / "filter-repo" / "commit-map").open(encoding="ascii") as stream:
        pairs = [line.split() for line in list(stream)[1:]]
    return {old: new for old, new in pairs if old != new}


def _notes_moved(folder: Path) -> int:
    """Notes name commits by their ids, and the tool leaves them with the old ones: they are moved. Returns how many."""
    moved, count = _commit_map(folder), 0
    author = ("-c", "user.name=fluxguard", "-c", "user.email=fluxguard@localhost")
    for name in refs(folder):
        if not name.startswith("refs/notes/"):
            continue
        told = _git(folder, "notes", f"--ref={name}", "list", good=(0, 1)).split(b"\n")
        held = [line.split(b" ")[1].decode() for line in told if b" " in line]
        old = [one for one in held if set(moved.get(one, "")) - {"0"}]
        if old:
            pairs = "".join(f"{one} {moved[one]}\n" for one in old).encode()
            _git(folder, *author, "notes", f"--ref={name}", "copy", "--force", "--stdin", data=pairs)
            gone = "".join(f"{one}\n" for one in old).encode()
            _git(
                folder, *author, "notes", f"--ref={name}", "remove", "--ignore-missing", "--stdin", data=gone
            )
            count += len(old)
    return count


def _scrub(folder: Path) -> None:
    """What the tools leave behind: maps with names of refs, FETCH_HEAD, logs; and every object that no ref leads to."""
    shutil.rmtree(folder / "filter-repo", ignore_errors=True)
    for name in ("FETCH_HEAD", "ORIG_HEAD"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "logs", ignore_errors=True)
    _git(folder, "-c", "gc.reflogExpire=now", "reflog", "expire", "--expire=now", "--all")
    _git(folder, "-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now")


def _tips(folder: Path) -> dict[str, dict[bytes, bytes]]:
    """What each branch's tip holds: mode and id by path."""
    tips = {}
    for name, id in refs(folder).items():  # by its id: a name may hold the key, and arguments are seen by all
        if name.startswith("refs/heads/"):
            lines = _git(folder, "ls-tree", "-r", "-z", "--full-tree", id).split(b"\0")
            tips[name] = {line.split(b"\t", 1)[1]: line.split(b"\t", 1)[0] for line in lines if line}
    return tips


def _paths_with_key(folder: Path, secret: Secret) -> set[bytes]:
    report = auditing.audit(str(folder), Config(), full=True)
    return {
        place.path for one in report.findings if one.secret == secret for place in one.locations if place.path
    }


def _unexpected(
    before: Mapping[str, Mapping[bytes, bytes]],
    after: Mapping[str, Mapping[bytes, bytes]],
    holding: set[bytes],
    secret: Secret,
) -> tuple[str, ...]:
    """Paths of branch tips that differ though no key was known there. Names that held the key are compared as they became."""
    from fluxguard.respond.rewriting import REMOVED, renamed

    key, found = secret.reveal(), []
    names = {
        os.fsdecode(new): os.fsdecode(old) for old, new in renamed(map(os.fsencode, before), key).items()
    }
    for name, files in after.items():
        old = {
            path.replace(key, REMOVED): what for path, what in before.get(names.get(name, name), {}).items()
        }
        touched = {path.replace(key, REMOVED) for path in holding}
        paths = {path for path in {*old, *files} if old.get(path) != files.get(path)} - touched
        found += [f"{name}: {path.decode('utf-8', 'replace')}" for path in sorted(paths)]
    return tuple(found)


_POINTER = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024  # bytes, by the specification of Git LFS


def _beside(folder: Path) -> list[str]:
    """Files that Git LFS keeps beside the repository: a mirror has their pointers alone."""
    rows = _git(
        folder, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectsize) %(objectname)"
    ).split(b"\n")
    parts = [row.split(b" ") for row in rows if row.startswith(b"blob")]
    small = b"".join(id + b"\n" for _, size, id in parts if int(size) < _LARGEST_POINTER)
    count = _git(folder, "cat-file", "--batch", data=small).count(b"\n" + _POINTER) if small else 0
    return [
        f"Git LFS: {count} files lie beside the repository (git lfs fetch --all, then fluxguard audit in that clone)"
    ] * bool(count)


def _signatures(folder: Path) -> int:
    """How many signatures commits and tags have, of whatever kind: a rewrite strips them."""
    ids = _git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)").split(
        b"\n"
    )
    wanted = b"".join(line.split(b" ")[1] + b"\n" for line in ids if line.startswith((b"commit", b"tag")))
    return len(_SIGNATURE.findall(_git(folder, "cat-file", "--batch", data=wanted)))


def places_of(findings: Iterable[Finding]) -> list[str]:
    from fluxguard import display

    listed = list(findings)
    masks = Masks({one.secret.reveal(): one.secret.masked for one in listed})
    places = []
    for one in listed:
        for place in one.locations:
            told = f"{place.kind} {display.path(place.path, masks)} {place.object}".strip()
            by = [*place.trace.refs, *place.trace.logs] if place.trace else []
            shown = ", ".join(display.path(name, masks) for name in by[:3])
            places.append(told + (f" ({shown}{', ...' if len(by) > 3 else ''})" if by else ""))
    return places


def push(
    folder: Path, rewritten: Mapping[str, tuple[str, str]], secret: Secret, say: Callable[[str], None]
) -> dict[str, str]:
    """Pushes each changed ref, only if the remote still has what it had. Returns what came of each: `pushed`, `there`, `refused`, `foreign`.

    Raises: FluxguardError where somebody pushed meanwhile; nothing of theirs is overwritten.
    """
    now, outcome = remote_refs(folder), {}
    key = secret.reveal().decode("ascii")
    for name, (old, new) in rewritten.items():
        if name.startswith(FOREIGN):
            outcome[name] = "foreign"
        elif now.get(name, "") == new:
            outcome[name] = "there"
        elif now.get(name, "") != old:
            raise Moved(
                f"{name.replace(key, '***')} has moved on the remote since the mirror was made.",
                "Resume: it starts from what is there now.",
            )
        else:
            outcome[name] = _pushed(folder, name, old, new, key)
            say(f"{name.replace(key, '***')}: {outcome[name]}")
    return outcome


def _pushed(folder: Path, name: str, old: str, new: str, key: str) -> str:
    """One ref. A name that holds the key must not be an argument: it goes by the configuration file."""
    refspec = f"{new}:{name}" if new else f":{name}"
    if key in name:
        config = folder / "config"
        kept = config.read_text("utf-8", "surrogateescape")
        try:
            with config.open("a", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(
                    f'[remote "origin"]\n\tmirror = false\n\tpush = {_quoted("+" + refspec if new else refspec)}\n'
                )
            _git(folder, "-c", "remote.origin.mirror=false", "push", "--quiet", "origin")
        finally:
            config.write_text(kept, "utf-8", "surrogateescape")
        return "pushed"
    lease = f"--force-with-lease={name}:{old}"
    try:
        _git(folder, "-c", "remote.origin.mirror=false", "push", "--quiet", lease, "origin", refspec)
    except FluxguardError as error:
        if name.startswith(("refs/heads/", "refs/tags/")):
            raise
        return f"refused ({error.hint or error.what})"
    return "pushed"


def still_there(
    source: str, folder: Path, repository: Path, secret: Secret
) -> tuple[list[str], list[str], dict[str, str]]:
    """A new mirror of the remote, audited: where the key still stands, what was not read, and the figures."""
    mirror(source, folder, repository)
    report = auditing.audit(str(folder), Config(), full=True)
    read = {
        one.store: f"{one.read} of {sum(one.objects.values())} objects read, {one.digest}"
        for one in report.certificates
    }
    found = [one for one in report.findings if one.secret == secret]
    refs_of = sorted(
        {
            _told(ref, secret)
            for one in found
            for place in one.locations
            if place.trace
            for ref in place.trace.refs
        }
    )
    return (
        places_of(found) + [f"still reachable from {ref}" for ref in refs_of],
        unread_of(report.skipped, secret),
        read,
    )
