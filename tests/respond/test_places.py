"""Every hiding place of the audit's corpus that lies in objects and refs, each with the leaked key: proved clean, or named as left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from audit import hiding
from conftest import Mint, Repo, forms

from fluxguard.audit.run import audit
from fluxguard.config import Config
from fluxguard.model import Location, Secret
from tests.respond.story import Story

# What the corpus puts beside objects and refs, and what no push takes along, is not in a remote.
LEAST = 70


class _OneKey(Mint):
    """Every place gets the same key."""

    def __init__(self, key: str) -> None:
        super().__init__("one key")
        self.one = key
        self.keys.append(key)

    def key(self, environment: str = "prod", length: int = 24) -> str:
        return self.one

    def checked(self, environment: str = "prod") -> str:
        return self.one


@pytest.fixture
def hidden(untold: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    """The corpus, pushed as it is with every ref, and a clone of it."""
    for name, value in untold.environment.items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    untold.create()
    folder = untold.folder / "corpus"
    folder.mkdir()
    repo = Repo(folder / "repo", untold.environment, untold.mint)
    repo.path.mkdir()
    repo.git("init", "-q", "-b", "main")
    stashes = hiding._stashes

    def with_keys_of_their_own(corpus: hiding.Corpus) -> None:
        """A stash needs a change: where every key is the same, there is none."""
        corpus.mint, kept = Mint("stashes"), corpus.mint
        stashes(corpus)
        corpus.mint = kept

    monkeypatch.setattr(hiding, "_stashes", with_keys_of_their_own)
    hiding.build(repo, _OneKey(untold.key))
    _drop_broken(repo)
    repo.git("init", "-q", "--bare", "-b", "main", str(untold.remote))
    names = repo.git("for-each-ref", "--format=%(refname)").decode("utf-8", "surrogateescape").split("\n")
    wanted = [name for name in names if name.count("/") > 1]  # no remote takes refs/stash
    repo.git(
        "-c",
        "core.hooksPath=/dev/null",
        "push",
        "-q",
        str(untold.remote),
        *(f"+{one}:{one}" for one in wanted),
    )
    repo.git("clone", "-q", "--no-local", "--no-checkout", str(untold.remote), str(untold.repo.path))
    return untold


def _drop_broken(repo: Repo) -> None:
    """Refs whose objects are not all there can't be pushed."""
    for name in repo.git("for-each-ref", "--format=%(refname)").split(b"\n"):
        if name and repo.try_git("rev-list", "--objects", "--quiet", name).returncode:
            repo.git("update-ref", "-d", name)


def _locations(where: Path, key: str) -> list[Location]:
    report = audit(str(where), Config(), full=True)
    return [place for one in report.findings if one.secret == Secret(key.encode()) for place in one.locations]


def test_each_is_clean_or_named(hidden: Story) -> None:
    before = _locations(hidden.remote, hidden.key)
    assert len(before) >= LEAST
    said = hidden.clean("--strategy", "overlap", "--no-new-key", code=None)
    report = json.loads(hidden.run("respond", "report", "--format", "json").out)
    assert report["state"] == "closed", said.text
    fresh = hidden.folder / "fresh.git"
    hidden.repo.git(
        "clone", "-q", "--mirror", "--no-local", str(hidden.remote), str(fresh), cwd=hidden.folder
    )
    left = " ".join(report["left"])
    unnamed = [
        f"{place.kind} {place.object}" for place in _locations(fresh, hidden.key)
        if place.object not in left and place.kind != "ref-name"
    ]  # fmt: skip
    assert unnamed == []
    where = [line for line in report["left"] if line.startswith("Still on the remote: reached from")]
    assert [line.rpartition(" ")[2] for line in where if "refs/pull/" not in line] == []
    _no_bytes_of_it(hidden, fresh)
    hidden.nowhere()


def _no_bytes_of_it(story: Story, fresh: Path) -> None:
    """git's own word: in what is not a pull request's, no object and no name holds the key in any form."""
    git = story.repo.git
    for name in git("for-each-ref", "--format=%(refname)", cwd=fresh).split(b"\n"):
        if name.startswith(b"refs/pull/"):
            git("update-ref", "-d", name, cwd=fresh)
    git("reflog", "expire", "--expire=now", "--all", cwd=fresh)
    git("gc", "-q", "--prune=now", cwd=fresh)
    data = git("cat-file", "--batch-all-objects", "--batch", "--unordered", cwd=fresh)
    data += git("for-each-ref", cwd=fresh)
    inside = story.key.encode()
    found = [name for name, form in forms(inside).items() if name != "its inside" and form in data]
    assert found == []
    git("fsck", "--full", "--no-dangling", cwd=fresh)


def test_the_corpus_has_what_it_says(hidden: Story, leaked: Callable[..., Story]) -> None:
    kinds = {place.kind for place in _locations(hidden.remote, hidden.key)}
    assert {"blob", "path", "commit-message", "commit-header", "tag-message", "ref-name"} <= kinds
