"""On what occasion git is about to commit: an ordinary commit, one that reads files from disk, a merge, a patch."""

from __future__ import annotations

import os

from fluxguard.repo import run

COMMIT = "commit"
FILES = "files"  # `git commit -a`, `-i`, `-p`, `-- path`: the content comes from the files on disk, not from the index
MERGE = "merge"
PATCH = "patch"  # `git am`


def of_content() -> str:
    """The occasion on which content is looked at. Costs processes: ask only where something was found."""
    if os.path.isfile(git_path("rebase-apply/applying")):
        return PATCH
    if merged():
        return MERGE
    # Such a commit has an index of its own, which is gone once the hook refuses it.
    index = os.path.basename(os.environ.get("GIT_INDEX_FILE", ""))
    return FILES if index == "index.lock" or index.startswith("next-index-") else COMMIT


def of_message(path: str) -> str:
    """The occasion on which git hands over a message in the file at `path`."""
    name = os.path.basename(path)
    return {"final-commit": PATCH, "MERGE_MSG": MERGE}.get(name, COMMIT)


def merged() -> list[str]:
    """The commits that are being merged, by hex id; none where it is no merge."""
    # Before git writes MERGE_HEAD, it tells its hooks in names of variables.
    told = [name[8:] for name in os.environ if name.startswith("GITHEAD_")]
    if told and os.environ.get("GIT_REFLOG_ACTION", "").startswith(("merge", "pull")):
        return told
    try:
        with open(git_path("MERGE_HEAD"), encoding="ascii", errors="replace") as stream:
            return stream.read(1 << 16).split()
    except OSError:
        return []


def git_path(name: str) -> str:
    """Where a file of the git directory lies; "" where there is none."""
    found = run.try_output("rev-parse", "--git-path", name)
    return os.fsdecode((found or b"").rstrip(b"\n"))
