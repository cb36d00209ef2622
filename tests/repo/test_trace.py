"""Attribution against brute force: `git ls-tree -r` of every commit of small random histories."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from fluxguard.repo.graph import Commit, Graph, parse_commit
from fluxguard.repo.trace import Place, Trees, naming, trace

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
CONTENTS = [
    b"first",
    b"second",
    b"third with key 0",
    b"fourth with key 0",
    b"fifth with key 1",
    b"key 0 and key 1",
]
KEYS = {2: {0}, 3: {0}, 4: {1}, 5: {0, 1}}
PATHS = ["a", "dir/b", "dir/deeper/c", "x y/d"]


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=folder, input=stdin, env=ENVIRONMENT, capture_output=True, check=True
    ).stdout


def history(folder: Path, seed: int, size: int, sha256: bool = False) -> None:
    """A random history of `size` commits with forks, merges, octopuses and roots."""
    chance = random.Random(seed)
    git(
        folder,
        "init",
        "--quiet",
        "--initial-branch=main",
        "--object-format=" + ("sha256" if sha256 else "sha1"),
    )
    lines: list[bytes] = []
    for number, content in enumerate(CONTENTS, 1):
        lines.append(b"blob\nmark :%d\ndata %d\n%s\n" % (number, len(content), content))
    for number in range(size):
        parents = sorted(
            chance.sample(range(number), min(number, chance.choice([0, 1, 1, 1, 1, 2, 2, 3]))), reverse=True
        )
        lines.append(b"commit refs/heads/b%d\nmark :%d\n" % (number, 100 + number))
        lines.append(b"committer A <a@b> %d +0000\ndata 1\nx\n" % (1000 + number))
        for place, parent in enumerate(parents):
            lines.append(b"%s :%d\n" % (b"merge" if place else b"from", 100 + parent))
        for path in PATHS:
            if chance.random() < 0.35:
                lines.append(b"D %s\n" % path.encode())
            elif chance.random() < 0.5:
                lines.append(b"M 100644 :%d %s\n" % (1 + chance.randrange(len(CONTENTS)), path.encode()))
    git(folder, "fast-import", "--quiet", "--force", stdin=b"".join(lines))


def objects(folder: Path) -> dict[bytes, tuple[str, bytes]]:
    raw = git(folder, "cat-file", "--batch-all-objects", "--batch")
    found = {}
    at = 0
    while at < len(raw):
        end = raw.index(b"\n", at)
        id, kind, size = raw[at:end].split()
        found[bytes.fromhex(id.decode())] = (kind.decode(), raw[end + 1 : end + 1 + int(size)])
        at = end + 2 + int(size)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_what_is_traced_is_what_every_tree_says(tmp_path: Path, seed: int) -> None:
    history(tmp_path, seed, 30, sha256=seed % 4 == 3)
    everything = objects(tmp_path)
    commits = {
        id: commit
        for id, (kind, data) in everything.items()
        if kind == "commit" and (commit := parse_commit(id, data))
    }
    contents = {id: CONTENTS.index(data) for id, (kind, data) in everything.items() if kind == "blob"}
    keys = {id: frozenset(KEYS[number]) for id, number in contents.items() if number in KEYS}
    refs = [
        (name, bytes.fromhex(id.decode()))
        for id, name in (
            line.split(b" ")
            for line in git(tmp_path, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        )
    ]

    def search(wanted: frozenset[bytes]) -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
        return [
            (id, list(naming(data, wanted)))
            for id, (kind, data) in everything.items()
            if kind == "tree" and any(w in data for w in wanted)
        ]

    places = trace(keys, Trees(search, keys), Graph.of(commits.values(), 32 if seed % 4 == 3 else 20), refs)
    assert introductions(places) == expected_introductions(tmp_path, commits, keys)
    for place in places:
        assert set(place.refs) == {
            name for name, tip in refs if place.commit and is_ancestor(commits, place.commit, tip)
        }
        for name in place.tips:
            tip = dict(refs)[name]
            assert place.key in held(tmp_path, tip, keys).get(place.path, frozenset())


def introductions(places: list[Place]) -> set[tuple[bytes, bytes, int]]:
    return {(place.commit, place.path, place.key) for place in places if place.commit}


def held(folder: Path, commit: bytes, keys: dict[bytes, frozenset[int]]) -> dict[bytes, frozenset[int]]:
    found = {}
    for line in git(folder, "ls-tree", "-r", "-z", commit.hex()).split(b"\0"):
        head, _, path = line.partition(b"\t")
        if path:
            found[path] = keys.get(bytes.fromhex(head.split()[2].decode()), frozenset())
    return found


def expected_introductions(
    folder: Path, commits: dict[bytes, Commit], keys: dict[bytes, frozenset[int]]
) -> set[tuple[bytes, bytes, int]]:
    trees = {id: held(folder, id, keys) for id in commits}
    return {
        (id, path, key)
        for id, commit in commits.items()
        for path, here in trees[id].items()
        for key in here
        if not any(key in trees[parent].get(path, frozenset()) for parent in commit.parents)
    }


def is_ancestor(commits: dict[bytes, Commit], ancestor: bytes, tip: bytes) -> bool:
    pending, seen = [tip], set()
    while pending:
        id = pending.pop()
        if id == ancestor:
            return True
        if id not in seen:
            seen.add(id)
            pending += commits[id].parents
    return False


def test_a_tree_entry_is_named_however_odd_its_name() -> None:
    wanted = bytes(range(20))
    other = b"\0" * 19 + b"\x01"
    tree = b"100644 a b\0" + other + b"40000 c\xff\n\0" + wanted + b"100755 d\0" + wanted
    assert list(naming(tree, frozenset([wanted]))) == [(b"c\xff\n", wanted), (b"d", wanted)]


def test_a_cut_tree_does_not_run_away() -> None:
    assert list(naming(b"100644 a", frozenset([b"\0" * 20]))) == []
    assert list(naming(b"100644 a\0short", frozenset([b"\0" * 20]))) == []
