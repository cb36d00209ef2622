"""Packed content that is not opened is named: what a zip archive's directory leaves out, and formats of strangers."""

from __future__ import annotations

import io
import lzma
import zipfile

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
    "Debian": b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n",
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
