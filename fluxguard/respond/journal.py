"""The journal of an incident: what is about to be done is on disk before it is done, and what came of it after. Never a key.

One JSON object a line, appended with one write and synced. Each carries an HMAC over itself and the one before, under a key of the user's own:
a line that was cut by a crash is dropped, a line that was changed stops the run.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxguard.errors import FluxguardError
from fluxguard.writing import once, settle

NAME = "journal.jsonl"


class JournalError(FluxguardError):
    """The journal can't be written, or is not what was written."""


class Busy(FluxguardError):
    """Another run has the incident."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line. phase: `intent`, `done`, `waiting`, `failed`, `stale` or `note`. data: ids, digests, figures; never a key."""

    seq: int
    time: str
    step: str
    phase: str
    data: Mapping[str, Any]


class Notes:
    """Records in memory alone: for a look that changes nothing, and leaves nothing behind, however it ends."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self.records: list[Record] = []

    def add(self, step: str, phase: str, **data: Any) -> Record:
        """Appends a record."""
        record = Record(len(self.records) + 1, self._now(), step, phase, data)
        self.records.append(record)
        return record

    def outcome(self, step: str) -> Record | None:
        """The last record of a step that says `done`, unless a later one says that it is `stale`: then it has to be done again."""
        last = next(
            (one for one in reversed(self.records) if one.step == step and one.phase in ("done", "stale")),
            None,
        )
        return last if last is not None and last.phase == "done" else None

    def last(self, step: str) -> Record | None:
        return next((one for one in reversed(self.records) if one.step == step), None)


class Journal(Notes):
    """The journal in a folder, held by one run at a time."""

    def __init__(self, folder: Path, key: bytes, now: Callable[[], str]) -> None:
        super().__init__(now)
        self.folder = folder
        self.path = folder / NAME
        self._key = key
        self._lock = self._hold()
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        settle(folder)
        self.records, self._last = self._read()

    def _hold(self) -> int:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise Busy(
                f"Another run is at work on incident {self.folder.name}.",
                "Wait for it. What it does: fluxguard respond status",
            ) from None
        return lock

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._lock)

    def add(self, step: str, phase: str, **data: Any) -> Record:
        """Appends a record, and returns when it is on disk. Raises: JournalError; nothing may be done then."""
        record = Record(len(self.records) + 1, self._now(), step, phase, data)
        body = {"seq": record.seq, "time": record.time, "step": step, "phase": phase, "data": data}
        proof = _proof(self._key, self._last, body)
        line = json.dumps({**body, "mac": proof}, sort_keys=True).encode() + b"\n"
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._fd)
        except OSError as error:
            raise JournalError(
                f"The journal can't be written ({error.strerror}), so nothing further is done: {self.path}",
                "Make room, then: fluxguard respond resume",
            ) from None
        self.records.append(record)
        self._last = proof
        return record

    def _read(self) -> tuple[list[Record], str]:
        records, last, good = [], "", 0
        data = self.path.read_bytes()
        lines = data.split(b"\n")
        for number, line in enumerate(lines[:-1], 1):
            entry = _parsed(line)
            if entry is None or not hmac.compare_digest(
                str(entry.pop("mac", "")), _proof(self._key, last, entry)
            ):
                if number == len(lines) - 1:
                    break
                raise JournalError(
                    f"Line {number} of the journal is not what was written: {self.path}",
                    "Somebody changed it. Nothing is done by it; open a new incident: fluxguard respond start",
                )
            last = _proof(self._key, last, entry)
            records.append(Record(entry["seq"], entry["time"], entry["step"], entry["phase"], entry["data"]))
            good += len(line) + 1
        if good != len(data):
            os.ftruncate(self._fd, good)  # a line that a crash cut off
            os.fsync(self._fd)
        return records, last


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return (
        entry
        if isinstance(entry, dict) and {"seq", "time", "step", "phase", "data"} <= entry.keys()
        else None
    )


def _proof(key: bytes, before: str, body: Mapping[str, Any]) -> str:
    text = json.dumps([before, dict(body)], sort_keys=True).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def own_key(path: Path) -> bytes:
    """The user's own key for journals and vaults: 32 bytes in a file of mode 0600, made where there is none."""
    if not path.exists():
        once(path, secrets.token_bytes(32))
    if path.stat().st_mode & 0o077:
        raise FluxguardError(f"Others may read {path}.", f"Run: chmod 600 {path}")
    return path.read_bytes()
