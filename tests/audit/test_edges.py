"""Which trees name which, by one pass over a pack: the same as every tree says when it is read whole."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
from conftest import Repo

from fluxguard.audit import edges
from fluxguard.audit.depot import Depots
from fluxguard.audit.known import Known
from fluxguard.audit.lineage import Lineage
from fluxguard.repo import gitdir, links, store


def history(repo: Repo, chance: random.Random) -> None:
    """Wide and deep folders that change, move, come back, and hold names which look like entries."""
    for number in range(30):
        repo.write(f"wide/file {number} 40000 x", f"{number}\n")
    for number in range(40):
        folder = "/".join(chance.choice("abc") for _ in range(chance.randrange(1, 5)))
        repo.stage(f"wide/{folder}/f{chance.randrange(4)}", f"{chance.randrange(6)}\n")
        repo.commit("count", f"{number}\n")
        if chance.random() < 0.2:
            repo.git("rm", "-rq", "--ignore-unmatch", f"wide/{chance.choice('abc')}")
        if chance.random() < 0.2:
            entry = f"160000,{repo.git('rev-parse', 'HEAD').decode().strip()},module{number % 2}"
            repo.git("update-index", "--add", "--cacheinfo", entry)


def named(found: Iterable[tuple[bytes, list[tuple[bytes, bytes]]]]) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """In an order of its own. What was asked for before, and what is new, may be told one after the other."""
    merged: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for tree, entries in found:
        merged.setdefault(tree, []).extend(entries)
    return {tree: sorted(entries) for tree, entries in merged.items()}


@pytest.mark.parametrize("format", ["sha1", "sha256"])
@pytest.mark.parametrize("worth", [0, 2, 20])
def test_it_is_what_every_tree_says(
    make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch, worth: int, format: str
) -> None:
    monkeypatch.setattr(edges, "_WORTH", worth)
    repo = make_repo("repo", f"--object-format={format}")
    chance = random.Random(worth)
    history(repo, chance)
    repo.git("repack", "-a", "-d", "-q", "-F", "--depth=50", "--window=100")
    repo.git("prune-packed", "-q")
    repo.commit("wide/loose", "loose\n")
    depots = Depots(store.stores(gitdir.family(gitdir.locate(str(repo.path)))))
    ids = [
        line.split()[:2] for line in repo.git("cat-file", "--batch-all-objects", "--batch-check").splitlines()
    ]
    kinds = {id.decode(): kind.decode() for id, kind in ids}
    trees = {id: depots.content(id)[1] for id, kind in kinds.items() if kind == "tree"}
    width = len(next(iter(kinds))) // 2
    whole = {
        bytes.fromhex(id): [
            (name, to) for mode, name, to in links.entries(data, width) if mode != links.SUBMODULE
        ]
        for id, data in trees.items()
    }
    [depot] = depots.each
    loose = {id: kinds[id] for id in depot.store.loose}
    assert loose
    lineage = Lineage(depots, [loose], Known(None), lambda text: True)
    everything = [bytes.fromhex(id) for id in kinds]
    for size in (1, 2, 5, 30, len(everything)):
        for _ in range(6):
            wanted = frozenset(chance.sample(everything, size))
            expected = {
                tree: [entry for entry in entries if entry[1] in wanted] for tree, entries in whole.items()
            }
            assert named(lineage.naming(wanted)) == named(
                (tree, entries) for tree, entries in expected.items() if entries
            )
