"""One repository with a key in every hiding place: each is found, and attributed as git itself attributes it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import COMMAND, Mint, Repo, call

from audit.hiding import PLACES, Corpus, Hidden, build
from fluxguard.audit.run import audit
from fluxguard.config import Config
from fluxguard.model import Finding, Location, Report, Secret

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass
class Audited:
    corpus: Corpus
    report: Report
    findings: dict[str, Finding]
    containing: dict[str, frozenset[bytes]]

    def refs_with(self, commit: str) -> frozenset[bytes]:
        """The refs from which git itself says that a commit can be reached."""
        if commit not in self.containing:
            said = self.corpus.repo.try_git(
                "for-each-ref", "--format=%(refname)", "--contains", commit, GIT_NO_REPLACE_OBJECTS="1"
            )
            self.containing[commit] = frozenset(said.stdout.splitlines())
        return self.containing[commit]

    def signature(self, commit: str) -> tuple[bytes, str]:
        said = self.corpus.repo.git(
            "log", "-1", "--format=%an <%ae>%n%aI", commit, GIT_NO_REPLACE_OBJECTS="1"
        )
        who, when = said.splitlines()
        return who, when.decode()


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    import os

    folder = tmp_path_factory.mktemp("places")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C", **IDENTITY}
    mint = Mint("places")
    repo = Repo(folder / "repo", env, mint)
    repo.path.mkdir()
    repo.git("init", "-q", "-b", "main")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("GIT_"):
                patch.delenv(name)
        for name, value in IDENTITY.items():
            patch.setenv(name, value)
        corpus = build(repo, mint)
        report = audit(str(repo.path), Config())
        yield Audited(corpus, report, {one.secret.fingerprint: one for one in report.findings}, {})


def found(audited: Audited, hidden: Hidden) -> list[Location]:
    finding = audited.findings.get(Secret(hidden.key.encode()).fingerprint)
    assert finding is not None, "not found"
    return [one for one in finding.locations if one.kind == hidden.kind and one.path == hidden.path]


def shown(mint: Mint, value: object) -> str:
    text = repr(value)
    return "(not shown, for there is a key in it)" if mint.leaked(text.encode()) else text


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_found_and_attributed(audited: Audited, place: str) -> None:
    hidden = audited.corpus.hidden[place]
    mint = audited.corpus.mint
    finding = audited.findings.get(Secret(hidden.key.encode()).fingerprint)
    assert finding is not None, "not found"
    places = found(audited, hidden)
    assert places, shown(mint, finding.locations)
    at = [one for one in places if hidden.commit is None or (one.trace and one.trace.commit == hidden.commit)]
    assert len(at) == 1, shown(mint, (hidden.commit, places))
    one = at[0]
    if hidden.line is not None:
        assert one.line == hidden.line
    if hidden.column is not None:
        assert one.column == hidden.column
    if hidden.via is not None:
        assert one.via == hidden.via
    else:
        assert one.via
    if hidden.kind in (
        "blob",
        "path",
        "commit-message",
        "commit-header",
        "tag-message",
        "tag-header",
        "ref-name",
    ):
        _traced(audited, hidden, one)


def _traced(audited: Audited, hidden: Hidden, one: Location) -> None:
    trace = one.trace
    assert trace is not None
    if hidden.kind == "ref-name":
        assert trace.refs == trace.tips == (hidden.path,)
    if hidden.commit:
        if hidden.path[:4] != b"sub." and hidden.path != b"alternate.txt":
            assert (trace.author, trace.date) == audited.signature(hidden.commit)
        if hidden.refs is None:
            assert {name for name in trace.refs if name.startswith(b"refs/")} == audited.refs_with(
                hidden.commit
            )
        assert trace.removed == hidden.removed
    if hidden.refs is not None:
        assert {name for name in trace.refs if b"refs/tags/" not in name or not hidden.commit} == set(
            hidden.refs
        )
    if hidden.logs is not None:
        assert trace.logs == hidden.logs
    assert trace.reachable == hidden.reachable
    assert trace.moved_from == hidden.moved_from


def test_every_place_of_the_table_is_there(audited: Audited) -> None:
    assert set(audited.corpus.hidden) == set(PLACES)


def test_no_decoy_is_reported(audited: Audited) -> None:
    keys = {Secret(key.encode()).fingerprint for key in audited.corpus.mint.keys}
    assert set(audited.findings) == keys


def test_everything_was_read(audited: Audited) -> None:
    assert [(unread.where, unread.reason) for unread in audited.report.skipped] == []
    assert audited.report.complete


def test_what_a_ref_holds_still_is_said(audited: Audited) -> None:
    """A tip holds a key at a path while its tree holds that very blob there."""
    repo = audited.corpus.repo
    tips: dict[tuple[bytes, bytes], bool] = {}  # a key that was removed and brought back has two stays
    for finding in audited.report.findings:
        for one in finding.locations:
            if one.kind == "blob" and one.trace is not None and one.trace.commit:
                for name in (name for name in one.trace.refs if name.startswith(b"refs/")):
                    what = name + b":" + one.path, one.object.encode()
                    tips[what] = tips.get(what, False) or name in one.trace.tips
    asked, said = list(tips), list(tips.values())
    answers = repo.git(
        "cat-file", "-z", "--batch-check=%(objectname)", stdin=b"\0".join(name for name, _ in asked) + b"\0",
        GIT_NO_REPLACE_OBJECTS="1",
    )  # fmt: skip
    there = []
    rest = answers
    for name, id in asked:
        if rest.startswith(name + b" missing\n"):
            rest = rest[len(name) + 9 :]
            there.append(False)
        else:
            line, _, rest = rest.partition(b"\n")
            there.append(line == id)
    odd = [name for (name, _), a, b in zip(asked, said, there, strict=True) if a != b]
    if odd:
        pytest.fail(shown(audited.corpus.mint, odd))


def test_the_certificates_are_what_git_counts(audited: Audited) -> None:
    """git's list holds those of the alternates as well: each store is listed by itself."""
    stores = {
        "objects": audited.corpus.dot / "objects",
        "modules/lib/sub/objects": audited.corpus.dot / "modules/lib/sub/objects",
        "objects/incoming-x1Y2z3": audited.corpus.dot / "objects/incoming-x1Y2z3",
        str(audited.corpus.repo.path.parent / "alternate/.git/objects"): None,
    }
    assert {one.store for one in audited.report.certificates} == set(stores)
    for one in audited.report.certificates:
        counts, digest = recount(audited.corpus.repo, stores[one.store] or Path(one.store))
        assert {kind: count for kind, count in one.objects.items() if count} == counts
        assert one.digest == digest
        assert one.read == sum(counts.values())


def recount(repo: Repo, objects: Path) -> tuple[dict[str, int], str]:
    """Objects by kind, and the digest of their ids, of a store without its alternates, as git lists them."""
    bare = repo.path.parent / "recount.git"
    shutil.rmtree(bare, ignore_errors=True)
    repo.git("init", "-q", "--bare", str(bare))
    shutil.rmtree(bare / "objects")
    shutil.copytree(objects, bare / "objects", ignore=shutil.ignore_patterns("alternates"))
    rows = repo.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)", cwd=bare)
    pairs = [row.split() for row in rows.decode().splitlines()]
    ids = "".join(f"{id}\n" for id, _ in sorted(pairs))
    return Counter(kind for _, kind in pairs), "sha256:" + hashlib.sha256(ids.encode()).hexdigest()


def test_a_certificate_counts_an_object_once(repo: Repo) -> None:
    for number in range(30):
        repo.commit(f"f{number % 7}", f"{number}\n" * 40)
        if number % 10 == 5:
            repo.git("repack", "-q", "-d")
    repo.git("tag", "-a", "-m", "x", "v1")
    pack = next((repo.path / ".git/objects/pack").glob("*.pack"))
    data = pack.read_bytes()
    for path in (pack, pack.with_suffix(".idx"), pack.with_suffix(".rev")):
        path.unlink(missing_ok=True)
    repo.git("unpack-objects", "-q", stdin=data)  # the same objects loose, and in two packs
    for name in ("ab", "cd"):
        target = pack.with_name(f"pack-{name * 20}.pack")
        target.write_bytes(data)
        repo.git("index-pack", str(target))
    report = audit(str(repo.path), Config())
    assert report.complete
    counts, digest = recount(repo, repo.path / ".git/objects")
    assert (dict(report.certificates[0].objects), report.certificates[0].digest) == (counts, digest)


def test_a_thousand_versions_are_one_place(empty_repo: Repo, mint: Mint) -> None:
    """A stay is one place, however often the file changed; a key that comes and goes has as many as it had stays."""
    key, other, name = mint.key(), mint.key("dev"), mint.key("stg")
    rows = [f"line {number} of it" for number in range(200)]
    script = [b"reset refs/heads/main\n"]
    for number in range(1000):
        rows[number % 200] = f"changed in {number}"
        text = "\n".join([*rows, f"KEY = {key}", f"x{other}" if number % 500 < 250 else ""]).encode()
        script.append(
            b"commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata 1\nx\n" % (1_700_000_000 + number)
        )
        for path in (b"a/f.txt", b"g.txt", name.encode()):
            data = text if path != name.encode() else b"%d" % number
            script.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(data), data))
    empty_repo.git("fast-import", "--quiet", stdin=b"".join(script))
    report = audit(str(empty_repo.path), Config())
    places = {one.secret: [(at.kind, at.path) for at in one.locations] for one in report.findings}
    assert sorted(places[Secret(key.encode())]) == [("blob", b"a/f.txt"), ("blob", b"g.txt")]
    assert sorted(places[Secret(other.encode())]) == [("blob", b"a/f.txt")] * 2 + [("blob", b"g.txt")] * 2
    assert places[Secret(name.encode())] == [("path", name.encode())]
    assert report.stats.seconds < 60  # it is some three seconds; a place for each version would take hours


BIG = 34 << 20


@pytest.mark.parametrize("how", ["loose", "packed", "delta"])
def test_a_blob_too_large_for_the_memory(empty_repo: Repo, mint: Mint, how: str) -> None:
    """The key lies beyond the first window. As a delta it stands in one that git would not write by itself."""
    repo = empty_repo
    key = mint.key().encode()
    line = b"0123456789abcde\n"
    data = line * (BIG // len(line)) + b"KEY=" + key + b"\n" + line
    if how == "delta":
        repo.git("config", "core.bigFileThreshold", "1g")
        repo.git("config", "core.compression", "1")
        repo.commit("big.txt", data + line * 9)
        repo.commit("big.txt", data)
        repo.git("repack", "-adfq", "--depth=5", "--window=5")
    else:
        repo.commit("big.txt", data)
        if how == "packed":
            repo.git("repack", "-adq")
    id = repo.git("rev-parse", "HEAD:big.txt").strip().decode()
    base = repo.git("cat-file", "--batch-check=%(deltabase)", stdin=id.encode()).strip()
    if how == "delta":
        assert base.strip(b"0")
    (repo.path / "big.txt").unlink()
    report = audit(str(repo.path), Config())
    assert report.complete
    (finding,) = report.findings
    assert finding.secret.reveal() == key
    (at,) = finding.locations
    assert (at.kind, at.path, at.line, at.column) == ("blob", b"big.txt", BIG // len(line) + 1, 5)
    assert at.trace is not None
    assert at.trace.refs == (b"refs/heads/main",)
    assert report.certificates[0].read == sum(report.certificates[0].objects.values())


def test_the_deltas_are_deltas(audited: Audited) -> None:
    repo = audited.corpus.repo
    raw = b"".join(
        repo.git("verify-pack", "-v", str(index))
        for index in (audited.corpus.dot / "objects/pack").glob("*.idx")
    )
    depth = {line.split()[0]: len(line.split()) for line in raw.splitlines() if line[:1].isalnum()}
    for place in ("ofs-delta", "ref-delta"):
        one = found(audited, audited.corpus.hidden[place])[0]
        assert depth[one.object.encode()] == 7


@pytest.mark.parametrize("target", [".", "app", "../linked", ".git", ".git/worktrees/linked"])
def test_a_part_of_it_means_all_of_it(audited: Audited, target: str) -> None:
    report = audit(str(audited.corpus.repo.path / target), Config())
    assert {one.secret.fingerprint for one in report.findings} == set(audited.findings)


def test_the_command_says_so(audited: Audited, tmp_path: Path) -> None:
    corpus = audited.corpus
    argv = [str(COMMAND), "audit", str(corpus.repo.path), "--format", "json"]
    outcome = call(argv, tmp_path, corpus.repo.env, corpus.mint)
    assert outcome.code == 1
    assert json.loads(outcome.out)["complete"] is True
