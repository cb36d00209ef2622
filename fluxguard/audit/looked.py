"""A scan that notes the names of what it looked at, so that the report can list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fluxguard.chunk import Chunk, Skipped
from fluxguard.scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config


class Looked(Scan):
    """A Scan with a list of all that went through it."""

    def __init__(self, config: Config | None) -> None:
        super().__init__(config)
        self._seen: dict[str, dict[bytes, None]] = {}

    def run(self, source: Iterable[Chunk | Skipped]) -> None:
        """Looks at all that the source yields, and notes its names."""
        super().run(self._noted(source))

    def _noted(self, source: Iterable[Chunk | Skipped]) -> Iterator[Chunk | Skipped]:
        for item in source:
            if isinstance(item, Chunk):
                self._seen.setdefault(item.origin.kind, {})[item.origin.path] = None
            yield item

    def looked_at(self) -> dict[str, tuple[bytes, ...]]:
        """What was looked at, by the contract's kinds of places; refs and names as such are not repeated here."""
        return {kind: tuple(names) for kind, names in self._seen.items() if kind not in ("ref-name", "path")}
