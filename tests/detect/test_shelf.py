"""Compiled triggers that are kept: only our own are believed, and only those that find all that there is to find."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Mint

from fluxguard import shelf
from fluxguard.detect.triggers import HINTS, Triggers

bulk = pytest.importorskip("fluxguard.detect.bulk")


def hurried() -> Triggers:
    look = Triggers((), lambda: shelf)
    look.hurry()
    return look


def kept(folder: Path) -> Path:
    (found,) = (folder / "compiled").iterdir()
    return found


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many literals were compiled, each time that any were."""
    counts: list[int] = []
    make = bulk._database

    def counted(patterns: list[bytes], flags: int) -> object:
        counts.append(len(patterns))
        return make(patterns, flags)

    monkeypatch.setattr(bulk, "_database", counted)
    return counts


def test_it_is_made_once(cache_folder: Path, compiled: list[int], mint: Mint) -> None:
    text = f"TOKEN={mint.key()}\n".encode() * 3
    first, second = hurried(), hurried()
    assert len(compiled) == 1
    assert first.kinds(text) == second.kinds(text) == Triggers().find(text) != 0
    assert oct(kept(cache_folder).stat().st_mode & 0o777) == "0o600"
    assert oct((cache_folder / "compiled").stat().st_mode & 0o777) == "0o700"


def test_a_team_s_own_literals_are_not_kept(cache_folder: Path) -> None:
    Triggers([b"acme_"], lambda: shelf).hurry()
    assert not cache_folder.exists()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _bent(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _blind(path: Path) -> None:
    """A good one, under our name and behind our words, that finds something else."""
    literals = [*Triggers().literals, *HINTS]
    flags = bulk._hyperscan.HS_FLAG_SINGLEMATCH | bulk._hyperscan.HS_FLAG_DOTALL
    other = bulk._database([b"nothing of the kind %d" % number for number in range(len(literals))], flags)
    what = f"fluxguard triggers 1\n{literals!r}\n".encode()
    path.write_bytes(what + bulk._hyperscan.dumpb(other))


def _of_others(path: Path) -> None:
    path.chmod(0o664)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder_of_others(path: Path) -> None:
    path.parent.chmod(0o770)


@pytest.mark.parametrize(
    "break_it", [_cut, _bent, _empty, _blind, _of_others, _link, _pipe, _folder_of_others]
)
def test_what_is_not_as_we_left_it_is_made_anew(
    break_it: Callable[[Path], None], cache_folder: Path, compiled: list[int], mint: Mint
) -> None:
    hurried()
    (path,) = (cache_folder / "compiled").iterdir()
    break_it(path)
    compiled.clear()
    assert hurried().kinds(f"TOKEN={mint.key()}\n".encode())
    assert len(compiled) == 1


@pytest.mark.parametrize("where", ["", "deep/inside"])
def test_what_lies_in_a_working_tree_is_not_believed(
    where: str, tmp_path: Path, compiled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree/.git").mkdir(parents=True)
    monkeypatch.setenv("FLUXGUARD_CACHE_DIR", str(tmp_path / "tree" / where / "cache"))
    hurried()
    hurried()
    assert len(compiled) == 2
    assert not (tmp_path / "tree" / where / "cache").exists()


def test_nor_what_lies_in_a_working_tree_that_git_was_told_of(
    tmp_path: Path, compiled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXGUARD_CACHE_DIR", str(tmp_path / "tree/cache"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "tree"))
    hurried()
    hurried()
    assert len(compiled) == 2


@pytest.mark.parametrize("folder", ["relative", "/dev/null/nowhere", "/proc/nowhere"])
def test_a_place_that_is_none(
    folder: str, compiled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLUXGUARD_CACHE_DIR", folder)
    hurried()
    hurried()
    assert len(compiled) == 2
    assert not (tmp_path / "relative").exists()


def test_old_ones_make_room(cache_folder: Path) -> None:
    for number in range(9):
        shelf.put(f"triggers-{number}", b"x")
        os.utime(cache_folder / f"compiled/triggers-{number}", (number, number))
    assert sorted(path.name for path in (cache_folder / "compiled").iterdir()) == [
        f"triggers-{n}" for n in (5, 6, 7, 8)
    ]
