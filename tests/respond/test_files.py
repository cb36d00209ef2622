"""Files on this machine: the new key is put where that damages nothing and commits nothing; all else is named before the old key dies."""

from __future__ import annotations

import base64
import gzip
import os
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxguard.respond.standing import is_text
from tests.respond.story import Story


@pytest.fixture
def ignored(story: Story) -> Path:
    """A folder that git ignores, with nothing in it."""
    story.repo.commit(".gitignore", ".env\n.env.*\n.fluxloop/\nign/\n", "more is ignored")
    folder = story.repo.path / "ign"
    folder.mkdir()
    return folder


def _zip(path: Path, text: bytes) -> None:
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("config", text)


def _tar(path: Path, text: bytes) -> None:
    inner = path.with_name("inner")
    inner.write_bytes(text)
    with tarfile.open(path, "w") as stream:
        stream.add(inner, "config")
    inner.unlink()


def _sqlite(path: Path, text: bytes) -> None:
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE t (k)")
    base.execute("INSERT INTO t VALUES (?)", (text.decode(),))
    base.commit()
    base.close()


def _percent(text: bytes) -> bytes:
    return b"https://example.org/?k=" + text.replace(b"_", b"%5F") + b"\n"


HELD: dict[str, Callable[[Path, bytes], object]] = {
    "z.zip": _zip,
    "t.tar": _tar,
    "d.sqlite": _sqlite,
    "k8s.yaml": lambda path, key: path.write_bytes(b"data:\n  key: " + base64.b64encode(key) + b"\n"),
    "wide.txt": lambda path, key: path.write_bytes(b"\xff\xfe" + f"K={key.decode()}\n".encode("utf-16-le")),
    "log.gz": lambda path, key: path.write_bytes(gzip.compress(b"K=" + key)),
    "url.txt": lambda path, key: path.write_bytes(_percent(key)),
    "hex.txt": lambda path, key: path.write_bytes(key.hex().encode()),
}


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_no_plain_text_is_named_and_stays_as_it_is(story: Story, ignored: Path, alone: bool) -> None:
    env_file = story.repo.path / ".env"
    before = env_file.read_bytes()
    if alone:
        env_file.unlink()
    for name, make in HELD.items():
        make(ignored / name, story.key.encode())
    data = {name: (ignored / name).read_bytes() for name in HELD}
    plan = story.start("--plan").out
    assert all(f"by hand: {ignored / name}" in plan for name in HELD), plan
    said = story.start("--yes", code=3 if alone else 0)
    assert {name: (ignored / name).read_bytes() for name in HELD} == data
    assert story.answers(story.key) == (200 if alone else 401)
    rows = {one["place"]: one["done"] for one in story.outcome("distribute")["places"]}
    assert {rows[str(ignored / name)] for name in HELD} == {"manual"}
    report = story.run("respond", "report").out.replace("\\", "")
    for name in HELD:
        assert said.out.index(f"{ignored / name}: by hand") < said.out.index(
            "Hand over" if alone else "Revoke the old"
        )
        assert f"- {ignored / name}:" in report
    assert "as base64" in report
    if not alone:
        story.new_key(env_file, before)


def test_a_text_with_the_key_in_clear_and_encoded(story: Story, ignored: Path) -> None:
    path = ignored / "both"
    path.write_bytes(b"K=" + story.key.encode() + b"\nB=" + base64.b64encode(story.key.encode()) + b"\n")
    before = path.read_bytes()
    story.start("--yes")
    story.new_key(path, before)
    assert sorted(one["done"] for one in story.outcome("distribute")["places"] if one["place"] == str(path)) == [
        "manual", "written",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"K=1\r\n\tx", True), ("# schl\u00fcssel f\u00fcr alle\n".encode("latin-1") * 3, True), (b"", True),
     ("\u00fc\u4e2d\n".encode(), True), (b"a\0b", False), (b"!<arch>\nname", False), (b"%PDF-1.4\n", False), (b"\x1f\x8b\x08", False),
     (bytes(range(128, 256)), False)],
)  # fmt: skip
def test_what_counts_as_text(data: bytes, text: bool) -> None:
    assert is_text(data) is text


def test_hard_links_are_not_parted(story: Story, ignored: Path) -> None:
    one, other = ignored / "one", ignored / "other"
    one.write_text(f"K={story.key}\n")
    os.link(one, other)
    story.start("--yes")
    assert one.stat().st_ino == other.stat().st_ino
    assert one.read_text() == f"K={story.key}\n"
    said = story.said[-1]
    assert said.partition("What is left")[0].count("hard links") == 2, said


def test_a_submodule_is_asked_itself(story: Story) -> None:
    git = story.repo.git
    sub = story.folder / "sub"
    sub.mkdir()
    git("init", "-q", "-b", "main", cwd=sub)
    (sub / "s.txt").write_text(f"S={story.key}\n")
    (sub / ".gitignore").write_text("own.env\n")
    git("add", "-A", cwd=sub)
    git("-c", "core.hooksPath=/dev/null", "commit", "-qm", "sub", cwd=sub)
    git("-c", "protocol.file.allow=always", "submodule", "-q", "add", str(sub), "sub")
    inner = story.repo.path / "sub" / "own.env"
    inner.write_text(f"K={story.key}\n")
    env_file = story.repo.path / ".env"
    before, inner_before = env_file.read_bytes(), inner.read_bytes()
    story.start("--yes")
    assert story.new_key(env_file, before) == story.new_key(inner, inner_before)
    assert (story.repo.path / "sub" / "s.txt").read_text() == f"S={story.key}\n"
    rows = {one["place"]: one["done"] for one in story.outcome("distribute")["places"]}
    assert rows[str(story.repo.path / "sub" / "s.txt")] == "manual"


def test_a_git_that_fails_stops_the_step(story: Story) -> None:
    """What git would commit is not known then: nothing is written, and the old key lives."""
    folder = story.folder / "bin"
    folder.mkdir()
    fake = folder / "git"
    real = os.environ["PATH"]
    fake.write_text(
        f'#!/bin/sh\nfor word; do case $word in check-ignore) exit 128;; esac; done\nPATH={real} exec git "$@"\n'
    )
    fake.chmod(0o755)
    env_file = story.repo.path / ".env"
    before = env_file.read_bytes()
    path = f"{folder}:{story.environment.get('PATH', real)}"
    said = story.start("--yes", code=3, PATH=path)
    assert "does not say which files it ignores" in said.err
    assert env_file.read_bytes() == before
    assert story.answers(story.key) == 200
    story.resume("--yes")
    new = story.new_key(env_file, before)
    assert (story.answers(story.key), story.answers(new)) == (401, 200)
