"""`fluxguard install` and `uninstall`: what was there is kept, run first, and back afterwards, byte for byte."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import COMMAND, PROJECT, Mint, Repo, Run

from guard.conftest import Guarded, snapshot

LOOKS = ("pre-commit", "pre-merge-commit", "pre-applypatch", "commit-msg", "pre-push")


def test_each_hook_refuses_a_key(guarded: Guarded, tmp_path: Path) -> None:
    repo = guarded.repo
    for name in LOOKS:
        assert os.access(guarded.hooks / name, os.X_OK)
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    assert "The commit is refused." in guarded.refused("commit", "-m", "change")
    repo.git("rm", "-q", "-f", "app.env")
    assert "the commit message" in guarded.refused(
        "commit", "--allow-empty", "-m", f"use {repo.mint.keys[0]}"
    )
    repo.git("checkout", "-q", "-b", "side")
    repo.commit("app.env", f"TOKEN={repo.mint.keys[0]}\n")
    patch = repo.git("format-patch", "-1", "--stdout")
    (tmp_path / "a.patch").write_bytes(patch)
    repo.git("checkout", "-q", "main")
    guarded.refused("merge", "--no-ff", "side")
    repo.git("merge", "--abort")
    guarded.refused("am", str(tmp_path / "a.patch"))
    repo.git("am", "--abort")
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    assert "The push is refused." in guarded.refused("push", str(tmp_path / "remote.git"), "side")
    guarded.passes("push", str(tmp_path / "remote.git"), "main")


def test_twice_changes_nothing(guarded: Guarded) -> None:
    before = snapshot(guarded.repo.path / ".git")
    outcome = guarded.run("install", cwd=guarded.repo.path)
    assert outcome.code == 0
    assert outcome.out.count("there already") == 8
    assert snapshot(guarded.repo.path / ".git") == before


def test_plan_does_nothing(bare_repo: Guarded) -> None:
    before = snapshot(bare_repo.repo.path / ".git")
    outcome = bare_repo.run("install", "--plan", cwd=bare_repo.repo.path)
    assert outcome.out.count("would be written") == 8
    assert snapshot(bare_repo.repo.path / ".git") == before


def test_uninstall_leaves_every_byte_as_it_was(bare_repo: Guarded) -> None:
    hooks = bare_repo.hooks
    hooks.mkdir(exist_ok=True)
    (hooks / "pre-commit").write_bytes(b"#!/bin/sh\nexit 0\r\n# \xff no end of line")
    (hooks / "pre-commit").chmod(0o751)
    (hooks / "commit-msg").write_text("#!/bin/sh\nnot run, for it is not executable\n")
    (hooks / "commit-msg").chmod(0o640)
    (hooks / "scripts").mkdir()
    (hooks / "scripts" / "push.sh").write_text("#!/bin/sh\nexit 0\n")
    (hooks / "scripts" / "push.sh").chmod(0o755)
    (hooks / "pre-push").symlink_to("scripts/push.sh")
    before = snapshot(bare_repo.repo.path / ".git")
    times = {path: path.lstat().st_mtime_ns for path in hooks.rglob("*")}
    assert bare_repo.run("install", cwd=bare_repo.repo.path).code == 0
    assert snapshot(bare_repo.repo.path / ".git") != before
    assert bare_repo.run("uninstall", cwd=bare_repo.repo.path).code == 0
    assert snapshot(bare_repo.repo.path / ".git") == before
    assert {path: path.lstat().st_mtime_ns for path in hooks.rglob("*")} == times
    assert "There is no hook of fluxguard's here." in bare_repo.run("uninstall", cwd=bare_repo.repo.path).out


@pytest.mark.parametrize("linked", [False, True])
def test_a_hook_that_was_there_is_run_first(linked: bool, bare_repo: Guarded, tmp_path: Path) -> None:
    repo = bare_repo.repo
    log = tmp_path / "log"
    script = f'#!/bin/sh\necho "$0" "$@" >>{log}\ncat >>{log}\nexit $(cat {tmp_path}/code)\n'
    bare_repo.hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "pre-push"):
        path = bare_repo.hooks / name
        if linked:
            (tmp_path / name).write_text(script)
            (tmp_path / name).chmod(0o755)
            path.symlink_to(tmp_path / name)
        else:
            path.write_text(script)
            path.chmod(0o755)
    bare_repo.run("install", cwd=repo.path)
    (tmp_path / "code").write_text("0")
    bare_repo.commit("words.txt", "words\n")
    called = [line.rpartition("/hooks/")[2] for line in log.read_text().splitlines()]
    assert called == ["pre-commit.before-fluxguard", "commit-msg.before-fluxguard .git/COMMIT_EDITMSG"]
    log.unlink()
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    bare_repo.passes("push", f"file://{tmp_path}/remote.git", "main")
    assert f"file://{tmp_path}/remote.git file://{tmp_path}/remote.git\n" in log.read_text()
    assert f"refs/heads/main {repo.head.decode()} refs/heads/main {'0' * 40}\n" in log.read_text()
    (tmp_path / "code").write_text("7")
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    assert "fluxguard" not in bare_repo.refused("commit", "-m", "change"), "the first one has refused already"
    (tmp_path / "code").write_text("0")
    assert "The commit is refused." in bare_repo.refused("commit", "-m", "change")


def test_a_hook_without_its_executable_bit_is_not_run_for_it_was_not_before(bare_repo: Guarded) -> None:
    bare_repo.hooks.mkdir(exist_ok=True)
    (bare_repo.hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (bare_repo.hooks / "pre-commit").chmod(0o644)
    bare_repo.run("install", cwd=bare_repo.repo.path)
    bare_repo.commit("words.txt", "words\n")


# --- where the hooks go ----------------------------------------------------------------------------------------------


def test_a_linked_worktree_and_a_folder(bare_repo: Guarded, tmp_path: Path) -> None:
    repo = bare_repo.repo
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"))
    (tmp_path / "linked" / "sub").mkdir()
    assert bare_repo.run("install", cwd=tmp_path / "linked" / "sub").code == 0
    assert (bare_repo.hooks / "pre-commit").exists(), "all working trees share them"
    linked = Repo(tmp_path / "linked", repo.env, repo.mint)
    linked.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    bare_repo.refused("commit", "-m", "change", cwd=linked.path)
    linked.stage("app.env", "TOKEN=\n")
    bare_repo.passes("commit", "-m", "change", cwd=linked.path)
    assert linked.head in (bare_repo.state / "checked").read_bytes()


@pytest.mark.parametrize("value", ["tools/hooks", ".git/other hooks"])
def test_a_relative_hooks_path(value: str, bare_repo: Guarded) -> None:
    repo = bare_repo.repo
    repo.git("config", "core.hooksPath", value)
    outcome = bare_repo.run("install", cwd=repo.path)
    assert outcome.code == 0, outcome.text
    assert (repo.path / value / "pre-commit").exists()
    assert ("lie in the working tree" in outcome.out) is value.startswith("tools")
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    bare_repo.refused("commit", "-m", "change")
    (repo.path / "sub").mkdir()
    bare_repo.refused("commit", "-m", "change", cwd=repo.path / "sub")
    assert bare_repo.run("uninstall", cwd=repo.path).code == 0
    assert not (repo.path / value / "pre-commit").exists()


def test_a_hooks_path_for_all_repositories(bare_repo: Guarded, tmp_path: Path) -> None:
    repo = bare_repo.repo
    (tmp_path / "gitconfig").write_text(f"[core]\n\thooksPath = {tmp_path}/everywhere\n")
    env = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    outcome = bare_repo.run("install", cwd=repo.path, env=env)
    assert outcome.code == 2
    assert "set for all repositories (global)" in outcome.err
    assert "install --shared" in outcome.err
    assert not (tmp_path / "everywhere").exists()
    assert bare_repo.run("install", "--shared", cwd=repo.path, env=env).code == 0
    repo.stage("app.env", f"TOKEN={repo.mint.key()}\n")
    assert "The commit is refused." in bare_repo.refused("commit", "-m", "change", **env)
    assert bare_repo.run("uninstall", cwd=repo.path, env=env).code == 2
    assert bare_repo.run("uninstall", "--shared", cwd=repo.path, env=env).code == 0
    assert not list((tmp_path / "everywhere").iterdir())


@pytest.mark.parametrize("way", ["hooksPath", "link", "dots"])
def test_a_repository_that_leads_outside_of_itself(way: str, bare_repo: Guarded, tmp_path: Path) -> None:
    repo = bare_repo.repo
    victim = tmp_path / "victim"
    victim.mkdir()
    if way == "hooksPath":
        repo.git("config", "core.hooksPath", str(victim))
    elif way == "dots":
        repo.git("config", "core.hooksPath", "../victim")
    else:
        shutil.rmtree(bare_repo.hooks, ignore_errors=True)
        bare_repo.hooks.symlink_to(victim)
    outcome = bare_repo.run("install", cwd=repo.path)
    assert outcome.code == 2
    assert f"outside of it, in {victim}" in outcome.err.replace("\n  ", " ")
    assert not list(victim.iterdir())
    outcome = bare_repo.run("install", "--shared", cwd=repo.path)
    assert outcome.code == 0
    assert str(victim) in outcome.out


def test_a_git_directory_elsewhere(tmp_path: Path, environment: dict[str, str], run: Run) -> None:
    env = {**environment, "GIT_DIR": str(tmp_path / "store.git"), "GIT_WORK_TREE": str(tmp_path / "tree")}
    (tmp_path / "tree").mkdir()
    subprocess.run(["git", "init", "-q"], env=env, cwd=tmp_path, check=True)
    elsewhere = {name: env[name] for name in ("GIT_DIR", "GIT_WORK_TREE")}
    assert run("install", cwd=tmp_path / "tree", env=elsewhere).code == 0
    assert (tmp_path / "store.git" / "hooks" / "pre-commit").exists()
    (tmp_path / "tree" / "a").write_text("words\n")
    subprocess.run(["git", "add", "a"], env=env, cwd=tmp_path / "tree", check=True)
    subprocess.run(["git", "commit", "-q", "-m", "x"], env=env, cwd=tmp_path / "tree", check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], env=env, capture_output=True, check=True
    ).stdout.strip()
    assert head in (tmp_path / "store.git" / "fluxguard" / "checked").read_bytes()


def test_a_separate_git_directory_and_a_submodule(
    make_repo: Callable[..., Repo], run: Run, tmp_path: Path
) -> None:
    repo = make_repo("separate", f"--separate-git-dir={tmp_path}/store")
    assert run("install", cwd=repo.path).code == 0
    assert (tmp_path / "store" / "hooks" / "pre-push").exists()
    repo.stage("a", "words\n")
    repo.git("commit", "-q", "-m", "x")
    assert repo.head in (tmp_path / "store" / "fluxguard" / "checked").read_bytes()


def test_outside_a_repository_and_in_a_bare_one(run: Run, tmp_path: Path, repo: Repo) -> None:
    (tmp_path / "plain").mkdir()
    outcome = run("install", cwd=tmp_path / "plain")
    assert outcome.code == 3
    assert "not a git repository" in outcome.err
    repo.git("init", "-q", "--bare", str(tmp_path / "bare.git"))
    outcome = run("install", cwd=tmp_path / "bare.git")
    assert outcome.code == 2
    assert "install --server" in outcome.err


def test_a_server(bare_repo: Guarded, tmp_path: Path) -> None:
    repo, server = bare_repo.repo, tmp_path / "server.git"
    repo.git("init", "-q", "--bare", str(server))
    marker = tmp_path / "seen"
    (server / "hooks" / "pre-receive").write_text(f"#!/bin/sh\ncat >{marker}\n")
    (server / "hooks" / "pre-receive").chmod(0o755)
    assert bare_repo.run("install", "--server", str(server)).code == 0
    bare_repo.passes("push", str(server), "main")
    assert marker.read_text().endswith(" refs/heads/main\n")
    repo.commit("app.env", f"TOKEN={repo.mint.key()}\n")
    assert "Nothing of this push was accepted." in bare_repo.refused("push", str(server), "main")
    assert bare_repo.run("uninstall", str(server)).code == 0
    assert (server / "hooks" / "pre-receive").read_text().startswith("#!/bin/sh\ncat")


# --- what is not ours ------------------------------------------------------------------------------------------------


def test_what_was_changed_since_is_neither_written_nor_deleted(guarded: Guarded) -> None:
    hook = guarded.hooks / "pre-commit"
    hook.write_text(hook.read_text() + "# mine\n")
    before = snapshot(guarded.hooks)
    for command in ("install", "uninstall"):
        outcome = guarded.run(command, cwd=guarded.repo.path)
        assert outcome.code == 3
        assert "somebody has changed since" in outcome.err
        assert snapshot(guarded.hooks) == before


def test_a_hook_that_took_our_place(bare_repo: Guarded) -> None:
    bare_repo.hooks.mkdir(exist_ok=True)
    (bare_repo.hooks / "pre-commit").write_text("#!/bin/sh\n# the first\n")
    bare_repo.run("install", cwd=bare_repo.repo.path)
    (bare_repo.hooks / "pre-commit").unlink()
    (bare_repo.hooks / "pre-commit").write_text("#!/bin/sh\n# the second\n")
    before = snapshot(bare_repo.hooks)
    for command in ("install", "uninstall"):
        outcome = bare_repo.run(command, cwd=bare_repo.repo.path)
        assert outcome.code == 3
        assert "has taken the place" in outcome.err
        assert snapshot(bare_repo.hooks) == before


def test_a_hook_that_does_what_its_name_says(bare_repo: Guarded) -> None:
    bare_repo.hooks.mkdir(exist_ok=True)
    (bare_repo.hooks / "pre-push").write_text('#!/bin/sh\nexec tool "$(basename "$0")" "$@"\n')
    before = snapshot(bare_repo.repo.path / ".git")
    outcome = bare_repo.run("install", cwd=bare_repo.repo.path)
    assert outcome.code == 3
    assert 'fluxguard hook pre-push "$@"' in outcome.err
    assert snapshot(bare_repo.repo.path / ".git") == before, "all is planned before anything is done"


def test_things_that_are_no_hooks(bare_repo: Guarded) -> None:
    bare_repo.hooks.mkdir(exist_ok=True)
    (bare_repo.hooks / "pre-push").mkdir()
    outcome = bare_repo.run("install", cwd=bare_repo.repo.path)
    assert outcome.code == 3
    assert "is no file, so no hook" in outcome.err
    (bare_repo.hooks / "pre-push").rmdir()
    os.mkfifo(bare_repo.hooks / "pre-push")
    assert bare_repo.run("install", cwd=bare_repo.repo.path).code == 3


def test_the_plain_scripts_and_older_hooks_are_brought_up_to_date(bare_repo: Guarded) -> None:
    bare_repo.hooks.mkdir(exist_ok=True)
    for name in LOOKS:
        shutil.copy2(PROJECT / "hooks" / name, bare_repo.hooks / name)
    outcome = bare_repo.run("install", cwd=bare_repo.repo.path)
    assert outcome.out.count("brought up to date") == 5
    assert not list(bare_repo.hooks.glob("*.before-fluxguard"))
    from fluxguard.guard import script

    (bare_repo.hooks / "pre-commit").write_bytes(script.text("pre-commit", "/an/older/fluxguard"))
    outcome = bare_repo.run("install", cwd=bare_repo.repo.path)
    assert outcome.out.count("brought up to date") == 1


def test_our_own_scripts_are_left_as_they_are(bare_repo: Guarded) -> None:
    bare_repo.repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    before = snapshot(PROJECT / "hooks")
    outcome = bare_repo.run("install", "--shared", cwd=bare_repo.repo.path)
    assert outcome.code == 0
    assert "nothing to install" in outcome.out
    assert snapshot(PROJECT / "hooks") == before


def test_a_folder_that_may_not_be_written(bare_repo: Guarded) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    bare_repo.hooks.mkdir(exist_ok=True)
    bare_repo.hooks.chmod(0o555)
    outcome = bare_repo.run("install", cwd=bare_repo.repo.path)
    assert outcome.code == 3
    assert "it goes on from here" in outcome.err


# --- killed in the middle --------------------------------------------------------------------------------------------

STOP = """
import os, signal, sys
from fluxguard.guard import plan
left = int(sys.argv[1])
def stopping(real):
    def call(*args, **more):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call
for name in ("link", "replace", "unlink", "fsync", "open", "rename"):
    setattr(os, name, stopping(getattr(os, name)))
from fluxguard.cli import main
sys.argv = [sys.argv[3]]
raise SystemExit(main([sys.argv[0] and "COMMAND"]))
"""


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_killed_at_any_point_and_run_again(command: str, bare_repo: Guarded) -> None:
    hooks = bare_repo.hooks
    shutil.rmtree(hooks, ignore_errors=True)
    hooks.mkdir()
    for name in ("pre-commit", "pre-push"):
        (hooks / name).write_text(f"#!/bin/sh\n# {name} of somebody\nexit 0\n")
        (hooks / name).chmod(0o755)
    original = snapshot(hooks)
    bare_repo.run("install", cwd=bare_repo.repo.path)
    installed = snapshot(hooks)
    finished = False
    for steps in range(0, 200, 3):
        bare_repo.run("uninstall" if command == "install" else "install", cwd=bare_repo.repo.path)
        program = STOP.replace("COMMAND", command)
        done = subprocess.run(
            [sys.executable, "-c", program, str(steps), "-", str(COMMAND)],
            cwd=bare_repo.repo.path, env=bare_repo.repo.env, capture_output=True,
        )  # fmt: skip
        for name in ("pre-commit", "pre-push"):
            text = (hooks / name).read_text()
            assert "of somebody" in text or "fluxguard" in text, "there is no moment without a hook"
        assert bare_repo.run(command, cwd=bare_repo.repo.path).code == 0
        assert snapshot(hooks) == (installed if command == "install" else original)
        if done.returncode == 0:
            finished = True
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert finished, "the last run was not killed any more"


# --- fluxguard moves, or goes ----------------------------------------------------------------------------------------


def _path_without(folder: Path, *programs: str) -> str:
    folder.mkdir()
    for name in ("git", "sh", "cat", "env", "git-receive-pack", *programs):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


@pytest.fixture
def moved(guarded: Guarded) -> Guarded:
    """The hooks know of a place where there is no fluxguard any more."""
    from fluxguard.guard import script

    for name in LOOKS:
        (guarded.hooks / name).write_bytes(script.text(name, "/nowhere/bin/fluxguard"))
    return guarded


def test_the_recorded_place_serves_without_a_path(guarded: Guarded, tmp_path: Path) -> None:
    path = _path_without(tmp_path / "bin")
    guarded.commit("words.txt", "words\n", PATH=path)
    guarded.repo.stage("app.env", f"TOKEN={guarded.repo.mint.key()}\n")
    assert "The commit is refused." in guarded.refused("commit", "-m", "change", PATH=path)


def test_on_path(moved: Guarded) -> None:
    moved.commit("words.txt", "words\n")
    moved.repo.stage("app.env", f"TOKEN={moved.repo.mint.key()}\n")
    assert "The commit is refused." in moved.refused("commit", "-m", "change")


def test_as_a_module(moved: Guarded, tmp_path: Path) -> None:
    path = _path_without(tmp_path / "bin")
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    moved.commit("words.txt", "words\n", PATH=path)
    moved.repo.stage("app.env", f"TOKEN={moved.repo.mint.key()}\n")
    assert "The commit is refused." in moved.refused("commit", "-m", "change", PATH=path)


def test_a_fluxguard_in_the_repository_is_none(moved: Guarded, tmp_path: Path) -> None:
    moved.repo.write("fluxguard/__init__.py", "")
    moved.repo.write("fluxguard/__main__.py", f"open({str(tmp_path / 'owned')!r}, 'w')\n")
    program = moved.repo.write("fluxguard.sh", f"#!/bin/sh\ntouch {tmp_path}/owned\n")
    program.chmod(0o755)
    (moved.repo.path / "bin").mkdir()
    (moved.repo.path / "bin" / "fluxguard").symlink_to("../fluxguard.sh")
    path = _path_without(tmp_path / "bin", "python3")
    moved.repo.stage("words.txt", "words\n")
    moved.git("commit", "-m", "change", PATH=f"bin:{path}")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", LOOKS)
def test_gone(name: str, moved: Guarded, tmp_path: Path) -> None:
    path = _path_without(tmp_path / "bin")
    done = subprocess.run(
        [str(moved.hooks / name), "a", "b"], cwd=moved.repo.path, env={**moved.repo.env, "PATH": path},
        input=b"", capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"fluxguard is gone, so nothing looked for keys" in done.stderr
    assert b"/nowhere/bin/fluxguard" in done.stderr


def test_there_but_its_interpreter_is_gone(guarded: Guarded, tmp_path: Path) -> None:
    from fluxguard.guard import script

    broken = tmp_path / "fluxguard"
    broken.write_text("#!/nowhere/python3\n")
    broken.chmod(0o755)
    (guarded.hooks / "pre-commit").write_bytes(script.text("pre-commit", str(broken)))
    guarded.commit("words.txt", "words\n")
    guarded.repo.stage("more.txt", "more\n")
    text = guarded.refused("commit", "-m", "change", PATH=_path_without(tmp_path / "bin"))
    assert f"There, but does not start: {broken}" in text


def test_odd_characters_in_the_recorded_place(guarded: Guarded, tmp_path: Path) -> None:
    from fluxguard.guard import script

    folder = tmp_path / 'it\'s $(touch owned) a "folder"'
    folder.mkdir()
    (folder / "fluxguard").symlink_to(COMMAND)
    (guarded.hooks / "pre-commit").write_bytes(script.text("pre-commit", str(folder / "fluxguard")))
    guarded.commit("words.txt", "words\n", PATH=_path_without(tmp_path / "bin"))
    assert not (guarded.repo.path / "owned").exists()


# --- repositories to come --------------------------------------------------------------------------------------------


@pytest.fixture
def user(tmp_path: Path, repo: Repo) -> dict[str, str]:
    (tmp_path / "gitconfig").write_text("")
    return {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "XDG_DATA_HOME": str(tmp_path / "data")}


def test_template(bare_repo: Guarded, user: dict[str, str], tmp_path: Path) -> None:
    repo = bare_repo.repo
    before = snapshot(tmp_path / "data") if (tmp_path / "data").exists() else {}
    assert bare_repo.run("install", "--global", env=user).code == 0
    assert bare_repo.run("install", "--global", env=user).code == 0
    repo.git("clone", "-q", f"file://{repo.path}", str(tmp_path / "clone"), **user)
    repo.git("init", "-q", "-b", "main", str(tmp_path / "new"), **user)
    assert (tmp_path / "new" / ".git" / "description").exists(), "git's own template is in it, too"
    for folder in (tmp_path / "clone", tmp_path / "new"):
        other = Repo(folder, {**repo.env, **user}, repo.mint)
        other.stage("app.env", f"TOKEN={repo.mint.key()}\n")
        assert "The commit is refused." in Guarded(other, bare_repo.run).refused("commit", "-m", "change")
        other.stage("app.env", "TOKEN=\n")
        other.git("commit", "-q", "-m", "change")
        assert other.head in (folder / ".git" / "fluxguard" / "checked").read_bytes()
    assert bare_repo.run("uninstall", "--global", env=user).code == 0
    assert "templateDir" not in (tmp_path / "gitconfig").read_text()
    assert not (tmp_path / "data" / "fluxguard" / "template").exists()
    assert before == {}


@pytest.mark.parametrize("name", ["", "folder"])
def test_a_configuration_that_is_no_file_is_left_alone(
    bare_repo: Guarded, user: dict[str, str], tmp_path: Path, name: str
) -> None:
    """As with /dev/null: git would put a file in its place, and root may."""
    (tmp_path / "folder").mkdir()
    where = {**user, "GIT_CONFIG_GLOBAL": str(tmp_path / name) if name else ""}
    outcome = bare_repo.run("install", "--global", env=where)
    assert outcome.code == 2
    assert "GIT_CONFIG_GLOBAL" in outcome.err
    assert not (tmp_path / "data" / "fluxguard").exists()


def test_an_existing_template_is_kept(bare_repo: Guarded, user: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "hooks").mkdir(parents=True)
    (mine / "hooks" / "pre-commit").write_text("#!/bin/sh\nexit 0\n")
    (mine / "hooks" / "pre-commit").chmod(0o755)
    (mine / "description").write_text("mine\n")
    bare_repo.repo.git("config", "--global", "init.templateDir", str(mine), **user)
    before, configured = snapshot(mine), (tmp_path / "gitconfig").read_text()
    outcome = bare_repo.run("install", "--global", env=user)
    assert "(yours)" in outcome.out
    assert (mine / "hooks" / "pre-commit.before-fluxguard").exists()
    bare_repo.repo.git("init", "-q", str(tmp_path / "new"), **user)
    other = Repo(tmp_path / "new", {**bare_repo.repo.env, **user}, bare_repo.repo.mint)
    other.stage("app.env", f"TOKEN={bare_repo.repo.mint.key()}\n")
    Guarded(other, bare_repo.run).refused("commit", "-m", "change")
    bare_repo.run("uninstall", "--global", env=user)
    assert snapshot(mine) == before
    assert (tmp_path / "gitconfig").read_text() == configured


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_hook_that_takes_notes_starts_no_process(guarded: Guarded) -> None:
    text = (guarded.hooks / "post-commit").read_text()
    assert "$(" not in text
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(20):
        subprocess.run([str(guarded.hooks / "post-commit")], cwd=guarded.repo.path, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used / 20 < 0.01, "seconds of processor time"


def _symlink(path: Path) -> None:
    path.symlink_to("../../tool")


def _dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at all")


def _written(content: bytes, mode: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)
        path.chmod(mode)

    return write


ODD = {
    "CRLF": _written(b"#!/bin/sh\r\nexit 0\r\n", 0o755),
    "no final newline": _written(b"#!/bin/sh\nexit 0", 0o700),
    "no shebang": _written(b"exit 0\n", 0o755),
    "a byte-order mark": _written(b"\xef\xbb\xbf#!/bin/sh\nexit 0\n", 0o755),
    "empty": _written(b"", 0o755),
    "no program": _written(b"\x7fELF\0\0\xff", 0o755),
    "not executable": _written(b"#!/bin/sh\nexit 1\n", 0o644),
    "a link": _symlink,
    "a link to nowhere": _dangling,
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["a b", "new\nline", "quo'te\"$(touch owned)`"])
def test_odd_hooks_in_odd_places_come_back_as_they_were(
    name: str, make: Callable[[Path], None], tmp_path: Path, environment: dict[str, str], run: Run, mint: Mint
) -> None:
    """With ours in front they do what they did before: run, or keep git from committing, or nothing."""
    repo = Repo(tmp_path / name, environment, mint)
    repo.path.mkdir()
    repo.git("init", "-q", "-b", "main")
    hook = repo.path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    (repo.path / "tool").write_text("#!/bin/sh\nexit 0\n")
    (repo.path / "tool").chmod(0o755)
    make(hook)
    alone = repo.try_git("commit", "--allow-empty", "-q", "-m", "first").returncode
    before = snapshot(hook.parent)
    assert run("install", cwd=repo.path, env=repo.env).code == 0
    assert repo.try_git("commit", "--allow-empty", "-q", "-m", "second").returncode == alone
    assert run("uninstall", cwd=repo.path, env=repo.env).code == 0
    assert snapshot(hook.parent) == before
    assert not (repo.path / "owned").exists()
