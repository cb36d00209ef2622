"""Joins a source, the rules and the suppressions: the loop that matters.

The loop itself is light. Whoever commits nothing suspicious pays for no rule, no pattern and no report: these are
imported when the first trigger, or the first configuration, is met.
"""

from __future__ import annotations

from fluxguard.chunk import Chunk, Skipped
from fluxguard.detect.triggers import Triggers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fluxguard.config import Config
    from fluxguard.findings import Collector

    Bases = Callable[[set[bytes]], Mapping[bytes, bytes]]


class Scan:
    """One run over a source. `config` is None where nothing is configured.

    collector is None as long as nothing was suspicious: then everything read was clean.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self.collector: Collector | None = None
        self.skipped: list[Skipped] = []
        self.objects = 0
        self.bytes = 0
        if config is not None:
            self._triggers = Triggers([literal for rule in config.rules for literal in rule.literals])
        else:
            self._triggers = Triggers()

    def run(self, source: Iterable[Chunk | Skipped]) -> None:
        """Looks at all that the source yields. May be called for several sources."""
        kinds = self._triggers.kinds
        for item in source:
            if isinstance(item, Skipped):
                self.skipped.append(item)
                continue
            self.objects += item.start == 0
            self.bytes += len(item.data)
            if kinds(item.data) or is_fluxloop_path(item.origin.path):
                self._look(item)

    def names(self, paths: Iterable[bytes]) -> None:
        """Looks at the names of files; one look for all of them, for hardly ever is there anything in one."""
        from fluxguard.chunk import Origin

        listed = list(paths)
        if self._triggers.kinds(b"\n".join(listed)):
            for path in listed:
                if self._triggers.kinds(path):
                    self._look(Chunk(path, Origin("path", path)))

    def _look(self, chunk: Chunk) -> None:
        if self.collector is None:
            from fluxguard.findings import Collector

            self.collector = Collector(self._config, self._triggers)
        self.skipped += self.collector.add(chunk)

    @property
    def clean(self) -> bool:
        """Whether everything was read and nothing was found."""
        return not self.skipped and (self.collector is None or self.collector.empty)


def is_fluxloop_path(path: bytes) -> bool:
    """Whether a path is one of FluxLoop's own, so that rules look into it whatever stands there."""
    return b"fluxloop" in path.lower()
