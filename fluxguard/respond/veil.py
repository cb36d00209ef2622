"""The key masked in whatever form it stands: in names of refs and paths people find it as hex, percent, base64, too."""

from __future__ import annotations

from fluxguard import display
from fluxguard.masks import Masks
from fluxguard.model import Secret
from fluxguard.respond.forms import forms


def masks_of(*secrets: Secret) -> Masks:
    """Every form of the keys. No two are shown alike, and none as a name that git allows: by what is shown a ref is found again."""
    return Masks(
        {
            form: f"{one.masked}~{number}" if number else one.masked
            for one in secrets
            for number, (form, _) in enumerate(forms(one.reveal()))
        }
    )


def shown(name: bytes | str, secret: Secret) -> str:
    """A path or a ref for people and for the journal."""
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return display.path(raw, masks_of(secret))
