"""Where configuration may lie. Light: the hook asks whether there is any before it loads what reads it."""

from __future__ import annotations

import os

FILE = ".fluxguard.toml"
PROJECT = "pyproject.toml"
BASELINE = ".fluxguard-baseline.json"
LARGEST = 4 << 30  # bytes of one file that are read unless configured otherwise


def user_file() -> str | None:
    """The user's own configuration file, where there is one."""
    named = os.environ.get("FLUXGUARD_CONFIG")
    if named:
        return named
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = os.path.join(base, "fluxguard", "config.toml")
    return path if os.path.isfile(path) else None


def cache_folder() -> str:
    """Where the audit keeps what it need not read again: the user's own place, never the repository's."""
    named = os.environ.get("FLUXGUARD_CACHE_DIR")
    if named:
        return named
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "fluxguard")


def any_for(root: str | None) -> bool:
    """Whether there is configuration to read at all."""
    if user_file():
        return True
    if root is None:
        return False
    if os.path.lexists(os.path.join(root, FILE)) or os.path.lexists(os.path.join(root, BASELINE)):
        return True
    return project_table(root)


def project_table(root: str) -> bool:
    """Whether pyproject.toml speaks of fluxguard."""
    try:
        fd = os.open(os.path.join(root, PROJECT), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except PermissionError:
        return True  # whoever reads it in earnest will say so
    except OSError:
        return False
    try:
        return b"tool.fluxguard" in os.read(fd, 1 << 20)
    except OSError:
        return False
    finally:
        os.close(fd)


def platform_url() -> str | None:
    """The platform's address in the user's own configuration: `[platform] url`. A repository has no say in it."""
    path = user_file()
    if path is None:
        return None
    import tomllib

    try:
        with open(path, "rb") as stream:
            table = tomllib.load(stream).get("platform", {})
    except (OSError, ValueError):
        return None  # whoever reads all of it says what is wrong
    url = table.get("url") if isinstance(table, dict) else None
    return url if isinstance(url, str) else None
