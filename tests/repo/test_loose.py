"""Loose objects read without git: what is whole comes back with its kind, and everything else is left to git."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from conftest import Repo

from fluxguard.repo import loose

ID = "ab" * 20


def _put(folder: Path, raw: bytes) -> str:
    (folder / ID[:2]).mkdir(exist_ok=True)
    (folder / ID[:2] / ID[2:]).write_bytes(raw)
    return str(folder)


def test_objects_of_each_kind_are_read_as_git_wrote_them(repo: Repo) -> None:
    repo.write("folder/file.txt", "content\n")
    repo.git("add", "--all")
    repo.git("commit", "-q", "-m", "one")
    repo.git("tag", "-a", "-m", "two", "tag")
    store = os.path.join(repo.path, ".git", "objects")
    for name, kind in (
        ("HEAD:folder/file.txt", "blob"),
        ("HEAD:", "tree"),
        ("HEAD", "commit"),
        ("tag", "tag"),
    ):
        id = repo.git("rev-parse", name).decode().strip()
        for many in (False, True):
            found = loose.read(store, id, loose.inflater(many))
            assert found is not None
            assert found[0] == kind
            assert len(found[1]) == int(repo.git("cat-file", "-s", id))
        blob = loose.blob(store, id, zlib)
        assert blob == (b"content\n" if kind == "blob" else None)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(zlib.compress(b"blob 5\0four"), id="size"),
        pytest.param(zlib.compress(b"blob +4\0four"), id="sign"),
        pytest.param(zlib.compress(b"blub 4\0four"), id="kind"),
        pytest.param(zlib.compress(b"blob 4"), id="no end of the head"),
        pytest.param(zlib.compress(b"blob 4\0four") + b"more", id="trailing"),
        pytest.param(zlib.compress(b"blob 4\0four")[:-1], id="cut"),
        pytest.param(zlib.compress(b"blob 4\0four")[:-1] + b"?", id="checksum"),
        pytest.param(b"", id="empty"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_what_is_not_whole_is_left_to_git(tmp_path: Path, raw: bytes, many: bool) -> None:
    assert loose.read(_put(tmp_path, raw), ID, loose.inflater(many)) is None
    whole = zlib.compress(b"blob 4\0four")
    assert loose.read(_put(tmp_path, whole), ID, loose.inflater(many)) == ("blob", b"four")
