"""Lists that say what is packed or built (.dockerignore, .npmignore, MANIFEST.in ...): would they ship a secret file?"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import regex

from fluxguard.detect.ruleset import PROOF_TIMEOUT, glob_pattern
from fluxguard.gitignore.dockerignore import Dockerignore
from fluxguard.gitignore.survey import Survey
from fluxguard.repo.holdings import Holdings
from fluxguard.repo.ignore import Shadow
from fluxguard.secretpaths import Listed, SecretPath

_DOCKER = (b".dockerignore", b".containerignore")
_AS_GIT = {
    b".npmignore": "npm packs it",
    b".gcloudignore": "gcloud uploads it",
    b".vercelignore": "Vercel uploads it",
    b".vscodeignore": "the extension's package holds it",
    b".ebignore": "Elastic Beanstalk uploads it",
    b".cfignore": "Cloud Foundry uploads it",
}
_MOST = 200  # lists that are looked at
_HOMES = 50


@dataclass(frozen=True, slots=True)
class Shipped:
    """A list that would ship secret files. lines: what it needs; none where a line of it has to go. why: who ships."""

    file: bytes
    why: str
    paths: tuple[bytes, ...]
    lines: tuple[bytes, ...]


Ships = Callable[
    [Sequence[bytes]], list[bytes]
]  # paths from the list's folder -> those of them that are shipped


def shipped(found: Survey, listed: Listed) -> Iterator[Shipped]:
    """Each list of the repository that would ship a secret file, with those that are there and those that will be."""
    held = found.held
    names = [path for path in (*held.tracked, *held.offered) if _is_list(os.path.basename(path))]
    for file in sorted(names)[:_MOST]:
        folder = os.path.dirname(file)
        why, ships, docker = _list(held, file)
        if ships is None:
            continue
        entries = dict(_asked(found, listed, folder))
        open_ = ships(list(entries))
        if open_:
            lines = dict.fromkeys(line for path in open_ for line in entries[path].lines)
            written = tuple(_for_docker(line) if docker else line for line in lines)
            names_it = os.path.basename(file) in (*_DOCKER, *_AS_GIT) or docker
            yield Shipped(
                file,
                why,
                tuple(os.path.join(folder, path) for path in open_),
                written if names_it else (),
            )


def _is_list(name: bytes) -> bool:
    return (
        name in _DOCKER
        or name in _AS_GIT
        or name.endswith(b".dockerignore")
        or name in (b"MANIFEST.in", b"package.json", b"pyproject.toml")
    )


def _for_docker(line: bytes) -> bytes:
    return line if line.startswith(b"**/") else b"**/" + line


def _list(held: Holdings, file: bytes) -> tuple[str, Ships | None, bool]:
    """Who ships by a list, what it ships, and whether it is Docker's. None: it says nothing on it."""
    name = os.path.basename(file)
    text = held.text(file)
    if name in _DOCKER or name.endswith(b".dockerignore"):
        ignored = Dockerignore(text)
        return (
            "a build sends it along, and COPY puts it into the image",
            lambda paths: [path for path in paths if not ignored.excludes(path)],
            True,
        )
    if name in _AS_GIT:
        return _AS_GIT[name], _as_git(held, file, text), False
    if name == b"package.json":
        return "npm packs it (`files`)", _npm_files(text), False
    if name == b"MANIFEST.in":
        return "the source distribution holds it", _manifest(text), False
    return "the distribution holds it", _pyproject(text), False


def _asked(found: Survey, listed: Listed, folder: bytes) -> Iterator[tuple[bytes, SecretPath]]:
    """The required paths below a folder, named from there: those that will be, and those that are."""
    lead = folder + b"/" if folder else b""
    homes = [home for home in (folder, *found.homes[:_HOMES]) if home == folder or home.startswith(lead)]
    for entry in listed.paths:
        if entry.required and entry.where != "top":
            for home in homes:
                for example in entry.examples:
                    yield os.path.join(home, example)[len(lead) :], entry
    for path, entry in found.there.items():
        if (
            entry.required
            and path.startswith(lead)
            and listed.exception(entry, path, entry.level, path in found.held.committed) is None
        ):
            yield path[len(lead) :], entry


def _as_git(held: Holdings, file: bytes, text: bytes) -> Ships | None:
    """Lists in the language of .gitignore. npm reads those of the folders below, too."""
    folder, name = os.path.split(file)
    lead = folder + b"/" if folder else b""
    if name == b".gcloudignore":
        text = text.replace(b"#!include:.gitignore", held.ignores.get(folder, b""))
    files = {b"": text}
    if name == b".npmignore":
        package = held.text(os.path.join(folder, b"package.json"))
        if _is_private(package) or _npm_files(package) is not None:
            return None  # is not published; or `files` decides
        below = [path for path in held.ignores if path.startswith(lead) and path != folder]
        files.update({path[len(lead) :]: held.ignores[path] for path in below})
        for path in (*held.tracked, *held.offered):
            if path.endswith(b"/.npmignore") and path.startswith(lead) and path != file:
                files[os.path.dirname(path)[len(lead) :]] = held.text(path)

    def ships(paths: Sequence[bytes]) -> list[bytes]:
        with Shadow(files) as shadow:
            verdicts = shadow.verdicts(paths)
        return [path for path, verdict in zip(paths, verdicts, strict=True) if not verdict.covered]

    return ships


def _is_private(text: bytes) -> bool:
    try:
        return json.loads(text).get("private") is True
    except (ValueError, AttributeError, RecursionError):
        return False


def _npm_files(text: bytes) -> Ships | None:
    """The whitelist of package.json; None where there is none: then .npmignore or .gitignore decide."""
    if _is_private(text):
        return None
    try:
        globs = json.loads(text)["files"]
        patterns = [str(glob).removeprefix("./").encode("utf-8", "surrogatepass") for glob in globs]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    everything = [pattern for pattern in patterns if pattern in (b"", b".", b"/")]
    text = b"\n".join(
        b"*" if pattern in everything else pattern for pattern in patterns if b"\n" not in pattern
    )

    def ships(paths: Sequence[bytes]) -> list[bytes]:
        with Shadow({b"": text}) as shadow:
            verdicts = shadow.verdicts(paths)
        return [
            path
            for path, verdict in zip(paths, verdicts, strict=True)
            if verdict.decider is not None and not verdict.decider.negates
        ]

    return ships


def _manifest(text: bytes) -> Ships:
    """MANIFEST.in: packaging.python.org/guides/using-manifest-in. The last command that is about a file decides."""
    rules: list[tuple[bool, list[regex.Pattern[bytes]]]] = []
    for line in text.decode("utf-8", "surrogateescape").replace("\\\n", " ").splitlines():
        command, *words = line.split("#")[0].split()[:100] or [""]
        globs = _manifest_globs(command, [word.strip("/") for word in words])
        if globs:
            takes_in = command in ("include", "recursive-include", "global-include", "graft")
            rules.append((takes_in, [glob_pattern(glob) for glob in globs]))

    def ships(paths: Sequence[bytes]) -> list[bytes]:
        return [
            path for path in paths if next((to for to, globs in reversed(rules) if _any(globs, path)), False)
        ]

    return ships


def _manifest_globs(command: str, words: list[str]) -> list[str]:
    if not words:
        return []
    if command in ("include", "exclude"):
        return ["/" + word for word in words]
    if command in ("global-include", "global-exclude"):
        return [f"**/{word}" for word in words]
    if command in ("recursive-include", "recursive-exclude"):
        folder = "" if words[0] in (".", "") else words[0] + "/"
        return [f"/{folder}**/{word}" for word in words[1:]]
    if command in ("graft", "prune"):
        return ["/**" if word in (".", "") else f"/{word}/**" for word in words]
    return []


def _pyproject(text: bytes) -> Ships | None:
    """What pyproject.toml packs whether git ignores it or not."""
    try:
        tool = tomllib.loads(text.decode("utf-8")).get("tool", {})
        globs = [str(glob) for glob in _packed(tool)][:200]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    patterns = [glob_pattern(glob.removeprefix("./")) for glob in globs if glob.isprintable() and glob]
    if not patterns:
        return None
    return lambda paths: [path for path in paths if _any(patterns, path)]


def _packed(tool: dict[str, Any]) -> Iterator[Any]:
    build = tool.get("hatch", {}).get("build", {})
    for section in (build, *build.get("targets", {}).values()):
        yield from section.get("artifacts", [])
        yield from section.get("force-include", {})
    for entry in tool.get("poetry", {}).get("include", []):
        yield entry["path"] if isinstance(entry, dict) else entry
    yield from tool.get("flit", {}).get("sdist", {}).get("include", [])
    pdm = tool.get("pdm", {}).get("build", {})
    yield from (*pdm.get("includes", []), *pdm.get("source-includes", []))


def _any(globs: Sequence[regex.Pattern[bytes]], path: bytes) -> bool:
    try:
        return any(glob.fullmatch(path, timeout=PROOF_TIMEOUT) for glob in globs)
    except TimeoutError:
        return True
