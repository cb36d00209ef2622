"""One repository with a key in every hiding place: each is found, and attributed as git itself attributes it."""

from __future__ import annotations

import json
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
    if hidden.kind in ("blob", "path", "commit-message", "commit-header", "tag-message", "tag-header"):
        _traced(audited, hidden, one)


def _traced(audited: Audited, hidden: Hidden, one: Location) -> None:
    trace = one.trace
    assert trace is not None
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
    asked, said = [], []
    for finding in audited.report.findings:
        for one in finding.locations:
            if one.kind != "blob" or one.trace is None or not one.trace.commit:
                continue
            for name in one.trace.refs:
                if name.startswith(b"refs/"):
                    asked.append((name + b":" + one.path, one.object.encode()))
                    said.append(name in one.trace.tips)
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
