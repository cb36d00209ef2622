"""The configuration, loaded only where there is any: what reads it would cost a clean commit more than the commit itself."""

from __future__ import annotations

from fluxguard import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config


def configured(root: str | None) -> Config | None:
    """The configuration, or None where there is none."""
    if not settings.any_for(root):
        return None
    from fluxguard.config import load_config

    return load_config(root)
