"""The vault of an open incident: the old key, the new one, and what opens a sealed answer; until the incident closes.

A file of mode 0600 in the incident's folder, encrypted (libsodium's secret box) under a key that lies elsewhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.writing import exactly


class Held:
    """What an incident has to keep, in memory alone: nothing of it outlives the process. Shows nothing of it."""

    def __init__(self, **values: bytes) -> None:
        self._held = {name: value.hex() for name, value in values.items()}

    def put(self, **values: bytes) -> None:
        """Keeps values."""
        self._held |= {name: value.hex() for name, value in values.items()}

    def drop(self, *names: str) -> None:
        """Lets go of values."""
        self._held = {name: value for name, value in self._held.items() if name not in names}

    def get(self, name: str) -> bytes | None:
        value = self._held.get(name)
        return None if value is None else bytes.fromhex(value)

    def secret(self, name: str) -> Secret | None:
        value = self.get(name)
        return None if value is None else Secret(value)

    def burn(self) -> None:
        """Forgets all of it."""
        self._held = {}

    def __repr__(self) -> str:
        return "Vault(***)"


class Vault(Held):
    """What must not be lost before the incident closes, on disk."""

    def __init__(self, path: Path, key: bytes) -> None:
        super().__init__()
        self._path = path
        self._box = SecretBox(key)
        self._held = self._read()

    def _read(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        try:
            data = json.loads(self._box.decrypt(self._path.read_bytes()))
        except (CryptoError, ValueError):
            raise FluxguardError(
                f"The incident's vault can't be opened: {self._path}",
                f"It was sealed under another key of yours (vault.key), or damaged. Bring that key back; or end the incident, then open a new one: fluxguard respond abort {self._path.parent.name}",
            ) from None
        return {str(name): str(value) for name, value in data.items()}

    def put(self, **values: bytes) -> None:
        """Keeps values, on disk when this returns. Raises: OSError, and then the old contents are still there."""
        super().put(**values)
        exactly(self._path, bytes(self._box.encrypt(json.dumps(self._held).encode())), 0o600)

    def drop(self, *names: str) -> None:
        """Lets go of values, as `put` keeps them."""
        super().drop(*names)
        self.put()

    def burn(self) -> None:
        """The incident is closed: overwritten and gone."""
        if self._path.exists():
            size = self._path.stat().st_size
            with self._path.open("r+b") as stream:
                stream.write(os.urandom(size))
                stream.flush()
                os.fsync(stream.fileno())
            self._path.unlink()
        super().burn()
