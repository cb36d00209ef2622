"""Joins a source, the rules and the suppressions: the loop that matters.

The loop itself is light. Whoever commits nothing suspicious pays for no rule, no pattern and no report: these are
imported when the first trigger, or the first configuration, is met.
"""

from __future__ import annotations

from fluxguard.chunk import Chunk, Skipped
from fluxguard.detect.triggers import Triggers

FEW = 48  # contents, from which on the fast engine is worth its start
_PROJECT_FILES = (b"configs/project.yaml", b"configs/project.yml")
MANY = 300  # and from which on a second process is

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fluxguard.config import Config
    from fluxguard.findings import Collector
    from fluxguard.second import Tally

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

    def expect(self, many: Callable[[int], bool]) -> None:
        """Gets ready for a long look, if `many` says that there will be at least so many contents."""
        if many(FEW):
            self._triggers.hurry()

    def sift(self, paths: Sequence[bytes], read: Callable[[int], bytes | None]) -> list[int]:
        """Looks at many contents, in two processes where that pays. Returns the numbers of those not cleared by it.

        read: number -> content, which stands at paths[number]; None where it has to be come by in the ordinary way.
        What comes back is to be looked at again with `run`: something may stand there.
        """
        everything = range(len(paths))
        self.expect(lambda count: len(paths) >= count)
        if len(paths) < MANY:
            return self._sift(everything, paths, read)
        from fluxguard.second import Second, pays

        if not pays():
            return self._sift(everything, paths, read)
        try:
            second = Second(lambda: self._sifted(everything[1::2], paths, read))
        except OSError:
            return self._sift(everything, paths, read)
        try:
            left = self._sift(everything[::2], paths, read)
            tally = second.tally()
        finally:
            second.stop()
        if tally is None:
            return sorted(left + self._sift(everything[1::2], paths, read))
        self.objects += tally[0]
        self.bytes += tally[1]
        return sorted(left + tally[2])

    def _sift(self, numbers: range, paths: Sequence[bytes], read: Callable[[int], bytes | None]) -> list[int]:
        count, size, left = self._sifted(numbers, paths, read)
        self.objects += count
        self.bytes += size
        return left

    def _sifted(self, numbers: range, paths: Sequence[bytes], read: Callable[[int], bytes | None]) -> Tally:
        kinds = self._triggers.kinds
        count = size = 0
        left = []
        for number in numbers:
            data = read(number)
            if data is None or kinds(data) or is_fluxloop_path(paths[number]):
                left.append(number)
            else:
                count += 1
                size += len(data)
        return count, size, left

    def names(self, paths: Iterable[bytes], kind: str = "path") -> None:
        """Looks at the names of files; one look for all of them, for hardly ever is there anything in one."""
        from fluxguard.chunk import Origin

        listed = list(paths)
        if self._triggers.kinds(b"\n".join(listed)):
            for path in listed:
                if self._triggers.kinds(path):
                    self._look(Chunk(path, Origin(kind, path)))

    def _look(self, chunk: Chunk) -> None:
        if self.collector is None:
            from fluxguard.findings import Collector

            self.collector = Collector(self._config, self._triggers)
        self.skipped += self.collector.add(chunk)

    def suspects(self, data: bytes) -> int:
        """Whether anything may stand in these bytes, which `run` is then to look at."""
        return self._triggers.kinds(data)

    def cleared(self, count: int, size: int) -> None:
        """Counts what `suspects` has cleared: objects, and their bytes."""
        self.objects += count
        self.bytes += size

    @property
    def clean(self) -> bool:
        """Whether everything was read and nothing was found."""
        return not self.skipped and (self.collector is None or self.collector.empty)


def is_fluxloop_path(path: bytes) -> bool:
    """Whether a path is one of FluxLoop's own, so that rules look into it whatever stands there."""
    return b"fluxloop" in path.lower() or path.endswith(_PROJECT_FILES)
