"""The working copy around a report: its folder, its commit, and where it was cloned from, without any password."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from fluxguard.errors import GitError
from fluxguard.model import Checkout
from fluxguard.repo import layout, run

_SCP = re.compile(r"(?:[^/@:]+@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^:]*)")  # git@host:owner/name.git
_SCHEMES = ("http", "https", "ssh", "git")


def around(folder: str) -> Checkout | None:
    """The working copy that `folder` lies in; None where there is none, or git can't read it."""
    try:
        top = layout.root(folder)
        if top is None:
            return None
        head = run.try_output("rev-parse", "--verify", "--quiet", "HEAD", cwd=top) or b""
        url = run.try_output("config", "--get", "remote.origin.url", cwd=top) or b""
        return Checkout(
            os.fsencode(top),
            os.fsencode(os.path.realpath(folder)),
            public(url.decode("utf-8", "replace").strip()),
            head.decode("ascii", "replace").strip(),
            layout.branch(top),
        )
    except (GitError, OSError):
        return None


def public(url: str) -> str:
    """A remote's URL without user, password, query and fragment; "" where it is none that others could open."""
    scp = _SCP.fullmatch(url)
    if scp is not None and "//" not in url:
        url = f"ssh://{scp['host']}/{scp['path'].lstrip('/')}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in _SCHEMES or not re.fullmatch(r"[A-Za-z0-9.-]+", host):
        return ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{_path(parts.path)}"


def _path(path: str) -> str:
    return path if re.fullmatch(r"[A-Za-z0-9._~/%-]*", path) else ""
