"""An audit that knows an earlier one: it reads only what is new, and never says anything else than a full one would."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, Mint, Repo, Run, forms

from fluxguard.audit import cache, depot, lineage, sifting
from fluxguard.audit.depot import Opened
from fluxguard.audit.examiner import Examiner
from fluxguard.audit.run import audit
from fluxguard.config import Config, load_config
from fluxguard.detect.ruleset import Rule, TooSlow
from fluxguard.errors import BrokenRepository
from fluxguard.model import Report
from fluxguard.repo import store
from fluxguard.repo.pack import KINDS


@dataclass
class Eye:
    """What an audit reads of the object stores."""

    packs: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forgets."""
        self.packs.clear()
        self.loose.clear()


@pytest.fixture
def eye(monkeypatch: pytest.MonkeyPatch) -> Eye:
    """Watches what is read, and lets what was only just written be kept."""
    seen = Eye()
    read_pack, read_loose = depot.read_pack, store.read_loose

    def pack(path: str, width: int) -> Any:
        seen.packs.append(os.path.basename(path))
        return read_pack(path, width)

    def loose(where: store.Store, id: str) -> Any:
        seen.loose.append(id)
        return read_loose(where, id)

    monkeypatch.setattr(depot, "read_pack", pack)
    monkeypatch.setattr(store, "read_loose", loose)
    monkeypatch.setattr(cache, "RACY", 0.0)
    return seen


def plain(report: Report) -> Report:
    """A report without what the clock says."""
    return replace(report, stats=replace(report.stats, seconds=0.0))


def look(repo: Repo, config: Config | None = None, full: bool = False) -> Report:
    """Audits within this process."""
    return plain(audit(str(repo.path), config or load_config(None), full=full))


@pytest.fixture
def unaided(monkeypatch: pytest.MonkeyPatch) -> Callable[[Repo], Report]:
    """Audits that know of nothing and leave nothing behind."""

    def unaided(repo: Repo) -> Report:
        with monkeypatch.context() as patch:
            patch.setenv("FLUXGUARD_CACHE_DIR", os.devnull)
            return look(repo)

    return unaided


def same(report: Report, expected: Report) -> None:
    """Holds that two reports are the same, by their parts: each place of each key."""
    for ours, theirs in zip(report.findings, expected.findings, strict=True):
        # Which branch of a history comes first is left to chance where processes read it together.
        assert sorted(map(repr, ours.locations)) == sorted(map(repr, theirs.locations))
        assert replace(ours, locations=()) == replace(theirs, locations=())
    assert replace(report, findings=()) == replace(expected, findings=())


def pack(repo: Repo, *options: str) -> None:
    """Packs everything that is loose, into a pack of its own."""
    repo.git("repack", "-d", "-q", *options)
    repo.git("prune-packed", "-q")


def empty(repo: Repo) -> None:
    """Takes the files out of the working tree, so that a key stands in objects alone."""
    for name in repo.git("ls-files", "-z").split(b"\0"):
        if name:
            (repo.path / os.fsdecode(name)).unlink()


def packs(repo: Repo) -> list[Path]:
    """The packs of a repository."""
    return sorted((repo.path / ".git/objects/pack").glob("*.pack"))


def records(folder: Path) -> list[Path]:
    """All records in the cache; what is compiled lies beside them, in a folder of its own."""
    return sorted(path for path in folder.iterdir() if path.name != "compiled") if folder.is_dir() else []


# --- only what is new ----------------------------------------------------------------------------------------------


def test_a_second_audit_of_the_same_repository_reads_no_object(repo: Repo, mint: Mint, eye: Eye) -> None:
    repo.commit("settings.py", f"KEY = '{mint.key()}'\n")
    repo.commit(".fluxloop/config.yaml", "name: x\n")
    pack(repo)
    for number in range(5):
        repo.commit(f"loose/{number}", f"{number}\n")
    first = look(repo)
    assert eye.packs
    assert eye.loose
    eye.clear()
    assert look(repo) == first
    assert (eye.packs, eye.loose) == ([], [])
    assert len(first.findings) == 1


def test_without_findings_no_rule_is_loaded_and_no_process_started(
    repo: Repo, eye: Eye, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(repo)
    first = look(repo)
    monkeypatch.setattr(Examiner, "_detector", None)
    assert look(repo) == first


LOADED = """
import sys
from fluxguard.cli import main
code = main(["audit"])
print(code, *sorted(sys.modules))
"""


def test_an_audit_that_meets_no_suspect_loads_no_rule(repo: Repo) -> None:
    pack(repo)
    repo.commit("b", "loose\n")
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED], cwd=repo.path, env=repo.env, capture_output=True, text=True
    )
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    assert "numpy" in loaded
    assert not {"regex", "fluxguard.config", "fluxguard.detect.engine", "fluxguard.repo.graph"} & set(loaded)


def test_numpy_brings_no_threads(repo: Repo) -> None:
    """Those of its linear algebra take longer to start than a small repository to be looked through."""
    code = "import os, fluxguard.audit.objects; print(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("threads are counted as Linux lists them")
    done = subprocess.run([sys.executable, "-c", code], env=repo.env, capture_output=True, text=True)
    assert done.stdout == "1 None\n", done.stderr


def test_an_unchanged_repository_without_a_key_loads_nothing_that_reads_objects(repo: Repo) -> None:
    pack(repo)
    repo.commit("b", "loose\n")
    aged(repo)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-I", "-c", LOADED], cwd=repo.path, env=repo.env, capture_output=True, text=True
        )
        code, *loaded = done.stdout.splitlines()[-1].split()
        assert code == "0", done.stderr
    heavy = {
        "numpy",
        "regex",
        "hyperscan",
        "fluxguard.audit.objects",
        "fluxguard.detect.engine",
        "fluxguard.config",
    }
    assert not heavy & set(loaded)


def test_a_name_for_what_is_not_there_is_found_in_an_unchanged_repository(
    repo: Repo, eye: Eye, unaided: Callable[[Repo], Report]
) -> None:
    pack(repo)
    assert look(repo).complete
    assert look(repo).complete
    with (repo.path / ".git/logs/HEAD").open("a") as log:
        log.write(f"{'ab' * 20} {'cd' * 20} A U Thor <a@b> 1700000000 +0000\tlost\n")
    report = look(repo)
    assert not report.complete
    same(report, unaided(repo))
    same(look(repo), report)


@pytest.mark.parametrize("place", [".git/description", "untracked", ".git/refs/heads/"])
def test_a_leak_beside_unchanged_objects_is_found(
    repo: Repo, mint: Mint, eye: Eye, unaided: Callable[[Repo], Report], place: str
) -> None:
    pack(repo)
    look(repo)
    eye.clear()
    key = mint.key()
    if place.endswith("/"):
        repo.git("branch", key)
    else:
        repo.write(place, f"{key}\n")
    report = look(repo)
    assert len(report.findings) == 1
    assert not eye.packs
    same(report, unaided(repo))


def test_after_a_fetch_only_the_new_pack_is_read(
    repo: Repo, make_repo: Callable[..., Repo], mint: Mint, eye: Eye, unaided: Callable[[Repo], Report]
) -> None:
    pack(repo)
    clone = make_repo("clone")
    clone.git("remote", "add", "origin", str(repo.path))
    clone.git("-c", "fetch.unpackLimit=1", "fetch", "-q", "origin")
    look(clone)
    old = {path.name for path in packs(clone)}
    key = mint.key()
    repo.commit("a", f"{key}\n")
    clone.git("-c", "fetch.unpackLimit=1", "fetch", "-q", "origin")
    eye.clear()
    report = look(clone)
    # The second time is for the history: a leak is traced through all of it.
    assert eye.packs[0] not in old
    assert len(report.findings) == 1
    same(report, unaided(clone))
    repo.commit("b", "nothing\n")
    clone.git("-c", "fetch.unpackLimit=1", "fetch", "-q", "origin")
    same(look(clone), unaided(clone))


def test_only_new_loose_objects_are_read(repo: Repo, eye: Eye, unaided: Callable[[Repo], Report]) -> None:
    look(repo)
    eye.clear()
    repo.commit("b", "more\n")
    report = look(repo)
    assert len(eye.loose) == 3
    same(report, unaided(repo))


def test_full_reads_it_all(repo: Repo, eye: Eye) -> None:
    pack(repo)
    first = look(repo)
    eye.clear()
    assert look(repo, full=True) == first
    assert eye.packs


@pytest.mark.parametrize("leaks", [True, False])
def test_a_large_object_is_kept_too(repo: Repo, mint: Mint, eye: Eye, leaks: bool) -> None:
    text = mint.key() if leaks else "nothing"
    repo.commit("large", b"\n" * (34 << 20) + text.encode())
    pack(repo)
    (repo.path / "large").unlink()
    first = look(repo)
    assert len(first.findings) == leaks
    eye.clear()
    assert look(repo) == first
    assert bool(eye.packs) == leaks  # once more, for the key itself


# --- a leak never becomes clean --------------------------------------------------------------------------------------


def leak_in_place(path: Path, clean: bytes, leak: bytes) -> bytes:
    """The bytes of a pack in which a text, kept without compression, is another one: same size, same checksum at the end."""
    data = path.read_bytes()
    at = data.index(clean)
    assert len(clean) == len(leak)
    end = at + len(clean)
    assert data[end : end + 4] == zlib.adler32(clean).to_bytes(4, "big")
    return data[:at] + leak + zlib.adler32(leak).to_bytes(4, "big") + data[end + 4 :]


@pytest.mark.parametrize("how", ["written over", "renamed over", "mapped"])
def test_a_pack_that_was_swapped_is_read_again(repo: Repo, mint: Mint, eye: Eye, how: str) -> None:
    leak = f"KEY = '{mint.key()}'\n".encode()
    clean = b"#" * (len(leak) - 1) + b"\n"
    repo.commit("a", clean)
    repo.git("-c", "pack.compression=0", "-c", "core.compression=0", "repack", "-a", "-d", "-q", "-F")
    [path] = packs(repo)
    assert not look(repo).findings
    before = path.stat()
    data = leak_in_place(path, clean, leak)
    path.chmod(0o600)
    if how == "written over":
        with path.open("r+b") as stream:
            stream.write(data)
    elif how == "mapped":
        import mmap

        with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
            mapped[:] = data
    else:
        other = path.with_suffix(".other")
        other.write_bytes(data)
        other.rename(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert data[-20:] == path.read_bytes()[-20:]
    assert len(look(repo).findings) == 1


def test_an_index_that_was_swapped_is_read_again(repo: Repo, eye: Eye) -> None:
    pack(repo)
    look(repo)
    eye.clear()
    [path] = packs(repo)
    index = path.with_suffix(".idx")
    before = index.stat()
    index.chmod(0o600)
    index.write_bytes(index.read_bytes())
    os.utime(index, ns=(before.st_atime_ns, before.st_mtime_ns))
    look(repo)
    assert eye.packs == [path.name]


def test_what_changed_just_now_is_not_kept(
    repo: Repo, eye: Eye, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "RACY", 60.0)
    pack(repo)
    repo.commit("b", "loose\n")
    look(repo)
    look(repo)
    assert eye.packs == [packs(repo)[0].name] * 2
    assert records(cache_folder) == []


def test_what_was_opened_has_to_be_what_was_there(
    repo: Repo, mint: Mint, eye: Eye, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pack is another one while it is opened, and the first again afterwards, with all its times."""
    leak = f"KEY = '{mint.key()}'\n".encode()
    clean = b"#" * (len(leak) - 1) + b"\n"
    repo.commit("a", clean)
    repo.git("-c", "pack.compression=0", "-c", "core.compression=0", "repack", "-a", "-d", "-q", "-F")
    folder = repo.path / ".git/objects/pack"
    [path] = packs(repo)
    harmless, harmful = repo.path.parent / "harmless", repo.path.parent / "harmful"
    harmless.mkdir()
    for one in folder.iterdir():
        (harmless / one.name).write_bytes(one.read_bytes())
    data = leak_in_place(path, clean, leak)
    folder.rename(harmful)
    (harmful / path.name).chmod(0o600)
    (harmful / path.name).write_bytes(data)
    folder.symlink_to(harmful)
    read_pack = depot.read_pack

    def swapped(path: str, width: int) -> Any:
        folder.unlink()
        folder.symlink_to(harmless)
        try:
            return read_pack(path, width)
        finally:
            folder.unlink()
            folder.symlink_to(harmful)

    monkeypatch.setattr(depot, "read_pack", swapped)
    look(repo)
    monkeypatch.setattr(depot, "read_pack", read_pack)
    assert len(look(repo).findings) == 1


def test_a_loose_object_that_changed_is_read_again(repo: Repo, eye: Eye) -> None:
    assert look(repo).complete
    id = repo.git("rev-parse", "HEAD:README").decode().strip()
    path = repo.path / ".git/objects" / id[:2] / id[2:]
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [item.where for item in look(repo).skipped] == [f"object {id}".encode()]


def test_an_object_that_has_gone_is_missing(repo: Repo, eye: Eye, unaided: Callable[[Repo], Report]) -> None:
    """The second pack is as it was, but what it names was in the first."""
    pack(repo)
    [first] = packs(repo)
    repo.commit("b", "more\n")
    pack(repo)
    repo.commit("c", "loose\n")
    assert look(repo).complete
    assert look(repo).complete
    first.with_suffix(".idx").unlink()
    first.unlink()
    report = look(repo)
    assert not report.complete
    same(report, unaided(repo))
    assert look(repo) == report


def test_what_was_missing_is_so_only_until_it_comes(
    repo: Repo, eye: Eye, unaided: Callable[[Repo], Report]
) -> None:
    blob = repo.git("rev-parse", "HEAD:README").decode().strip()
    pack(repo)
    repo.commit("b", "more\n")
    repo.git("repack", "-a", "-d", "-q")
    kept = repo.git("cat-file", "blob", blob)
    others = [
        line.split()[0] for line in repo.git("cat-file", "--batch-all-objects", "--batch-check").splitlines()
    ]
    wanted = b"\n".join(id for id in others if id.decode() != blob)
    whole = packs(repo)
    repo.git("pack-objects", "-q", ".git/objects/pack/pack", stdin=wanted)
    for path in whole:
        path.with_suffix(".idx").unlink()
        path.unlink()
    report = look(repo)
    assert not report.complete
    same(look(repo), report)
    same(report, unaided(repo))
    repo.git("hash-object", "-w", "--stdin", stdin=kept)
    assert look(repo).complete


def test_a_missing_object_that_a_submodule_is_named_like_is_missing(repo: Repo, eye: Eye) -> None:
    """Which of two entries comes first, that of a submodule or that of a file, is of no consequence."""
    id = "ab" * 20
    for name, mode in (("a", b"160000 commit"), ("b", b"100644 blob")):
        entry = mode + b" " + id.encode() + b"\t" + name.encode() + b"\n"
        repo.git("mktree", "--missing", stdin=entry)
    report = look(repo)
    assert any(id.encode() in item.where for item in report.skipped)


def test_other_rules_read_again(repo: Repo, eye: Eye, tmp_path: Path) -> None:
    repo.commit("a", "ticket ACME-1234567\n")
    pack(repo)
    empty(repo)
    assert not look(repo).findings
    own = tmp_path / "own.toml"
    own.write_text(
        '[[rules]]\nid = "acme"\ndescription = "A ticket."\nadvice = "Remove it."\n'
        'pattern = \'ACME-\\d{7}\'\nliterals = ["ACME-"]\nexamples = ["ACME-1234567"]\nlookalikes = ["ACME-12"]\n'
    )
    config = load_config(None, str(own))
    assert len(look(repo, config).findings) == 1
    assert not look(repo).findings
    eye.clear()
    own.write_text("[limits]\nmax-depth = 3\n")
    look(repo, load_config(None, str(own)))
    assert eye.packs


def test_another_version_reads_again(repo: Repo, eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(repo)
    look(repo)
    eye.clear()
    monkeypatch.setattr("fluxguard.__version__", "0.0.0")
    look(repo)
    assert eye.packs


def test_nothing_is_kept_of_a_pack_in_which_an_object_is_damaged(
    repo: Repo, eye: Eye, cache_folder: Path, unaided: Callable[[Repo], Report]
) -> None:
    repo.commit("a", b"".join(b"line %d\n" % number for number in range(5000)))
    pack(repo)
    [path] = packs(repo)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o600)
    path.write_bytes(data)
    report = look(repo)
    assert not report.complete
    assert records(cache_folder) == []
    same(look(repo), report)
    same(report, unaided(repo))


def test_nothing_is_kept_of_what_a_process_died_over(
    repo: Repo, eye: Eye, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(repo)
    repo.commit("a", f"{mint.key()}\n")
    pack(repo)
    empty(repo)
    monkeypatch.setattr(sifting, "_ALONE", 0)
    monkeypatch.setattr(sifting, "hands", lambda: 2)
    examine = Examiner.examine

    def dies(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Examiner, "examine", dies)
    assert not look(repo).complete
    monkeypatch.setattr(Examiner, "examine", examine)
    report = look(repo)
    assert report.complete
    assert len(report.findings) == 1


def test_nothing_is_kept_of_what_took_too_long(
    repo: Repo, eye: Eye, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("a", f"{mint.key()}\n")
    pack(repo)
    empty(repo)

    def slow(rule: Rule, data: bytes) -> Any:
        raise TooSlow(rule.id)

    with monkeypatch.context() as patch:
        patch.setattr(Rule, "find", slow)
        assert not look(repo).complete
    report = look(repo)
    assert report.complete
    assert len(report.findings) == 1


def test_nothing_is_kept_when_the_audit_is_interrupted(
    repo: Repo, eye: Eye, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("a", f"{mint.key()}\n")
    pack(repo)
    empty(repo)

    def interrupts(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Examiner, "examine", interrupts)
        try:
            look(repo)
        except KeyboardInterrupt:
            pass
    assert len(look(repo).findings) == 1


# --- the records -----------------------------------------------------------------------------------------------------


def prepared(repo: Repo, mint: Mint, folder: Path) -> tuple[Report, list[Path]]:
    """A repository with a leak in a pack and one in a loose object, audited."""
    repo.commit("a", f"{mint.key()}\n")
    pack(repo)
    repo.commit("b", f"{mint.key('dev')}\n")
    report = look(repo)
    assert len(report.findings) == 2
    made = records(folder)
    assert len(made) == 5  # the pack, its commits, what its trees name, the loose objects, the whole
    return report, made


def test_the_records_are_the_users_alone(repo: Repo, mint: Mint, eye: Eye, cache_folder: Path) -> None:
    _, made = prepared(repo, mint, cache_folder)
    assert cache_folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}


def test_damaged_records_are_passed_over(repo: Repo, mint: Mint, eye: Eye, cache_folder: Path) -> None:
    report, made = prepared(repo, mint, cache_folder)
    chance = random.Random(7)
    contents = {path: path.read_bytes() for path in made}
    for path, data in contents.items():
        garbled = bytearray(data)
        garbled[chance.randrange(len(garbled))] ^= 1 << chance.randrange(8)
        others = [other for one, other in contents.items() if one != path]
        cuts = [data[: chance.randrange(len(data))] for _ in range(3)]
        for wrong in (b"", data[:-1], data + b"\0", bytes(garbled), bytes(len(data)), *cuts, *others):
            path.write_bytes(wrong)
            assert look(repo) == report
            path.write_bytes(data)


@pytest.mark.parametrize("what", ["folder", "pipe", "link"])
def test_what_is_no_file_is_no_record(
    repo: Repo, mint: Mint, eye: Eye, cache_folder: Path, tmp_path: Path, what: str
) -> None:
    report, made = prepared(repo, mint, cache_folder)
    for path in made:
        moved = tmp_path / path.name
        path.rename(moved)
        if what == "folder":
            path.mkdir()
        elif what == "pipe":
            os.mkfifo(path, 0o600)
        else:
            path.symlink_to(moved)
    eye.clear()
    assert look(repo) == report
    assert eye.packs


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602, 0o666])
def test_a_record_that_others_may_touch_is_none(
    repo: Repo, mint: Mint, eye: Eye, cache_folder: Path, mode: int
) -> None:
    report, made = prepared(repo, mint, cache_folder)
    for path in made:
        path.chmod(mode)
    eye.clear()
    assert look(repo) == report
    assert eye.packs


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give files away")
def test_a_record_of_someone_elses_is_none(repo: Repo, mint: Mint, eye: Eye, cache_folder: Path) -> None:
    report, made = prepared(repo, mint, cache_folder)
    for path in made:
        os.chown(path, 12345, -1)
    eye.clear()
    assert look(repo) == report
    assert eye.packs
    os.chown(cache_folder, 12345, -1)
    eye.clear()
    assert look(repo) == report
    assert eye.packs


@pytest.mark.parametrize("wrong", ["shared", "link", "file", "unwritable"])
def test_a_folder_that_is_not_as_it_should_be_is_not_used(
    repo: Repo, mint: Mint, eye: Eye, cache_folder: Path, tmp_path: Path, wrong: str
) -> None:
    report, _ = prepared(repo, mint, cache_folder)
    if wrong == "shared":
        cache_folder.chmod(0o777)
    elif wrong == "unwritable" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    elif wrong == "unwritable":
        cache_folder.chmod(0o500)
    else:
        cache_folder.rename(tmp_path / "elsewhere")
        cache_folder.symlink_to(tmp_path / "elsewhere") if wrong == "link" else cache_folder.write_text("")
    eye.clear()
    assert look(repo) == report
    assert bool(eye.packs) == (wrong != "unwritable")


@pytest.mark.parametrize("place", ["cache", ".git/cache"])
def test_a_repository_brings_no_cache(
    repo: Repo, mint: Mint, eye: Eye, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pack(repo)
    monkeypatch.setenv("FLUXGUARD_CACHE_DIR", str(repo.path / place))
    look(repo)
    look(repo)
    assert len(eye.packs) == 2
    assert not (repo.path / place).exists()


def test_no_key_is_in_the_cache(repo: Repo, mint: Mint, eye: Eye, cache_folder: Path) -> None:
    repo.commit("a", f"{mint.key()}  # fluxguard:allow like {mint.key('dev')}\n")
    repo.commit(f"fluxloop-{mint.key('ci')}/{mint.checked()}", "x\n", f"message {mint.key('stg')}")
    repo.git("-c", f"user.name={mint.key('dev')}", "commit", "-q", "--allow-empty", "-m", "x")
    repo.git("tag", "-a", "-m", "tag", mint.key("dev"))
    pack(repo)
    repo.commit(f"fluxloop-{mint.key('ci')}", f"{mint.key()}  # fluxguard:allow like {mint.key('dev')}\n")
    report = look(repo)
    assert len(report.findings) >= 8
    assert look(repo) == report
    held = b"".join(path.read_bytes() for path in records(cache_folder))
    assert not [name for key in mint.keys for name, form in forms(key.encode()).items() if form in held]


@pytest.mark.parametrize("where", ["path", "author", "ref"])
def test_no_key_is_in_what_is_kept_of_places(
    repo: Repo, mint: Mint, eye: Eye, cache_folder: Path, where: str
) -> None:
    key = mint.key("dev")
    repo.commit(f"{key}/a" if where == "path" else "a", f"{mint.key()}\n")
    if where == "author":
        repo.git("-c", f"user.name={key}", "commit", "-q", "--amend", "--no-edit", f"--author={key} <a@b>")
    if where == "ref":
        repo.git("branch", key)
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    report = look(repo)
    assert look(repo) == report
    assert len(report.findings) == 2
    held = b"".join(path.read_bytes() for path in records(cache_folder))
    # The pack, its commits, the whole, and its trees, unless one of the names in those is a key.
    assert len(records(cache_folder)) == (3 if where == "path" else 4)
    assert not [name for name, form in forms(key.encode()).items() if form in held]


def test_two_copies_of_a_large_object_may_differ(repo: Repo, mint: Mint, eye: Eye) -> None:
    """What was read in the one says nothing of the other: each is read, and is there still once the first has gone."""
    leak = mint.key().encode()
    size = 33 << 20
    repo.commit("large", b"\n" * size + b"x" * len(leak) + b"\n")
    repo.git("-c", "pack.compression=0", "-c", "core.compression=0", "repack", "-a", "-d", "-q", "-F")
    (repo.path / "large").unlink()
    [first] = packs(repo)
    second = first.with_name("pack-" + "f" * 40 + ".pack")
    second.write_bytes(first.read_bytes().replace(b"x" * len(leak), leak))
    second.with_suffix(".idx").write_bytes(first.with_suffix(".idx").read_bytes())
    data = bytearray(second.read_bytes())
    content = b"\n" * size
    before = zlib.adler32(content + b"x" * len(leak) + b"\n").to_bytes(4, "big")
    after = zlib.adler32(content + leak + b"\n").to_bytes(4, "big")
    at = data.index(before)
    data[at : at + 4] = after
    second.write_bytes(data)
    assert len(look(repo).findings) == 1
    first.with_suffix(".idx").unlink()
    first.unlink()
    assert len(look(repo).findings) == 1


def test_there_is_a_limit_to_what_is_kept(
    make_repo: Callable[..., Repo], eye: Eye, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repos = [make_repo(f"r{number}") for number in range(4)]
    for repo in repos:
        repo.commit("a", "x\n")
        pack(repo)
    look(repos[0])
    [*first] = records(cache_folder)
    room = 3 * sum(path.stat().st_size for path in first)
    monkeypatch.setattr(cache, "MOST", room)
    abandoned = cache_folder / "x.1.tmp"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (1, 1))
    for repo in repos[1:]:
        look(repos[0])
        look(repo)
    assert sum(path.stat().st_size for path in records(cache_folder)) <= room
    assert not abandoned.exists()
    eye.clear()
    look(repos[0])  # was used all the time
    assert eye.packs == []
    look(repos[1])
    assert eye.packs


# --- where it was brought, by what is new --------------------------------------------------------------------------------


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes the names of the packs whose objects are gone through to trace a leak, each with the kind of those."""
    seen: list[str] = []
    each = lineage.Lineage._each

    def noted(self: Any, packs: Any, kind: int, *rest: Any) -> Any:
        listed = list(packs)
        seen.extend(f"{KINDS[kind]}s of {one.name.rpartition('/')[2]}" for one in listed)
        return each(self, listed, kind, *rest)

    monkeypatch.setattr(lineage.Lineage, "_each", noted)
    return seen


def test_a_leak_in_new_objects_is_traced_by_these_alone(
    repo: Repo, mint: Mint, eye: Eye, unaided: Callable[[Repo], Report], searched: list[str]
) -> None:
    for number in range(8):
        repo.commit(f"d/{number % 3}/a", f"{number}\n")
    repo.commit("old", f"{mint.key()}\n")
    pack(repo)
    look(repo)
    first = packs(repo)
    assert {f"commits of {first[0].name}", f"trees of {first[0].name}"} == set(searched)
    searched.clear()
    repo.commit("d/1/new", f"{mint.key('dev')}\n")
    assert len(look(repo).findings) == 2
    assert not searched  # neither for the new one nor for the old one, though the history has grown
    repo.commit("d/2/packed", f"{mint.key('ci')}\n")
    pack(repo)
    [second] = set(packs(repo)) - set(first)
    report = look(repo)
    assert {line.rpartition(" ")[2] for line in searched} == {second.name}
    same(report, unaided(repo))


def test_a_leak_whose_object_was_missing_before_is_traced_through_the_known_pack(
    repo: Repo, mint: Mint, eye: Eye, unaided: Callable[[Repo], Report]
) -> None:
    """No object of the pack's is new: it is the only one to say where the key stood."""
    repo.commit("d/keep", "nothing\n")
    repo.commit("d/settings", f"{mint.key()}\n")
    id = repo.git("rev-parse", "HEAD:d/settings").strip().decode()
    empty(repo)
    loose = repo.path / ".git/objects" / id[:2] / id[2:]
    kept = loose.read_bytes()
    loose.unlink()
    listed = repo.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    repo.git("pack-objects", "-q", ".git/objects/pack/pack", stdin=listed)
    repo.git("prune-packed", "-q")
    assert not look(repo).findings
    loose.parent.mkdir(exist_ok=True)
    loose.write_bytes(kept)
    report = look(repo)
    [finding] = report.findings
    [place] = finding.locations
    assert (place.path, place.trace and place.trace.commit) == (
        b"d/settings",
        repo.git("rev-parse", "HEAD").strip().decode(),
    )
    same(report, unaided(repo))


def test_a_submodule_is_no_place_of_a_key(repo: Repo, mint: Mint, eye: Eye) -> None:
    """Its entry in a tree names a commit that is kept elsewhere, even where the id is that of a blob here."""
    repo.commit("settings", f"{mint.key()}\n")
    blob = repo.git("rev-parse", "HEAD:settings").strip().decode()
    empty(repo)
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{blob},module")
    repo.git("commit", "-q", "--no-verify", "-m", "module")
    [finding] = look(repo).findings
    assert {place.path for place in finding.locations} == {b"settings"}


# --- at once, and cut off ----------------------------------------------------------------------------------------------


def aged(repo: Repo) -> None:
    """Waits until nothing in the repository changed just now."""
    time.sleep(cache.RACY + 0.1)


def test_many_at_once_say_the_same(repo: Repo, mint: Mint, environment: dict[str, str]) -> None:
    for number in range(20):
        repo.commit(f"d/{number}", f"{mint.key() if number % 7 == 3 else number}\n")
    pack(repo)
    repo.commit("loose", f"{mint.key('ci')}\n")
    empty(repo)
    aged(repo)
    command = [str(COMMAND), "audit", str(repo.path), "--format", "json"]
    for _ in range(2):
        running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(6)]
        answers = [process.communicate(timeout=120)[0] for process in running]
        assert {process.returncode for process in running} == {1}
        said = {
            b"\n".join(line for line in answer.splitlines() if b'"seconds"' not in line) for answer in answers
        }
        assert len(said) == 1
    assert not any(mint.leaked(answer) for answer in answers)


def test_killed_at_any_moment_the_next_audit_is_right(
    repo: Repo, mint: Mint, environment: dict[str, str], run: Run
) -> None:
    for number in range(30):
        repo.commit(f"d/{number}", f"{mint.key() if number == 11 else number}\n")
    pack(repo)
    repo.commit("loose", f"{mint.key('ci')}\n")
    empty(repo)
    aged(repo)
    folder = Path(environment["HOME"]) / ".cache/fluxguard"
    command = [str(COMMAND), "audit", str(repo.path), "--format", "json"]
    chance = random.Random(3)
    for turn in range(12):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        before = set(records(folder))
        deadline = time.monotonic() + 20
        # Half of them in the very moment in which something is written, the others anywhere.
        while (
            turn % 2
            and set(records(folder)) == before
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            pass
        if not turn % 2:
            time.sleep(chance.random() * 0.6)
        process.kill()
        process.wait()
        outcome = run("audit", repo.path, "--format", "json")
        assert outcome.code == 1
        assert outcome.out.count('"fingerprint"') == 2
        for path in records(folder):
            if chance.random() < 0.5:
                path.unlink()


# --- anything at all -------------------------------------------------------------------------------------------------


class Story:
    """A repository to which things happen at random. leaks: there are keys."""

    def __init__(self, repo: Repo, other: Repo, mint: Mint, seed: int, leaks: bool = True) -> None:
        self.repo, self.other, self.mint = repo, other, mint
        self.leaks = leaks
        self.chance = random.Random(seed)
        self.number = 0
        self.width = len(repo.git("hash-object", "--stdin").strip()) // 2
        other.git("remote", "add", "origin", str(repo.path))

    def commit(self) -> None:
        """A commit, in which there may be a key, a name of FluxLoop's, a submodule."""
        self.number += 1
        kind = self.chance.randrange(5) if self.leaks else self.chance.choice([1, 3, 4])
        name = self.chance.choice(["a", "b", "d/c", ".fluxloop/config.yaml", "fluxloop.env"])
        text = f"{self.number}\n" * 40
        if kind == 0:
            text += f"KEY={self.mint.key()}\n"
        if kind == 1:
            entry = f"160000,{self.chance.randbytes(self.width).hex()},module"
            self.repo.git("update-index", "--add", "--cacheinfo", entry)
        message = f"say {self.mint.key('ci')}" if kind == 2 else "change"
        self.repo.commit(name, text, message)

    def fetch(self) -> None:
        """Somebody else's work."""
        self.other.git("fetch", "-q", "origin")
        self.other.git("reset", "-q", "--hard", "origin/main")
        self.other.commit("theirs", f"{self.number} {self.mint.key('stg') if self.leaks else 'nothing'}\n")
        limit = self.chance.choice(["1", "1000"])
        self.repo.git(
            "-c", f"fetch.unpackLimit={limit}", "fetch", "-q", str(self.other.path), "main:theirs", "-f"
        )

    def repack(self) -> None:
        """What is loose becomes a pack."""
        pack(self.repo)

    def collect(self) -> None:
        """Everything becomes one pack, and what nothing leads to goes."""
        self.repo.git("reflog", "expire", "--expire=now", "--all")
        self.repo.git("gc", "-q", "--prune=now")

    def branch(self) -> None:
        """A ref more, or less."""
        if self.chance.random() < 0.5:
            self.repo.git("branch", "-f", f"b{self.number % 3}")
        else:
            self.repo.try_git("branch", "-D", f"b{self.number % 3}")

    def lose(self) -> None:
        """A file of the object store goes."""
        objects = self.repo.path / ".git/objects"
        files = sorted(path for path in objects.glob("??/*")) + packs(self.repo)
        if files:
            path = self.chance.choice(files)
            path.with_suffix(".idx").unlink(missing_ok=True)
            path.unlink()


@pytest.mark.parametrize(("seed", "leaks"), [*((seed, True) for seed in range(6)), (6, False), (8, False)])
def test_whatever_happens_the_report_is_that_of_a_full_audit(
    make_repo: Callable[..., Repo],
    mint: Mint,
    eye: Eye,
    unaided: Callable[[Repo], Report],
    seed: int,
    leaks: bool,
) -> None:
    repo, other = make_repo("mine"), make_repo("other")
    if seed % 3 == 2:
        repo, other = (make_repo(name, "--object-format=sha256") for name in ("mine256", "other256"))
    story = Story(repo, other, mint, seed, leaks)
    story.commit()
    acts = [story.commit, story.commit, story.fetch, story.repack, story.branch, story.collect]
    for _ in range(10):
        story.chance.choice(acts)()
        expected = unaided(repo)
        same(look(repo), expected)
        same(look(repo), expected)
    for _ in range(3):
        story.lose()
        try:
            expected = unaided(repo)
        except BrokenRepository:
            break
        same(look(repo), expected)
        same(look(repo), expected)


# --- one object of a known pack ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["sha1", "sha256"])
@pytest.mark.parametrize(
    "options", [[], ["-c", "repack.useDeltaBaseOffset=false"], ["-c", "pack.indexVersion=1"]]
)
def test_one_object_is_what_it_is_when_all_are_read(
    make_repo: Callable[..., Repo], options: list[str], format: str
) -> None:
    repo = make_repo("repo", f"--object-format={format}")
    chance = random.Random(1)
    lines = [chance.randbytes(30).hex() for _ in range(200)]
    for _ in range(30):
        lines[chance.randrange(len(lines))] = chance.randbytes(20).hex()
        repo.commit("a", "\n".join(lines))
    repo.git(*options, "repack", "-a", "-d", "-q", "-F", "--depth=40")
    [path] = packs(repo)
    width = 20 if format == "sha1" else 32
    whole = Opened("", str(path), width)
    single = Opened("", str(path), width, whole.kinds)
    for entry in range(len(whole)):
        id = bytes.fromhex(whole.pack.id(entry))
        assert single.content(id) == whole.content(id)
    assert "pack" not in single.__dict__
    for missing in (bytes(width), b"\xff" * width):
        with pytest.raises(KeyError):
            single.content(missing)
