"""A key that stands in pieces, escapes and encodings is cut out of its file, all else of which stays; an archive is never patched."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import pytest
from conftest import Mint

from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.model import Report, Secret, Unread
from fluxguard.respond import cleanup
from fluxguard.respond.cutting import cut
from tests.respond.story import Story

BEFORE = "".join(f"def before_{number}(): return {number}\n" for number in range(150))
AFTER = "".join(f"def after_{number}(): return {number}\n" for number in range(150))
R = "REMOVED-BY-FLUXGUARD"
WRITTEN: dict[str, tuple[Callable[[str], str], str]] = {
    "in clear": (lambda key: f"K = '{key}'\n", f"K = '{R}'\n"),
    "joined": (lambda key: f'K = ("{key[:24]}"\n     "{key[24:]}")\n', f'K = ("{R}"\n     "")\n'),
    "added": (lambda key: f'K = "{key[:20]}" + "{key[20:]}"\n', f'K = "{R}" + ""\n'),
    "assembled": (lambda key: f'K = "%s{key[9:]}" % "flux_dev_"\n', ""),
    "percent": (lambda key: f"GET https://example.org/?k={key.replace('_', '%5F')}&x=1\n", f"GET https://example.org/?k={R}&x=1\n"),
    "octal": (lambda key: 'K = "' + "".join(f"\\{ord(one):03o}" for one in key) + '"\n', f'K = "{R}"\n'),
    "html": (lambda key: "<b>" + "".join(f"&#{ord(one)};" for one in key) + "</b>\n", f"<b>{R}</b>\n"),
    "quoted": (lambda key: f"key={key[:20]}=\n{key[20:]} end\n", f"key={R}=\n end\n"),
    "continued": (lambda key: f'K = "{key[:24]}\\\n{key[24:]}"\n', f'K = "{R}\\\n"\n'),
    "hex": (lambda key: "K = [" + ", ".join(f"0x{ord(one):02x}" for one in key) + "]\n", "K = [" + ", ".join(["0x00"] * len(Mint("x").key())) + "]\n"),
}  # fmt: skip


def _holds(data: bytes, key: str) -> bool:
    found = Detector(built_in()).detect(data, None)
    return any(one.secret.reveal() == key.encode() for one in found.matches)


@pytest.mark.parametrize("name", [name for name, (_, after) in WRITTEN.items() if after])
def test_all_else_of_a_file_stays(mint: Mint, name: str) -> None:
    key = mint.key()
    write, after = WRITTEN[name]
    data = (BEFORE + write(key) + AFTER).encode()
    assert _holds(data, key)
    assert cut(data, key.encode()) == (BEFORE + after + AFTER).encode()


@pytest.mark.parametrize("width", [20, 76])
def test_base64_decodes_still(mint: Mint, width: int) -> None:
    key = mint.key()
    whole = base64.b64encode(
        b"user: shop\npassword: none\nkey: " + key.encode() + b"\nmore: text, and more of it\n"
    )
    text = b"\n".join(whole[at : at + width] for at in range(0, len(whole), width))
    cleaned = cut(b"data:\n" + text + b"\n", key.encode())
    assert cleaned is not None
    assert not _holds(cleaned, key)
    decoded = base64.b64decode(cleaned.removeprefix(b"data:\n"))
    assert decoded.startswith(b"user: shop\npassword: none\nkey: ")
    assert decoded.endswith(b"\nmore: text, and more of it\n")


def test_a_dump_keeps_its_rows(mint: Mint) -> None:
    key = mint.key()
    data = f"name = shop; key = {key}; end = of it".encode()
    rows = [
        f"{at:08x}: {' '.join(data[at : at + 16].hex()[two : two + 4] for two in range(0, 32, 4))}  {data[at : at + 16].decode()}"
        for at in range(0, len(data), 16)
    ]
    text = "\n".join(rows).encode() + b"\n"
    assert _holds(text, key)
    cleaned = cut(text, key.encode())
    assert cleaned is not None
    assert not _holds(cleaned, key)
    assert len(cleaned) == len(text)
    assert cleaned.splitlines()[0] == text.splitlines()[0]
    assert not any(key[at : at + 8].encode() in cleaned for at in range(9, len(key) - 8))


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_text_that_joins_it(mint: Mint, name: str) -> None:
    key = mint.key()
    text = f'\ufeffa = 1\nK = "{key[:24]}" + "{key[24:]}"\nä = 2\n'
    assert cut(text.encode(name), key.encode()) == f'\ufeffa = 1\nK = "{R}" + ""\nä = 2\n'.encode(name)


def test_what_is_not_text_keeps_its_length(mint: Mint) -> None:
    key = mint.key()
    data = b"\x7fELF\0\0\1\2" + key.encode() + b"\0more\xff\xfe"
    cleaned = cut(data, key.encode())
    assert cleaned is not None
    assert len(cleaned) == len(data)
    assert cleaned.endswith(b"\0more\xff\xfe")


def _zip(*members: tuple[str, str, int], comment: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content, method in members:
            archive.writestr(name, content, method)
        archive.comment = comment
    return stream.getvalue()


def _tar(key: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("inner")
        info.size = len(key)
        archive.addfile(info, io.BytesIO(key.encode()))
    return stream.getvalue()


LONG = "setting = value value value value\n" * 9
ARCHIVES: dict[str, Callable[[str], bytes]] = {
    "stored beside deflated": lambda key: _zip(("a.yaml", LONG + key, zipfile.ZIP_DEFLATED), ("s", f"K={key}", zipfile.ZIP_STORED)),
    "in a name": lambda key: _zip(("a.yaml", LONG + key, zipfile.ZIP_DEFLATED), (f"{key}.txt", "n", zipfile.ZIP_DEFLATED)),
    "in the comment": lambda key: _zip(("a.yaml", LONG + key, zipfile.ZIP_DEFLATED), comment=f"c {key}".encode()),
    "in the comment alone": lambda key: _zip(("a.yaml", LONG, zipfile.ZIP_DEFLATED), comment=f"c {key}".encode()),
    "tar": _tar, "gzip": lambda key: gzip.compress(key.encode()), "bzip2": lambda key: bz2.compress(key.encode()),
    "xz": lambda key: lzma.compress(key.encode()), "zlib": lambda key: zlib.compress(key.encode()),
    "gzip in base64": lambda key: b"x: " + base64.b64encode(gzip.compress(key.encode())) + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_is_never_patched(mint: Mint, kind: str) -> None:
    """Either the key is out and all of it can be read, or it is said to be impossible."""
    key = mint.key()
    data = ARCHIVES[kind](key)
    cleaned = cut(data, key.encode())
    if cleaned is None:
        assert kind == "gzip in base64"
        return
    before, after = Detector(built_in()).detect(data, None), Detector(built_in()).detect(cleaned, None)
    assert after.unread == before.unread
    assert not _holds(cleaned, key)


def test_the_tips_keep_their_files(story: Story) -> None:
    """A source file with a joined key loses the key, and an archive that would lose a member with it is named, kept, and replaced."""
    key = story.key
    source = BEFORE + f'K = ("{key[:24]}"\n     "{key[24:]}")\n' + AFTER
    archive = _zip((key, f"K={key}", zipfile.ZIP_DEFLATED), (R, "other", zipfile.ZIP_STORED))
    story.repo.commit("app.py", source)
    story.repo.commit("backup.zip", archive, "the backup")
    brought = story.repo.head.decode()
    story.push("main")
    plan = story.clean("--plan", code=0).out
    assert "replaced whole" in plan
    assert "backup.zip" in plan
    assert "app.py" not in next(line for line in plan.splitlines() if "replaced whole" in line)
    said = story.clean().out
    assert story.holding() == ["refs/pull/1/head"]
    show = lambda path: story.repo.git("show", f"main:{path}", cwd=story.remote)  # noqa: E731
    assert show("app.py").decode() == BEFORE + f'K = ("{R}"\n     "")\n' + AFTER
    assert b"PK" not in show("backup.zip")
    (whole,) = story.outcome("rewrite")["whole"]
    for word in ("backup.zip", brought[:12], "refs/heads/main"):
        assert word in whole
    assert "backup.zip" in said
    left = json.loads(story.run("respond", "report", "--format", "json").out)["left"]
    assert any("Replaced whole" in line and "backup.zip" in line for line in left)
    (kept,) = (story.incident / "originals").iterdir()
    assert kept.read_bytes() == archive
    assert kept.stat().st_mode & 0o777 == 0o600
    assert any(str(kept.parent) in line for line in left)
    story.run("respond", "forget", "--yes")
    assert not kept.exists()
    story.nowhere()


def test_a_message_that_joins_it(story: Story) -> None:
    story.repo.commit("a.txt", "a\n", f'it was "{story.key[:24]}" + "{story.key[24:]}" then')
    story.push("main")
    story.clean()
    assert (
        story.repo.git("log", "-1", "--format=%s", "main", cwd=story.remote).decode().startswith('it was "')
    )
    assert story.holding() == ["refs/pull/1/head"]
    assert story.key[24:].encode() not in story.repo.git("log", "--format=%B", "main", cwd=story.remote)


def test_what_only_the_rewrite_closed_counts_as_holding_it(mint: Mint) -> None:
    secret = Secret(mint.key().encode())
    before = Report("audit", "x", skipped=(Unread(b"a.zip", "encrypted archive"),))
    same = Unread(b"a.zip", "encrypted archive")
    closed = Unread(b"b.zip", "damaged zip archive")
    after = Report("audit", "x", skipped=(same, closed))
    assert cleanup._closed(before, before, secret) == []
    (line,) = cleanup._closed(before, after, secret)
    assert line.startswith("b.zip: damaged zip archive")
