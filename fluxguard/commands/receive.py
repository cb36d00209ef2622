"""The hooks of a server: what a push brings is looked at before any ref changes, in bounded time, and refused when in doubt.

Whose rules count: the server's own, and of the repository only what its HEAD held before this push, within what
`breadth` lets a repository decide. What is pushed changes no rules for itself; its allow comments count, each for its
line, unless the server's owner says otherwise. Nothing that a pusher sets lets a push through.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from types import FrameType

from fluxguard import push, settings, tracing
from fluxguard.commands.blocked import show
from fluxguard.commands.push import standard_input
from fluxguard.config import Config, baseline_of, load_config
from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Report
from fluxguard.repo import banned, layout, objects, outgoing, run
from fluxguard.repo.outgoing import Update
from fluxguard.repo.plain import small_file
from fluxguard.repo.store import id_width

TIMEOUT = 4.0  # seconds; GitHub Enterprise gives all its pre-receive hooks together five
EACH = 10_000.0  # objects in the packs of a push, for which there is a second more where nothing else was set
MOST = 60.0  # seconds, however many there are
_MANY = 5_000  # objects, from which on the audit's engine is worth its start
EXCEPTIONS = ("repository", "none")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What the server's owner has set, with `git config` in the repository or for the whole server.

    timeout: seconds, None for as many as befit the push. exceptions: whether those that the repository brings count.
    """

    timeout: float | None = None
    exceptions: str = "repository"


class OutOfTime(FluxguardError):
    """The look took too long."""


def pre_receive() -> int:
    """All refs of a push at once, from standard input."""
    return _check("hook pre-receive", outgoing.received(standard_input()))


def update(words: list[str]) -> int:
    """One ref of a push: its name, its old and its new id."""
    if len(words) != 3:
        raise UsageError(
            "update takes three arguments: ref, old id, new id.", "git hands them over by itself."
        )
    name, old, new = map(os.fsencode, words)
    return _check("hook update", outgoing.received(b" ".join((old, new, name))))


def _check(command: str, updates: list[Update]) -> int:
    started = time.perf_counter()
    if not any(update.new for update in updates):
        return 0
    banned.refuse(
        layout.common_dir() or os.environ.get("GIT_DIR", "."),
        [update.new for update in updates if update.new],
    )
    terms = terms_of(run.try_output("config", "-z", "--get-regexp", r"^fluxguard\.") or b"")
    with _Deadline(terms.timeout or befitting(_arrived(quarantine()))):
        report = _looked(command, updates, terms, started)
    return 0 if report is None else show(report, hook=True)


def _looked(command: str, updates: list[Update], terms: Terms, started: float) -> Report | None:
    """The report; None where there is nothing to say."""
    listing = outgoing.lacked_here(updates)  # git is at work from here on
    config, note = _rules(terms)
    cleared = _sifted(config)
    done = push.look(updates, listing.read(), config, cleared)
    if done.scan.clean:
        return None
    report = tracing.report(done, command, "", started, allow_comments=terms.exceptions != "none")
    return replace(report, notes=(*report.notes, *([note] if note else [])))


def befitting(objects: int) -> float:
    """The seconds that a look at so many objects may take: more for more, and bounded."""
    return min(MOST, TIMEOUT + objects / EACH)


def quarantine() -> str:
    """Where git keeps the objects of a push until the hook has let them pass; "" where it does not."""
    return os.environ.get("GIT_QUARANTINE_PATH", "")


def _arrived(folder: str) -> int:
    """The number of objects in the packs of a push, as the packs say themselves. Format: gitformat-pack(5)."""
    count = 0
    packs = os.path.join(folder, "pack")
    for name in os.listdir(packs) if folder and os.path.isdir(packs) else []:
        if name.endswith(".pack"):
            head = small_file(os.path.join(packs, name), 12)
            count += int.from_bytes(head[8:12], "big")
    return count


def _sifted(config: Config) -> push.Cleared | None:
    """What the audit's engine clears of a large push; None for a small one."""
    folder = quarantine()
    if _arrived(folder) < _MANY:
        return None
    from fluxguard.audit import incoming
    from fluxguard.detect.triggers import Triggers

    look = Triggers([literal for rule in config.rules for literal in rule.literals])
    return incoming.cleared(folder, id_width(layout.common_dir() or "."), config, look)


def terms_of(raw: bytes) -> Terms:
    """What `git config -z --get-regexp ^fluxguard` says: `name LF value NUL`. Raises UsageError for what makes no sense."""
    terms = Terms()
    for entry in raw.decode("utf-8", "replace").split("\0"):
        name, _, value = entry.partition("\n")
        if name == "fluxguard.timeout":
            terms = replace(terms, timeout=_seconds(value))
        elif name == "fluxguard.exceptions":
            if value not in EXCEPTIONS:
                raise UsageError(
                    f"git config fluxguard.exceptions is neither {' nor '.join(EXCEPTIONS)}.",
                    "The server's owner has to mend it: git config fluxguard.exceptions none",
                )
            terms = replace(terms, exceptions=value)
    return terms


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
        if 0 < seconds < 86_400:
            return seconds
    except ValueError:
        pass
    raise UsageError(
        "git config fluxguard.timeout is no number of seconds above 0.",
        "The server's owner has to mend it: git config fluxguard.timeout 4",
    )


# --- rules -----------------------------------------------------------------------------------------------------------


def _rules(terms: Terms) -> tuple[Config, str]:
    """The rules that count, and what is to be said about them."""
    if terms.exceptions == "none":
        return load_config(None), ""
    with tempfile.TemporaryDirectory(prefix="fluxguard-") as folder:
        _lay_out(folder, [settings.FILE, settings.PROJECT, settings.BASELINE])
        try:
            baseline = baseline_of(folder)
            if baseline and baseline.isprintable():
                _lay_out(folder, [baseline])
            return load_config(folder), ""
        except UsageError as error:
            # Were it to refuse everything, nobody could push what mends it.
            return load_config(
                None
            ), f"The configuration at HEAD does not count, for it is wrong: {error.what}"


def _lay_out(folder: str, names: list[str]) -> None:
    """Writes files of HEAD, as it is before the push, into a folder of our own."""
    for opened in objects.read([f"HEAD:{name}" for name in names]):
        path = os.path.join(folder, opened.id.removeprefix("HEAD:"))
        if opened.kind == "blob" and opened.size <= _LARGEST:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.writelines(opened.pieces())


# --- time ------------------------------------------------------------------------------------------------------------


class _Deadline:
    """Ends what runs inside after so many seconds with OutOfTime."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        raise OutOfTime(
            f"looking at what is pushed took longer than {self._seconds:g} seconds. Nothing of it was accepted.",
            "Push fewer commits at once, older ones first; or have the server's owner give it more time: "
            "git config fluxguard.timeout SECONDS",
        )
