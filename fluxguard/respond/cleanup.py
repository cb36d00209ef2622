"""The history cleaned: git-filter-repo with everything it takes over a mirror, and the proof by the audit over all of it."""

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
from fluxguard.model import Location, Report, Secret
from fluxguard.respond import holding, paths
from fluxguard.respond.cutting import Cleaner
from fluxguard.respond.forms import forms, renamed, replaced
from fluxguard.respond.losing import Lost, tags_without_tagger
from fluxguard.respond.mirror import LONGEST, environment, git, hint_of, refs
from fluxguard.respond.pointed import without_commit
from fluxguard.respond.remaining import figures, places_of, unread_of
from fluxguard.respond.veil import shown

MOST_PASSES = 4


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What was rewritten. before, after: refs with their ids; counts: what was replaced, by kind; first: first changed commits.

    unexpected: paths of tips that differ, and held no key. left: places that still hold it, in words. unread: what could not be looked at.
    read: the audit's figures. signatures: how many were stripped. notes: how many went to the commits' new ids.
    names: what became of parts of paths that held the key. apart: those that got a number, for without the key alone they would have been
    another's. commits: the new id of each commit that has another. whole: files that could not be cleaned, and were replaced whole, in words.
    anew: archives that were made anew, in words, each with what vouched for it and no longer fits, or "".
    headers: those of commits that the tool drops, and how many commits had each.
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
    names: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    commits: Mapping[str, str] = field(default_factory=dict, repr=False)
    apart: tuple[bytes, ...] = ()
    whole: tuple[str, ...] = ()
    headers: Mapping[str, int] = field(default_factory=dict)
    anew: Mapping[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """Refs that differ: what they were, and what they are ("" where the ref is new, or gone)."""
        names = {*self.before, *self.after}
        pairs = {name: (self.before.get(name, ""), self.after.get(name, "")) for name in sorted(names)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass
class _Passes:
    """What the passes over a mirror add up to; each field as `Rewrite` has it.

    refs, config: of the mirror before the first. originals: where files go that have to be replaced whole, and archives whose signature breaks.
    """

    folder: Path
    secret: Secret
    originals: Path | None
    refs: Mapping[str, str]
    config: bytes
    names: dict[bytes, bytes]
    counts: dict[str, int] = field(default_factory=dict)
    banned: set[str] | None = None
    commits: dict[str, str] = field(default_factory=dict)
    whole: dict[str, None] = field(default_factory=dict)
    anew: dict[str, str] = field(default_factory=dict)
    notes: int = 0

    def once(self, places: list[Location]) -> None:
        """One more run of git-filter-repo, over all that the audit named; and what that leaves to be put right."""
        cleaner, course = holding.cleaner(self.folder, places, self.secret)
        self.whole |= dict.fromkeys(holding.named(course.whole, holding.blobs(places), self.secret))
        self.anew |= holding.made_anew(course, holding.blobs(places), self.secret)
        if self.originals is not None:
            holding.keep(self.folder, course.kept, self.originals)
        for kind, count in _filtered(self.folder, cleaner, self.names).items():
            self._count(kind, count)
        self.commits = _further(self.commits, commit_map(self.folder))
        self._count("tags of files and folders", without_commit(self.folder, cleaner, self.names))
        tags_without_tagger(self.folder)
        (self.folder / "config").write_bytes(self.config)  # git-filter-repo takes the remote away
        _point_head(self.folder, self.refs, self.secret)
        if self.banned is None:
            self.banned = _first_changed(self.folder)
        self.notes = max(self.notes, _notes_moved(self.folder))
        _scrub(self.folder)

    def _count(self, kind: str, count: int) -> None:
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + count

    @property
    def apart(self) -> tuple[bytes, ...]:
        """Names that got a number."""
        known = forms(self.secret.reveal())
        return tuple(sorted(new for old, new in self.names.items() if new != replaced(old, known)))


def rewrite(
    folder: Path,
    secret: Secret,
    say: Callable[[str], None],
    names: Mapping[bytes, bytes] | None = None,
    originals: Path | None = None,
) -> Rewrite:
    """Rewrites the mirror until the audit finds the key nowhere in it, or nothing changes any more.

    names: what became of names in another repository with the same commits; it becomes of them here, too. originals: as in `_Passes`.
    """
    trees, lost = _tips(folder), Lost.of(folder)
    passes = _Passes(
        folder, secret, originals, refs(folder), (folder / "config").read_bytes(), dict(names or {})
    )
    first = report = auditing.audit(str(folder), Config(), full=True)
    found = places = holding.places(first, secret)
    for number in range(MOST_PASSES):
        say(f"pass {number + 1}: rewriting")
        passes.once(places)
        say(f"pass {number + 1}: auditing everything that is left")
        report = auditing.audit(str(folder), Config(), full=True)
        before_this, places = places, holding.places(report, secret)
        if not places or (number and _same(before_this, places)):
            break
    git(folder, "fsck", "--full", "--no-dangling", "--no-progress")
    now, signatures, headers = _tips(folder), *lost.since(folder)
    still = places_of(one for one in report.findings if one.secret == secret)
    return Rewrite(
        before=passes.refs, after=refs(folder), counts=passes.counts, banned=tuple(sorted(passes.banned or ())),
        unexpected=_unexpected(trees, now, {one.path for one in found if one.path}, secret, passes.names),
        left=(*still, *_closed(first, report, secret)), read=figures(report), signatures=signatures,
        unread=(*unread_of(report.skipped, secret), *_submodules(now, secret)), notes=passes.notes,
        names=passes.names, commits=passes.commits, apart=passes.apart, whole=tuple(passes.whole),
        headers={shown(name, secret): count for name, count in headers.items()}, anew=passes.anew,
    )  # fmt: skip


def _same(before: Iterable[Location], now: Iterable[Location]) -> bool:
    """Whether a pass changed nothing of where the key stands."""
    return {(one.kind, one.path, one.object) for one in before} == {
        (one.kind, one.path, one.object) for one in now
    }


_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?|[0-9a-f]{7,12}\b")


def _closed(before: Report, after: Report, secret: Secret) -> list[str]:
    """What could be looked into before the rewrite and can't be now: the key may stand in it."""
    known = {(_ID.sub(b"", shown(one.where, secret).encode()), one.reason) for one in before.skipped}
    return [
        f"{line} (it could be read before the rewrite)"
        for one, line in zip(after.skipped, unread_of(after.skipped, secret), strict=True)
        if (_ID.sub(b"", shown(one.where, secret).encode()), one.reason) not in known
    ]


def _filtered(folder: Path, cleaner: Cleaner, names: dict[bytes, bytes]) -> dict[str, int]:
    """One run of the tool: how much it replaced, by kind. To `names` it adds what became of names."""
    told = {old.hex(): new.hex() for old, new in names.items()}
    wish = json.dumps({**cleaner.wish(), "names": told}).encode()
    done = subprocess.run(
        [sys.executable, "-m", "fluxguard.respond.rewriting"], input=wish, capture_output=True, cwd=folder,
        env=environment(), check=False, timeout=LONGEST,
    )  # fmt: skip
    if done.returncode:
        raise FluxguardError(
            "git-filter-repo failed on the mirror; nothing of yours was changed.",
            hint_of(done.stderr) or "Is git-filter-repo installed? pip install git-filter-repo",
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    names |= {bytes.fromhex(old): bytes.fromhex(new) for old, new in answer["names"].items()}
    counts: dict[str, int] = answer["counts"]
    return counts


def _further(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Two runs' maps of commits as one."""
    between = set(before.values())
    both = {old: now.get(new, new) for old, new in before.items()}
    return both | {old: new for old, new in now.items() if old not in between}


def _point_head(folder: Path, before: Iterable[str], secret: Secret) -> None:
    """HEAD, where it named a branch that has another name now."""
    path = folder / "HEAD"
    name = path.read_bytes().removeprefix(b"ref: ").strip()
    fresh = renamed(map(os.fsencode, before), secret.reveal()).get(name)
    if fresh is not None:
        path.write_bytes(b"ref: " + fresh + b"\n")


def _first_changed(folder: Path) -> set[str]:
    """The commits whose ids were given up and whose parents' were not: what must not come back. From the tool's commit map."""
    path = folder / "filter-repo" / "first-changed-commits"
    if path.is_file():
        # Each line: the commit, and what took its place or stands before it. That one is not to be banned.
        return {line.split()[0] for line in path.read_text("ascii").splitlines()}
    return set(commit_map(folder))


def commit_map(folder: Path) -> dict[str, str]:
    """Commits' old ids and their new ones, where they differ."""
    with (folder / "filter-repo" / "commit-map").open(encoding="ascii") as stream:
        pairs = [line.split() for line in list(stream)[1:]]
    return {old: new for old, new in pairs if old != new}


def _notes_moved(folder: Path) -> int:
    """Notes name commits by their ids, and the tool leaves them with the old ones: they are moved. Returns how many.

    At the moment of the notes' last change: so the same comes of it in every repository that has them.
    """
    moved, count = commit_map(folder), 0
    author = ("-c", "user.name=fluxguard", "-c", "user.email=fluxguard@localhost")
    for name, tip in refs(folder).items():
        if not name.startswith("refs/notes/"):
            continue
        told = git(folder, "notes", f"--ref={name}", "list", good=(0, 1)).split(b"\n")
        held = [line.split(b" ")[1].decode() for line in told if b" " in line]
        old = [one for one in held if set(moved.get(one, "")) - {"0"}]
        if old:
            date = git(folder, "log", "-1", "--format=%cd", "--date=raw", tip).decode().strip()
            at = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
            pairs = "".join(f"{one} {moved[one]}\n" for one in old).encode()
            git(folder, *author, "notes", f"--ref={name}", "copy", "--force", "--stdin", data=pairs, env=at)
            gone = "".join(f"{one}\n" for one in old).encode()
            git(
                folder,
                *author,
                "notes",
                f"--ref={name}",
                "remove",
                "--ignore-missing",
                "--stdin",
                data=gone,
                env=at,
            )
            count += len(old)
    return count


def _scrub(folder: Path) -> None:
    """What the tools leave behind: maps with names of refs, FETCH_HEAD, logs; and every object that no ref leads to."""
    shutil.rmtree(folder / "filter-repo", ignore_errors=True)
    for name in ("FETCH_HEAD", "ORIG_HEAD"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "logs", ignore_errors=True)
    git(folder, "-c", "gc.reflogExpire=now", "reflog", "expire", "--expire=now", "--all")
    git(folder, "-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now")


def _tips(folder: Path) -> dict[str, dict[bytes, bytes]]:
    """What each branch's tip holds: mode and id by path."""
    tips = {}
    for name, id in refs(folder).items():  # by its id: a name may hold the key, and arguments are seen by all
        if name.startswith("refs/heads/"):
            lines = git(folder, "ls-tree", "-r", "-z", "--full-tree", id).split(b"\0")
            tips[name] = {line.split(b"\t", 1)[1]: line.split(b"\t", 1)[0] for line in lines if line}
    return tips


def _unexpected(
    before: Mapping[str, Mapping[bytes, bytes]],
    after: Mapping[str, Mapping[bytes, bytes]],
    holding: set[bytes],
    secret: Secret,
    parts: Mapping[bytes, bytes],
) -> tuple[str, ...]:
    """Paths of branch tips that differ though no key was known there. Names that held the key are compared as they became."""
    by, found = forms(secret.reveal()), []
    names = {
        os.fsdecode(new): os.fsdecode(old)
        for old, new in renamed(map(os.fsencode, before), secret.reveal()).items()
    }
    touched = {paths.cleaned(path, parts, by) for path in holding}
    for name, files in after.items():
        old = {
            paths.cleaned(path, parts, by): what
            for path, what in before.get(names.get(name, name), {}).items()
        }
        differ = {path for path in {*old, *files} if old.get(path) != files.get(path)} - touched
        found += [f"{name}: {path.decode('utf-8', 'replace')}" for path in sorted(differ)]
    return tuple(found)


def _submodules(tips: Mapping[str, Mapping[bytes, bytes]], secret: Secret) -> list[str]:
    """Repositories of their own, of which this one has the commits' ids alone."""
    found = {path for files in tips.values() for path, what in files.items() if what.startswith(b"160000")}
    return [
        f"submodule {shown(path, secret)}: a repository of its own (fluxguard audit there)"
        for path in sorted(found)
    ]
