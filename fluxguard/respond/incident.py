"""An incident: what it is about and what was chosen, in a folder of the user's own, never in the repository."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import pwd
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fluxguard import secret as keys
from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Secret
from fluxguard.platform.address import state_folder
from fluxguard.respond.journal import Journal, Record, own_key
from fluxguard.respond.vault import Held, Vault
from fluxguard.respond.veil import masks_of
from fluxguard.writing import exactly

STRATEGIES = ("auto", "overlap", "contain", "revoke-first")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for.

    strategy: one of STRATEGIES. overlap: how long the old key lives on, or "" for the strategy's own. targets: further places for the new
    key. new_key: whether one is made at all. clean, push: rewrite the history, and push it. remote: the name of the one that is cleaned.
    wait: seconds to wait in this run for the old key to fall silent. permissions, projects, expires: what the new key has, where that is
    less than the old one's; projects by id.
    """

    strategy: str = "auto"
    overlap: str = ""
    targets: tuple[str, ...] = ()
    clean: bool = False
    push: bool = False
    own_clone: bool = False
    wait: int = 0
    new_key: bool = True
    remote: str = ""
    permissions: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One leak. repository: its absolute path. fingerprint, masked, environment: of the old key. url: the platform's.

    by: who opened it, and on which machine.
    """

    id: str
    repository: str
    fingerprint: str
    masked: str
    environment: str
    url: str
    opened_at: str
    wishes: Wishes = field(default_factory=Wishes)
    by: str = ""

    @property
    def folder(self) -> Path:
        return incidents_folder() / self.id


def incidents_folder() -> Path:
    return state_folder() / "incidents"


def now() -> str:
    """RFC 3339 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def described(
    repository: str, fingerprint: str, masked: str, environment: str, url: str, wishes: Wishes
) -> Incident:
    """An incident under a new name, of which nothing is on disk yet."""
    name = f"inc-{now()[:10]}-{secrets.token_hex(4)}"
    return Incident(name, repository, fingerprint, masked, environment, url, now(), wishes, _whoever())


def _whoever() -> str:
    """`ada on laptop`, as the system has it."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, say
        user = f"user {os.getuid()}"
    return f"{user} on {platform.node() or 'a machine without a name'}"


def veiled(incident: Incident, secret: Secret) -> Incident:
    """The incident as it may be read: a folder or a remote may be called after the key."""
    masks = masks_of(secret)

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return keys.veiled(masks.hide(value))
        if isinstance(value, Mapping):
            return {name: hide(one) for name, one in value.items()}
        return [hide(one) for one in value] if isinstance(value, list | tuple) else value

    return _parsed(hide(asdict(incident)))


def unveiled(incident: Incident, vault: Held) -> Incident:
    """The incident as it is, for a run."""
    about = vault.get("about")
    return incident if about is None else _parsed(json.loads(about))


def open_incident(incident: Incident, secret: Secret) -> None:
    """Makes the folder, seals the old key, and writes down what it is about. Raises: OSError."""
    readable, sealed = veiled(incident, secret), {"old": secret.reveal()}
    if readable != incident:
        sealed["about"] = json.dumps(asdict(incident)).encode()
    fresh = incident.folder.with_name(f".{incident.id}")  # whole, or not there at all
    fresh.mkdir(mode=0o700, parents=True)
    Vault(fresh / "vault", own_key(state_folder() / "vault.key")).put(**sealed)
    data = json.dumps(asdict(readable), indent=2, sort_keys=True) + "\n"
    exactly(fresh / "incident.json", data.encode(), 0o600)
    fresh.rename(incident.folder)


@contextmanager
def opening() -> Iterator[None]:
    """While an incident is opened: one at a time. What a kill left half open goes."""
    folder = incidents_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for half in folder.glob(".inc-*"):
            shutil.rmtree(half, ignore_errors=True)
        yield


@contextmanager
def looking() -> Iterator[Path]:
    """A private folder for a look into a remote. Nothing of it stays; what a kill left of an earlier one goes first."""
    folder = incidents_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in folder.glob(".look-*"):
        number = one.name.removeprefix(".look-")
        if not (number.isdigit() and runs(int(number))):
            shutil.rmtree(one, ignore_errors=True)
    look = folder / f".look-{os.getpid()}"
    try:
        yield look
    finally:
        shutil.rmtree(look, ignore_errors=True)
        with suppress(OSError):  # there are incidents
            folder.rmdir()
            folder.parent.rmdir()


def runs(number: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def platform_of(incident: Incident, records: Iterable[Record]) -> str:
    """The platform's address: that of start, or the last that was given since."""
    given = [str(one.data["url"]) for one in records if one.step == "run" and one.data.get("url")]
    return given[-1] if given else incident.url


def vault_of(incident: Incident) -> Vault:
    return Vault(incident.folder / "vault", own_key(state_folder() / "vault.key"))


def journal_of(incident: Incident, clock: Callable[[], str] = now) -> Journal:
    """The incident's journal, held until it is closed. Raises: Busy."""
    return Journal(incident.folder, own_key(state_folder() / "journal.key"), clock)


def load(incident_id: str) -> Incident:
    """Raises: UsageError where there is none of that name."""
    path = incidents_folder() / incident_id / "incident.json"
    if "/" in incident_id or incident_id.startswith(".") or not path.is_file():
        raise UsageError("There is no incident of that name.", "See: fluxguard respond status")
    try:
        return _parsed(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, KeyError):
        raise FluxguardError(
            f"This file is not what was written: {path}",
            f"Put the folder aside, then open a new incident: mv {path.parent} {path.parent}.damaged",
        ) from None


def _parsed(data: Mapping[str, Any]) -> Incident:
    wishes = dict(data["wishes"])
    for name in ("targets", "permissions", "projects"):
        wishes[name] = tuple(wishes.get(name, ()))
    return Incident(**{**data, "wishes": Wishes(**wishes)})


def every() -> list[Incident]:
    """All incidents that can be read, the oldest first."""
    return sorted(_read()[0], key=lambda one: (one.opened_at, one.id))


def damaged() -> list[Path]:
    """The folders of those that can't be read: they are in nobody's way, but what they were about is not known."""
    return _read()[1]


def _read() -> tuple[list[Incident], list[Path]]:
    try:
        folders = sorted(path for path in incidents_folder().iterdir() if path.name.startswith("inc-"))
    except OSError:
        return [], []
    whole, broken = [], []
    for folder in folders:
        try:
            whole.append(load(folder.name))
        except FluxguardError:
            broken.append(folder)
    return whole, broken
