"""The key that fluxguard itself uses: where it may lie, which of them counts, and where `auth login` puts it.

In this order, as FluxLoop's client has it: the environment, the workspace's `.fluxloop/.env`, its `config.yaml`, then what was
saved: in the user's keyring, or in a file of mode 0600 where there is none.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.platform.address import state_folder

NAMES = ("FLUXLOOP_SYNC_API_KEY", "FLUXLOOP_API_KEY")  # in the order in which FluxLoop's client asks
PLACEHOLDERS = frozenset({"", "your-api-key-here", "your-api-key"})
WORKSPACE = (".fluxloop/.env", ".fluxloop/config.yaml")  # places that programs are given, not fluxguard
SERVICE = "fluxguard"
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Credential:
    """A key, and where it was found. name: the variable or the entry."""

    secret: Secret
    place: str
    name: str = ""


def every(address: str, workspace: Path | None, environment: Mapping[str, str]) -> list[Credential]:
    """All keys that lie about, the one that counts first."""
    found: list[Credential] = []
    file = _env_file(workspace)
    for name in NAMES:
        for values, place in ((environment, "environment"), (file, WORKSPACE[0])):
            value = (values.get(name) or "").strip()
            if value not in PLACEHOLDERS:
                found.append(Credential(Secret(os.fsencode(value)), place, name))
    configured = _config_yaml(workspace)
    if configured:
        found.append(Credential(Secret(configured.encode()), WORKSPACE[1], "api_key"))
    saved = _saved(address)
    if saved:
        found.append(saved)
    return found


def _env_file(workspace: Path | None) -> Mapping[str, str | None]:
    data = _read(workspace, ".env")
    if data is None:
        return {}
    from io import StringIO

    from dotenv import dotenv_values

    return dotenv_values(stream=StringIO(data), interpolate=False)


def _config_yaml(workspace: Path | None) -> str:
    data = _read(workspace, "config.yaml")
    if data is None or "api_key" not in data:
        return ""
    import yaml

    try:
        parsed = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError):
        return ""
    value = parsed.get("api_key") if isinstance(parsed, dict) else None
    if not isinstance(value, str) or value.strip() in PLACEHOLDERS or value.startswith("${"):
        return ""
    return value.strip()


def _read(workspace: Path | None, name: str) -> str | None:
    """A plain file of the workspace's `.fluxloop`. The workspace may be hostile: no device, no pipe, no giant."""
    if workspace is None:
        return None
    path = workspace / ".fluxloop" / name
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as stream:
            if not path.is_file():
                return None
            return stream.read(_LARGEST).decode("utf-8-sig", "replace")
    except OSError:
        return None


def _file() -> Path:
    return state_folder() / "credentials.json"


def _keyring() -> Any:
    """The user's keyring, or None where there is none that keeps secrets."""
    if os.environ.get("FLUXGUARD_NO_KEYRING"):
        return None
    try:
        with _no_compiler():
            import keyring
            from keyring.backends import fail, null

            backend = keyring.get_keyring()
    except ImportError:
        return None
    if isinstance(backend, fail.Keyring | null.Keyring) or type(backend).__module__.startswith(
        "keyrings.alt"
    ):
        return None
    return keyring


@contextmanager
def _no_compiler() -> Iterator[None]:
    """keyring loads what it has for other systems, too, and that looks for their libraries by starting compiler and linker."""
    import ctypes.util

    known = ctypes.util.find_library
    if sys.platform != "darwin":
        ctypes.util.find_library = lambda name: None
    try:
        yield
    finally:
        ctypes.util.find_library = known


def _saved(address: str) -> Credential | None:
    ring = _keyring()
    if ring is not None:
        value = _asked(lambda: ring.get_password(SERVICE, address))
        if value:
            return Credential(Secret(value.encode()), "keyring")
    value = _kept().get(address)
    return Credential(Secret(value.encode()), str(_file())) if value else None


def _asked(question: Callable[[], str | None]) -> str | None:
    """A keyring's answer; one that is locked or broken has none."""
    try:
        return question()
    except Exception:
        return None


def _kept() -> dict[str, str]:
    try:
        if _file().stat().st_mode & 0o077:
            raise FluxguardError(
                f"Others may read the file with your saved key: {_file()}", f"Run: chmod 600 {_file()}"
            )
        data = json.loads(_file().read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return {str(url): str(key) for url, key in data.items()} if isinstance(data, dict) else {}


def save(address: str, secret: Secret) -> str:
    """Keeps a key for an address. Returns the place. Raises: OSError."""
    ring = _keyring()
    if ring is not None:
        try:
            ring.set_password(SERVICE, address, secret.reveal().decode())
            if ring.get_password(SERVICE, address) == secret.reveal().decode():
                return "keyring"
        except Exception:
            ring = None  # a keyring that is locked or broken: the file, then
    kept = {**_kept(), address: secret.reveal().decode()}
    _write(kept)
    return str(_file())


def forget(address: str) -> list[str]:
    """Takes the saved key away. Returns the places where there was one. Raises: OSError."""
    gone = []
    ring = _keyring()
    if ring is not None and _asked(lambda: ring.get_password(SERVICE, address)):
        try:
            ring.delete_password(SERVICE, address)
            gone.append("keyring")
        except Exception:
            raise FluxguardError(
                "The keyring did not let go of the key.", "Unlock it, and try again."
            ) from None
    kept = _kept()
    if kept.pop(address, None) is not None:
        _write(kept)
        gone.append(str(_file()))
    return gone


def _write(kept: Mapping[str, str]) -> None:
    from fluxguard.writing import exactly

    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    exactly(_file(), (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode(), 0o600)
