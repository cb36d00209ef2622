"""One running platform: its settings, its database and its secret, handed to whoever needs them."""

from __future__ import annotations

from dataclasses import dataclass

from fluxguard.server.secret import Vault, open_vault
from fluxguard.server.settings import Settings
from fluxguard.server.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Platform:
    settings: Settings
    store: Store
    vault: Vault

    def now(self) -> int:
        """Milliseconds since 1970, by the clock that the settings name."""
        return self.settings.clock()

    def close(self) -> None:
        self.store.close()


def open_platform(settings: Settings) -> Platform:
    """Opens the database (made at the first start) and the secret. Raises: FluxguardError, with what to do."""
    vault = open_vault(settings.secret)
    return Platform(settings, open_store(settings), vault)
