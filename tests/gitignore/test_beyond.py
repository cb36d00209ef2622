"""What .gitignore can't mend: tracked, staged, in the history, in submodules and linked working trees, packed along; and who says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from conftest import Mint, Repo, Run

from .conftest import SCHEMA, Ask, commit_all


@pytest.fixture
def covered(repo: Repo, run: Run) -> Repo:
    """A repository whose .gitignore covers everything."""
    run("gitignore", "--fix", cwd=repo.path)
    commit_all(repo)
    return repo


def bash(repo: Repo, command: str, cwd: Path | None = None) -> None:
    subprocess.run(
        ["bash", "-c", command], cwd=cwd or repo.path, env=repo.env, check=True, capture_output=True
    )


def test_tracked(covered: Repo, ask: Ask) -> None:
    covered.write("conf/.env", "A=1\n")
    covered.git("add", "-f", "conf/.env")
    gap = ask.gaps(code=1)["conf/.env"]
    assert (gap["kind"], gap["covered"]) == ("staged", True)
    bash(covered, gap["commands"][0])
    assert (covered.path / "conf/.env").read_text() == "A=1\n"
    assert ask(code=0)["uncovered"] == []
    covered.git("add", "-f", "conf/.env")
    covered.git("commit", "-q", "-m", "leak")
    gap = ask.gaps(code=1)["conf/.env"]
    assert gap["kind"] == "tracked"
    bash(covered, gap["commands"][0])
    covered.git("commit", "-q", "-m", "untrack")
    gap = ask.gaps(code=0)["conf/.env"]
    assert (gap["kind"], gap["commands"]) == ("history", [])
    assert ask("--no-history", code=0)["uncovered"] == []


def test_staged_on_a_branch_without_commits(empty_repo: Repo, run: Run) -> None:
    empty_repo.stage(".env", "A=1\n")
    found = Ask(run, empty_repo).gaps(code=1)
    assert found[".env"]["kind"] == "staged"
    bash(empty_repo, found[".env"]["commands"][0])
    assert (empty_repo.path / ".env").exists()


def test_deleted_on_disk_and_still_tracked(covered: Repo, ask: Ask) -> None:
    covered.write("x.key", "k")
    covered.git("add", "-f", "x.key")
    covered.git("commit", "-q", "-m", "leak")
    (covered.path / "x.key").unlink()
    assert ask.gaps(code=1)["x.key"]["kind"] == "tracked"


@pytest.mark.parametrize("where", ["side branch", "merge", "stash", "reset", "tag", "root"])
def test_history(covered: Repo, ask: Ask, where: str) -> None:
    repo = covered

    def leak() -> None:
        repo.write("old/.env", "A=1\n")
        repo.git("add", "-f", "old/.env")
        repo.git("commit", "-q", "-m", "leak")

    if where == "root":
        repo.git("checkout", "-q", "--orphan", "other")
        leak()
        repo.git("checkout", "-q", "-f", "main")
    elif where == "side branch":
        repo.git("checkout", "-q", "-b", "side")
        leak()
        repo.git("rm", "-q", "old/.env")
        repo.git("commit", "-q", "-m", "gone")
        repo.git("checkout", "-q", "main")
        repo.commit("a", "a")
        repo.git("merge", "-q", "--no-edit", "side")
        repo.git("branch", "-q", "-D", "side")
    elif where == "merge":
        repo.git("checkout", "-q", "-b", "side")
        repo.commit("b", "b")
        repo.git("checkout", "-q", "main")
        repo.commit("a", "a")
        repo.git("merge", "-q", "--no-commit", "side")
        repo.write("old/.env", "A=1\n")
        repo.git("add", "-f", "old/.env")
        repo.git("commit", "-q", "-m", "evil")
        repo.git("rm", "-q", "old/.env")
        repo.git("commit", "-q", "-m", "gone")
    elif where == "stash":
        repo.write("old/.env", "A=1\n")
        repo.git("add", "-f", "old/.env")
        repo.git("stash", "-q")
    elif where == "reset":
        leak()
        repo.git("reset", "-q", "--hard", "HEAD~1")
    else:
        leak()
        repo.git("tag", "v1")
        repo.git("reset", "-q", "--hard", "HEAD~1")
    assert ask.gaps(code=0)["old/.env"]["kind"] == "history"


def test_configuration_does_not_hide_history(covered: Repo, ask: Ask) -> None:
    covered.write("old/.env", "A=1\n")
    covered.git("add", "-f", "old/.env")
    covered.git("commit", "-q", "-m", "leak")
    covered.git("rm", "-q", "old/.env")
    covered.git("commit", "-q", "-m", "gone")
    touched = covered.path.parent / "touched"
    for name, value in {
        "diff.orderFile": "nowhere", "log.showRoot": "false", "log.showSignature": "true", "gpg.program": f"touch {touched}",
        "diff.relative": "true", "log.diffMerges": "off", "diff.external": f"touch {touched}", "log.follow": "true",
        "core.pager": f"touch {touched}", "format.pretty": "%b",
    }.items():  # fmt: skip
        covered.git("config", name, value)
    assert ask.gaps(code=0)["old/.env"]["kind"] == "history"
    assert not touched.exists()


def test_a_submodule(covered: Repo, ask: Ask, make_repo: Callable[..., Repo], run: Run) -> None:
    library = make_repo("library")
    library.commit("secrets.yaml", "a: 1\n")
    covered.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "lib/sub")
    commit_all(covered)
    covered.write("lib/sub/.env", "A=1\n")
    gaps = ask.gaps(code=1)
    assert (gaps["secrets.yaml"]["tree"], gaps["secrets.yaml"]["kind"]) == ("lib/sub", "tracked")
    assert (gaps[".env"]["tree"], gaps[".env"]["kind"]) == ("lib/sub", "present")
    assert "server.key" not in gaps, "what tools might create there is its own affair"
    assert gaps["secrets.yaml"]["commands"] == ["git -C lib/sub rm --cached -- secrets.yaml"]
    text = run("gitignore", cwd=covered.path).out
    assert "[lib/sub] .env" in text
    bash(covered, gaps["secrets.yaml"]["commands"][0])
    bash(covered, next(line for line in text.splitlines() if "--fix lib/sub" in line).strip())
    assert {gap["kind"] for gap in ask(code=0)["uncovered"]} == set()


def test_a_linked_working_tree(covered: Repo, ask: Ask, tmp_path: Path) -> None:
    covered.git("worktree", "add", "-q", str(tmp_path / "linked"), "-b", "other", "HEAD~1")
    covered.write("../linked/.env", "A=1\n")
    gap = ask.gaps(code=1)[".env"]
    assert (gap["tree"], gap["kind"]) == (str(tmp_path / "linked"), "present")
    inside = ask.gaps(code=1, cwd=tmp_path / "linked")
    assert inside[".env"]["tree"] is None
    assert inside["server.key"]["kind"] == "expected"


def test_a_working_tree_that_is_none_of_ours(covered: Repo, ask: Ask, make_repo: Callable[..., Repo]) -> None:
    """A repository may claim any folder for its linked working tree: that one has to say so, too."""
    victim = make_repo("victim")
    victim.write(".env", "A=1\n")
    covered.write(".git/worktrees/x/gitdir", f"{victim.path}/.git\n")
    covered.write(".git/worktrees/x/HEAD", "ref: refs/heads/main\n")
    covered.write(".git/worktrees/x/commondir", "../..\n")
    assert ask(code=0)["uncovered"] == []


def test_a_working_tree_set_elsewhere(covered: Repo, run: Run, make_repo: Callable[..., Repo]) -> None:
    victim = make_repo("victim")
    covered.git("config", "core.worktree", str(victim.path))
    outcome = run("gitignore", "--fix", cwd=covered.path)
    assert outcome.code == 3
    assert "core.worktree" in outcome.err
    assert not (victim.path / ".gitignore").exists()


def test_a_repository_inside(covered: Repo, ask: Ask) -> None:
    covered.git("init", "-q", "inner")
    covered.write("inner/.env", "A=1\n")
    covered.write("hollow/.git/x", "")
    covered.write("hollow/secrets.yaml", "a: 1\n")
    found = ask()
    assert any("repositories of their own" in note and "inner" in note for note in found["notes"])
    assert not found["uncovered"]


def test_a_symbolic_link_to_a_folder(covered: Repo, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.key").write_text("k")
    (covered.path / "link").symlink_to(tmp_path / "outside")
    (covered.path / ".fluxloop").symlink_to(tmp_path / "outside")
    assert ask(code=0)["uncovered"] == []


def test_the_index_of_a_commit(covered: Repo, run: Run) -> None:
    """As a hook: `git commit -- path` has an index of its own, in GIT_INDEX_FILE."""
    hook = covered.write(".git/hooks/pre-commit", "#!/bin/sh\nexec fluxguard gitignore --no-history\n")
    hook.chmod(0o755)
    covered.write("a", "a")
    covered.git("add", "a")
    covered.git("commit", "-q", "-m", "fine")
    covered.write(".env", "A=1\n")
    covered.git("add", "-f", ".env")
    done = covered.try_git("commit", "-q", "-m", "leak")
    assert done.returncode != 0
    assert b"git tracks 1 secret file" in done.stdout + done.stderr
    covered.write("a", "b")
    assert covered.try_git("commit", "-q", "-m", "only a", "--", "a").returncode == 0


# --- what is packed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "good"),
    [
        (
            ".dockerignore",
            ".env\nnode_modules\n",
            "**/.env\n**/.env.*\n**/*.key\n**/secrets.y*ml\n**/.fluxloop\napi_key.txt\n",
        ),
        ("docker/app.dockerignore", "!x\n", "*\n!src\n"),
        (".npmignore", "node_modules\n", ".*\n*.key\nsecrets.y*ml\napi_key.txt\n"),
        (".gcloudignore", "#!include:.nothing\n", "#!include:.gitignore\n"),
        ("MANIFEST.in", "graft .\nglobal-exclude *.key\n", "include README\nrecursive-include src *.py\n"),
        ("package.json", '{"files": ["."]}', '{"files": ["dist/", "src/*.js"]}'),
        (
            "pyproject.toml",
            '[tool.hatch.build.targets.wheel]\nartifacts = [".env"]\n',
            '[tool.hatch.build.targets.wheel]\nartifacts = ["*.so"]\n',
        ),
    ],
)
def test_lists_of_what_is_shipped(covered: Repo, ask: Ask, name: str, content: str, good: str) -> None:
    covered.stage(name, content)
    found = [gap for gap in ask(code=0)["uncovered"] if gap["kind"] == "shipped"]
    assert [gap["by"]["file"] for gap in found] == [name]
    assert any(place["path"].endswith(".env") for place in found[0]["paths"])
    covered.stage(name, good)
    assert [gap for gap in ask(code=0)["uncovered"] if gap["kind"] == "shipped"] == []


def test_docker_is_not_git(covered: Repo, ask: Ask) -> None:
    """`.env` in a .dockerignore is the one at the top; the advice is what covers all of them."""
    covered.stage(".dockerignore", ".env\n.env.*\n*.key\nsecrets.y*ml\napi_key.txt\n.fluxloop\n")
    covered.stage("web/package.json", '{"private": true}')
    gap = next(gap for gap in ask(code=0)["uncovered"] if gap["kind"] == "shipped")
    assert {"path": "web/.env"} in gap["paths"]
    assert {"path": ".env"} not in gap["paths"]
    covered.stage(".dockerignore", "\n".join(gap["lines"]) + "\n")
    rest = [gap for gap in ask(code=0)["uncovered"] if gap["kind"] == "shipped"]
    assert not any({"path": "web/.env"} in gap["paths"] for gap in rest)


# --- configuration ------------------------------------------------------------------------------------------------


def test_a_repository_excepts_what_it_brings(covered: Repo, ask: Ask) -> None:
    covered.write("tests/data/server.key", "k")
    covered.write("tests/data/.env", "A=1\n")
    covered.git("add", "-f", "tests")
    covered.git("commit", "-q", "-m", "test data")
    assert set(ask.gaps(code=1)) == {"tests/data/server.key", "tests/data/.env"}
    covered.write(
        ".fluxguard.toml", '[[gitignore.except]]\npaths = ["tests/data/**"]\nreason = "made for the tests"\n'
    )
    gaps = ask.gaps(code=0)
    assert {gap["accepted"] for gap in gaps.values()} == {"made for the tests"}
    assert set(ask.gaps("--no-repo-config", code=1)) == set(gaps)


def test_a_repository_excepts_nothing_that_its_users_have(repo: Repo, ask: Ask, mint: Mint) -> None:
    everything = "".join(
        f'[[gitignore.except]]\npaths = ["{glob}"]\nreason = "no"\n'
        for glob in (".env", ".fluxloop/.env", "**/.fluxloop/auth.json", "secrets.yaml", "prod.env")
    )
    repo.write(".fluxguard.toml", everything)
    repo.write(".env", "A=1\n")
    repo.stage("prod.env", f"TOKEN={mint.key()}\n")
    repo.git("commit", "-q", "-m", "change")
    repo.stage("a/.fluxloop/auth.json", "{}")
    repo.git("commit", "-q", "-m", "change")
    gaps = ask.gaps(code=1)
    for name in (".env", ".fluxloop/.env", "secrets.yaml", "a/.fluxloop/auth.json", "prod.env"):
        assert gaps[name]["accepted"] is None, name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[gitignore.except]]\npaths = ["**"]\nreason = "x"', "names no folder"),
        ('[[gitignore.except]]\npaths = ["*.key"]\nreason = "x"', "names no folder"),
        ('[[gitignore.except]]\nentries = ["env"]\nreason = "x"', "`paths` has to be given"),
        ('[[gitignore.except]]\npaths = ["a/b"]', "needs a reason"),
        ('[[gitignore.path]]\npaths = ["*"]\nreason = "x"', "too much"),
        ('[[gitignore.path]]\npaths = ["!.env"]\nreason = "x"', "no path pattern"),
        ('[[gitignore.path]]\npaths = ["a"]\nlevel = "maybe"\nreason = "x"', "`level` has to be"),
        ('[[gitignore.path]]\npaths = ["a"]\nexamples = ["b"]\nreason = "x"', "does not match"),
        ('[[gitignore.path]]\npaths = ["a"]\nlines = ["!x"]\nreason = "x"', "unknown field"),
        ("[gitignore]\nnonsense = 1", "unknown field"),
        ("gitignore = 1", "has to be a table"),
        ("[gitignore]\npath = 1", "list of tables"),
    ],
)
def test_configuration_that_is_refused(run: Run, repo: Repo, text: str, says: str) -> None:
    repo.write(".fluxguard.toml", text + "\n")
    outcome = run("gitignore", cwd=repo.path)
    assert outcome.code == 2
    assert says in outcome.err


def test_users_add_and_remove(covered: Repo, ask: Ask, run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[gitignore.path]]\npaths = ["tokens/*.json"]\nexamples = ["tokens/a.json"]\nreason = "ours"\n'
        '[[gitignore.except]]\nentries = ["npmrc", "env"]\nreason = "not here"\n'
    )
    covered.git("rm", "-q", ".gitignore")
    commit_all(covered)
    gaps = ask.gaps("--config", str(own), "--no-history", code=1)
    assert (gaps["tokens/a.json"]["level"], gaps["tokens/a.json"]["accepted"]) == ("required", None)
    assert gaps[".npmrc"]["accepted"] == gaps[".env"]["accepted"] == "not here"
    run("gitignore", "--fix", "--config", str(own), cwd=covered.path)
    lines = (covered.path / ".gitignore").read_text().splitlines()
    assert "tokens/*.json" in lines
    assert ".npmrc" not in lines
    assert ".env" in lines, "FluxLoop's own needs it"


def test_a_slow_glob_is_refused(run: Run, repo: Repo) -> None:
    repo.write(".fluxguard.toml", '[[gitignore.path]]\npaths = ["%sb"]\nreason = "x"\n' % ("*a" * 60))
    repo.write("a" * 200 + "aab" + "c", "")
    started = time.monotonic()
    assert run("gitignore", cwd=repo.path).code in (1, 2)
    assert time.monotonic() - started < 120


# --- who else says it ---------------------------------------------------------------------------------------------


def test_audit_tells_it_and_keeps_its_exit_code(repo: Repo, run: Run) -> None:
    outcome = run("audit", cwd=repo.path)
    assert outcome.code == 0
    assert "secret paths to be committed: fluxguard gitignore\n" in outcome.out
    document = json.loads(run("audit", "--format", "json", cwd=repo.path).out)
    jsonschema.validate(document, SCHEMA)
    assert any({"path": ".env"} in gap["paths"] for gap in document["uncovered"])
    run("gitignore", "--fix", cwd=repo.path)
    assert json.loads(run("audit", "--format", "json", cwd=repo.path).out)["uncovered"] == []


def test_audit_of_several(repo: Repo, make_repo: Callable[..., Repo], run: Run) -> None:
    other = make_repo("other")
    other.commit(".env", "A=1\n")
    document = json.loads(
        run("audit", "--format", "json", str(repo.path), str(other.path), cwd=repo.path).out
    )
    jsonschema.validate(document, SCHEMA)
    assert {gap["repository"] for gap in document["uncovered"]} == {str(repo.path), str(other.path)}


def test_doctor_counts(repo: Repo, run: Run) -> None:
    checks = {
        check["name"]: check for check in json.loads(run("doctor", "--format", "json", cwd=repo.path).out)
    }
    assert checks["gitignore"]["state"] == "warn"
    assert "required paths open" in checks["gitignore"]["what"]
    bash(repo, checks["gitignore"]["mend"])
    checks = {
        check["name"]: check for check in json.loads(run("doctor", "--format", "json", cwd=repo.path).out)
    }
    assert checks["gitignore"]["state"] == "ok"


# --- hostile and huge ---------------------------------------------------------------------------------------------


def test_a_gitignore_without_end(run: Run, repo: Repo) -> None:
    path = repo.write(".gitignore", "")
    os.truncate(path, 8 << 20)
    outcome = run("gitignore", "--format", "json", cwd=repo.path)
    assert outcome.code == 1
    document = json.loads(outcome.out)
    assert not document["complete"]
    assert "larger than" in document["skipped"][0]["reason"]


IMPATIENT = """
import sys
from fluxguard.repo import ignore
assert ignore.PATIENCE <= 60
ignore.PATIENCE = 1
from fluxguard.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_patterns_made_to_take_for_ever(repo: Repo) -> None:
    repo.write(".gitignore", ("*a" * 40 + "b\n") * 2000)
    repo.write("conf/" + "a" * 200 + ".key", "k")
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, "gitignore", "--no-history"],
        cwd=repo.path, env=repo.env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert (
        "git took more than 1 seconds for the patterns of .gitignore, and was stopped"
        in done.stdout + done.stderr
    )


def test_nothing_of_the_repository_runs(run: Run, repo: Repo) -> None:
    touched = repo.path.parent / "touched"
    script = repo.write("evil", f"#!/bin/sh\ntouch {touched}\n")
    script.chmod(0o755)
    for name in (
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "diff.external",
        "filter.x.clean",
        "filter.x.smudge",
    ):
        repo.git("config", name, str(script))
    repo.write(".gitattributes", "* filter=x\n")
    repo.write(".git/hooks/post-index-change", script.read_bytes()).chmod(0o755)
    run("gitignore", "--fix", cwd=repo.path)
    assert not touched.exists()


def test_nothing_is_left_in_the_temporary_folder(run: Run, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    run("gitignore", "--fix", cwd=repo.path, env={"TMPDIR": str(tmp_path / "tmp")})
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sha256(make_repo: Callable[..., Repo], run: Run) -> None:
    repo = make_repo("sha256", "--object-format=sha256")
    repo.stage(".gitignore", ".env\n")
    repo.commit("secrets.yaml", "a: 1\n")
    found = Ask(run, repo)()
    assert not any("not committed" in note for note in found["notes"])
    assert any(gap["kind"] == "tracked" for gap in found["uncovered"])


@pytest.mark.slow
def test_a_hundred_thousand_files(run: Run, repo: Repo) -> None:
    for folder in range(200):
        base = repo.path / f"d{folder}"
        base.mkdir()
        for number in range(500):
            (base / f"f{number}.py").touch()
    (repo.path / "d7" / ".env").write_text("A=1\n")
    started = time.monotonic()
    outcome = run("gitignore", "--format", "json", cwd=repo.path)
    assert outcome.code == 1
    assert '"d7/.env"' in outcome.out
    assert time.monotonic() - started < 20
