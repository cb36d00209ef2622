"""What the audit's engine clears of a push: every object in which nothing stands, and none of the others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Mint, Repo

from fluxguard.audit import incoming
from fluxguard.commands import receive
from fluxguard.config import load_config
from fluxguard.detect.triggers import Triggers
from fluxguard.push import Cleared

MANY = 2_000  # commits, of three objects each: more than are looked at one by one


def cleared(repo: Repo) -> Cleared:
    repo.git("repack", "-adfq", "--depth=50")
    found = incoming.cleared(str(repo.path / ".git/objects"), 20, load_config(None), Triggers())
    assert found is not None
    return found


def objects(repo: Repo) -> dict[str, str]:
    raw = repo.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    return dict(line.split() for line in raw.decode().splitlines())


def id_of(repo: Repo, name: str) -> str:
    return repo.git("rev-parse", name).decode().strip()


def grown(repo: Repo) -> Repo:
    """Files that git keeps as deltas of each other, words of ours among them."""
    lines = [f"line {number} of a file about fluxloop and its flux\n" for number in range(200)]
    for number in range(8):
        lines[number * 20] = f"changed {number}\n"
        repo.commit("docs/guide.md", "".join(lines), f"change {number}")
    return repo


def test_all_of_a_clean_push_is_cleared(repo: Repo) -> None:
    grown(repo).git("tag", "-a", "-m", "a tag", "v1")
    found, listed = cleared(repo), objects(repo)
    assert found.ids == set(listed)
    assert found.commits == {id for id, kind in listed.items() if kind == "commit"}
    assert found.bytes > 8 * 5_000


Hidden = Callable[[Repo, str], str]


def in_a_file(repo: Repo, key: str) -> str:
    repo.commit("app.py", f"KEY = '{key}'\n")
    return id_of(repo, "HEAD:app.py")


def in_the_midst_of_a_delta(repo: Repo, key: str) -> str:
    text = (repo.path / "docs/guide.md").read_text().splitlines(keepends=True)
    text[100] = f"key: {key}\n"
    repo.commit("docs/guide.md", "".join(text))
    return id_of(repo, "HEAD:docs/guide.md")


def in_a_message(repo: Repo, key: str) -> str:
    repo.commit("app.py", "pass\n", f"uses {key}")
    return id_of(repo, "HEAD")


def in_a_name(repo: Repo, key: str) -> str:
    repo.commit(f"{key}.txt", "text\n")
    return id_of(repo, "HEAD^{tree}")


def in_a_tag(repo: Repo, key: str) -> str:
    repo.git("tag", "-a", "-m", f"for {key}", "v2")
    return id_of(repo, "refs/tags/v2")


def with_an_allow_comment(repo: Repo, key: str) -> str:
    repo.commit("app.py", "pass  # fluxguard:allow nothing here any more\n")
    return id_of(repo, "HEAD:app.py")


def as_a_pointer_of_lfs(repo: Repo, key: str) -> str:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 12\n"
    repo.commit("model.bin", text)
    return id_of(repo, "HEAD:model.bin")


def in_base64(repo: Repo, key: str) -> str:
    import base64

    repo.commit("app.py", base64.b64encode(f"TOKEN={key}".encode()))
    return id_of(repo, "HEAD:app.py")


def in_gzip(repo: Repo, key: str) -> str:
    import gzip

    repo.commit("app.gz", gzip.compress(f"TOKEN={key}".encode()))
    return id_of(repo, "HEAD:app.gz")


def in_odd_letters(repo: Repo, key: str) -> str:
    repo.commit("fLuXlOoP/settings", "words\n")
    return id_of(repo, "HEAD^{tree}")


@pytest.mark.parametrize(
    "hide",
    [
        in_a_file, in_the_midst_of_a_delta, in_a_message, in_a_name, in_a_tag, with_an_allow_comment,
        as_a_pointer_of_lfs, in_base64, in_gzip, in_odd_letters,
    ],
)  # fmt: skip
def test_the_one_object_that_is_to_be_looked_at_is_not(hide: Hidden, repo: Repo, mint: Mint) -> None:
    hidden = hide(grown(repo), mint.key())
    found = cleared(repo)
    assert set(objects(repo)) - found.ids == {hidden}


def test_what_is_called_after_fluxloop_is_named(repo: Repo) -> None:
    repo.commit(".fluxloop/config", "words\n")
    assert (b"40000", b".fluxloop", id_of(repo, "HEAD:.fluxloop")) in cleared(repo).homes


def test_damage_clears_nothing(repo: Repo) -> None:
    grown(repo).git("repack", "-adq")
    (path,) = (repo.path / ".git/objects/pack").glob("*.pack")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-40])
    assert incoming.cleared(str(repo.path / ".git/objects"), 20, load_config(None), Triggers()) is None
    assert incoming.cleared(str(repo.path), 20, load_config(None), Triggers()) is None


def test_a_pack_with_bytes_that_are_none(repo: Repo) -> None:
    """The objects behind the damage are not cleared; the others are."""
    grown(repo).git("repack", "-adq")
    (path,) = (repo.path / ".git/objects/pack").glob("*.pack")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    found = incoming.cleared(str(repo.path / ".git/objects"), 20, load_config(None), Triggers())
    assert found is None or found.ids < set(objects(repo))


# --- through a real push --------------------------------------------------------------------------------------------


def history(repo: Repo, text: bytes, at: int) -> None:
    """Many commits, one of them with `text`, which the next one takes away again."""
    parts = []
    for number in range(MANY):
        body = text if number == at else b"words %d\n" % number
        parts.append(
            b"commit refs/heads/main\ncommitter A <a@example.org> %d +0000\ndata 6\nchange\n" % (1_700_000_000 + number)
            + b"M 100644 inline part%d/file\ndata %d\n%s\n" % (number % 7 if number != at else 3, len(body), body)
        )  # fmt: skip
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force"], input=b"".join(parts), cwd=repo.path, env=repo.env, check=True
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True], ids=["clean", "with a key"])
def test_a_large_first_push(bad: bool, empty_repo: Repo, mint: Mint, tmp_path: Path) -> None:
    server = tmp_path / "server.git"
    empty_repo.git("init", "-q", "--bare", str(server))
    hook = server / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\nls -l "$GIT_QUARANTINE_PATH"/pack/*.pack\nexec fluxguard hook pre-receive\n')
    hook.chmod(0o755)
    history(empty_repo, f"TOKEN={mint.key()}\n".encode() if bad else b"words\n", at=MANY // 2)
    done = empty_repo.try_git("push", str(server), "main")
    shown = done.stderr.decode()
    assert not mint.leaked(done.stderr)
    assert ".pack" in shown, "the push came as a pack"
    assert (done.returncode == 0) is not bad, shown
    if bad:
        assert "1 key would arrive here" in shown
        assert "part3/file:1:7" in shown


def test_the_time_grows_with_the_push_and_has_an_end() -> None:
    assert receive.befitting(0) == receive.TIMEOUT
    assert receive.befitting(120_000) == receive.TIMEOUT + 12
    assert receive.befitting(10**9) == receive.MOST
