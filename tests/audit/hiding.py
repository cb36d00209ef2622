"""A repository with a key in every place in which a scanner has been seen to miss one, or that git keeps anything in.

Each `Hidden` says where its key is and how it came there. Nothing is written down here: keys are made at run time.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from conftest import Mint, Repo

HISTORY = [
    "root-commit",
    "plain-head",
    "added-then-deleted",
    "other-branch",
    "rename-plus-edit",
    "typechange-to-symlink-target",
    "typechange-to-file",
    "symlink-target-added",
    "evil-merge-new-file",
    "merge-conflict-resolution",
    "octopus-merge",
    "commit-message-empty-commit",
    "commit-message-normal",
    "author-name",
    "tag-message",
    "nested-tag-message",
    "ref-name",
    "tag-to-blob",
    "annotated-tag-to-blob",
    "tag-to-tree",
    "note-body",
    "custom-ref",
    "file-name",
    "orphan-branch-root",
    "hidden-by-replace",
]
CONTENT = [
    "path-space",
    "path-tab",
    "path-newline",
    "path-nonutf8",
    "path-quote",
    "path-b-slash",
    "utf16le-bom",
    "utf16be-bom",
    "utf16le-nobom",
    "utf32le-bom",
    "binary-nul",
    "text-then-late-nul",
    "gitattributes-minus-diff",
    "gitattributes-binary",
    "cr-only-eol",
    "no-final-newline",
    "very-long-line-2MB",
    "blob-exactly-key",
    "base64",
    "base64-wrapped",
    "base64-twice",
    "hex",
    "percent-all",
    "percent-underscore",
    "json-unicode-escape",
    "split-concat",
    "yaml-folded",
    "html-entity",
    "gzip",
    "zip",
    "zip-in-zip",
    "tar-gz",
    "patch-like-content",
    "line-starting-plusplus",
    "line-starting-minusminus",
    "across-64k-boundary",
    "prefix-joined",
]
ASIDE = [
    "stash-worktree",
    "stash-index-only",
    "stash-untracked",
    "stash-message",
    "stash-top-worktree",
    "stash-top-untracked",
    "amended-away",
    "reset-away",
    "commit-message-reflog-only",
    "deleted-branch",
    "dangling-blob",
    "dangling-commit",
    "dangling-commit-message",
    "linked-worktree-detached",
    "git-config-remote-url",
    "git-hooks-dir",
    "git-dir-stray",
    "reflog-message",
    "index-only",
    "worktree-untracked",
    "worktree-ignored",
]
FURTHER = [
    "ofs-delta",
    "ref-delta",
    "loose",
    "alternate",
    "submodule-store",
    "quarantine",
    "linked-worktree-index",
    "linked-worktree-index-path",
    "extra-header",
    "mergetag",
    "tagger",
    "author-email",
    "committer-name",
    "replace-ref",
    "pull-ref",
    "original-ref",
    "tag-name",
    "remote-ref-name",
    "reflog-of-branch",
    "index-path",
    "fetch-head",
    "orig-head",
    "merge-msg",
    "commit-editmsg",
    "packed-refs",
    "rr-cache",
    "lfs-object",
    "filter-repo",
    "bundle-text",
    "directory-name",
    "deep-file-name",
    "submodule-name",
    "tag-of-tag-of-blob",
    "annotated-tag-to-tree",
    "reverted-back",
    "cherry-picked",
    "criss-cross",
    "dangling-tree-name",
    "dangling-tag-message",
    "linked-worktree-reflog",
    "other-notes-ref",
    "bisect-ref",
    "description",
    "info-exclude",
    "sequencer",
    "git-file-name",
    "dangling-merge-of-its-own",
    "stash-of-worktree-older",
]
PLACES = (*HISTORY, *CONTENT, *ASIDE, *FURTHER)


@dataclass
class Hidden:
    """A key and where it is. commit: who brought it, "" where no commit did, None where there is nothing to trace.

    removed: those that took it away. refs: names beside those that git says contain the commit; None: not looked at.
    logs: reflogs, where no ref leads to it. line, column, via: None where it does not matter.
    """

    key: str = field(repr=False)
    kind: str
    path: bytes = field(default=b"", repr=False)
    line: int | None = None
    column: int | None = None
    via: tuple[str, ...] | None = ()
    commit: str | None = None
    removed: tuple[str, ...] = ()
    refs: tuple[bytes, ...] | None = None
    logs: tuple[bytes, ...] | None = None
    reachable: bool = True
    moved_from: bytes = b""


@dataclass
class Corpus:
    """The repository under construction."""

    repo: Repo
    mint: Mint
    hidden: dict[str, Hidden] = field(default_factory=dict)
    decoys: list[str] = field(default_factory=list)
    _hour: int = 0

    def hide(self, place: str, kind: str, **where: object) -> str:
        """A new key, noted down."""
        key = self.mint.checked() if len(self.hidden) % 2 else self.mint.key()
        assert place in PLACES, place
        assert place not in self.hidden, place
        self.hidden[place] = Hidden(key, kind, **where)  # type: ignore[arg-type]
        return key

    def text(self, place: str, path: bytes, make: Callable[[bytes], bytes], **where: object) -> bytes:
        """A content with a new key; line and column are those of the key where it stands in clear."""
        key = self.hide(place, "blob", path=path, **where).encode()
        data = make(key)
        hidden = self.hidden[place]
        at = data.find(key)
        if at >= 0 and hidden.line is None and not where.get("via"):
            before = data[:at].replace(b"\r", b"\n")
            hidden.line = before.count(b"\n") + 1
            hidden.column = at - before.rfind(b"\n")
        return data

    def who(self) -> dict[str, str]:
        """Another author, an hour later."""
        self._hour += 1
        when = f"2026-02-{1 + self._hour // 24:02d}T{self._hour % 24:02d}:30:00+02:00"
        return {
            "GIT_AUTHOR_NAME": f"Author {self._hour}",
            "GIT_AUTHOR_EMAIL": f"a{self._hour}@example.org",
            "GIT_AUTHOR_DATE": when,
            "GIT_COMMITTER_DATE": when,
        }

    def git(self, *arguments: str | bytes, stdin: bytes = b"", **env: str) -> str:
        return self.repo.git(*arguments, stdin=stdin, **env).decode("utf-8", "surrogateescape").strip()

    def commit(self, message: str = "change", *options: str, **env: str) -> str:
        """Commits what is staged, as somebody else."""
        self.git("commit", "-q", "--allow-empty", "-m", message, *options, **{**self.who(), **env})
        return self.head

    def add(self, path: bytes, data: bytes, message: str = "change") -> str:
        self.repo.stage(path, data)
        return self.commit(message)

    @property
    def head(self) -> str:
        return self.repo.head.decode()

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def tree(self, *entries: tuple[str, str, str, str]) -> str:
        listed = "".join(f"{mode} {kind} {id}\t{name}\0" for mode, kind, id, name in entries)
        return self.git("mktree", "-z", "--missing", stdin=listed.encode())

    def tree_with(self, base: str, *files: tuple[str, bytes]) -> str:
        """The tree of a commit, with further files."""
        index = {"GIT_INDEX_FILE": str(self.repo.path.parent / "index.tmp")}
        self.git("read-tree", base, **index)
        for name, data in files:
            self.git("update-index", "--add", "--cacheinfo", f"100644,{self.blob(data)},{name}", **index)
        return self.git("write-tree", "--missing-ok", **index)

    def commit_tree(self, tree: str, *parents: str, message: str = "made", **env: str) -> str:
        arguments = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *arguments, "-m", message, **{**self.who(), **env})

    @property
    def dot(self) -> Path:
        return self.repo.path / ".git"

    def put(self, name: str, data: bytes) -> None:
        path = self.dot / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def line(key: bytes) -> bytes:
    return b"# settings\nKEY = '" + key + b"'\n"


def build(repo: Repo, mint: Mint) -> Corpus:
    """The whole of it."""
    corpus = Corpus(repo, mint)
    _start(corpus)
    _contents(corpus)
    _decoys(corpus)
    corpus.git("-c", "repack.useDeltaBaseOffset=true", "repack", "-d", "-q")
    _history(corpus)
    _merges(corpus)
    _back_and_forth(corpus)
    _deltas(corpus)
    corpus.git("-c", "repack.useDeltaBaseOffset=false", "repack", "-d", "-q")
    _tags(corpus)
    _refs(corpus)
    _words(corpus)
    _stashes(corpus)
    _left(corpus)
    _stores(corpus)
    _worktrees(corpus)
    _git_files(corpus)
    return corpus


# --- on the branch -------------------------------------------------------------------------------------------------


def _start(corpus: Corpus) -> None:
    data = corpus.text("root-commit", b"root.py", line)
    corpus.hidden["root-commit"].commit = corpus.add(b"root.py", data)


def _contents(corpus: Corpus) -> None:
    for place, (path, make, via) in _CONTENTS.items():
        data = corpus.text(place, path, make, via=via)
        corpus.hidden[place].commit = corpus.add(path, data)
    for place, rule in (("gitattributes-minus-diff", "-diff"), ("gitattributes-binary", "binary")):
        path = f"{rule.strip('-')}.env".encode()
        corpus.repo.stage(path, corpus.text(place, path, line))
        with (corpus.repo.path / ".gitattributes").open("a") as stream:
            stream.write(f"{path.decode()} {rule}\n")
        corpus.git("add", ".gitattributes")
        corpus.hidden[place].commit = corpus.commit()


def _zip(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def _tar_gz(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _wrapped(key: bytes) -> bytes:
    encoded = base64.b64encode(b"some text before it, KEY=" + key + b", and some text behind it")
    return b"\n".join(encoded[at : at + 40] for at in range(0, len(encoded), 40)) + b"\n"


def _halves(key: bytes, between: bytes) -> bytes:
    return key[:17] + between + key[17:]


_CONTENTS: dict[str, tuple[bytes, Callable[[bytes], bytes], tuple[str, ...] | None]] = {
    "plain-head": (b"app/settings.py", line, ()),
    "path-space": (b"a b/c d.txt", line, ()),
    "path-tab": (b"tab\there.txt", line, ()),
    "path-newline": (b"new\nline.txt", line, ()),
    "path-nonutf8": (b"latin-\xe9/\xff.txt", line, ()),
    "path-quote": (b'quo"te\\s.txt', line, ()),
    "path-b-slash": (b"b/x b/y", line, ()),
    "utf16le-bom": (b"u16le.txt", lambda key: b"\xff\xfe" + line(key).decode().encode("utf-16-le"), None),
    "utf16be-bom": (b"u16be.txt", lambda key: b"\xfe\xff" + line(key).decode().encode("utf-16-be"), None),
    "utf16le-nobom": (b"u16.txt", lambda key: line(key).decode().encode("utf-16-le"), None),
    "utf32le-bom": (b"u32.txt", lambda key: b"\xff\xfe\0\0" + line(key).decode().encode("utf-32-le"), None),
    "binary-nul": (b"binary.dat", lambda key: b"\0\1\2\0" + key + b"\0\0\3", ()),
    "text-then-late-nul": (b"late.txt", lambda key: b"text\n" * 2000 + key + b"\n\0\0\n", ()),
    "cr-only-eol": (b"mac.txt", lambda key: line(key).replace(b"\n", b"\r"), ()),
    "no-final-newline": (b"no-newline.txt", lambda key: b"KEY=" + key, ()),
    "very-long-line-2MB": (b"long.txt", lambda key: b"x = 1; " * 300_000 + key + b"\n", ()),
    "blob-exactly-key": (b"exactly", lambda key: key, ()),
    "base64": (b"b64.txt", lambda key: b"v: " + base64.b64encode(b"k=" + key) + b"\n", ("base64",)),
    "base64-wrapped": (b"b64w.txt", _wrapped, ("base64",)),
    "base64-twice": (
        b"b64t.txt",
        lambda key: base64.b64encode(base64.b64encode(b"k=" + key)) + b"\n",
        ("base64", "base64"),
    ),
    "hex": (b"hex.txt", lambda key: b"v " + key.hex().encode() + b"\n", ("hex",)),
    "percent-all": (b"pct.txt", lambda key: b"".join(b"%%%02X" % byte for byte in key), ("percent",)),
    "percent-underscore": (b"pct_.txt", lambda key: key.replace(b"_", b"%5F"), ("percent",)),
    "json-unicode-escape": (
        b"esc.json",
        lambda key: b'{"k": "' + b"".join(b"\\u%04x" % byte for byte in key) + b'"}',
        None,
    ),
    "split-concat": (b"split.py", lambda key: b'K = "' + _halves(key, b'" \\\n    "') + b'"\n', None),
    "yaml-folded": (b"folded.yml", lambda key: b'k: "' + _halves(key, b"\\\n  ") + b'"\n', None),
    "html-entity": (b"page.html", lambda key: b"".join(b"&#%d;" % byte for byte in key), None),
    "gzip": (b"x.gz", lambda key: gzip.compress(line(key)), ("gzip",)),
    "zip": (b"x.zip", lambda key: _zip("in/x.txt", line(key)), ("zip:in/x.txt",)),
    "zip-in-zip": (
        b"xx.zip",
        lambda key: _zip("y.zip", _zip("x.txt", line(key))),
        ("zip:y.zip", "zip:x.txt"),
    ),
    "tar-gz": (b"x.tgz", lambda key: _tar_gz("x.txt", line(key)), ("gzip", "tar:x.txt")),
    "patch-like-content": (b"p.patch", lambda key: b"diff --git a/x b/x\n@@ -0,0 +1 @@\n+" + key, ()),
    "line-starting-plusplus": (b"pp.txt", lambda key: b"++ " + key + b"\n", ()),
    "line-starting-minusminus": (b"mm.txt", lambda key: b"-- " + key + b"\n", ()),
    "across-64k-boundary": (b"64k.txt", lambda key: b"0123456\n" * 8191 + b"abcd " + key + b"\n", ()),
    "prefix-joined": (b"joined.txt", lambda key: b"abc" + key + b"\n", ()),
}


def _decoys(corpus: Corpus) -> None:
    """What looks like a key and is none."""
    lines = [
        "flux_dev_" + "x" * 24,
        "flux_prod_" + "your" + "KeyHere" + "YourKeyHere1234"[:0],
        "flux_dev_abc1" + "..." + "mno34",
        "flux_prod_" + "*" * 24,
        "flux_prod_${KEY}",
        "flux_prod_<your-key>",
        "influx_" + "prod_metrics_by_host_and_region",
        "in" + "flux_dev_database_retention_policies",
        "flux_dev_" + "1234567890" * 3,
        "flux_stg_",
        "FLUXLOOP_API_KEY=$FLUXLOOP_API_KEY",
        "flux_capacitor_settings_for_the_time_machine",
    ]
    corpus.add(b"decoys.txt", "\n".join(lines).encode() + b"\n", "about " + lines[0])
    corpus.git("branch", "influx_prod_dashboards")
    corpus.git("tag", "-a", "v0", "-m", f"nothing: {lines[2]} {lines[8]}")


# --- ways through history --------------------------------------------------------------------------------------------


def _history(corpus: Corpus) -> None:
    hidden = corpus.hidden
    data = corpus.text("added-then-deleted", b"gone.txt", line)
    hidden["added-then-deleted"].commit = corpus.add(b"gone.txt", data)
    corpus.git("rm", "-q", "gone.txt")
    hidden["added-then-deleted"].removed = (corpus.commit(),)

    corpus.git("checkout", "-q", "-b", "other")
    data = corpus.text("other-branch", b"other.txt", line)
    hidden["other-branch"].commit = corpus.add(b"other.txt", data)
    corpus.git("checkout", "-q", "main")

    corpus.add(b"old-name.txt", b"a line that stays\n" * 30)
    corpus.git("mv", "old-name.txt", "new-name.txt")
    data = corpus.text("rename-plus-edit", b"new-name.txt", lambda key: b"a line that stays\n" * 30 + key)
    hidden["rename-plus-edit"].commit = corpus.add(b"new-name.txt", data)

    corpus.add(b"becomes-link", b"a file\n")
    corpus.repo.path.joinpath("becomes-link").unlink()
    data = corpus.text("typechange-to-symlink-target", b"becomes-link", lambda key: key)
    os.symlink(data, os.fsencode(corpus.repo.path / "becomes-link"))
    corpus.git("add", "becomes-link")
    hidden["typechange-to-symlink-target"].commit = corpus.commit()

    os.symlink("nowhere", corpus.repo.path / "becomes-file")
    corpus.git("add", "becomes-file")
    corpus.commit()
    corpus.repo.path.joinpath("becomes-file").unlink()
    data = corpus.text("typechange-to-file", b"becomes-file", line)
    hidden["typechange-to-file"].commit = corpus.add(b"becomes-file", data)

    data = corpus.text("symlink-target-added", b"link", lambda key: b"/x/" + key)
    os.symlink(data, os.fsencode(corpus.repo.path / "link"))
    corpus.git("add", "link")
    hidden["symlink-target-added"].commit = corpus.commit()

    key = corpus.hide("file-name", "path")
    hidden["file-name"].path = f"{key}.txt".encode()
    hidden["file-name"].commit = corpus.add(f"{key}.txt".encode(), b"text\n")
    key = corpus.hide("directory-name", "path")
    hidden["directory-name"].path = f"deep/{key}".encode()
    hidden["directory-name"].commit = corpus.add(f"deep/{key}/file.txt".encode(), b"text\n")
    key = corpus.hide("deep-file-name", "path")
    hidden["deep-file-name"].path = f"deep/er/still/k-{key}.txt".encode()
    hidden["deep-file-name"].commit = corpus.add(f"deep/er/still/k-{key}.txt".encode(), b"text\n")
    key = corpus.hide("submodule-name", "path", path=b"")
    hidden["submodule-name"].path = f"subs/{key}".encode()
    corpus.git("update-index", "--add", "--cacheinfo", f"160000,{'12' * 20},subs/{key}")
    hidden["submodule-name"].commit = corpus.commit()
    for number in range(3):  # which changes the root's tree, but brings nothing
        corpus.add(b"later.txt", b"%d\n" % number)

    data = corpus.text("orphan-branch-root", b"orphan.txt", line)
    tree = corpus.tree(("100644", "blob", corpus.blob(data), "orphan.txt"))
    hidden["orphan-branch-root"].commit = corpus.commit_tree(tree)
    corpus.git("update-ref", "refs/heads/orphan", hidden["orphan-branch-root"].commit)

    data = corpus.text("hidden-by-replace", b"replaced.txt", line)
    tree = corpus.tree(("100644", "blob", corpus.blob(data), "replaced.txt"))
    hidden["hidden-by-replace"].commit = corpus.commit_tree(tree)
    corpus.git("update-ref", "refs/heads/replaced", hidden["hidden-by-replace"].commit)
    data = corpus.text("replace-ref", b"replaced.txt", line)
    tree = corpus.tree(("100644", "blob", corpus.blob(data), "replaced.txt"))
    hidden["replace-ref"].commit = corpus.commit_tree(tree)
    corpus.git("replace", hidden["hidden-by-replace"].commit or "", hidden["replace-ref"].commit)


def _merges(corpus: Corpus) -> None:
    hidden = corpus.hidden
    corpus.add(b"fought.txt", b"base\n")
    corpus.git("checkout", "-q", "-b", "side")
    corpus.add(b"fought.txt", b"theirs\n")
    corpus.git("checkout", "-q", "main")
    corpus.add(b"fought.txt", b"ours\n")
    corpus.repo.try_git("merge", "-q", "--no-commit", "side")
    corpus.repo.stage("fought.txt", corpus.text("merge-conflict-resolution", b"fought.txt", line))
    corpus.repo.stage("evil.txt", corpus.text("evil-merge-new-file", b"evil.txt", line))
    merge = corpus.commit("merge")
    hidden["merge-conflict-resolution"].commit = hidden["evil-merge-new-file"].commit = merge
    tops = []
    for number in range(3):
        tree = corpus.tree_with("HEAD", (f"f{number}", b"%d\n" % number))
        tops.append(corpus.commit_tree(tree, corpus.head))
    data = corpus.text("octopus-merge", b"octopus.txt", line)
    tree = corpus.tree_with("HEAD", ("octopus.txt", data), *((f"f{n}", b"%d\n" % n) for n in range(3)))
    hidden["octopus-merge"].commit = corpus.commit_tree(tree, *tops)
    corpus.git("update-ref", "refs/heads/octopus", hidden["octopus-merge"].commit)


def _back_and_forth(corpus: Corpus) -> None:
    """Removed and brought back; picked onto another branch; merged across."""
    hidden = corpus.hidden
    data = corpus.text("reverted-back", b"reverted.txt", line)
    first = corpus.add(b"reverted.txt", data)
    corpus.git("rm", "-q", "reverted.txt")
    removed = corpus.commit()
    corpus.git("revert", "--no-edit", removed, **corpus.who())
    hidden["reverted-back"].commit, hidden["reverted-back"].removed = first, (removed,)

    corpus.git("checkout", "-q", "-b", "picked-from", "main~3")
    data = corpus.text("cherry-picked", b"picked.txt", line)
    hidden["cherry-picked"].commit = corpus.add(b"picked.txt", data)
    corpus.git("checkout", "-q", "main")
    corpus.git("cherry-pick", "picked-from", **corpus.who())

    base = corpus.head
    data = corpus.text("criss-cross", b"cross.txt", line)
    left_tree = corpus.tree_with(base, ("cross.txt", data))
    right_tree = corpus.tree_with(base, ("r.txt", b"r\n"))
    both = corpus.tree_with(base, ("cross.txt", data), ("r.txt", b"r\n"))
    left = corpus.commit_tree(left_tree, base)
    right = corpus.commit_tree(right_tree, base)
    one, two = corpus.commit_tree(both, left, right), corpus.commit_tree(both, right, left)
    corpus.git("update-ref", "refs/heads/cross-end", corpus.commit_tree(both, one, two))
    hidden["criss-cross"].commit = left


def _deltas(corpus: Corpus) -> None:
    """A version with the key, which git keeps as a delta of a longer one without it."""
    for place, path in (("ofs-delta", b"delta-ofs.txt"), ("ref-delta", b"delta-ref.txt")):
        rows = [hashlib.sha1(f"{place} {number}".encode()).hexdigest().encode() for number in range(400)]
        data = corpus.text(
            place, path, lambda key, rows=rows: b"\n".join([*rows[:200], b"k=" + key, *rows[200:300]])
        )
        corpus.hidden[place].commit = corpus.add(path, data)
        corpus.hidden[place].removed = (corpus.add(path, b"\n".join(rows)),)
        if place == "ofs-delta":
            corpus.git("-c", "repack.useDeltaBaseOffset=true", "repack", "-d", "-q")


# --- refs, tags, messages ---------------------------------------------------------------------------------------------


def _tags(corpus: Corpus) -> None:
    hidden = corpus.hidden
    key = corpus.hide("tag-message", "tag-message", commit="", refs=(b"refs/tags/told",), line=3)
    corpus.git("tag", "-a", "told", "-m", f"subject\n\nbody {key}")
    key = corpus.hide("nested-tag-message", "tag-message", commit="", refs=(b"refs/tags/outer",))
    corpus.git("tag", "-a", "inner", "-m", f"inner {key}")
    corpus.git("-c", "advice.nestedTag=false", "tag", "-a", "outer", "-m", "around", "inner")
    corpus.git("tag", "-d", "inner")
    data = corpus.text("tag-to-blob", b"", line, commit="", refs=(b"refs/tags/blob",))
    corpus.git("tag", "blob", corpus.blob(data))
    data = corpus.text("annotated-tag-to-blob", b"", line, commit="", refs=(b"refs/tags/ablob",))
    corpus.git("tag", "-a", "ablob", "-m", "a blob", corpus.blob(data))
    data = corpus.text("tag-of-tag-of-blob", b"", line, commit="", refs=(b"refs/tags/bb", b"refs/tags/bbb"))
    corpus.git("tag", "-a", "bb", "-m", "a blob", corpus.blob(data))
    corpus.git("-c", "advice.nestedTag=false", "tag", "-a", "bbb", "-m", "a tag", "bb")
    for place, name, options in (
        ("tag-to-tree", "tree", []),
        ("annotated-tag-to-tree", "atree", ["-a", "-m", "a tree"]),
    ):
        data = corpus.text(place, b"in/x.txt", line, commit="", refs=(b"refs/tags/" + name.encode(),))
        inner = corpus.tree(("100644", "blob", corpus.blob(data), "x.txt"))
        corpus.git("tag", *options, name, corpus.tree(("040000", "tree", inner, "in")))
    key = corpus.hide("tagger", "tag-header", commit="", refs=(b"refs/tags/tagged",))
    corpus.git("tag", "-a", "tagged", "-m", "by whom", GIT_COMMITTER_NAME=f"Bob {key}")
    key = corpus.hide("tag-name", "ref-name")
    hidden["tag-name"].path = f"refs/tags/v-{key}".encode()
    corpus.git("tag", f"v-{key}")
    key = corpus.hide("dangling-tag-message", "tag-message", commit="", refs=(), reachable=False)
    corpus.git(
        "mktag",
        stdin=f"object {corpus.head}\ntype commit\ntag lost\ntagger A <a@b> 1700000000 +0000\n\n{key}\n".encode(),
    )


def _branch_with(corpus: Corpus, place: str, ref: str) -> None:
    data = corpus.text(place, f"{place}.txt".encode(), line)
    tree = corpus.tree(("100644", "blob", corpus.blob(data), f"{place}.txt"))
    commit = corpus.hidden[place].commit = corpus.commit_tree(tree)
    corpus.git("update-ref", ref, commit)


def _refs(corpus: Corpus) -> None:
    for place, ref in (
        ("custom-ref", "refs/custom/x"),
        ("pull-ref", "refs/pull/7/head"),
        ("original-ref", "refs/original/refs/heads/main"),
        ("bisect-ref", "refs/bisect/bad"),
    ):
        _branch_with(corpus, place, ref)
    for place, name in (("ref-name", "refs/heads/b-{}"), ("remote-ref-name", "refs/remotes/origin/{}")):
        key = corpus.hide(place, "ref-name")
        corpus.hidden[place].path = name.format(key).encode()
        corpus.git("update-ref", name.format(key), "HEAD")
    for place, options in (("note-body", []), ("other-notes-ref", ["--ref", "reviews"])):
        key = corpus.hide(place, "blob", via=())
        head = corpus.head
        corpus.git("notes", *options, "add", "-m", f"reviewed with {key}", head, **corpus.who())
        ref = "refs/notes/reviews" if options else "refs/notes/commits"
        corpus.hidden[place].commit = corpus.git("rev-parse", ref)
        corpus.hidden[place].path = head.encode()
        corpus.hidden[place].line = 1


def _words(corpus: Corpus) -> None:
    hidden = corpus.hidden
    key = corpus.hide("commit-message-empty-commit", "commit-message", line=3)
    hidden["commit-message-empty-commit"].commit = corpus.commit(f"subject\n\nkey {key}")
    key = corpus.hide("commit-message-normal", "commit-message", line=1)
    corpus.repo.stage("said.txt", "text\n")
    hidden["commit-message-normal"].commit = corpus.commit(f"with {key}")
    for place, name in (
        ("author-name", "GIT_AUTHOR_NAME"),
        ("author-email", "GIT_AUTHOR_EMAIL"),
        ("committer-name", "GIT_COMMITTER_NAME"),
    ):
        key = corpus.hide(place, "commit-header")
        hidden[place].commit = corpus.commit("who", **{name: key})
    key = corpus.hide("extra-header", "commit-header")
    hidden["extra-header"].commit = _with_header(corpus, f"x-build token {key}", "extra")
    key = corpus.hide("mergetag", "commit-header")
    tag = f"mergetag object {corpus.head}\n type commit\n tag v\n tagger A <a@b> 1700000000 +0000\n \n says {key}"
    hidden["mergetag"].commit = _with_header(corpus, tag, "mergetag")


def _with_header(corpus: Corpus, header: str, branch: str) -> str:
    raw = corpus.git("cat-file", "commit", corpus.head)
    head, _, message = raw.partition("\n\n")
    commit = corpus.git(
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        stdin=f"{head}\n{header}\n\n{message}\n".encode(),
    )
    corpus.git("update-ref", f"refs/heads/{branch}", commit)
    return commit


# --- what no branch leads to -----------------------------------------------------------------------------------------


def _stashes(corpus: Corpus) -> None:
    """Three stashes; only the newest has a ref."""
    hidden, log = corpus.hidden, {"refs": (), "logs": (b"refs/stash",), "reachable": False}
    corpus.repo.write("root.py", corpus.text("stash-of-worktree-older", b"root.py", line, **log))
    corpus.git("stash", "-q", **corpus.who())
    hidden["stash-of-worktree-older"].commit = corpus.git("rev-parse", "stash@{0}")

    corpus.repo.stage("said.txt", corpus.text("stash-index-only", b"said.txt", line, **log))
    corpus.repo.write("said.txt", corpus.text("stash-worktree", b"said.txt", line, **log))
    corpus.repo.write("untracked.txt", corpus.text("stash-untracked", b"untracked.txt", line, **log))
    key = corpus.hide("stash-message", "commit-message", **log)
    corpus.git("stash", "push", "-q", "-u", "-m", f"with {key}", **corpus.who())
    for place, name in (
        ("stash-worktree", "stash@{0}"),
        ("stash-index-only", "stash@{0}^2"),
        ("stash-untracked", "stash@{0}^3"),
        ("stash-message", "stash@{0}"),
    ):
        hidden[place].commit = corpus.git("rev-parse", name)

    corpus.repo.write("root.py", corpus.text("stash-top-worktree", b"root.py", line))
    corpus.repo.write("untracked.txt", corpus.text("stash-top-untracked", b"untracked.txt", line))
    corpus.git("stash", "push", "-q", "-u", **corpus.who())
    hidden["stash-top-worktree"].commit = corpus.git("rev-parse", "stash@{0}")
    hidden["stash-top-untracked"].commit = corpus.git("rev-parse", "stash@{0}^3")


def _left(corpus: Corpus) -> None:
    hidden = corpus.hidden
    log = {"refs": (), "logs": (b"HEAD", b"refs/heads/main"), "reachable": False}
    data = corpus.text("amended-away", b"amended.txt", line, **log)
    hidden["amended-away"].commit = corpus.add(b"amended.txt", data)
    corpus.repo.stage("amended.txt", "nothing\n")
    corpus.commit("change", "--amend")
    data = corpus.text("reset-away", b"reset.txt", line, **log)
    hidden["reset-away"].commit = corpus.add(b"reset.txt", data)
    corpus.git("reset", "-q", "--hard", "HEAD~1")
    key = corpus.hide("commit-message-reflog-only", "commit-message", **log)
    hidden["commit-message-reflog-only"].commit = corpus.commit(f"says {key}")
    corpus.git("reset", "-q", "--hard", "HEAD~1")
    corpus.git("checkout", "-q", "-b", "short-lived")
    only = {"refs": (), "logs": (b"HEAD",), "reachable": False}
    data = corpus.text("deleted-branch", b"deleted-branch.txt", line, **only)
    hidden["deleted-branch"].commit = corpus.add(b"deleted-branch.txt", data)
    corpus.git("checkout", "-q", "main")
    corpus.git("branch", "-q", "-D", "short-lived")

    none = {"refs": (), "logs": (), "reachable": False}
    corpus.blob(corpus.text("dangling-blob", b"", line, commit="", **none))
    data = corpus.text("dangling-commit", b"dangling.txt", line, **none)
    tree = corpus.tree_with("HEAD", ("dangling.txt", data))
    hidden["dangling-commit"].commit = corpus.commit_tree(tree, corpus.head)
    data = corpus.text("dangling-merge-of-its-own", b"merged.txt", line, **none)
    tree = corpus.tree_with("HEAD", ("merged.txt", data))
    hidden["dangling-merge-of-its-own"].commit = corpus.commit_tree(tree, corpus.head, corpus.head + "~1")
    key = corpus.hide("dangling-commit-message", "commit-message", **none)
    hidden["dangling-commit-message"].commit = corpus.commit_tree(
        corpus.git("rev-parse", "HEAD^{tree}"), message=key
    )
    key = corpus.hide("dangling-tree-name", "path", commit="", **none)
    hidden["dangling-tree-name"].path = f"{key}.txt".encode()
    corpus.tree(("100644", "blob", corpus.blob(b"text\n"), f"{key}.txt"))
    data = corpus.text("loose", b"loose.txt", line)
    hidden["loose"].commit = corpus.add(b"loose.txt", data)


# --- stores, worktrees, files of git's ---------------------------------------------------------------------------------


def _stores(corpus: Corpus) -> None:
    hidden, repo = corpus.hidden, corpus.repo
    other = Repo(repo.path.parent / "alternate", repo.env, corpus.mint)
    other.path.mkdir()
    other.git("init", "-q", "-b", "main")
    other.commit("alternate.txt", corpus.text("alternate", b"alternate.txt", line))
    hidden["alternate"].commit = other.head.decode()
    corpus.put("objects/info/alternates", f"# elsewhere\n{other.path}/.git/objects\n".encode())
    corpus.git("update-ref", "refs/heads/from-alternate", other.head)

    sub = Repo(repo.path.parent / "sub", repo.env, corpus.mint)
    sub.path.mkdir()
    sub.git("init", "-q", "-b", "main")
    sub.commit("sub.txt", corpus.text("submodule-store", b"sub.txt", line, refs=None))
    hidden["submodule-store"].commit = sub.head.decode()
    hidden["submodule-store"].refs = (b"modules/lib/sub:refs/heads/main",)
    (corpus.dot / "modules" / "lib").mkdir(parents=True)
    shutil.move(sub.path / ".git", corpus.dot / "modules" / "lib" / "sub")

    incoming = corpus.dot / "objects" / "incoming-x1Y2z3"
    incoming.mkdir()
    data = corpus.text("quarantine", b"", line, commit="", refs=(), logs=(), reachable=False)
    corpus.git("hash-object", "-w", "--stdin", stdin=data, GIT_OBJECT_DIRECTORY=str(incoming))


def _worktrees(corpus: Corpus) -> None:
    hidden, repo = corpus.hidden, corpus.repo
    corpus.git("worktree", "add", "-q", "--detach", "../linked")
    linked = Repo(repo.path.parent / "linked", repo.env, corpus.mint)
    data = corpus.text("linked-worktree-detached", b"linked.txt", line, refs=(b"worktrees/linked:HEAD",))
    linked.stage("linked.txt", data)
    linked.git("commit", "-q", "-m", "in a linked worktree", **corpus.who())
    hidden["linked-worktree-detached"].commit = linked.head.decode()
    key = corpus.hide("linked-worktree-reflog", "reflog", path=b"worktrees/linked/logs/HEAD")
    linked.git("update-ref", "-m", f"odd {key}", "HEAD", linked.git("rev-parse", "HEAD~1").strip())
    linked.git("update-ref", "HEAD", hidden["linked-worktree-detached"].commit or "")
    key = corpus.hide(
        "linked-worktree-index", "index", path=b"staged.txt", commit="", logs=(), reachable=False
    )
    linked.stage("staged.txt", line(key.encode()))
    linked.write("staged.txt", "nothing\n")
    key = corpus.hide("linked-worktree-index-path", "index")
    hidden["linked-worktree-index-path"].path = f"p/{key}".encode()
    linked.git("update-index", "--add", "--cacheinfo", f"100644,{corpus.blob(b'text')},p/{key}")

    key = corpus.hide("index-only", "index", path=b"index-only.txt", commit="", logs=(), reachable=False)
    repo.stage("index-only.txt", line(key.encode()))
    repo.write("index-only.txt", "nothing\n")
    key = corpus.hide("index-path", "index")
    hidden["index-path"].path = f"q/{key}".encode()
    corpus.git("update-index", "--index-version", "4")
    corpus.git("update-index", "--add", "--cacheinfo", f"100644,{corpus.blob(b'text')},q/{key}")
    for place, name in (("worktree-untracked", "loose-end.txt"), ("worktree-ignored", "ignored/x.env")):
        key = corpus.hide(place, "file", path=name.encode(), line=2)
        repo.write(name, line(key.encode()))
    corpus.put("info/exclude", b"ignored/\n")


def _git_files(corpus: Corpus) -> None:
    key = corpus.hide("git-config-remote-url", "git-file", path=b".git/config")
    corpus.git("remote", "add", "origin", f"https://bot:{key}@example.org/x.git")
    key = corpus.hide("reflog-message", "reflog", path=b".git/logs/HEAD")
    corpus.git("update-ref", "-m", f"odd {key}", "HEAD", "HEAD~1")
    corpus.git("update-ref", "-m", "back", "HEAD", "HEAD@{1}")
    key = corpus.hide("reflog-of-branch", "reflog", path=b".git/logs/refs/heads/other")
    corpus.git("update-ref", "--create-reflog", "-m", f"odd {key}", "refs/heads/other", "other~1")
    corpus.git("update-ref", "refs/heads/other", "other@{1}")
    _branch_with(corpus, "orig-head", "refs/heads/passing")
    corpus.git("update-ref", "-d", "refs/heads/passing")
    corpus.put("ORIG_HEAD", f"{corpus.hidden['orig-head'].commit}\n".encode())
    corpus.hidden["orig-head"].refs = (b"ORIG_HEAD",)
    corpus.hidden["orig-head"].reachable = False
    for place, name, kind in (
        ("git-hooks-dir", "hooks/post-checkout", "git-file"),
        ("git-dir-stray", "COMMIT_EDITMSG.bak", "git-file"),
        ("fetch-head", "FETCH_HEAD", "git-file"),
        ("merge-msg", "MERGE_MSG", "git-file"),
        ("commit-editmsg", "COMMIT_EDITMSG", "git-file"),
        ("rr-cache", f"rr-cache/{'ab' * 20}/preimage", "git-file"),
        ("lfs-object", f"lfs/objects/ab/cd/abcd{'ef' * 30}", "lfs-object"),
        ("filter-repo", "filter-repo/analysis/renames.txt", "git-file"),
        ("description", "description", "git-file"),
        ("sequencer", "sequencer/todo", "git-file"),
        ("bundle-text", "backup.txt", "git-file"),
    ):
        key = corpus.hide(place, kind, path=b".git/" + name.encode(), line=2, column=8)
        corpus.put(name, line(key.encode()))
    key = corpus.hide("info-exclude", "git-file", path=b".git/info/exclude", line=2)
    corpus.put("info/exclude", f"ignored/\n{key}\n".encode())
    key = corpus.hide("git-file-name", "git-file")
    corpus.hidden["git-file-name"].path = f".git/{key}.tmp".encode()
    corpus.put(f"{key}.tmp", b"nothing\n")
    corpus.git("pack-refs", "--all")
    key = corpus.hide("packed-refs", "git-file", path=b".git/packed-refs")
    with (corpus.dot / "packed-refs").open("ab") as stream:
        stream.write(f"{corpus.head} refs/zz/{key}\n".encode())
