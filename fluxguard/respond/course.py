"""What every step of a response gets, the `Run` over an incident, and the two ways in which one does not finish."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxguard.errors import ExitCode, FluxguardError
from fluxguard.model import Secret
from fluxguard.platform.address import Address
from fluxguard.platform.api import Api
from fluxguard.respond.incident import Incident
from fluxguard.respond.journal import Notes, Record
from fluxguard.respond.vault import Held
from fluxguard.respond.veil import shown

Data = dict[str, Any]
ITSELF = "with the leaked key itself"


class Waiting(Exception):
    """Something has to happen first. reason: in words. until: RFC 3339, or "". todo: what a person does, one thing after the other."""

    def __init__(self, reason: str, until: str = "", todo: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until
        self.todo = todo


class Overtaken(FluxguardError):
    """What was done is no longer so: somebody pushed meanwhile, or a new key lapsed. steps: what has to be done again."""

    def __init__(self, what: str, hint: str, *steps: str) -> None:
        super().__init__(what, hint)
        self.steps = steps


class StillThere(Overtaken):
    """The key stands on the remote after all."""

    exit_code = ExitCode.FOUND


@dataclass
class Run:
    """One run over an incident. say: tells the person. agree: their word for something that can't be taken back.

    pause: shows what they have to do elsewhere, opens a page for it, and waits until they say that it is done; False where nobody is there.
    """

    incident: Incident
    journal: Notes
    vault: Held
    api: Api
    environment: Mapping[str, str]
    say: Callable[[str], None]
    agree: Callable[[str, str], bool]
    sleep: Callable[[float], None]
    pause: Callable[[str, tuple[str, ...], str], bool] = lambda text, todo, page: False
    home: Path = field(default_factory=Path.home)
    trial: Callable[[Address, Secret], Api] = Api

    @property
    def old(self) -> Secret:
        secret = self.vault.secret("old")
        if secret is None:
            raise FluxguardError("The incident's vault holds no key any more: it is closed.")
        return secret

    @property
    def new(self) -> Secret:
        secret = self.vault.secret("new")
        if secret is None:
            raise FluxguardError("There is no new key yet.", "fluxguard respond resume")
        return secret

    @property
    def repository(self) -> Path:
        return Path(self.incident.repository)

    @property
    def word(self) -> str:
        """What a person types before something is done that can't be taken back: the name of the repository's folder."""
        return run_safe(self, os.fsencode(self.repository.name))

    def known(self, step: str) -> Data:
        """What a step that is done found out."""
        record = self.journal.outcome(step)
        return dict(record.data) if record else {}

    @property
    def banned(self) -> tuple[str, ...]:
        """The first changed commits of every rewrite: one that was overtaken was pushed in part, perhaps."""
        done = (one for one in self.journal.records if one.step == "rewrite" and one.phase == "done")
        return tuple(sorted({str(commit) for one in done for commit in one.data.get("banned", ())}))

    @property
    def renews(self) -> bool:
        """Whether a new key is wanted in the old one's place: as of start, or as it was said since."""
        said = [one.data["new_key"] for one in self._wished if "new_key" in one.data]
        return bool(said[-1]) if said else self.incident.wishes.new_key

    @property
    def targets(self) -> tuple[str, ...]:
        """Further places for the new key: those of start, and those that were named since, but for those that were taken back."""
        wanted = dict.fromkeys(self.incident.wishes.targets)
        for one in self._wished:
            for target in one.data.get("without", ()):
                wanted.pop(target, None)
            wanted.update(dict.fromkeys(one.data.get("targets", ())))
        return tuple(wanted)

    @property
    def _wished(self) -> list[Record]:
        return [one for one in self.journal.records if one.step == "wishes"]

    @property
    def strategy(self) -> str:
        return str(self.known("choose").get("strategy", ""))


def run_safe(run: Run, text: bytes) -> str:
    return shown(text, run.old)
