"""One running platform: its settings, its database and its secret, handed to whoever needs them."""

from __future__ import annotations

from dataclasses import dataclass

from fluxguard.errors import UsageError
from fluxguard.server import trail
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
    store = open_store(settings)
    try:
        return Platform(settings, store, _fitting_vault(settings, store))
    except BaseException:
        store.close()
        raise


def _fitting_vault(settings: Settings, store: Store) -> Vault:
    """The secret, where it is the one that this database was kept with: the audit trail's proofs say so.

    Raises: UsageError for a missing or another one. A fresh secret would refuse every key, and hide that the old one is gone.
    """
    with store.read() as connection:
        begun = trail.begun(connection)
    if begun and not settings.secret.exists():
        raise UsageError(
            f"The platform's secret is missing: {settings.secret}",
            "Restore it from its copy, or name it with FLUXGUARD_SERVER_SECRET_FILE. No key that was issued is recognised without it.",
        )
    vault = open_vault(settings.secret)
    with store.read() as connection:
        fits = trail.kept_with(connection, vault)
    if not fits:
        raise UsageError(
            f"The secret is not the one that this database was kept with: {settings.secret}",
            "Restore the right one from its copy, or name it with FLUXGUARD_SERVER_SECRET_FILE.",
        )
    return vault
