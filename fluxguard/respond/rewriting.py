"""Runs git-filter-repo over the repository it is started in, with the key on standard input: in no argument, file or environment.

A process of its own, for git-filter-repo changes its own process: `python -m fluxguard.respond.rewriting`. Standard input: a JSON object with `key`
(hex), `blobs` (ids of blobs to be replaced whole), `cuts` (ids of those whose key stands in pieces, with their paths in hex), `deep` (texts are looked
through as those are) and `names` (hex; what became of names in an earlier run). Standard output: a JSON object with `counts` (what was replaced,
by kind) and `names`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fluxguard.respond import paths
from fluxguard.respond.cutting import Cleaner
from fluxguard.respond.forms import renamed


class Rewriter:
    """The callbacks, and what they replaced. names: what becomes of files' and folders' names."""

    def __init__(
        self, cleaner: Cleaner, key: bytes, refs: Iterable[bytes], names: Mapping[bytes, bytes]
    ) -> None:
        self._cleaner = cleaner
        self._renamed = renamed(refs, key)
        self._names = names
        self.counts: Counter[str] = Counter()

    def _clean(self, data: bytes, kind: str) -> bytes:
        cleaned = self._cleaner.text(data)
        if cleaned != data:
            self.counts[kind] += 1
        return cleaned

    def blob(self, blob: Any, _metadata: Any) -> None:
        id = blob.original_id.decode()
        cleaned = self._cleaner.blob(id, blob.data)
        if cleaned != blob.data:
            self.counts["blobs replaced whole" if self._cleaner.is_whole(id) else "blobs"] += 1
        blob.data = cleaned

    def message(self, message: bytes) -> bytes:
        return self._clean(message, "messages")

    def name(self, name: bytes) -> bytes:
        return self._clean(name, "names")

    def email(self, email: bytes) -> bytes:
        return self._clean(email, "e-mail addresses")

    def path(self, path: bytes) -> bytes:
        cleaned = paths.cleaned(path, self._names, self._cleaner.forms)
        if cleaned != path:
            self.counts["paths"] += 1
        return cleaned

    def ref(self, ref: bytes) -> bytes:
        if ref in self._renamed:
            self.counts["names of refs"] += 1
            return self._renamed[ref]
        return self._clean(ref, "names of refs")


def main() -> int:
    wish = json.load(sys.stdin)
    key = bytes.fromhex(wish["key"])
    known = {bytes.fromhex(old): bytes.fromhex(new) for old, new in wish["names"].items()}
    names = paths.names(key, known)
    rewriter = Rewriter(Cleaner.of_wish(wish), key, _refs(), names)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        # What it says could hold a ref's name, and so a key: none of it leaves this process.
        null = os.open(os.devnull, os.O_WRONLY)
        out, err = os.dup(1), os.dup(2)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            _filter(rewriter)
        finally:
            os.dup2(out, 1)
            os.dup2(err, 2)
    told = {old.hex(): new.hex() for old, new in names.items()}
    print(json.dumps({"counts": dict(rewriter.counts), "names": told}))
    return 0


def _refs() -> list[bytes]:
    said = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], capture_output=True, check=True)
    return said.stdout.split()


def _filter(rewriter: Rewriter) -> None:
    import git_filter_repo as filter_repo

    args = filter_repo.FilteringOptions.parse_args(
        [
            "--force",
            "--quiet",
            "--prune-empty",
            "never",
            "--preserve-commit-encoding",
            "--replace-refs",
            "delete-no-add",
        ],
        error_on_empty=False,
    )

    class Filter(filter_repo.RepoFilter):  # type: ignore[misc]
        def _migrate_origin_to_heads(self) -> None:
            """Not here: a ref of the remote that is named so stays what it is, and becomes no branch."""

    Filter(
        args, blob_callback=rewriter.blob, message_callback=rewriter.message, name_callback=rewriter.name,
        email_callback=rewriter.email, filename_callback=rewriter.path, refname_callback=rewriter.ref,
    ).run()  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
