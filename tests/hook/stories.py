"""Every way to commit, each as a small story: it prepares a repository that holds `text` where a key may stand.

A story returns the git command that commits. It is told twice: with a key, which has to be refused, and with
harmless words in the key's place, which have to pass.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from conftest import Repo

Command = tuple[str | bytes, ...]
COMMIT: Command = ("commit", "-q", "-m", "change")


@dataclass
class Scene:
    """Where a story plays. at, env, stdin: how its command is to be run, where that is not the usual way."""

    repo: Repo
    key: str
    at: Path
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""

    @property
    def line(self) -> str:
        """A line with the key in it."""
        return f"TOKEN={self.key}\n"

    def quietly(self, *arguments: str) -> None:
        """git without hooks."""
        self.repo.git("-c", "core.hooksPath=/dev/null", *arguments)


Story = Callable[[Scene], Command]
STORIES: dict[str, Story] = {}
GIT_ALONE: set[str] = set()  # what the framework has no part in: contents alone, or with its reason beside it
BASES: dict[str, tuple[str, ...]] = {}  # options for `git init`


def story(name: str, framework: bool = True, init: tuple[str, ...] = ()) -> Callable[[Story], Story]:
    """Adds a story to the list."""

    def add(tell: Story) -> Story:
        STORIES[name] = tell
        BASES[name] = init
        if not framework:
            GIT_ALONE.add(name)
        return tell

    return add


@story("add and commit")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("first commit")
def _(scene: Scene) -> Command:
    scene.repo.git("checkout", "-q", "--orphan", "fresh")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("commit -a")
def _(scene: Scene) -> Command:
    scene.repo.write("README", scene.line)
    return ("commit", "-q", "-a", "-m", "change")


@story("commit -p")
def _(scene: Scene) -> Command:
    scene.repo.write("README", "A project.\n" + scene.line)
    scene.stdin = b"y\n"
    return ("commit", "-q", "-p", "-m", "change")


@story("commit -- path")
def _(scene: Scene) -> Command:
    scene.repo.write("README", scene.line)
    return ("commit", "-q", "-m", "change", "--", "README")


@story("commit --include path")
def _(scene: Scene) -> Command:
    scene.repo.stage("other", "words\n")
    scene.repo.write("README", scene.line)
    return ("commit", "-q", "-m", "change", "--include", "README")


@story("commit --amend")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    return ("commit", "-q", "--amend", "--no-edit")


@story("amend of the first commit")
def _(scene: Scene) -> Command:
    scene.repo.stage("README", scene.line)
    return ("commit", "-q", "--amend", "-m", "start again")


@story("commit --allow-empty on a branch named so")
def _(scene: Scene) -> Command:
    scene.repo.git("checkout", "-q", "-b", f"fix/{scene.key.replace(' ', '-')}")
    return ("commit", "-q", "--allow-empty", "-m", "change")


@story("staged, then cleaned in the working tree")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    scene.repo.write("app.env", "TOKEN=\n")
    return COMMIT


@story("staged, then removed from the working tree")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    (scene.repo.path / "app.env").unlink()
    return COMMIT


@story("rename with edits")
def _(scene: Scene) -> Command:
    scene.repo.commit("long.txt", "".join(f"line {number}\n" for number in range(60)))
    scene.repo.git("mv", "long.txt", "moved.txt")
    scene.repo.stage("moved.txt", "".join(f"line {number}\n" for number in range(60)) + scene.line)
    return COMMIT


@story("copy of a file that holds it")
def _(scene: Scene) -> Command:
    scene.repo.commit("first.env", scene.line)
    scene.repo.stage("second.env", scene.line)
    return COMMIT


@story("typechange to a symbolic link")
def _(scene: Scene) -> Command:
    readme = scene.repo.path / "README"
    readme.unlink()
    readme.symlink_to(scene.key)
    scene.repo.git("add", "README")
    return COMMIT


@story("new symbolic link")
def _(scene: Scene) -> Command:
    (scene.repo.path / "link").symlink_to(f"somewhere/{scene.key}")
    scene.repo.git("add", "link")
    return COMMIT


@story("link becomes a file")
def _(scene: Scene) -> Command:
    link = scene.repo.path / "link"
    link.symlink_to("README")
    scene.quietly("add", "link")
    scene.quietly("commit", "-q", "-m", "link")
    link.unlink()
    scene.repo.stage("link", scene.line)
    return COMMIT


@story("executable", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.write("run.sh", "#!/bin/sh\n" + scene.line).chmod(0o755)
    scene.repo.git("add", "run.sh")
    return COMMIT


@story("mode change with an edit")
def _(scene: Scene) -> Command:
    scene.repo.write("README", scene.line).chmod(0o755)
    scene.repo.git("add", "README")
    return COMMIT


@story("binary file", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("data.bin", b"\0\1\2\xff" * 40 + scene.line.encode() + b"\0" * 40)
    return COMMIT


@story("binary file that changes", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.commit("data.bin", b"\0\1\2\xff" * 40)
    scene.repo.stage("data.bin", b"\0\1\2\xff" * 40 + scene.line.encode())
    return COMMIT


@story("UTF-16 with a mark", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("settings.ini", ("[a]\r\n" + scene.line).encode("utf-16"))
    return COMMIT


@story("UTF-16 without a mark", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("settings.ini", ("[a]\r\n" + scene.line).encode("utf-16-be"))
    return COMMIT


@story("base64", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage(
        "secret.yaml", "data:\n  token: " + base64.b64encode(scene.line.encode()).decode() + "\n"
    )
    return COMMIT


@story("CRLF", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", "A=1\r\n" + scene.line.replace("\n", "\r\n"))
    return COMMIT


@story("no newline at the end", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line.rstrip("\n"))
    return COMMIT


@story("core.autocrlf")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "core.autocrlf", "true")
    scene.repo.stage("app.env", "A=1\r\n" + scene.line.replace("\n", "\r\n"))
    return COMMIT


@story("attribute -diff")
def _(scene: Scene) -> Command:
    scene.repo.commit(".gitattributes", "*.env -diff\n")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("attribute binary")
def _(scene: Scene) -> Command:
    scene.repo.commit(".gitattributes", "* binary\n")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("attribute working-tree-encoding")
def _(scene: Scene) -> Command:
    scene.repo.commit(".gitattributes", "*.ini text working-tree-encoding=UTF-16\n")
    scene.repo.stage("settings.ini", scene.line.encode("utf-16"))
    return COMMIT


@story("textconv")
def _(scene: Scene) -> Command:
    scene.repo.commit(".gitattributes", "*.env diff=blind\n")
    scene.repo.git("config", "diff.blind.textconv", "echo nothing #")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("clean and smudge filter")
def _(scene: Scene) -> Command:
    # What is committed comes out of the filter: here it brings the key, which the working tree does not show.
    scene.repo.write(".git/real", scene.line)
    scene.repo.commit(".gitattributes", "*.env filter=swap\n")
    scene.repo.git("config", "filter.swap.clean", "cat .git/real")
    scene.repo.git("config", "filter.swap.smudge", "echo TOKEN=")
    scene.repo.stage("app.env", "TOKEN=\n")
    return COMMIT


@story("color.ui=always")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "color.ui", "always")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("diff.noprefix")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "diff.noprefix", "true")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("diff.mnemonicPrefix")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "diff.mnemonicPrefix", "true")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("diff.external")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "diff.external", "true")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("diff.relative")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "diff.relative", "true")
    scene.repo.stage("app.env", scene.line)
    scene.at = scene.repo.path / "sub"
    scene.at.mkdir()
    return COMMIT


@story("diff.orderFile is missing", framework=False)  # the framework's own `git diff` dies of it
def _(scene: Scene) -> Command:
    scene.repo.git("config", "diff.orderFile", "no/such/file")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("diff.ignoreSubmodules and status settings")
def _(scene: Scene) -> Command:
    for name, value in (
        ("diff.ignoreSubmodules", "all"),
        ("status.showUntrackedFiles", "no"),
        ("diff.renames", "copies"),
    ):
        scene.repo.git("config", name, value)
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("core.quotePath=false")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "core.quotePath", "false")
    scene.repo.stage("schlüssel.env", scene.line)
    return COMMIT


@story("core.bigFileThreshold=1")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "core.bigFileThreshold", "1")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("core.fsmonitor names a program")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "core.fsmonitor", "true")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("core.ignoreCase and core.fileMode")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "core.ignoreCase", "true")
    scene.repo.git("config", "core.fileMode", "false")
    scene.repo.stage("APP.env", scene.line)
    return COMMIT


@story("a replace ref shows another object")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    real = scene.repo.git("rev-parse", ":app.env").decode().strip()
    other = scene.repo.git("hash-object", "-w", "--stdin", stdin=b"nothing here\n").decode().strip()
    scene.repo.git("replace", "-f", real, other)
    return COMMIT


@story("ignored file, added by force")
def _(scene: Scene) -> Command:
    scene.repo.commit(".gitignore", "*.env\n")
    scene.repo.write("app.env", scene.line)
    scene.repo.git("add", "-f", "app.env")
    return COMMIT


@story("path with a space")
def _(scene: Scene) -> Command:
    scene.repo.stage("my app.env", scene.line)
    return COMMIT


@story("path not in ASCII")
def _(scene: Scene) -> Command:
    scene.repo.stage("clé/プロ.env", scene.line)
    return COMMIT


@story("path with a tab")
def _(scene: Scene) -> Command:
    scene.repo.stage("a\tb.env", scene.line)
    return COMMIT


@story("path with a newline")
def _(scene: Scene) -> Command:
    scene.repo.stage("a\nb.env", scene.line)
    return COMMIT


@story("path with quotes and a backslash")
def _(scene: Scene) -> Command:
    scene.repo.stage("a\"b'c\\d.env", scene.line)
    return COMMIT


@story("path that looks like an option")
def _(scene: Scene) -> Command:
    scene.repo.stage("--quiet", scene.line)
    return COMMIT


@story("path that looks like a pathspec")
def _(scene: Scene) -> Command:
    scene.repo.write(":(exclude)*.env", scene.line)
    scene.repo.git("--literal-pathspecs", "add", "--", ":(exclude)*.env")
    return COMMIT


@story(
    "path not in UTF-8", framework=False
)  # the framework itself can't read such a name, and stops the commit
def _(scene: Scene) -> Command:
    scene.repo.stage(b"caf\xe9.env", scene.line)
    return COMMIT


@story("another file has a tab in its name")
def _(scene: Scene) -> Command:
    scene.repo.stage("a\tb", "words\n")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("key in a file name")
def _(scene: Scene) -> Command:
    scene.repo.stage(f"{scene.key}.txt", "words\n")
    return COMMIT


@story("key in a folder's name")
def _(scene: Scene) -> Command:
    scene.repo.stage(f"backup/{scene.key}/words.txt", "words\n")
    return COMMIT


@story("rename to a name with a key")
def _(scene: Scene) -> Command:
    scene.repo.git("mv", "README", f"README-{scene.key}")
    return COMMIT


@story("key in the branch's name")
def _(scene: Scene) -> Command:
    scene.repo.git("checkout", "-q", "-b", f"fix/{scene.key.replace(' ', '-')}")
    scene.repo.stage("words", "words\n")
    return COMMIT


@story("key in the message's subject")
def _(scene: Scene) -> Command:
    scene.repo.stage("words", "words\n")
    return ("commit", "-q", "-m", f"use {scene.key}")


@story("key in the message's body")
def _(scene: Scene) -> Command:
    scene.repo.stage("words", "words\n")
    return ("commit", "-q", "-m", "change", "-m", f"It was\n{scene.key}\nall the time.")


@story("key in a trailer")
def _(scene: Scene) -> Command:
    scene.repo.stage("words", "words\n")
    return ("commit", "-q", "-m", "change", "--trailer", f"Token: {scene.key}")


@story("key in the message of an empty commit")
def _(scene: Scene) -> Command:
    return ("commit", "-q", "--allow-empty", "-m", f"use {scene.key}")


@story("key in the message of an amended commit")
def _(scene: Scene) -> Command:
    return ("commit", "-q", "--amend", "-m", f"use {scene.key}")


@story("from a subdirectory")
def _(scene: Scene) -> Command:
    scene.repo.stage("sub/app.env", scene.line)
    scene.at = scene.repo.path / "sub"
    return COMMIT


@story("linked worktree")
def _(scene: Scene) -> Command:
    linked = scene.repo.path.parent / "linked"
    scene.quietly("worktree", "add", "-q", str(linked), "-b", "side")
    (linked / "app.env").write_text(scene.line)
    scene.repo.git("add", "app.env", cwd=linked)
    scene.at = linked
    return COMMIT


@story("inside a submodule")
def _(scene: Scene) -> Command:
    inner = _submodule(scene)
    (inner / "app.env").write_text(scene.line)
    scene.repo.git("add", "app.env", cwd=inner)
    scene.at = inner
    return COMMIT


@story("beside a submodule entry")
def _(scene: Scene) -> Command:
    _submodule(scene)
    scene.repo.stage("app.env", scene.line)
    return COMMIT


def _submodule(scene: Scene) -> Path:
    """The repository in itself: its submodule has the same hooks and configuration."""
    scene.quietly("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(scene.repo.path), "inner")
    hooks = scene.repo.git("rev-parse", "--git-path", "hooks").decode().strip()
    scene.repo.git(
        "config", "core.hooksPath", str((scene.repo.path / hooks).resolve()), cwd=scene.repo.path / "inner"
    )
    return scene.repo.path / "inner"


@story("intent-to-add stands beside it")
def _(scene: Scene) -> Command:
    scene.repo.write("later.txt", "later\n")
    scene.repo.git("add", "-N", "later.txt")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("intent-to-add, then commit -a")
def _(scene: Scene) -> Command:
    scene.repo.write("app.env", scene.line)
    scene.repo.git("add", "-N", "app.env")
    return ("commit", "-q", "-a", "-m", "change")


@story("sparse checkout")
def _(scene: Scene) -> Command:
    scene.repo.commit("far/away.txt", "words\n")
    scene.repo.git("sparse-checkout", "set", "near")
    scene.repo.stage("near/app.env", scene.line)
    return COMMIT


@story("sparse checkout: only outside of what is checked out")
def _(scene: Scene) -> Command:
    scene.repo.commit("far/away.txt", "words\n")
    scene.repo.git("sparse-checkout", "set", "near")
    id = scene.repo.git("hash-object", "-w", "--stdin", stdin=scene.line.encode()).decode().strip()
    scene.repo.git("update-index", "--skip-worktree", "--cacheinfo", f"100644,{id},far/away.txt")
    scene.repo.git("update-index", "--skip-worktree", "far/away.txt")
    return COMMIT


@story("sparse index")
def _(scene: Scene) -> Command:
    scene.repo.commit("far/away.txt", "words\n")
    scene.repo.git("sparse-checkout", "set", "--cone", "--sparse-index", "near")
    scene.repo.stage("near/app.env", scene.line)
    return COMMIT


@story("split index")
def _(scene: Scene) -> Command:
    scene.repo.git("update-index", "--split-index")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("assume-unchanged")
def _(scene: Scene) -> Command:
    scene.repo.stage("README", scene.line)
    scene.repo.git("update-index", "--assume-unchanged", "README")
    return COMMIT


@story("GIT_INDEX_FILE")
def _(scene: Scene) -> Command:
    scene.env["GIT_INDEX_FILE"] = str(scene.repo.path / ".git" / "other-index")
    scene.repo.git("read-tree", "HEAD", **scene.env)
    scene.repo.write("app.env", scene.line)
    scene.repo.git("add", "app.env", **scene.env)
    return COMMIT


@story("GIT_DIR and GIT_WORK_TREE")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    scene.env = {"GIT_DIR": str(scene.repo.path / ".git"), "GIT_WORK_TREE": str(scene.repo.path)}
    return COMMIT


@story("detached HEAD")
def _(scene: Scene) -> Command:
    scene.repo.git("checkout", "-q", "--detach")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("HEAD is a symbolic link")
def _(scene: Scene) -> Command:
    scene.repo.git("config", "core.preferSymlinkRefs", "true")
    scene.repo.git("checkout", "-q", "-b", f"fix/{scene.key.replace(' ', '-')}")
    scene.repo.stage("words", "words\n")
    return COMMIT


@story("SHA-256 repository", init=("--object-format=sha256",))
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("objects in packs and alternates")
def _(scene: Scene) -> Command:
    scene.repo.stage("app.env", scene.line)
    scene.repo.git("repack", "-q", "-a", "-d", "--keep-unreachable")
    store = scene.repo.path / ".git" / "objects"
    elsewhere = scene.repo.path.parent / "store"
    store.rename(elsewhere)
    (store / "info").mkdir(parents=True)
    (store / "info" / "alternates").write_text(f"{elsewhere}\n")
    return COMMIT


@story("partial clone")
def _(scene: Scene) -> Command:
    origin = scene.repo.path.parent / "origin.git"
    scene.quietly("config", "uploadpack.allowFilter", "true")
    scene.quietly("clone", "-q", "--bare", ".", str(origin))
    scene.quietly("fetch", "-q", "--filter=blob:none", f"file://{origin}", "main")
    scene.repo.git("remote", "add", "origin", f"file://{origin}")
    scene.repo.git("config", "remote.origin.promisor", "true")
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("among many files")
def _(scene: Scene) -> Command:
    for number in range(300):
        scene.repo.write(f"many/{number}.txt", f"file {number}\n")
    scene.repo.write("many/150.txt", scene.line)
    scene.repo.git("add", "many")
    return COMMIT


@story("far down in a long file", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("long.txt", "words and words\n" * 200_000 + scene.line)
    return COMMIT


@story("beside a file of 40 MB", framework=False)
def _(scene: Scene) -> Command:
    scene.repo.stage("large.bin", b"\0" * (40 << 20))
    scene.repo.stage("app.env", scene.line)
    return COMMIT


@story("clean merge brings it")
def _(scene: Scene) -> Command:
    _diverge(scene, "theirs.env", scene.line)
    return ("merge", "-q", "-m", "merge", "side")


@story("merge without fast-forward brings it")
def _(scene: Scene) -> Command:
    scene.quietly("checkout", "-q", "-b", "side")
    scene.repo.commit("theirs.env", scene.line)
    scene.quietly("checkout", "-q", "main")
    return ("merge", "-q", "--no-ff", "-m", "merge", "side")


@story("key in a merge's message")
def _(scene: Scene) -> Command:
    _diverge(scene, "theirs.txt", "words\n")
    return ("merge", "-q", "-m", f"merge {scene.key}", "side")


@story("octopus merge brings it")
def _(scene: Scene) -> Command:
    _diverge(scene, "theirs.env", scene.line)
    scene.quietly("checkout", "-q", "-b", "third", "main~1")
    scene.repo.commit("third.txt", "words\n")
    scene.quietly("checkout", "-q", "main")
    return ("merge", "-q", "-m", "merge", "side", "third")


@story("squash merge")
def _(scene: Scene) -> Command:
    _diverge(scene, "theirs.env", scene.line)
    scene.quietly("merge", "-q", "--squash", "side")
    return COMMIT


@story("typed while a conflict is resolved")
def _(scene: Scene) -> Command:
    _diverge(scene, "README", "their words\n", ours="our words\n")
    scene.repo.try_git("-c", "core.hooksPath=/dev/null", "merge", "-q", "side")
    scene.repo.stage("README", scene.line)
    return ("commit", "-q", "-m", "merge")


@story("conflict, key in a file without one")
def _(scene: Scene) -> Command:
    scene.quietly("checkout", "-q", "-b", "side")
    scene.repo.commit("theirs.env", scene.line)
    scene.repo.commit("README", "their words\n")
    scene.quietly("checkout", "-q", "main")
    scene.repo.commit("README", "our words\n")
    scene.repo.try_git("-c", "core.hooksPath=/dev/null", "merge", "-q", "side")
    scene.repo.stage("README", "both\n")
    return ("commit", "-q", "-m", "merge")


@story("cherry-pick stops, then commit")
def _(scene: Scene) -> Command:
    _diverge(scene, "README", "their words\n", ours="our words\n")
    scene.repo.try_git("-c", "core.hooksPath=/dev/null", "cherry-pick", "side")
    scene.repo.stage("README", scene.line)
    return ("commit", "-q", "-m", "picked")


@story("revert -n, then commit")
def _(scene: Scene) -> Command:
    scene.repo.commit("app.env", scene.line)
    scene.repo.commit("app.env", "TOKEN=\n")
    scene.quietly("revert", "-n", "HEAD")
    return COMMIT


@story("git am", framework=False)  # the framework has no pre-applypatch
def _(scene: Scene) -> Command:
    return _patch(scene, "app.env", scene.line, "change")


@story("key in the message of git am", framework=False)
def _(scene: Scene) -> Command:
    return _patch(scene, "words", "words\n", f"use {scene.key}")


def _patch(scene: Scene, name: str, content: str, message: str) -> Command:
    scene.repo.commit(name, content, message)
    scene.stdin = scene.repo.git("format-patch", "-1", "--stdout")
    scene.quietly("reset", "-q", "--hard", "HEAD~1")
    return ("am", "-q")


def _diverge(scene: Scene, name: str, theirs: str, ours: str = "") -> None:
    """Two branches from one commit: `side` with their file, and `main`, checked out, with ours."""
    scene.quietly("checkout", "-q", "-b", "side")
    scene.repo.commit(name, theirs)
    scene.quietly("checkout", "-q", "main")
    scene.repo.commit(name if ours else "ours.txt", ours or "words\n")


def attempt(scene: Scene, command: Command) -> subprocess.CompletedProcess[bytes]:
    """Runs the story's command, hooks and all."""
    return scene.repo.try_git(*command, stdin=scene.stdin, cwd=scene.at, **scene.env)
