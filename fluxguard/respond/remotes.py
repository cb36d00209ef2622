"""Which remote is cleaned, and which others the clone has."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fluxguard import display
from fluxguard.errors import UsageError
from fluxguard.model import Secret
from fluxguard.repo import gitdir
from fluxguard.repo import run as running
from fluxguard.respond.veil import masks_of

USUAL = "origin"


def urls(repository: Path) -> dict[str, str]:
    """The URL of each remote, by name. A URL may hold a password."""
    said = running.try_output(
        "config", "--null", "--get-regexp", r"^remote\..*\.url$", cwd=str(repository), isolated=True
    )
    found: dict[str, str] = {}
    for entry in filter(None, (said or b"").split(b"\0")):
        name, _, url = os.fsdecode(entry).partition("\n")
        if url.strip():
            found.setdefault(name.removeprefix("remote.").removesuffix(".url"), url.strip())
    return found


def chosen(repository: Path, asked: str, push: bool) -> str:
    """The name of the remote that is to be cleaned, "" where there is none. Raises: UsageError."""
    known = urls(repository)
    name = asked or (USUAL if USUAL in known or not known else next(iter(known)))
    if asked and asked not in known:
        raise UsageError("There is no remote of that name.", "See: git remote -v")
    if not asked and USUAL not in known and len(known) > 1:
        raise UsageError("There are several remotes, and none is called origin.", "Name one: --remote NAME")
    if push and name not in known:
        raise UsageError(
            "There is no remote to which the cleaned history could be pushed.",
            "Add one (git remote add origin URL), or leave --push out; your own branches are cleaned with --own-clone.",
        )
    if name in known and leads_home(known[name], repository):
        raise UsageError(
            "The remote is this repository itself: a push would rewrite your own branches.",
            "Name another: --remote NAME; your own branches are cleaned with --own-clone.",
        )
    return name if name in known else ""


def source(repository: Path, name: str) -> str:
    """What is cleaned: the remote's URL, or the repository itself where it has none."""
    return urls(repository).get(name or USUAL, str(repository))


def mark(repository: Path, name: str) -> str:
    """By what a remote's address is known again, whoever signs in there; "" where there is none."""
    url = urls(repository).get(name, "")
    scheme, sign, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    bare = scheme + sign + host.rpartition("@")[2] + slash + path if sign else url
    return hashlib.sha256(os.fsencode(bare)).hexdigest()[:16] if url else ""


def leads_home(url: str, repository: Path) -> bool:
    """Whether a URL is a path to the repository itself."""
    path = url.removeprefix("file://")
    if "://" in path:
        return False
    there = Path(os.path.realpath(repository / path))
    common = Path(os.path.realpath(gitdir.locate(str(repository)).common))
    return common in (there, there / ".git") or there == Path(os.path.realpath(repository))


def others(repository: Path, name: str, secret: Secret) -> list[str]:
    """The names of remotes that lead elsewhere, and so are not cleaned."""
    known = urls(repository)
    cleaned = known.get(name or USUAL)
    return [display.safe(one, masks_of(secret)) for one, url in sorted(known.items()) if url != cleaned]
