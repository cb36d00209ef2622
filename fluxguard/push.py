"""Looks at what a push brings, and tells which commit brought what, and what the other side has already."""

from __future__ import annotations

from fluxguard import settings
from fluxguard.repo.outgoing import Lacking, Update
from fluxguard.scan import FEW, Scan, any_fluxloop_path, is_fluxloop_path
from fluxguard.sources import push as source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxguard.config import Config

_WORTH_HASTE = 3 * FEW  # objects, most of them small
_WORTH_ANOTHER = 1000  # blobs, from which on a second process is


class Look:
    """What was looked at."""

    def __init__(self, updates: Sequence[Update], lacking: Lacking, config: Config | None) -> None:
        self.updates = updates
        self.lacking = lacking
        self.config = config
        self.scan = Scan(config)
        self.seen = source.Seen(self.scan.suspects)


class Cleared:
    """Objects that were looked at together, before. ids: of those in which nothing stands. commits: those that are commits.

    homes: as in sources.push.Seen. bytes: how many were read.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.commits: set[str] = set()
        self.homes: list[tuple[bytes, bytes, str]] = []
        self.bytes = 0

    def leaves(self, listed: Sequence[tuple[str, bytes]], seen: source.Seen) -> list[tuple[str, bytes]]:
        """Which of these objects are still to be looked at; of the others `seen` takes notice."""
        left = [(id, path) for id, path in listed if id not in self.ids]
        if any_fluxloop_path(path for _, path in listed):
            left += [(id, path) for id, path in listed if id in self.ids and is_fluxloop_path(path)]
        seen.commits += [id for id, _ in listed if id in self.commits]
        seen.homes += self.homes
        seen.cleared += len(listed) - len(left)
        seen.bytes += self.bytes
        return left


def look(
    updates: Sequence[Update], lacking: Lacking, config: Config | None, cleared: Cleared | None = None
) -> Look:
    """Looks at the names of the refs, and at all of `lacking` that is not `cleared`."""
    done = Look(updates, lacking, config)
    scan, seen = done.scan, done.seen
    limit = settings.LARGEST if config is None else config.largest
    scan.expect(lambda _: len(lacking.objects) >= _WORTH_HASTE)
    scan.run(source.ref_names(updates))
    scan.run(source.unread(lacking))
    if cleared is not None:
        listed = cleared.leaves(lacking.objects, seen)
    else:
        listed = _left(lacking, scan, seen) if lacking.at_hand else lacking.objects
    scan.run(source.contents(listed, limit, seen))
    scan.run(source.contents(source.at_home(lacking.objects, seen), limit, seen))
    scan.cleared(seen.cleared, seen.bytes)
    return done


def _left(lacking: Lacking, scan: Scan, seen: source.Seen) -> list[tuple[str, bytes]]:
    """The objects that a first look did not clear, of a list whose commits and trees are at hand: most of it, mostly."""
    at_hand = lacking.at_hand
    left = [(id, b"") for id, (kind, data) in at_hand.items() if not seen.passes(id, kind, data)]
    blobs = [(id, path) for id, path in lacking.objects if id not in at_hand]
    read = source.reader([id for id, _ in blobs])
    return left + [blobs[number] for number in scan.sift([path for _, path in blobs], read, _WORTH_ANOTHER)]
