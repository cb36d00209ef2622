"""What the hooks of `fluxguard install` cost beside a git without hooks: a commit, a commit that catches up, a rebase, a fetch.

Each way has a repository of its own, and they take turns.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from programs import arguments, git, installed, repository
from sidebyside import environment

_WHO = {f"GIT_{role}_{what}": "bench" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
WAYS: dict[str, tuple[str, ...] | None] = {
    "no hooks": None,
    "install": ("install",),
    "install, no notes kept": ("install",),
    "install --reference-transaction": ("install", "--reference-transaction"),
}
REFS = 200
PICKS = 20


def main() -> None:
    """Measures and prints."""
    args = arguments(__doc__, rounds=30).parse_args()
    programs = installed(args.home)
    folders = {}
    for name, words in WAYS.items():
        folders[name] = folder = repository(programs.home / f"guards-{len(folders)}")
        if words:
            subprocess.run(
                [str(programs.fluxguard), *words], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
        if name.endswith("kept"):
            for hook in ("post-commit", "post-merge", "post-applypatch"):
                (folder / ".git" / "hooks" / hook).unlink()
            for file in (folder / ".git" / "fluxguard").iterdir():
                file.unlink()
            hook = folder / ".git" / "hooks" / "pre-commit"
            hook.write_text(hook.read_text().replace("export FLUXGUARD_GIT", "unset FLUXGUARD_GIT"))
    for what, prepare, act in (
        ("A commit of one file", stage, commit),
        ("A commit that catches up on one commit", catch, commit),
        (f"A rebase of {PICKS} commits", branch, rebase),
        (f"A fetch of {REFS} new branches", upstream, fetch),
    ):
        rounds = args.rounds if act is commit else max(3, args.rounds // 8)
        print(what)
        for name, (wall, cpu) in measured(folders, prepare, act, rounds).items():
            print(f"  {name:<34}{wall * 1e3:>9.1f} ms wall{cpu * 1e3:>9.1f} ms cpu")


def measured(
    folders: dict[str, Path],
    prepare: Callable[[Path, int], None],
    act: Callable[[Path, int], None],
    rounds: int,
) -> dict[str, tuple[float, float]]:
    """Medians of wall and processor seconds, in turn."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in folders}
    for number in range(rounds):
        for name, folder in folders.items():
            prepare(folder, number)
            before, started = used(), time.perf_counter()
            act(folder, number)
            taken[name].append((time.perf_counter() - started, used() - before))
    return {
        name: (statistics.median(wall for wall, _ in all), statistics.median(cpu for _, cpu in all))
        for name, all in taken.items()
    }


def used() -> float:
    """Processor seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def call(folder: Path, *words: str) -> None:
    """git with hooks, quietly."""
    env = {**environment(), **_WHO, "PATH": os.environ["PATH"]}
    subprocess.run(
        ["git", *words], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def stage(folder: Path, number: int) -> None:
    """One small file in the index."""
    (folder / "app.py").write_text(f"print({time.perf_counter_ns()})\n")
    git(folder, "add", "app.py")


def catch(folder: Path, number: int) -> None:
    """A commit behind the hooks' back, and a small file in the index."""
    (folder / "quick.py").write_text(f"print({time.perf_counter_ns()})\n")
    git(folder, "add", "quick.py")
    call(folder, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "quick")
    stage(folder, number)


def commit(folder: Path, number: int) -> None:
    """The commit."""
    call(folder, "commit", "-q", "-m", "change")


def branch(folder: Path, number: int) -> None:
    """Commits on a branch, and one on the trunk."""
    quiet = ("-c", "core.hooksPath=/dev/null")
    call(folder, *quiet, "checkout", "-q", "-B", "trunk")
    call(folder, *quiet, "checkout", "-q", "-B", "work")
    for pick in range(PICKS):
        (folder / f"pick{pick}.txt").write_text(f"{time.perf_counter_ns()}\n")
        git(folder, "add", ".")
        call(folder, *quiet, "commit", "-q", "-m", "pick")
    call(folder, *quiet, "checkout", "-q", "trunk")
    call(folder, *quiet, "commit", "-q", "--allow-empty", "-m", "ahead")


def rebase(folder: Path, number: int) -> None:
    """The rebase."""
    call(folder, "rebase", "-q", "trunk", "work")


def upstream(folder: Path, number: int) -> None:
    """A remote with so many branches."""
    other = folder.with_name(folder.name + "-upstream")
    if not other.exists():
        git(folder, "init", "-q", "--bare", str(other))
        call(folder, "-c", "core.hooksPath=/dev/null", "push", "-q", str(other), "HEAD:refs/heads/b0")
        lines = "".join(f"create refs/heads/b{one} refs/heads/b0\n" for one in range(1, REFS))
        subprocess.run(["git", "-C", str(other), "update-ref", "--stdin"], input=lines.encode(), check=True)
    refs = subprocess.run(["git", "-C", str(folder), "for-each-ref", "--format=delete %(refname)", "refs/remotes/up"],
                          check=True, capture_output=True).stdout  # fmt: skip
    subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-C", str(folder), "update-ref", "--stdin"],
        input=refs,
        check=True,
    )


def fetch(folder: Path, number: int) -> None:
    """The fetch."""
    other = folder.with_name(folder.name + "-upstream")
    call(folder, "fetch", "-q", str(other), "+refs/heads/*:refs/remotes/up/*")


if __name__ == "__main__":
    main()
