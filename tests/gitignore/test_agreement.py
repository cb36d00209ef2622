"""Random trees and patterns: where `gitignore` says covered, a clone agrees; after `--fix` everything is; nothing was lost."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from conftest import Repo

from fluxguard.config import Config
from fluxguard.gitignore import mend
from fluxguard.gitignore.lines import planned
from fluxguard.gitignore.survey import survey
from fluxguard.repo.holdings import of_tree
from fluxguard.secretpaths import listed

from .conftest import Oracle, commit_all
from .test_oracle import PATTERNS

FOLDERS = ("", "a", "a/b", "b", "c d", "a/.fluxloop/scenarios/s1", "ü")
NAMES = (
    ".env",
    ".env.local",
    ".env.example",
    "x.key",
    "secrets.yaml",
    "app.py",
    "package.json",
    ".Env",
    "#.key",
    ".env.a b ",
)


@pytest.mark.parametrize("seed", range(30))
def test_random_repositories(repo: Repo, clone: Callable[[Repo], Oracle], seed: int) -> None:
    chance = random.Random(seed)
    for folder in chance.sample(FOLDERS, k=4):
        for name in chance.sample(NAMES, k=3):
            repo.write(f"{folder}/{name}".lstrip("/"), "A=1\n")
    for folder in chance.sample(FOLDERS, k=chance.randint(1, 4)):
        lines = chance.choices(PATTERNS, k=chance.randint(1, 5))
        repo.write(f"{folder}/.gitignore".lstrip("/"), "\n".join(lines) + chance.choice(["", "\n", "\r\n"]))
    known = listed()
    held = of_tree(str(repo.path))
    for path in held.ignores:
        repo.git("add", "-f", "--", (path + b"/.gitignore").lstrip(b"/"))
    found = survey(of_tree(str(repo.path)), known, Config())
    open_ = {gap.path.decode() for gap in found.gaps if gap.open}
    commit_all(repo)
    committed = set(repo.git("ls-tree", "-r", "-z", "--name-only", "HEAD").decode().split("\0"))
    secret = {path.decode() for path in found.there if known.of(path) is not None}
    assert committed & secret <= open_, "a secret file was committed that was called covered"
    fresh = clone(repo)
    asked = {path.decode() for path in found.there} | {gap.path.decode() for gap in found.gaps}
    asked = {path for path in asked if not (fresh._folder / path).exists()}
    assert fresh.ignored(asked) >= asked - open_

    before = {path: (repo.path / path).read_bytes() for path in committed if path.endswith(".gitignore")}
    examples = [path for path in committed if path.endswith(".env.example")]
    again = survey(of_tree(str(repo.path)), known, Config())
    plan = planned(again, known)
    mend.write(plan, again.held)
    for path, content in before.items():
        assert (repo.path / path).read_bytes().startswith(content)
    last = survey(of_tree(str(repo.path)), known, Config())
    left = {gap.path for gap in last.gaps if gap.open and gap.level == "required"}
    assert left <= set(plan.left)
    assert planned(last, known).lines == {}, "run twice it changes nothing"
    repo.git("rm", "-q", "-r", "--cached", ".")
    commit_all(repo)
    now = set(repo.git("ls-tree", "-r", "-z", "--name-only", "HEAD").decode().split("\0"))
    assert not (now & secret) - {path.decode() for path in left}
    assert set(examples) <= now, "what was free to be committed is so still"
