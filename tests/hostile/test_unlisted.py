"""Packed content that is not opened is named: what a zip archive's directory leaves out, and formats of strangers."""

from __future__ import annotations

import io
import json
import lzma
import random
import tarfile
import zipfile
import zlib

import pytest
from conftest import Mint, Repo, Run


def _zip(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def _with_members_only(packed: bytes) -> bytes:
    """An archive's members without its directory, then another archive behind them."""
    out = io.BytesIO(packed[: packed.index(b"PK\1\2")])
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("fine", "fine")
    return out.getvalue()


@pytest.mark.parametrize("where", ["between", "before", "behind"])
def test_a_member_that_the_directory_does_not_list(run: Run, repo: Repo, mint: Mint, where: str) -> None:
    hidden = _zip("hidden", b"key " + mint.key().encode())
    fine = _zip("fine", b"fine")
    content = {
        "between": _with_members_only(hidden),
        "before": hidden + fine,
        "behind": fine[:-2] + len(hidden[: hidden.index(b"PK\1\2")]).to_bytes(2, "little")
        + hidden[: hidden.index(b"PK\1\2")],
    }[where]  # fmt: skip
    repo.stage("a.zip", content)
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 3
    assert "does not list" in outcome.text


def test_an_archive_stored_in_an_archive_is_no_such_member(run: Run, repo: Repo) -> None:
    repo.stage("a.zip", _zip("inner.zip", _zip("fine", b"fine"), zipfile.ZIP_STORED))
    assert run("scan", "--staged", cwd=repo.path).code == 0


STRANGERS = {
    "Debian": b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\nnothing of the kind",
    "LZMA": lzma.compress(b"text", format=lzma.FORMAT_ALONE),
    "LZ4": b"\x04\x22\x4d\x18" + b"\xf0\x01abc" * 9,
    "compress": b"\x1f\x9d\x90" + b"\xf0\x01abc" * 9,
    "cabinet": b"MSCF\0\0\0\0" + b"\x01" * 80,
}


@pytest.mark.parametrize("format", STRANGERS)
def test_a_format_that_is_not_opened_is_named(run: Run, repo: Repo, format: str) -> None:
    repo.stage("packed.bin", STRANGERS[format])
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 3
    assert format in outcome.text


def _ar(*members: tuple[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts.append(f"{name:16}{0:<12}{0:<6}{0:<6}{644:<8}{len(content):<10}`\n".encode() + content)
        parts.append(b"\n" * (len(content) % 2))
    return b"".join(parts)


def _tar_xz(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        member = tarfile.TarInfo("etc/app.env")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_a_debian_package_and_bare_zlib_are_opened(run: Run, repo: Repo, mint: Mint) -> None:
    one, two, three = (mint.key().encode() for _ in range(3))
    repo.stage("a.deb", _ar(("debian-binary", b"2.0\n"), ("data.tar.xz/", _tar_xz(one))))
    repo.stage("object", zlib.compress(b"blob 40\0" + two))
    repo.stage("lib.a", _ar(("key.o/", b"\x7fELF\0" + three)))
    outcome = run("scan", "--staged", "--format", "json", cwd=repo.path)
    via = [place["via"] for finding in json.loads(outcome.out)["findings"] for place in finding["locations"]]
    assert outcome.code == 1
    assert sorted(via) == [["ar:data.tar.xz", "xz", "tar:etc/app.env"], ["ar:key.o"], ["zlib"]]


def test_what_only_begins_like_a_packed_file_is_no_such_file(run: Run, repo: Repo) -> None:
    repo.stage("bzip2.txt", "BZh91AY&SY is how a file of bzip2's begins\n")
    repo.stage("zlib.txt", b"x\x9c is how a stream of zlib's begins\n" * 100)
    repo.stage("thin.a", b"!<arch>\nnot a library at all\n")
    assert run("scan", "--staged", cwd=repo.path).code == 0


def test_a_large_archive_is_read_whole(run: Run, repo: Repo, mint: Mint) -> None:
    noise = random.Random(7).randbytes(1 << 20)
    members = {f"com/example/{number}.class": b"%d" % number for number in range(30_000)}
    members |= {f"{number}.bin": noise[number:] for number in range(34)}
    members["app.env"] = mint.key().encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert len(out.getvalue()) > 33 << 20, "more than is read in one piece of a text"
    (repo.path / "app.jar").write_bytes(out.getvalue())
    outcome = run("scan", "--format", "json", "app.jar", cwd=repo.path)
    report = json.loads(outcome.out)
    assert (outcome.code, report["complete"]) == (1, True)
    assert [place["via"] for place in report["findings"][0]["locations"]] == [["zip:app.env"]]


def test_archives_within_an_archive_that_could_not_be_packed_any_smaller(run: Run, repo: Repo) -> None:
    inner = _zip("a.bin", random.Random(7).randbytes(100_000))
    war = _zip("WEB-INF/lib/a.jar", inner)
    assert war.count(b"PK\3\4") == 2, "deflate takes over as it is what can't be made any smaller"
    repo.stage("a.war", war)
    repo.stage("installer", b"\x7fELF" + bytes(5000) + war)
    assert run("scan", "--staged", cwd=repo.path).code == 0


def test_a_member_behind_the_end_of_a_packed_one(run: Run, repo: Repo, mint: Mint) -> None:
    hidden = _zip("hidden", mint.key().encode())
    hidden = hidden[: hidden.index(b"PK\1\2")]
    packed = bytearray(_zip("a.txt", b"words " * 100))
    directory = packed.index(b"PK\1\2")
    end = packed.index(b"PK\5\6")
    size = int.from_bytes(packed[18:22], "little") + len(hidden)
    for at in (18, directory + 20):
        packed[at : at + 4] = size.to_bytes(4, "little")
    packed[end + 16 : end + 20] = (directory + len(hidden)).to_bytes(4, "little")
    packed[directory:directory] = hidden
    repo.stage("a.zip", bytes(packed))
    outcome = run("scan", "--staged", cwd=repo.path)
    assert outcome.code == 3
    assert "does not list" in outcome.text
