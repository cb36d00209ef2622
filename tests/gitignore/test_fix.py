"""`--fix` adds what is missing, where it belongs, and touches nothing else; a real clone then says that it is covered."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COMMAND, Mint, Repo, Run

from fluxguard.gitignore.ensure import ensure
from fluxguard.gitignore.lines import HEADING, appended, exact
from fluxguard.repo.ignore import Shadow

from .conftest import ADVISED, FREE, REQUIRED, Ask, Oracle, commit_all, status

Clone = Callable[[Repo], Oracle]


def fix(run: Run, repo: Repo, *arguments: str, code: int = 0) -> str:
    outcome = run("gitignore", "--fix", *arguments, cwd=repo.path)
    assert outcome.code == code, outcome.text
    return outcome.out


def content(repo: Repo, name: str = ".gitignore") -> bytes:
    return (repo.path / name).read_bytes()


def test_a_new_file(run: Run, repo: Repo, clone: Clone) -> None:
    out = fix(run, repo)
    assert "Added to .gitignore:" in out
    assert "       git add -- .gitignore\n" in out
    assert content(repo).startswith(HEADING + b"\n.env\n.env.*\n")
    assert stat.S_IMODE((repo.path / ".gitignore").stat().st_mode) == 0o666 & ~current_umask()
    commit_all(repo)
    assert clone(repo).ignored([*REQUIRED, *ADVISED, *FREE]) == {*REQUIRED, *ADVISED}
    assert status(repo) == []


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "before",
    [
        b"*.log\n", b"*.log", b"*.log\r\n.env\r\n", b"*.log\r\n.env", b"\xef\xbb\xbf*.log\n", b"\n\n", b"zz\n\n\n", b"zz\\ \n",
        b"\xff\xfename\n"[2:], "ü/\n".encode(), b"# only a comment", b"zz \t", b"\xe4.txt\n",
    ],
)  # fmt: skip
def test_every_byte_stays(run: Run, repo: Repo, clone: Clone, before: bytes) -> None:
    path = repo.write(".gitignore", before)
    path.chmod(0o640)
    fix(run, repo)
    after = content(repo)
    assert after.startswith(before)
    end = b"\r\n" if b"\r\n" in before else b"\n"
    added = after[len(before) :]
    assert added.endswith(end)
    assert added.count(b"\n") == added.count(end), "one kind of line end"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(repo.path)) == [".git", ".gitignore", "README"], "nothing is left beside it"
    commit_all(repo)
    assert clone(repo).ignored([*REQUIRED, *FREE]) == {*REQUIRED}


def test_twice_changes_nothing(run: Run, repo: Repo) -> None:
    repo.write(".gitignore", "*.log")
    fix(run, repo)
    before, state = content(repo), (repo.path / ".gitignore").stat()
    time.sleep(0.01)
    fix(run, repo)
    assert content(repo) == before
    assert (repo.path / ".gitignore").stat().st_mtime_ns == state.st_mtime_ns
    assert (repo.path / ".gitignore").stat().st_ino == state.st_ino


def test_only_what_is_missing(run: Run, repo: Repo) -> None:
    repo.write(".gitignore", ".env*\n!.env.example\n*.key\nsecrets.y*ml\n")
    fix(run, repo)
    added = content(repo).split(HEADING)[1].split()
    assert not {b".env", b".env.*", b"*.key", b"secrets.yaml", b"!.env.example"} & set(added)
    assert b"**/.fluxloop/auth.json" in added


def test_required_alone(run: Run, repo: Repo) -> None:
    fix(run, repo, "--required")
    assert b".npmrc" not in content(repo)
    assert b"secrets.yaml" in content(repo)


def test_later_lines_join_the_block(run: Run, repo: Repo) -> None:
    fix(run, repo)
    repo.write("deploy/prod.env", "API_KEY=x8s7d6f5g4h3\n")
    fix(run, repo)
    assert content(repo).count(HEADING) == 1
    assert content(repo).endswith(b"\n/deploy/prod.env\n")
    repo.write(".gitignore", content(repo) + b"\n# mine\n*.tmp\n")
    repo.write("deploy/dev.env", "API_KEY=x8s7d6f5g4h3\n")
    fix(run, repo)
    assert content(repo).count(HEADING) == 2, "what was written behind it is not torn apart"


def test_diff_shows_it_and_changes_nothing(run: Run, repo: Repo) -> None:
    before = b"*.log\r\n.env"
    repo.write(".gitignore", before)
    for flags in (["--diff"], ["--fix", "--diff"]):
        outcome = run("gitignore", *flags, cwd=repo.path)
        assert outcome.code == 1
        assert outcome.out.startswith("--- a/.gitignore\n+++ b/.gitignore\n")
        assert "+.env.*" in outcome.out
        assert "\\ No newline at end of file" in outcome.out
        assert content(repo) == before
    assert run("gitignore", "--diff", "--format", "json", cwd=repo.path).code == 2
    (repo.path / ".gitignore").unlink()
    shown = run("gitignore", "--diff", cwd=repo.path).out
    assert shown.startswith("--- /dev/null\n+++ b/.gitignore\n")
    subprocess.run(["git", "apply"], cwd=repo.path, env=repo.env, input=shown.encode(), check=True)
    assert run("gitignore", cwd=repo.path).code == 0


def test_a_nested_negation_is_closed_in_its_own_file(run: Run, repo: Repo, clone: Clone) -> None:
    repo.write("pkg/app.py", "pass\n")
    repo.write("pkg/.gitignore", "!.env\n")
    repo.write(".gitignore", ".env\n.env.*\n!.env.example\n")
    commit_all(repo)
    out = fix(run, repo)
    assert content(repo, "pkg/.gitignore") == b"!.env\n\n" + HEADING + b"\n.env\n"
    assert "The new lines close what pkg/.gitignore:1 opens: !.env" in out
    commit_all(repo)
    assert clone(repo).ignored(["pkg/.env", ".env"]) == {"pkg/.env", ".env"}


def test_example_files_stay_as_they_are(run: Run, repo: Repo, clone: Clone) -> None:
    repo.write("a/.env.sample", "A=\n")
    repo.write("b/.env.production.example", "A=\n")
    repo.write(".gitignore", "!.env.dist\nb/.env.template\n")
    repo.write("b/.env.template", "A=\n")
    commit_all(repo)
    fix(run, repo)
    commit_all(repo)
    there = clone(repo)
    assert (there._folder / "a/.env.sample").exists()
    free = [
        ".env.sample",
        ".env.example",
        "c/.env.example",
        ".env.dist",
        "b/.env.production.example",
        "a/.env.template",
    ]
    assert not there.ignored([".env.dist", ".env.example", "c/.env.example"])
    assert there.ignored(["b/.env.template"]) == {"b/.env.template"}, "somebody ignores it on purpose"
    assert free


def test_an_example_file_beside_lines_in_a_nested_file(run: Run, repo: Repo) -> None:
    repo.write("pkg/x", "")
    repo.write("pkg/.gitignore", "!.env\n!.env.*\n")
    fix(run, repo)
    assert repo.try_git("check-ignore", "-q", "pkg/.env.local").returncode == 0
    assert repo.try_git("check-ignore", "-q", "pkg/.env.example").returncode == 1


def test_an_ignored_example_file_is_not_opened(run: Run, repo: Repo) -> None:
    repo.write("private/x", "")
    repo.write("private/.env.example", "A=real\n")
    repo.write(".gitignore", "private/*\n")
    fix(run, repo)
    assert repo.try_git("check-ignore", "-q", "private/.env.example").returncode == 0
    assert repo.try_git("check-ignore", "-q", ".env.example").returncode == 1


def test_advised_files_that_the_team_commits(run: Run, ask: Ask, repo: Repo) -> None:
    repo.stage("experiments/artifacts/traces.jsonl", "{}\n")
    repo.commit(".npmrc", "registry=https://example.org\n")
    fix(run, repo)
    assert b"artifacts" not in content(repo)
    assert b".npmrc" not in content(repo)
    assert ask.gaps(code=0)["experiments/artifacts/traces.jsonl"]["level"] == "advised"


def test_an_advised_file_that_somebody_opened(run: Run, repo: Repo) -> None:
    repo.write(".gitignore", ".fluxloop/config.yaml\n!.fluxloop/config.yaml\n")
    fix(run, repo)
    assert repo.try_git("check-ignore", "-q", ".fluxloop/config.yaml").returncode == 1


def test_tracked_files_stay_tracked(run: Run, repo: Repo) -> None:
    repo.commit(".env", "A=1\n")
    before = repo.git("ls-files", "--stage")
    out = fix(run, repo, code=1)
    assert repo.git("ls-files", "--stage") == before
    assert "       git rm --cached -- .env\n" in out
    repo.git("rm", "-q", "--cached", "--", ".env")
    commit_all(repo)
    assert (repo.path / ".env").exists()
    assert run("gitignore", "--no-history", cwd=repo.path).code == 0


@pytest.mark.parametrize(
    "name",
    [
        b"!bang/.env", b"#hash/x.key", b"sp ace/.env", b"a/.env.trailing ", b"a/.env.two  ", b"a/star*.key", b"a/q?.key", b"a/[b].key",
        b"back\\slash/x.key", b"new\nline/x.key", b"a/.env.end\r", b"\xff\xfe/x.key", "ü/ñ.key".encode(), b"-dash/.env", b":(glob)/x.key",
        b"a/\x1b[31m.key", b"a/tab\t.key", b"a/ \\ .key",
    ],
)  # fmt: skip
def test_hostile_names(run: Run, ask: Ask, repo: Repo, name: bytes) -> None:
    """Each is found, shown harmlessly, covered by a line of its own where it has to be, and untracked by the command."""
    repo.write(name, "A=1\n")
    repo.write(".gitignore", b".env\n.env.*\n*.key\n!" + exact(name) + b"\n")
    outcome = run("gitignore", cwd=repo.path)
    assert outcome.code == 1
    assert "\x1b" not in outcome.text
    fix(run, repo)
    assert repo.try_git("check-ignore", "-q", "--", b"./" + name).returncode == 0
    repo.git("add", "-f", "--", b":(literal)" + name)
    commands = [command for gap in ask(code=1)["uncovered"] for command in gap["commands"]]
    assert len(commands) == 1
    subprocess.run(["bash", "-c", commands[0]], cwd=repo.path, env=repo.env, check=True, capture_output=True)
    assert repo.git("ls-files", "-z", "--", b":(literal)" + name) == b""


@pytest.mark.parametrize(
    "name",
    [b" a", b"a ", b"a  ", b"!a", b"#a", b"a*?[b]", b"a\\", b"a\\ ", b"a\nb", b"a\r", b"\xff", b"a/b "],
)
def test_a_line_for_one_path_covers_it(name: bytes) -> None:
    with Shadow({b"": exact(name) + b"\n"}) as shadow:
        covered, other = shadow.verdicts([name, b"b/" + name])
    assert covered.covered
    assert not other.covered, "and nothing elsewhere"


def test_a_name_that_holds_a_key_is_not_written_down(run: Run, repo: Repo, mint: Mint) -> None:
    name = f"conf/{mint.key()}.env"
    repo.write(name, "API_KEY=x8s7d6f5g4h3\n")
    out = fix(run, repo, code=1)
    assert "its name holds a key" in " ".join(out.split())
    assert not mint.leaked(content(repo))


def test_a_key_in_a_gitignore_is_not_shown(run: Run, repo: Repo, mint: Mint) -> None:
    key = mint.key()
    repo.write(".gitignore", f"# {key}\n.env\n!.env\n!{key}\n")
    run("gitignore", "--diff", cwd=repo.path)
    run("gitignore", "--format", "json", cwd=repo.path)
    fix(run, repo)


def test_a_symbolic_link_is_not_written_through(run: Run, repo: Repo, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("*.log\n")
    (repo.path / ".gitignore").symlink_to(target)
    out = fix(run, repo, code=1)
    assert target.read_text() == "*.log\n"
    assert (repo.path / ".gitignore").is_symlink()
    assert "What no line can be written for" in out
    assert "symbolic link" in out


def test_a_gitignore_that_is_no_file(run: Run, repo: Repo) -> None:
    os.mkfifo(repo.path / ".gitignore")
    outcome = run("gitignore", "--fix", cwd=repo.path, timeout=30)
    assert outcome.code != 0
    (repo.path / ".gitignore").unlink()
    (repo.path / ".gitignore").mkdir()
    (repo.path / ".gitignore" / "x").write_text("")
    outcome = run("gitignore", "--fix", cwd=repo.path)
    assert outcome.code != 0
    assert (repo.path / ".gitignore" / "x").exists()


def test_utf16_is_left_alone(run: Run, repo: Repo) -> None:
    before = ".env\r\n".encode("utf-16")
    repo.write(".gitignore", before)
    out = fix(run, repo, code=1)
    assert content(repo) == before
    assert "UTF-16" in out


def test_an_ignored_gitignore_is_not_written_to(run: Run, repo: Repo) -> None:
    repo.write(".gitignore", ".gitignore\n")
    out = fix(run, repo, code=1)
    assert content(repo) == b".gitignore\n"
    assert "it is ignored itself" in " ".join(out.split())


def test_no_permission(run: Run, repo: Repo) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    repo.path.chmod(0o555)
    try:
        outcome = run("gitignore", "--fix", cwd=repo.path)
    finally:
        repo.path.chmod(0o755)
    assert outcome.code == 3
    assert "can't be written" in outcome.err


def test_killed_at_any_time(repo: Repo) -> None:
    """The file is as it was, or as it should be; nothing between."""
    before = b"*.log\n"
    env = {**repo.env, "TMPDIR": str(repo.path.parent)}
    seen = set()
    for wait in (0.05, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8):
        repo.write(".gitignore", before)
        process = subprocess.Popen(
            [COMMAND, "gitignore", "--fix"],
            cwd=repo.path,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(wait)
        process.kill()
        process.wait()
        after = content(repo)
        assert after == before or (after.startswith(before) and after.endswith(b"\n") and HEADING in after)
        seen.add(after)
    assert len(seen) <= 2


@pytest.mark.parametrize(
    "where", [".env", "conf/.env", ".fluxloop/.env", "a/b/c.txt", "new/folder/.env.local"]
)
def test_ensure(repo: Repo, where: str) -> None:
    path = str(repo.path / where)
    done = ensure(path)
    assert (done.state, done.safe) == ("added", True)
    assert len(done.lines) <= 2
    assert repo.try_git("check-ignore", "-q", where).returncode == 0
    assert ensure(path).state == "covered"


def test_ensure_where_it_can_not(repo: Repo, tmp_path: Path) -> None:
    assert ensure(str(tmp_path / "elsewhere" / ".env")).state == "outside"
    repo.commit(".env", "A=1\n")
    done = ensure(str(repo.path / ".env"))
    assert (done.state, done.safe) == ("tracked", False)
    (repo.path / ".gitignore").symlink_to("README")
    assert not ensure(str(repo.path / "b" / ".env")).safe


def test_the_heading() -> None:
    assert appended(b"", [b"a"]) == HEADING + b"\na\n"
    assert appended(b"x", [b"a"]) == b"x\n\n" + HEADING + b"\na\n"
    assert appended(b"x\r\n", [b"a"]) == b"x\r\n\r\n" + HEADING + b"\r\na\r\n"
    assert appended(appended(b"x\r\n", [b"a"]), [b"b"]) == b"x\r\n\r\n" + HEADING + b"\r\na\r\nb\r\n"
