"""Asking for a new key so that a lost answer loses none: what was asked lies on disk before it is sent.

The private half of a key pair is kept in the state folder, mode 0600, until the key has arrived. After a kill or a lost connection the same
request is sent again under the same idempotency key, and the platform answers with the same sealed key.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxguard.errors import FluxguardError
from fluxguard.model import Secret
from fluxguard.platform.address import Address, state_folder
from fluxguard.platform.api import Api
from fluxguard.platform.errors import PlatformError, Unreachable
from fluxguard.platform.sealed import Lock
from fluxguard.wire import Key, WireError
from fluxguard.writing import exactly

ACTIONS = ("create", "regenerate", "rotate")


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that was asked for. action: one of ACTIONS. wish: the body, without `reveal_to`. idempotency: its name, too."""

    action: str
    key_id: str
    wish: Mapping[str, Any]
    idempotency: str
    address: Address
    lock: Lock

    @property
    def path(self) -> Path:
        return _folder() / f"{self.idempotency}.json"


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key as it arrived. answer: the platform's, without the key."""

    key: Key
    secret: Secret
    answer: Mapping[str, Any]
    intent: Intent


def _folder() -> Path:
    return state_folder() / "minting"


def intend(action: str, key_id: str, wish: Mapping[str, Any], address: Address) -> Intent:
    """Writes down what will be asked for. Raises: OSError, and then nothing was sent."""
    intent = Intent(action, key_id, dict(wish), f"fg-{secrets.token_hex(16)}", address, Lock())
    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    data = {
        "action": action, "key_id": key_id, "wish": dict(wish), "url": address.url, "source": address.source,
        "private": intent.lock.private.hex(),
    }  # fmt: skip
    exactly(intent.path, json.dumps(data).encode(), 0o600)
    return intent


def ask(api: Api, intent: Intent) -> Minted:
    """Sends what is written down; sent again, it makes nothing new.

    Raises: Unreachable where nobody knows whether it was carried out, and then the intent stays; PlatformError where the
    platform refused, and then it goes.
    """
    try:
        answer = _sent(api, intent)
    except Unreachable:
        raise
    except PlatformError as error:
        if error.status < 500:
            settle(intent)
        raise
    sealed = answer.pop("sealed_key", None)
    plain = answer.pop("key", None)
    secret = intent.lock.open(sealed) if isinstance(sealed, str) else Secret(str(plain or "").encode())
    if not secret.reveal():
        raise PlatformError("The platform's answer holds no key.", f"Is this its address? {api.address.url}")
    if "masked" not in answer:
        answer["masked"] = secret.masked
    return Minted(_key(answer, api.address), secret, answer, intent)


def _key(answer: Mapping[str, Any], address: Address) -> Key:
    """What is told of the new key. Raises: Unreachable for what is nonsense: the intent stays, and the key can be asked for again."""
    try:
        return Key.from_json(answer)
    except WireError:
        raise Unreachable(
            "The platform's answer is not what it should be.",
            f"Is this its address? {address.url}   If it is, ask again: fluxguard apikeys resume",
        ) from None


def _sent(api: Api, intent: Intent) -> dict[str, Any]:
    if intent.action == "create":
        wish = dict(intent.wish) if api.address.public else {**intent.wish, "reveal_to": intent.lock.public}
        return api.create(wish, intent.idempotency)
    if intent.action == "regenerate":
        return api.regenerate(intent.key_id, intent.idempotency, intent.lock.public)
    return api.rotate(intent.key_id, {**intent.wish, "reveal_to": intent.lock.public}, intent.idempotency)


def settle(intent: Intent) -> None:
    """The key has arrived, or there is none: what was written down may go."""
    intent.path.unlink(missing_ok=True)


def unsettled() -> list[Intent]:
    """What was asked for and never arrived, the oldest first."""
    try:
        files = sorted(_folder().glob("fg-*.json"), key=lambda path: path.stat().st_mtime)
    except OSError:
        return []
    return [intent for path in files if (intent := _read(path)) is not None]


def _read(path: Path) -> Intent | None:
    try:
        if path.stat().st_mode & 0o077:
            raise FluxguardError(f"Others may read {path}.", f"Run: chmod 600 {path}")
        data = json.loads(path.read_text("utf-8"))
        address = Address(str(data["url"]), str(data["source"]))
        lock = Lock(bytes.fromhex(data["private"]))
        return Intent(str(data["action"]), str(data["key_id"]), dict(data["wish"]), path.stem, address, lock)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def mint(
    api: Api, action: str, key_id: str, wish: Mapping[str, Any], keep: Callable[[Minted], None]
) -> Minted:
    """Asks for a key, hands it to `keep`, and only then forgets that it was asked for."""
    minted = ask(api, intend(action, key_id, wish, api.address))
    keep(minted)
    settle(minted.intent)
    return minted
