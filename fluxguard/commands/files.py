"""The scan of files and folders. Everything on the way of a clean one is light, as for a commit."""

from __future__ import annotations

import os
import sys
import time

from fluxguard import settings
from fluxguard.chunk import Skipped
from fluxguard.errors import UsageError
from fluxguard.repo import layout
from fluxguard.sources import worktree
from fluxguard.words import count, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxguard.config import Config
    from fluxguard.model import Report
    from fluxguard.scan import Scan


def check(words: Sequence[str]) -> int | None:
    """`fluxguard scan` with these words: names and plain flags. None where configuration asks for the whole command."""
    started = time.perf_counter()
    flags = {word for word in words if word.startswith("-")}
    root = layout.root()
    if settings.any_for(None if "--no-repo-config" in flags else root):
        return None
    paths = [word for word in words if word not in flags]
    scan = look(paths, None, "--no-ignore" in flags)
    if scan.clean:
        if "--quiet" not in flags:
            sys.stdout.write(_clean_line(scan, time.perf_counter() - started))
        return 0
    from fluxguard.commands.output import show

    return show(report(scan, None, paths, started), "--quiet" in flags, "--no-color" in flags)


def look(paths: Sequence[str], config: Config | None, ignored: bool) -> Scan:
    """Looks at the files and folders named, or at the repository's (else the folder's) own."""
    scan: Scan | None = None
    for path in paths or [layout.root() or "."]:
        unreachable = _unreachable(path)
        listing = worktree.Listing(_relative(path), ignored, bool(paths)) if os.path.isdir(path) else None
        if scan is None:
            from fluxguard.scan import Scan  # git is at work by now

            scan = Scan(config)
        if unreachable:
            scan.skipped.append(Skipped(os.fsencode(path), unreachable))
            continue
        limit = settings.LARGEST if config is None else config.largest
        if listing is not None:
            scan.expect(listing.many)
            names, skipped = listing.files()
            scan.skipped += skipped
            _read(scan, names, limit)
        else:
            _named(scan, path, limit)
    assert scan is not None
    return scan


def _named(scan: Scan, path: str, limit: int) -> None:
    """Reads what was named by hand, whatever it is; if it could not be read, that is said."""
    from fluxguard.sources import stdin

    shown = os.fsencode(path)
    before = scan.objects, len(scan.skipped)
    if stdin.is_stream(path):
        scan.names([shown])
        scan.run(stdin.stream(path, limit))
    else:
        _read(scan, [(os.fsencode(os.path.realpath(path)), shown)], limit)
    if (scan.objects, len(scan.skipped)) == before:
        scan.skipped.append(Skipped(shown, "there is nothing behind this name that can be read"))


def _unreachable(path: str) -> str:
    """Why it can't be looked at, "" where it can. Raises UsageError where there is no such thing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{path} does not exist.", "Check the name; a path that begins with - goes behind --."
        ) from None
    except (OSError, ValueError) as error:
        reason: str = getattr(error, "strerror", "") or "the name is no name of a file"
        return f"can't be reached: {reason.lower()}"
    return "a symbolic link that leads nowhere" if not os.path.exists(path) else ""


def report(scan: Scan, config: Config | None, paths: Sequence[str], started: float) -> Report:
    """The report of such a scan."""
    from fluxguard.findings import Collector
    from fluxguard.model import Stats

    collector = scan.collector or Collector(config)
    stats = Stats(scan.objects, scan.bytes, time.perf_counter() - started)
    return collector.report("scan", " ".join(paths) or ".", scan.skipped, stats, whole=not paths)


def _clean_line(scan: Scan, seconds: float) -> str:
    return f"fluxguard: no key found that blocks ({count(scan.objects, 'object')}, {size(scan.bytes)}, {seconds:.1f} s).\n"


def _read(scan: Scan, names: list[tuple[bytes, bytes]], limit: int) -> None:
    shown = [name for _, name in names]
    scan.names(shown)
    left = scan.sift(shown, lambda number: worktree.plain(names[number][0], limit))
    scan.run(worktree.contents((names[number] for number in left), limit))


def _relative(path: str) -> str:
    """The folder as a person would name it from here, where that is shorter."""
    here = os.path.realpath(".")
    real = os.path.realpath(path)
    if real == here:
        return "."
    return os.path.relpath(real, here) if real.startswith(here + os.sep) else path
