"""What the shadow repository answers is what a real clone answers, whatever the patterns and the names are."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from conftest import Repo

from fluxguard.repo.ignore import Shadow
from fluxguard.secretpaths import built_in

from .conftest import Oracle

PATTERNS = (
    ".env", "/.env", ".env*", "!.env", "*.key", "!*.key", "/a/", "a/", "!a/", "a/*", "!a/.env", "**/.env", "a/**", "**/b/.env",
    "\\!x.key", "\\#y.key", "# .env", "", "   ", ".env ", ".env\\ ", "*", "!*/", "!**/.env.example", ".ENV", "[.]env", "b/",
    ".env\r", "?env", "!/b", "a/b", "c/.fluxloop/", "!.fluxloop/.env", ".fluxloop/*", "*.K[e]y", ".env/", "a/.env/", "[a-",
)  # fmt: skip
PATHS = (
    ".env", "a/.env", "a/b/.env", "b/.env", "b/x.key", "x.key", "!x.key", "#y.key", "c/.fluxloop/.env", ".fluxloop/.env",
    "a/.env.example", ".env ", "c/d/e/.env", "a/z.KEY", ":c.key", "n\nl.key", "ü/.env", "*.key", "[a-", "q\\.key",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_random_patterns(repo: Repo, clone: Callable[[Repo], Oracle], seed: int) -> None:
    chance = random.Random(seed)
    files = {}
    for folder in chance.sample(["", "a", "b", "c", "a/b", "c/.fluxloop"], k=chance.randint(1, 4)):
        lines = chance.choices(PATTERNS, k=chance.randint(1, 6))
        files[folder.encode()] = "\n".join(lines).encode() + chance.choice([b"", b"\n", b"\r\n"])
    for folder, content in files.items():
        repo.write((folder + b"/.gitignore").lstrip(b"/"), content)
        repo.git("add", "-f", "--", (folder + b"/.gitignore").lstrip(b"/"))
    repo.git("commit", "-q", "-m", "patterns")
    oracle = clone(repo)
    exact = oracle.ignored(PATHS)
    with Shadow(files) as shadow:
        verdicts = dict(zip(PATHS, shadow.verdicts([name.encode() for name in PATHS]), strict=True))
        fold = shadow._start(b"".join(b"./%s\0" % name.encode() for name in PATHS), "true")
        folded = shadow._answers(fold, len(PATHS))
    for name, one in zip(PATHS, folded, strict=True):
        everywhere = one is not None and not one.negates
        assert verdicts[name].covered == (name in exact and everywhere), (name, files)


def test_a_folder_in_place_of_a_file(repo: Repo, clone: Callable[[Repo], Oracle]) -> None:
    """`.env/` covers a folder of that name, which a virtual environment is, and no file."""
    repo.stage(".gitignore", ".env/\n")
    repo.write(".env/.gitignore", "*\n")
    repo.git("add", "-f", ".env/.gitignore")
    repo.git("commit", "-q", "-m", "change")
    with Shadow({b"": b".env/\n", b".env": b"*\n"}) as shadow:
        there, inside = shadow.verdicts([b".env", b".env/bin/python"])
    assert not there.covered
    assert inside.covered
    repo.git("rm", "-q", "-r", "-f", ".env")
    repo.git("commit", "-q", "-m", "change")
    assert clone(repo).ignored([".env"]) == set()


def test_nothing_of_the_person_counts(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, repo: Repo
) -> None:
    excludes = repo.write("../mine", "*\n")
    for name, value in {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.excludesFile", "GIT_CONFIG_VALUE_0": str(excludes),
        "GIT_CONFIG_PARAMETERS": f"'core.excludesfile={excludes}'", "GIT_DIR": str(repo.path / ".git"),
        "GIT_WORK_TREE": str(repo.path), "GIT_INDEX_FILE": "nowhere", "GIT_ICASE_PATHSPECS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with Shadow({b"": b"a\n"}) as shadow:
        assert [one.covered for one in shadow.verdicts([b"a", b"b"])] == [True, False]


def test_the_entries_prove_themselves() -> None:
    """Each entry's own lines cover its examples, at any depth, on any system; and not what is free to be committed."""
    from .conftest import FREE

    for entry in built_in():
        with Shadow({b"": b"\n".join(entry.lines)}) as shadow:
            for lead in (b"", b"a/", b"a/b c/"):
                asked = [lead + name for name in entry.examples]
                if entry.where != "top" or not lead:
                    assert all(one.covered for one in shadow.verdicts(asked)), (entry.id, asked)
            free = [name.encode() for name in FREE if ".env.example" not in name]
            assert not any(one.covered for one in shadow.verdicts(free)), entry.id
        for name in entry.examples:
            assert entry.matches.fullmatch(name.lower()), (entry.id, name)
