"""What a merge brings with it: keys that stand in the commits that are merged stay in the history, whatever the merge says."""

from __future__ import annotations

from fluxguard.chunk import Chunk, Origin
from fluxguard.config import Config
from fluxguard.findings import Collector
from fluxguard.model import Report
from fluxguard.repo import objects
from fluxguard.sources.windows import WHOLE


def inherited(report: Report, heads: list[str], config: Config) -> tuple[bytes, ...]:
    """The paths at which a key that was found in the index stands in one of the commits that are being merged, too."""
    wanted = {
        place.path
        for finding in report.findings
        for place in finding.locations
        if place.kind == "staged" and b"\n" not in place.path
    }
    keys = {finding.secret for finding in report.findings}
    names = {f"{head}:{path.decode('utf-8', 'surrogateescape')}": path for head in heads for path in wanted}
    found = set()
    for opened in objects.read(list(names)):
        if opened.kind != "blob" or opened.size > WHOLE:
            continue
        theirs = Collector(config)
        theirs.add(Chunk(b"".join(opened.pieces()), Origin("blob", names[opened.id])))
        if keys & {one.secret for one in theirs.seen()}:
            found.add(names[opened.id])
    return tuple(sorted(found))
