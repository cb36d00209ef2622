"""Archives made anew without the key, by the tools that people make them with: all else of them is as it was, or they are not made."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Mint

from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.respond.cutting import cut, cut_out
from fluxguard.respond.forms import REMOVED
from tests.respond.story import Story

KEY, CLEAN = "settings/app.env", REMOVED.decode()
AT = 1_600_000_000


@pytest.fixture
def tree(tmp_path: Path, mint: Mint) -> Path:
    """A folder with a file that holds the key, others, a link, and times and modes of its own."""
    folder = tmp_path / "tree"
    (folder / "settings").mkdir(parents=True)
    (folder / KEY).write_text("A=1\n" * 400 + f"FLUXLOOP_API_KEY={mint.key()}\nB=2\n")
    (folder / "run.sh").write_text("#!/bin/sh\necho run\n" * 40)
    (folder / "run.sh").chmod(0o750)
    (folder / "noise.bin").write_bytes(bytes(range(256)) * 37)
    (folder / "empty").touch()
    (folder / ("long-" * 30 + "name")).write_text("long\n")
    (folder / "link").symlink_to("run.sh")
    for number, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, (AT + 2 * number, AT + 2 * number), follow_symlinks=False)
    return folder


def _call(*argv: str, cwd: Path) -> bytes:
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True).stdout


def _zip(*options: str) -> Callable[[Path], bytes]:
    def make(tree: Path) -> bytes:
        _call("zip", "-q", "-r", "-X" if "-X" in options else "-y", *options, "../out.zip", ".", cwd=tree)
        return (tree.parent / "out.zip").read_bytes()

    return make


def _tar(*options: str) -> Callable[[Path], bytes]:
    return lambda tree: _call("tar", "-cf", "-", *options, ".", cwd=tree)


def _piped(*argv: str) -> Callable[[Path], bytes]:
    return lambda tree: (
        subprocess.run(argv, input=(tree / KEY).read_bytes(), check=True, capture_output=True).stdout
    )


def _commented(tree: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                member = zipfile.ZipInfo.from_file(path, str(path.relative_to(tree)))
                member.comment, member.compress_type = b"about it", zipfile.ZIP_LZMA
                archive.writestr(member, path.read_bytes())
        archive.comment = b"the whole"
    return stream.getvalue()


def _streamed(tree: Path) -> bytes:
    """Without a way back: sums and sizes stand behind each member."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, part: bytes) -> int:  # type: ignore[override]
            self.data += bytes(part)
            return len(part)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for path in sorted(tree.rglob("*")):
            archive.write(path, str(path.relative_to(tree)))
    return pipe.data


def _jar(tree: Path) -> bytes:
    _call("jar", "cf", "../out.jar", ".", cwd=tree)
    return (tree.parent / "out.jar").read_bytes()


def _zipapp(tree: Path) -> bytes:
    return b"#!/usr/bin/env python3\n" + _streamed(tree)


def _zip_in_zip(tree: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", _zip()(tree))
        archive.writestr("inner.tgz", _tar("-z")(tree))
        archive.writestr("beside.txt", "beside\n")
    return stream.getvalue()


ZIPS: dict[str, Callable[[Path], bytes]] = {
    "zip": _zip(), "zip -0": _zip("-0"), "zip -9": _zip("-9"), "zip -X": _zip("-X"), "zip -Z bzip2": _zip("-Z", "bzip2"), "lzma, comments": _commented,
    "streamed": _streamed, "jar": _jar, "zipapp": _zipapp,
}  # fmt: skip
TARS: dict[str, Callable[[Path], bytes]] = {
    "gnu": _tar("--format=gnu"), "pax": _tar("--format=posix"), "ustar, one member": lambda tree: _call("tar", "-cf", "-", "--format=ustar", KEY, "run.sh", cwd=tree),
    "owner": _tar("--owner=somebody:4711", "--group=all:815"),
}  # fmt: skip
STREAMS: dict[str, tuple[Callable[[Path], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (lambda tree: _call("gzip", "-kc", KEY, cwd=tree), gzip.decompress), "gzip -9n": (_piped("gzip", "-9n"), gzip.decompress),
    "gzip -1": (_piped("gzip", "-1"), gzip.decompress), "bzip2": (_piped("bzip2", "-3"), bz2.decompress), "xz": (_piped("xz", "-c"), lzma.decompress),
    "xz crc32": (_piped("xz", "-c", "--check=crc32"), lzma.decompress), "zlib": (lambda tree: zlib.compress((tree / KEY).read_bytes(), 9), zlib.decompress),
}  # fmt: skip


def _holds(data: bytes, key: str) -> bool:
    found = Detector(built_in()).detect(data, None)
    return any(one.secret.reveal() == key.encode() for one in found.matches)


def _told(member: zipfile.ZipInfo) -> list[object]:
    """What zipfile knows of a member, but for what follows from its content."""
    mine = {"CRC", "compress_size", "file_size", "header_offset", "_raw_time", "_end_offset", "orig_filename"}
    return [(name, getattr(member, name, None)) for name in member.__slots__ if name not in mine]


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip(tree: Path, mint: Mint, kind: str) -> None:
    (key,) = mint.keys
    data = ZIPS[kind](tree)
    assert _holds(data, key)
    made = cut(data, key.encode())
    assert made is not None
    assert not _holds(made, key)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(io.BytesIO(made)) as new:
        assert new.comment == old.comment
        assert new.testzip() is None
        assert [_told(one) for one in new.infolist()] == [_told(one) for one in old.infolist()]
        for one in old.infolist():
            before = old.read(one)
            assert new.read(one.filename) == before.replace(key.encode(), REMOVED)
            assert (one.filename.removeprefix("./") == KEY) == (key.encode() in before)
    assert _unzipped(made, tree) == _unzipped(data, tree)
    assert kind in ("zipapp", "lzma, comments") or _unzipped(made, tree) == 0


def _unzipped(data: bytes, tree: Path) -> int:
    """What unzip ends with: 1 where bytes stand before the archive, 81 for a method that it lacks."""
    path = tree.parent / "looked-at.zip"
    path.write_bytes(data)
    return subprocess.run(["unzip", "-tq", str(path)], capture_output=True, check=False).returncode


@pytest.mark.parametrize("kind", ["zip", "jar", "streamed"])
def test_other_members_lie_there_as_they_were_packed(tree: Path, mint: Mint, kind: str) -> None:
    """Headers, extra fields and packed bytes: up to the member that held the key, and from there on."""
    (key,) = mint.keys
    data = ZIPS[kind](tree)
    made = cut(data, key.encode())
    assert made is not None
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(io.BytesIO(made)) as new:
        blocks = [_blocks(archive, of) for archive, of in ((old, data), (new, made))]
    assert blocks[0].keys() == blocks[1].keys()
    differ = [name for name in blocks[0] if blocks[0][name] != blocks[1][name]]
    assert [name.removeprefix("./") for name in differ] == [KEY]


def _blocks(archive: zipfile.ZipFile, data: bytes) -> dict[str, bytes]:
    rows = sorted(archive.infolist(), key=lambda one: one.header_offset)
    stops = [one.header_offset for one in rows[1:]] + [archive.start_dir]
    return {one.filename: data[one.header_offset : stop] for one, stop in zip(rows, stops, strict=True)}


@pytest.mark.parametrize("kind", TARS)
@pytest.mark.parametrize("packing", ["", "gzip", "xz", "bzip2"])
def test_a_tar(tree: Path, mint: Mint, kind: str, packing: str) -> None:
    (key,) = mint.keys
    plain = data = TARS[kind](tree)
    if packing:
        data = subprocess.run([packing, "-c"], input=data, capture_output=True, check=True).stdout
    assert _holds(data, key)
    made = cut(data, key.encode())
    assert made is not None
    assert not _holds(made, key)
    if not packing:
        assert len(made) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(plain)) as old, tarfile.open(fileobj=io.BytesIO(made)) as new:
        pairs = list(zip(old.getmembers(), new.getmembers(), strict=True))
        for before, after in pairs:
            held = before.name.removeprefix("./") == KEY
            assert {**before.get_info(), "size": 0, "chksum": 0} == {
                **after.get_info(),
                "size": 0,
                "chksum": 0,
            }
            assert before.pax_headers == after.pax_headers
            if before.isreg():
                content = old.extractfile(before).read()  # type: ignore[union-attr]
                assert new.extractfile(after).read() == content.replace(key.encode(), REMOVED)  # type: ignore[union-attr]
                assert held == (key.encode() in content)
    out = tree.parent / "out"
    out.mkdir()
    unpack = {"": "", "gzip": "-z", "xz": "-J", "bzip2": "-j"}[packing]
    subprocess.run(["tar", "-x", *filter(None, [unpack])], input=made, cwd=out, check=True)
    assert (out / KEY).read_text() == (tree / KEY).read_text().replace(key, CLEAN)
    assert (out / "run.sh").stat().st_mode & 0o777 == 0o750
    assert (out / KEY).stat().st_mtime == (tree / KEY).stat().st_mtime


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream(tree: Path, mint: Mint, kind: str) -> None:
    (key,) = mint.keys
    make, read = STREAMS[kind]
    data = make(tree)
    made = cut(data, key.encode())
    assert made is not None
    assert read(made) == (tree / KEY).read_bytes().replace(key.encode(), REMOVED)
    head = {"gzip": 10 + len("app.env") + 1, "xz": 6, "bzip2": 4}.get(kind.split()[0], 2)
    assert made[:head] == data[:head]


def test_one_stream_of_several(tree: Path, mint: Mint) -> None:
    (key,) = mint.keys
    first, last = gzip.compress(b"first\n" * 99), gzip.compress(b"last\n" * 99, 1)
    data = first + _piped("gzip")(tree) + last
    made = cut(data, key.encode())
    assert made is not None
    assert made.startswith(first)
    assert made.endswith(last)
    assert gzip.decompress(made) == gzip.decompress(data).replace(key.encode(), REMOVED)


def test_archives_in_an_archive(tree: Path, mint: Mint) -> None:
    (key,) = mint.keys
    made = cut(_zip_in_zip(tree), key.encode())
    assert made is not None
    assert not _holds(made, key)
    with zipfile.ZipFile(io.BytesIO(made)) as outer:
        assert outer.read("beside.txt") == b"beside\n"
        with zipfile.ZipFile(io.BytesIO(outer.read("inner.zip"))) as inner:
            assert inner.read(KEY).decode() == (tree / KEY).read_text().replace(key, CLEAN)
        with tarfile.open(fileobj=io.BytesIO(outer.read("inner.tgz"))) as tar:
            assert tar.extractfile("./" + KEY).read().decode() == (tree / KEY).read_text().replace(key, CLEAN)  # type: ignore[union-attr]


@pytest.mark.parametrize("form", ["gnu", "posix", "ustar"])
def test_names_in_a_tar(tree: Path, mint: Mint, form: str) -> None:
    (key,) = mint.keys
    deep = "" if form == "ustar" else "deep-" * 30
    (tree / f"{deep}{key}.txt").write_text("named\n")
    (tree / "to").symlink_to(f"{deep}{key}.txt")
    names = [f"{deep}{key}.txt", "to", "run.sh"]
    data = _call("tar", "-cf", "-", f"--format={form}", *names, cwd=tree)
    made = cut(data, key.encode())
    assert made is not None
    assert not _holds(made, key)
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=io.BytesIO(made)) as new:
        assert new.getnames() == [f"{deep}{CLEAN}.txt", "to", "run.sh"]
        assert new.getmember("to").linkname == f"{deep}{CLEAN}.txt"
        for before, after in zip(old.getmembers(), new.getmembers(), strict=True):
            assert (before.mode, before.mtime, before.uid, before.uname) == (
                after.mode,
                after.mtime,
                after.uid,
                after.uname,
            )


def test_names_in_a_zip_and_a_gzip(tree: Path, mint: Mint) -> None:
    (key,) = mint.keys
    (tree / f"{key}.txt").write_text("named\n" * 9)
    made = cut(_zip()(tree), key.encode())
    assert made is not None
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.read(f"{CLEAN}.txt") == b"named\n" * 9
    (tree / f"{key}.txt").write_text(f"named\nK={key}\n")
    packed = cut(_call("gzip", "-kc", f"{key}.txt", cwd=tree), key.encode())
    assert packed is not None
    assert f"{CLEAN}.txt".encode() in packed
    assert gzip.decompress(packed) == f"named\nK={CLEAN}\n".encode()


def _with(tree: Path, data: bytes, key: str, **names: str) -> bytes:
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in names.items():
            archive.writestr(name.replace("KEY", key), text)
    return stream.getvalue()


def _two_names_that_meet(tree: Path, key: str) -> bytes:
    return _with(tree, _zip()(tree), key, KEY="one", **{REMOVED.decode(): "other"})


def _two_in_a_tar(tree: Path, key: str) -> bytes:
    (tree / key).write_text("one")
    (tree / CLEAN).write_text("other")
    return _tar()(tree)


def _zip64(tree: Path, key: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("big", "w", force_zip64=True) as member:
        member.write((tree / KEY).read_bytes())
    return stream.getvalue()


def _extra(tree: Path, key: str) -> bytes:
    """A key in an extra field of a member's header beside the one in its content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        member = zipfile.ZipInfo("settings")
        member.extra = b"\x99\x99" + len(key).to_bytes(2, "little") + key.encode()
        archive.writestr(member, f"K={key}\n", zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _git_object(tree: Path, key: str) -> bytes:
    text = f"K={key}\n".encode()
    return zlib.compress(b"blob %d\0" % len(text) + text)


def _cut_short(tree: Path, key: str) -> bytes:
    return gzip.compress((tree / KEY).read_bytes() + os.urandom(4000))[:-100]


def _tar_with_more_behind(tree: Path, key: str) -> bytes:
    return _tar()(tree) + _tar()(tree)


INEXACT: dict[str, Callable[[Path, str], bytes]] = {
    "two names that meet": _two_names_that_meet, "two names in a tar": _two_in_a_tar, "more than 4 GiB, it says": _zip64, "an extra field": _extra,
    "an object of git's": _git_object, "cut short": _cut_short, "two tars": _tar_with_more_behind,
}  # fmt: skip


@pytest.mark.parametrize("kind", INEXACT)
def test_what_can_not_be_made_anew_exactly_is_not_made(tree: Path, mint: Mint, kind: str) -> None:
    (key,) = mint.keys
    data = INEXACT[kind](tree, key)
    assert _holds(data, key)
    assert cut(data, key.encode()) is None


def test_what_is_encrypted_is_copied(tree: Path, mint: Mint) -> None:
    (key,) = mint.keys
    _call("zip", "-q", "-r", "../out.zip", "run.sh", "settings", cwd=tree)
    _call("zip", "-q", "-P", "word", "../out.zip", "noise.bin", cwd=tree)
    made = cut((tree.parent / "out.zip").read_bytes(), key.encode())
    assert made is not None
    assert not _holds(made, key)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.read("noise.bin", b"word") == (tree / "noise.bin").read_bytes()


@pytest.mark.slow
def test_a_bomb_is_not_made_anew(tree: Path, mint: Mint) -> None:
    """What detection leaves unread for its size, nobody unpacks."""
    (key,) = mint.keys
    stream = io.BytesIO(_zip()(tree))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    assert cut(stream.getvalue(), key.encode()) is None


def test_what_vouched_for_it_is_named(tree: Path, mint: Mint) -> None:
    (key,) = mint.keys
    signed = _with(
        tree, _jar(tree), key, **{"META-INF/SHOP.SF": "Signature-Version: 1.0\n", "META-INF/SHOP.RSA": "x"}
    )
    made = cut_out(signed, key.encode())
    assert made is not None
    assert made.anew
    assert made.broken == ("META-INF/SHOP.SF", "META-INF/SHOP.RSA")
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("lib/shop.jar", signed)
    outer = cut_out(inside.getvalue(), key.encode())
    assert outer is not None
    assert outer.broken == made.broken
    plain = cut_out(_jar(tree), key.encode())
    assert plain is not None
    assert not plain.broken


def test_an_android_package(tree: Path, mint: Mint) -> None:
    """Its signature stands between the last member and the directory."""
    (key,) = mint.keys
    data = _zip("-X")(tree)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.start_dir
    block = b"\x20" + bytes(7) + b"\x01" * 8 + b"APK Sig Block 42"
    end = data.rindex(b"PK\5\6")
    moved = data[: end + 16] + (at + len(block)).to_bytes(4, "little") + data[end + 20 :]
    made = cut_out(moved[:at] + block + moved[at:], key.encode())
    assert made is not None
    assert made.broken == ("APK signing block",)
    assert block in made.data
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        assert archive.testzip() is None


def test_a_history_with_archives(story: Story, tmp_path: Path) -> None:
    """In the remote the archives are as they were but for the key; a signed one is named in plan, question and report, and kept."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "app.env").write_text(f"K={story.key}\n")
    (folder / "other.txt").write_text("other\n" * 50)
    _call("zip", "-q", "-r", "plain.zip", "app.env", "other.txt", cwd=folder)
    _call("tar", "-czf", "backup.tar.gz", "app.env", "other.txt", cwd=folder)
    signed = _with(
        folder,
        (folder / "plain.zip").read_bytes(),
        story.key,
        **{"META-INF/SHOP.SF": "Signature-Version: 1.0\n"},
    )
    story.repo.commit("plain.zip", (folder / "plain.zip").read_bytes())
    story.repo.commit("backup.tar.gz", (folder / "backup.tar.gz").read_bytes())
    story.repo.commit("lib.jar", signed)
    story.push("main")
    plan = " ".join(story.clean("--plan", code=0).out.split())
    assert "replaced whole" not in plan
    assert plan.count("made anew without the key") == 3
    assert "but for what no longer fits (META-INF/SHOP.SF): lib.jar" in plan
    said = " ".join(story.clean().out.split())
    assert "what no longer fits: META-INF/SHOP.SF" in said
    assert story.holding() == ["refs/pull/1/head"]
    show = lambda path: story.repo.git("show", f"main:{path}", cwd=story.remote)  # noqa: E731
    for name in ("plain.zip", "lib.jar"):
        with zipfile.ZipFile(io.BytesIO(show(name))) as archive:
            assert archive.read("app.env") == b"K=REMOVED-BY-FLUXGUARD\n"
            assert archive.read("other.txt") == b"other\n" * 50
    with tarfile.open(fileobj=io.BytesIO(show("backup.tar.gz"))) as tar:
        assert tar.extractfile("app.env").read() == b"K=REMOVED-BY-FLUXGUARD\n"  # type: ignore[union-attr]
    assert story.outcome("rewrite")["whole"] == []
    (kept,) = (story.incident / "originals").iterdir()
    assert kept.read_bytes() == signed
    report = story.run("respond", "report").out
    assert report.count("An archive made anew without the key") == 3
    assert "To be signed or built anew, for META-INF/SHOP.SF no longer fits" in report
    story.run("respond", "forget", "--yes")
    assert not kept.exists()
    story.nowhere()
