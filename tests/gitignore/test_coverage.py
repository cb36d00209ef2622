"""What counts as covered, sentence by sentence; a real clone is asked wherever there is an answer to compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Mint, Repo, Run

from .conftest import ADVISED, FREE, REQUIRED, Ask, Oracle, commit_all

Clone = Callable[[Repo], Oracle]


def test_a_fresh_repository_leaves_all_of_it_open(ask: Ask) -> None:
    gaps = ask.gaps(code=1)
    for name in (
        ".env",
        ".fluxloop/.env",
        "server.key",
        "secrets.yaml",
        ".fluxloop/auth.json",
        ".netrc",
        "id_rsa",
    ):
        assert (gaps[name]["kind"], gaps[name]["level"]) == ("expected", "required")
    for name in (".npmrc", ".fluxloop/config.yaml", ".fluxloop/results/run-20260131-100000/errors.json"):
        assert gaps[name]["level"] == "advised"
    assert not any(".env.example" in name or ".vscode" in name for name in gaps)


def test_the_documentations_lines(ask: Ask, repo: Repo) -> None:
    """`.env`, `.fluxloop/.env`, `*.key`, `secrets.yaml`: what they cover, and what they don't."""
    repo.commit(".gitignore", ".env\n.fluxloop/.env\n*.key\nsecrets.yaml\n")
    gaps = ask.gaps(code=1)
    assert not {
        ".env",
        ".fluxloop/.env",
        ".fluxloop/scenarios/my-scenario/.env",
        "server.key",
        "secrets.yaml",
    } & set(gaps)
    assert {".env.local", ".fluxloop/auth.json"} <= set(gaps)


def test_fluxloops_line_alone_is_anchored(ask: Ask, repo: Repo) -> None:
    repo.write("pkg/package.json", "{}")
    repo.commit(".gitignore", ".fluxloop/.env\n")
    repo.git("add", ".")
    gaps = ask.gaps(code=1)
    assert ".fluxloop/.env" not in gaps
    assert gaps["pkg/.fluxloop/.env"]["entry"] == "fluxloop-env"
    assert ".fluxloop/scenarios/my-scenario/.env" in gaps


def test_an_anchored_line_covers_the_top_alone(ask: Ask, repo: Repo, clone: Clone) -> None:
    repo.write("services/api/main.py", "pass\n")
    repo.write(".gitignore", "/.env\n/.env.*\n/.fluxloop/\n")
    commit_all(repo)
    gaps = ask.gaps(code=1)
    assert ".env" not in gaps
    assert {"services/.env", "services/api/.env", "services/api/.fluxloop/.env"} <= set(gaps)
    assert clone(repo).ignored([".env", "services/api/.env"]) == {".env"}


def test_a_negation_opens_it_again(ask: Ask, repo: Repo, clone: Clone) -> None:
    repo.write("pkg/app.py", "pass\n")
    repo.write(".gitignore", ".env\n.env.*\n!/pkg/.env\n")
    commit_all(repo)
    gap = ask.gaps(code=1)["pkg/.env"]
    assert gap["by"] == {"file": ".gitignore", "line": 3, "pattern": "!/pkg/.env"}
    assert "pkg/.env" not in clone(repo).ignored(["pkg/.env"])


def test_a_nested_file_opens_it_again(ask: Ask, repo: Repo, clone: Clone) -> None:
    repo.write("pkg/deep/app.py", "pass\n")
    repo.write(".gitignore", ".env\n")
    repo.write("pkg/.gitignore", "# ours\n!.env\n")
    commit_all(repo)
    gaps = ask.gaps(code=1)
    assert gaps["pkg/deep/.env"]["by"] == {"file": "pkg/.gitignore", "line": 2, "pattern": "!.env"}
    assert clone(repo).ignored(["pkg/deep/.env", ".env"]) == {".env"}


def test_a_negation_below_an_ignored_folder_opens_nothing(ask: Ask, repo: Repo, clone: Clone) -> None:
    repo.write(".gitignore", ".fluxloop/\n!.fluxloop/.env\n")
    commit_all(repo)
    assert ".fluxloop/.env" not in ask.gaps()
    assert clone(repo).ignored([".fluxloop/.env"]) == {".fluxloop/.env"}


def test_a_nested_file_covers_its_folder(ask: Ask, repo: Repo) -> None:
    repo.write("pkg/app.py", "pass\n")
    repo.write("pkg/.gitignore", ".env\n")
    commit_all(repo)
    gaps = ask.gaps(code=1)
    assert ".env" in gaps
    assert "pkg/.env" not in gaps


def test_case(ask: Ask, repo: Repo) -> None:
    """What covers it on a Mac only does not cover it, and neither does what a Mac opens again."""
    repo.commit(".gitignore", ".ENV\n*.key\n!*.KEY\n")
    gaps = ask.gaps(code=1)
    assert ".env" in gaps
    assert gaps["server.key"]["by"]["pattern"] == "!*.KEY"
    repo.git("config", "core.ignoreCase", "true")
    assert ".env" in ask.gaps(code=1)
    repo.write("conf/.Env", "A=1\n")
    assert ask.gaps(code=1)["conf/.Env"]["kind"] == "present"


def test_what_is_there_at_any_depth(ask: Ask, repo: Repo) -> None:
    repo.write("a/b/c/d/.env.staging", "A=1\n")
    repo.write("a/b/c/d/tls.key", "k\n")
    repo.write("a/.env.example", "A=\n")
    gaps = ask.gaps(code=1)
    assert gaps["a/b/c/d/.env.staging"]["kind"] == "present"
    assert gaps["a/b/c/d/tls.key"]["kind"] == "present"
    assert "a/.env.example" not in gaps


@pytest.mark.parametrize("how", ["info", "global", "xdg", "ignored", "ignored by hand"])
def test_what_a_clone_lacks_does_not_cover(ask: Ask, repo: Repo, clone: Clone, how: str) -> None:
    if how == "info":
        repo.write(".git/info/exclude", ".env\n")
    elif how == "global":
        repo.write("../mine", ".env\n")
        repo.git("config", "core.excludesFile", str(repo.path.parent / "mine"))
    elif how == "xdg":
        repo.write("../home/.config/git/ignore", ".env\n")
    elif how == "ignored":
        repo.write(".gitignore", ".env\n.gitignore\n")
    else:
        repo.write(".git/info/exclude", ".gitignore\n")
        repo.write(".gitignore", ".env\n")
    commit_all(repo)
    repo.write(".env", "A=1\n")
    assert b".env" not in repo.git("status", "--porcelain", "--", ".env"), "git ignores it here"
    found = ask(code=1)
    gap = next(gap for gap in found["uncovered"] if {"path": ".env"} in gap["paths"])
    assert gap["kind"] == "present"
    assert gap["personal"]
    assert clone(repo).ignored([".env"]) == set()
    if "ignored" in how:
        assert any(".gitignore does not count: it is ignored itself" in note for note in found["notes"])


def test_lines_that_are_not_committed_yet(ask: Ask, repo: Repo) -> None:
    repo.write(".gitignore", ".env\n.env.*\n")
    found = ask(code=1)
    assert not any({"path": ".env"} in gap["paths"] for gap in found["uncovered"])
    assert any("not committed yet" in note for note in found["notes"])
    commit_all(repo)
    assert not any("not committed yet" in note for note in ask()["notes"])
    repo.write(".gitignore", ".env\r\n.env.*\r\n")
    assert not any("not committed yet" in note for note in ask()["notes"]), "line ends are no change"


def test_a_changed_file_that_git_was_told_not_to_look_at(ask: Ask, repo: Repo) -> None:
    repo.commit(".gitignore", "*.log\n")
    repo.git("update-index", "--assume-unchanged", ".gitignore")
    repo.write(".gitignore", ".env\n")
    assert ".env" in ask.gaps(code=1)
    repo.git("update-index", "--no-assume-unchanged", ".gitignore")
    assert ".env" not in ask.gaps(code=1)
    repo.git("update-index", "--skip-worktree", ".gitignore")
    assert ".env" in ask.gaps(code=1)


def test_a_sparse_checkout(ask: Ask, repo: Repo) -> None:
    repo.write("out/.gitignore", "!.env\n")
    repo.write("out/app.py", "pass\n")
    repo.write("in/app.py", "pass\n")
    repo.write(".gitignore", ".env\n")
    commit_all(repo)
    for options in ([], ["--sparse-index"]):
        repo.git("sparse-checkout", "set", "--cone", *options, "in")
        assert not (repo.path / "out").exists()
        assert ask.gaps(code=1)["out/.env"]["by"]["file"] == "out/.gitignore"


def test_a_symbolic_link_is_no_gitignore(ask: Ask, repo: Repo, clone: Clone) -> None:
    repo.write("lines", ".env\n")
    (repo.path / ".gitignore").symlink_to("lines")
    commit_all(repo)
    found = ask(code=1)
    assert any({"path": ".env"} in gap["paths"] for gap in found["uncovered"])
    assert any("symbolic link" in note for note in found["notes"])
    assert clone(repo).ignored([".env"]) == set()


def test_example_files_are_free(ask: Ask, repo: Repo) -> None:
    names = (
        ".env.example",
        ".env.sample",
        "a/.env.template",
        ".env.production.example",
        ".env.dist",
        ".env.vault",
    )
    for name in names:
        repo.stage(name, "A=\n")
    assert not set(names) & set(ask.gaps())


def test_packages_of_a_monorepo(ask: Ask, repo: Repo) -> None:
    for manifest in ("web/package.json", "api/pyproject.toml", "x/y/go.mod"):
        repo.write(manifest, "{}")
    repo.write(".gitignore", "/*.key\n/.npmrc\n.env*\n")
    commit_all(repo)
    gaps = ask.gaps(code=1)
    assert {"web/server.key", "api/server.key", "x/y/server.key", "web/.npmrc"} <= set(gaps)
    assert "server.key" not in gaps


def test_folders_that_fluxloop_made(ask: Ask, repo: Repo) -> None:
    """A .fluxloop folder anywhere: what will be written beside its files is asked for, and what is there is found."""
    repo.write(".gitignore", "/.env\n/.fluxloop\n")
    commit_all(repo)
    repo.write("svc/.fluxloop/project.json", "{}")
    repo.write("svc/.fluxloop/scenarios/pay/.env", "A=1\n")
    gaps = ask.gaps(code=1)
    assert gaps["svc/.fluxloop/scenarios/pay/.env"]["kind"] == "present"
    assert gaps["svc/.fluxloop/auth.json"]["kind"] == "expected"
    assert gaps["svc/.fluxloop/.env"]["kind"] == "expected"


def test_settings_of_the_editor_only_with_a_key(ask: Ask, repo: Repo, mint: Mint) -> None:
    repo.write(".vscode/settings.json", '{"editor.tabSize": 2}')
    assert ".vscode/settings.json" not in ask.gaps()
    repo.write(".vscode/settings.json", f'{{"fluxloop.apiKey": "{mint.key()}"}}')
    gap = ask.gaps(code=1)[".vscode/settings.json"]
    assert (gap["kind"], gap["level"]) == ("present", "required")
    repo.git("add", ".vscode")
    assert ask.gaps(code=1)[".vscode/settings.json"]["kind"] == "staged"
    repo.write(".vscode/settings.json", "{}")
    assert ask.gaps(code=1)[".vscode/settings.json"]["kind"] == "staged", "what is staged holds it still"


@pytest.mark.parametrize(
    ("name", "harmless", "harmful"),
    [
        (
            ".npmrc",
            "registry=https://example.org\n//x/:_authToken=${NPM_TOKEN}\n",
            "//x/:_authToken=abcdef\n",
        ),
        ("tls.pem", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN RSA " + "PRIVATE KEY-----\n"),
        (".fluxloop/config.yaml", "api_key: ${FLUXLOOP_API_KEY}\n", "api_key: KEY\n"),
        ("deploy/prod.env", "PORT=80\nAPI_KEY=${KEY}\n", "API_KEY=x8s7d6f5g4h3\n"),
        (".fluxloop/results/r/errors.json", None, '{"stderr": "KEY"}'),
    ],
)
def test_what_stands_in_a_file_decides(
    ask: Ask, repo: Repo, mint: Mint, name: str, harmless: str | None, harmful: str
) -> None:
    if harmless is not None:
        repo.stage(name, harmless)
        assert name not in ask.gaps()
    repo.stage(name, harmful.replace("KEY", mint.key()) if "PRIVATE" not in harmful else harmful)
    gap = ask.gaps(code=1)[name]
    assert (gap["kind"], gap["level"]) == ("staged", "required")


def test_a_virtual_environment_is_no_finding(ask: Ask, repo: Repo) -> None:
    """What a tool made and ignores by itself is the same for everybody; another folder's own .gitignore is not."""
    repo.write(".venv/pyvenv.cfg", "home=/usr\n")
    repo.write(".venv/.gitignore", "*\n")
    repo.write(".venv/lib/test.key", "k\n")
    repo.write("private/.gitignore", "*\n")
    repo.write("private/prod.key", "k\n")
    gaps = ask.gaps(code=1)
    assert ".venv/lib/test.key" not in gaps
    assert gaps["private/prod.key"]["personal"]


def test_fluxloops_own_gitignore_that_nobody_commits(ask: Ask, repo: Repo) -> None:
    repo.write(".fluxloop/.gitignore", "*\n")
    repo.write(".fluxloop/.env", "A=1\n")
    assert ask.gaps(code=1)[".fluxloop/.env"]["personal"]


def test_a_gitignore_that_nobody_commits_opens_it_here(ask: Ask, run: Run, repo: Repo) -> None:
    """A clone would ignore it, and `git add .` on this machine takes it along all the same."""
    run("gitignore", "--fix", cwd=repo.path)
    commit_all(repo)
    repo.write("pkg/.gitignore", "*\n!.env\n")
    repo.write("pkg/.env", "A=1\n")
    gap = ask.gaps(code=1)["pkg/.env"]
    assert gap["by"] == {"file": "pkg/.gitignore", "line": 2, "pattern": "!.env"}
    outcome = run("gitignore", "--fix", cwd=repo.path)
    assert outcome.code == 1
    assert "pkg/.gitignore: it is ignored itself" in outcome.out


def test_the_text(run: Run, repo: Repo) -> None:
    repo.write(".gitignore", ".env\n!/pkg/.env\n")
    repo.write("pkg/app.py", "pass\n")
    commit_all(repo)
    repo.commit("conf/secrets.yaml", "a: 1\n")
    outcome = run("gitignore", cwd=repo.path)
    assert outcome.code == 1
    assert outcome.out.startswith("fluxguard: .gitignore leaves ")
    assert "git tracks 1 secret file" in " ".join(outcome.out.split())
    assert "opened again by .gitignore:2: !/pkg/.env" in outcome.out
    assert "       fluxguard gitignore --fix\n" in outcome.out
    assert "       git rm --cached -- conf/secrets.yaml\n" in outcome.out
    assert not [line for line in outcome.out.splitlines() if len(line) > 80]
    assert run("gitignore", "--quiet", cwd=repo.path).out.count("What to do") == 0


def test_all_covered(run: Run, ask: Ask, repo: Repo, clone: Clone) -> None:
    run("gitignore", "--fix", cwd=repo.path)
    commit_all(repo)
    outcome = run("gitignore", cwd=repo.path)
    assert outcome.code == 0
    assert outcome.out.startswith("fluxguard: .gitignore covers every path that has to be covered")
    assert ask()["uncovered"] == []
    assert run("gitignore", "--quiet", cwd=repo.path).text == ""
    assert clone(repo).ignored([*REQUIRED, *ADVISED, *FREE]) == {*REQUIRED, *ADVISED}


def test_from_a_folder_below_and_by_name(ask: Ask, repo: Repo, tmp_path: Path) -> None:
    repo.write("a/b/x", "")
    repo.write("a/.env", "A=1\n")
    repo.commit("c/secrets.yaml", "a: 1\n")
    for cwd, name in (
        (repo.path / "a" / "b", "."),
        (tmp_path, "repo"),
        (tmp_path, "repo/a/b"),
        (tmp_path, str(repo.path)),
    ):
        found = ask.gaps(name, code=1, cwd=cwd)
        assert found["a/.env"]["kind"] == "present"
        command = found["c/secrets.yaml"]["commands"][0]
        assert command.startswith("git -C ")
        assert command.endswith(" rm --cached -- c/secrets.yaml")


def test_no_repository(run: Run, tmp_path: Path) -> None:
    outcome = run("gitignore", cwd=tmp_path)
    assert outcome.code == 3
    assert "Name a repository: fluxguard gitignore PATH" in outcome.err
    assert run("gitignore", "nowhere", cwd=tmp_path).code == 3


def test_a_bare_repository(ask: Ask, run: Run, repo: Repo, tmp_path: Path) -> None:
    repo.write(".gitignore", ".env\n.env.*\n")
    repo.write("pkg/.gitignore", "!.env\n")
    repo.write("tls.key", "k\n")
    commit_all(repo)
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    gaps = ask.gaps("bare.git", code=1, cwd=tmp_path)
    assert gaps["tls.key"]["kind"] == "tracked"
    assert gaps["pkg/.env"]["by"]["file"] == "pkg/.gitignore"
    assert ".env" not in gaps
    assert "Mend it in a clone" in run("gitignore", "bare.git", cwd=tmp_path).out
    outcome = run("gitignore", "--fix", "bare.git", cwd=tmp_path)
    assert outcome.code == 3
    assert "is bare" in outcome.err
