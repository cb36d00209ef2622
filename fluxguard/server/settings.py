"""Where one platform keeps its things, and how it behaves: one frozen value, handed to everything else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fluxguard.errors import UsageError
from fluxguard.wire import DAY, WireError, to_span

Clock = Callable[[], int]
MINUTE, HOUR = 60_000, 3_600_000  # milliseconds
KEEP_USAGE, KEEP_REFUSALS = "FLUXGUARD_KEEP_USAGE", "FLUXGUARD_KEEP_REFUSALS"
LEAST = {
    KEEP_USAGE: 31 * DAY,
    KEEP_REFUSALS: 2 * DAY,
}  # what "new address" and "turned away in a day" look back on


def wall_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """A platform's settings.

    database: SQLAlchemy URL. secret: the file that holds the platform's secret, outside of the database. public_url: what
    people and clients call it by, for links; "" takes the address that it listens on. hourly_limit: requests an hour and key, where
    the key has no limit of its own. keep_usage, keep_refusals: how long it is kept what keys were used for and what was turned away; None
    for ever. lengths of time in milliseconds.
    """

    database: str
    secret: Path
    host: str = "127.0.0.1"
    port: int = 8400
    public_url: str = ""
    hourly_limit: int = 1000
    pending_ttl: int = HOUR
    unused_ttl: int = 7 * 24 * HOUR
    session_ttl: int = 12 * HOUR
    session_idle: int = 2 * HOUR
    keep_usage: int | None = 400 * DAY
    keep_refusals: int | None = 90 * DAY
    trusted_proxies: tuple[str, ...] = ()
    leak_policy: dict[str, str] = field(
        default_factory=lambda: {"dev": "notify", "stg": "notify", "ci": "quarantine", "prod": "quarantine"}
    )
    clock: Clock = wall_clock

    @property
    def embedded(self) -> bool:
        """Whether the database is a file of ours."""
        return self.database.startswith("sqlite")

    @property
    def path(self) -> str:
        """The file of the embedded database."""
        return self.database.removeprefix("sqlite:///")


def home() -> Path:
    """Where an embedded platform lives: FLUXGUARD_SERVER_DIR, or the user's own data folder."""
    named = os.environ.get("FLUXGUARD_SERVER_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "fluxguard" / "server"


def settings(database: str | None = None, **others: object) -> Settings:
    """The settings for a database URL, or for the embedded one.

    The secret is the file that FLUXGUARD_SERVER_SECRET_FILE names; it has to be the same for every process of one
    platform. Raises: UsageError for a database that is not known.
    """
    folder = home()
    url = database or os.environ.get("FLUXGUARD_DATABASE_URL") or f"sqlite:///{folder / 'platform.db'}"
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise UsageError(
            "The database URL is of a kind that the platform does not know.",
            "It takes sqlite:///PATH and postgresql://USER@HOST/NAME.",
        )
    named = os.environ.get("FLUXGUARD_SERVER_SECRET_FILE")
    beside = Path(url.removeprefix("sqlite:///")).parent if url.startswith("sqlite:///") else folder
    secret = Path(named) if named else beside / "secret"
    chosen = {"keep_usage": kept(KEEP_USAGE), "keep_refusals": kept(KEEP_REFUSALS)}
    times = {name: value for name, value in chosen.items() if value != 0}
    return Settings(database=url, secret=secret, **{**times, **others})  # type: ignore[arg-type]


def kept(name: str) -> int | None:
    """The length of time that the environment names so, in milliseconds; None for ever, 0 where it says nothing. Raises: UsageError."""
    text = os.environ.get(name, "")
    if not text:
        return 0
    if text == "forever":
        return None
    try:
        length = to_span(text)
    except WireError:
        length = 0
    if length < LEAST[name]:
        raise UsageError(
            f"{name} is no length of time that will do.",
            f"Write it as 90d or 2y, {LEAST[name] // DAY} days at the least, or forever.",
        )
    return length
