"""Runs git-filter-repo over the repository it is started in, with the key on standard input: in no argument, file or environment.

A process of its own, for git-filter-repo changes its own process: `python -m fluxguard.respond.rewriting`. Standard input: a JSON object with `key`
(hex) and `blobs` (ids of blobs to be replaced whole). Standard output: a JSON object with what was replaced, by kind.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

REMOVED = b"REMOVED-BY-FLUXGUARD"
NOTICE = b"This file held a FluxLoop API key in a form that can't be taken out by itself. It was removed from the history.\n"


def forms(key: bytes) -> list[tuple[bytes, bytes]]:
    """How the key may stand in bytes, each with what takes its place: a form that still decodes."""
    text = key.decode("ascii")
    removed = REMOVED.decode()
    found = [(key, REMOVED)]
    found += [
        (text.encode(name), removed.encode(name))
        for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    ]
    found += [
        (key.hex().encode(), REMOVED.hex().encode()),
        (key.hex().upper().encode(), REMOVED.hex().upper().encode()),
    ]
    found += [
        ("".join(f"%{byte:02x}" for byte in key).encode(), REMOVED),
        ("".join(f"%{byte:02X}" for byte in key).encode(), REMOVED),
    ]
    found += [
        ("".join(f"\\u{byte:04x}" for byte in key).encode(), REMOVED),
        ("".join(f"\\x{byte:02x}" for byte in key).encode(), REMOVED),
    ]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            run = encode(b"\0" * shift + key)
            whole = run[(0, 2, 3)[shift] : len(run) - (0, 2, 3)[-(shift + len(key)) % 3] or None]
            found.append((whole, b"A" * len(whole)))
    return list(dict(found).items())


def renamed(names: Iterable[bytes], key: bytes) -> dict[bytes, bytes]:
    """New names of the refs that held the key. Two never get the same one: the second is numbered, for one would be lost."""
    all_names = sorted(names)
    taken = {name for name in all_names if not any(form in name for form, _ in forms(key))}
    found = {}
    for name in all_names:
        if name in taken:
            continue
        wanted = fresh = replaced(name, forms(key))
        number = 1
        while fresh in taken:
            number += 1
            fresh = wanted + b"-%d" % number
        taken.add(fresh)
        found[name] = fresh
    return found


def replaced(data: bytes, by: list[tuple[bytes, bytes]]) -> bytes:
    for form, instead in by:
        if form in data:
            data = data.replace(form, instead)
    return data


class Rewriter:
    """The callbacks, and what they replaced."""

    def __init__(self, key: bytes, blobs: frozenset[bytes], refs: Iterable[bytes]) -> None:
        self._forms = forms(key)
        self._renamed = renamed(refs, key)
        self._blobs = blobs
        self.counts: Counter[str] = Counter()

    def _clean(self, data: bytes, kind: str) -> bytes:
        cleaned = replaced(data, self._forms)
        if cleaned != data:
            self.counts[kind] += 1
        return cleaned

    def blob(self, blob: Any, _metadata: Any) -> None:
        if blob.original_id in self._blobs:
            self.counts["blobs replaced whole"] += 1
            blob.data = NOTICE
            return
        blob.data = self._clean(blob.data, "blobs")

    def message(self, message: bytes) -> bytes:
        return self._clean(message, "messages")

    def name(self, name: bytes) -> bytes:
        return self._clean(name, "names")

    def email(self, email: bytes) -> bytes:
        return self._clean(email, "e-mail addresses")

    def path(self, path: bytes) -> bytes:
        return self._clean(path, "paths")

    def ref(self, ref: bytes) -> bytes:
        if ref in self._renamed:
            self.counts["names of refs"] += 1
            return self._renamed[ref]
        return self._clean(ref, "names of refs")


def main() -> int:
    wish = json.load(sys.stdin)
    rewriter = Rewriter(bytes.fromhex(wish["key"]), frozenset(one.encode() for one in wish["blobs"]), _refs())
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
    print(json.dumps(dict(rewriter.counts)))
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
