"""Joins a source, the rules and the suppressions: the loop that matters.

The loop itself is light. Whoever commits nothing suspicious pays for no rule, no pattern and no report: these are
imported when the first trigger, or the first configuration, is met.
"""

from __future__ import annotations

from fluxguard.chunk import Chunk, Skipped
from fluxguard.detect.triggers import MARKER, Triggers

FEW = 48  # contents, from which on the fast engine is worth its start
_PROJECT_FILES = (b"configs/project.yaml", b"configs/project.yml")
MANY = 300  # and from which on a second process is

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fluxguard.config import Config
    from fluxguard.detect.bulk import Shelf
    from fluxguard.detect.engine import Detection, Detector
    from fluxguard.findings import Collector
    from fluxguard.second import Portions, Tally, Tell

    Bases = Callable[[set[bytes]], Mapping[bytes, bytes]]


class Scan:
    """One run over a source. `config` is None where nothing is configured.

    collector is None as long as nothing was suspicious: then everything read was clean. triggers: the first look at each content.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self.collector: Collector | None = None
        self._detector: Detector | None = None
        self.skipped: list[Skipped] = []
        self.objects = 0
        self.bytes = 0
        if config is not None:
            self.triggers = Triggers([literal for rule in config.rules for literal in rule.literals], _shelf)
        else:
            self.triggers = Triggers((), _shelf)

    def run(self, source: Iterable[Chunk | Skipped]) -> None:
        """Looks at all that the source yields. May be called for several sources."""
        kinds = self.triggers.kinds
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
            self.triggers.hurry()

    def sift(
        self, paths: Sequence[bytes], read: Callable[[int], bytes | None], many: int = MANY
    ) -> list[int]:
        """Looks at contents, from so `many` on in two processes. Returns the numbers of those not cleared by it.

        read: number -> content, which stands at paths[number]; None where it has to be come by in the ordinary way.
        What comes back is to be looked at again with `run`: something may stand there.
        """
        self.expect(lambda count: len(paths) >= count)
        if len(paths) >= many:
            from fluxguard.second import Portions, pays

            if pays():
                try:
                    portions = Portions(len(paths))
                except OSError:
                    pass
                else:
                    try:
                        return self._shared(portions, paths, read)
                    finally:
                        portions.close()
        return self._sift(range(len(paths)), paths, read)

    def _shared(
        self, portions: Portions, paths: Sequence[bytes], read: Callable[[int], bytes | None]
    ) -> list[int]:
        from fluxguard.second import Second

        try:
            second = Second(lambda tell: self._assist(portions, paths, read, tell))
        except OSError:
            return self._sift(range(len(paths)), paths, read)
        left: list[int] = []
        mine: set[int] = set()
        try:
            for portion in portions:
                mine.add(portion.start)
                left += self._sift(portion, paths, read)
                if self._detector is None and self._config is None and second.has_told():
                    self._prepared()  # the second process goes on meanwhile
            tally = second.tally()
        finally:
            second.stop()
        if tally is None:
            for portion in portions.all_but(mine):
                left += self._sift(portion, paths, read)
        else:
            self.objects += tally[0]
            self.bytes += tally[1]
            left += tally[2]
        return sorted(left)

    def _assist(
        self,
        portions: Portions,
        paths: Sequence[bytes],
        read: Callable[[int], bytes | None],
        tell: Tell,
    ) -> Tally:
        """The work of the second process. It looks into nothing: what that takes need not be loaded twice."""
        kinds = self.triggers.kinds
        count = size = 0
        left = []
        for portion in portions:
            for number in portion:
                data = read(number)
                if data is None:
                    left.append(number)
                    continue
                kind = -1 if is_fluxloop_path(paths[number]) else kinds(data)
                if kind and not self._is_harmless(data, kind):
                    tell(number)
                else:
                    count += 1
                    size += len(data)
        return count, size, left

    def _sift(self, numbers: range, paths: Sequence[bytes], read: Callable[[int], bytes | None]) -> list[int]:
        kinds = self.triggers.kinds
        left = []
        for number in numbers:
            data = read(number)
            if data is None:
                left.append(number)
                continue
            kind = kinds(data)
            if (kind or is_fluxloop_path(paths[number])) and not self._holds_nothing(
                data, paths[number], kind
            ):
                left.append(number)
            else:
                self.objects += 1
                self.bytes += len(data)
        return left

    def names(self, paths: Iterable[bytes], kind: str = "path") -> None:
        """Looks at the names of files; one look for all of them, for hardly ever is there anything in one."""
        from fluxguard.chunk import Origin

        listed = list(paths)
        if self.triggers.kinds(b"\n".join(listed)):
            for path in listed:
                if self.triggers.kinds(path):
                    self._look(Chunk(path, Origin(kind, path)))

    def _look(self, chunk: Chunk) -> None:
        detection = None
        if self.collector is None:
            nothing, detection = self._first_look(
                chunk.data, chunk.origin.path, self.triggers.kinds(chunk.data)
            )
            if nothing:
                return
            from fluxguard.findings import Collector

            self.collector = Collector(self._config, self.triggers, self._detector)
        self.skipped += self.collector.add(chunk, detection)

    def suspects(self, data: bytes) -> int:
        """Whether anything may stand in these bytes, which `run` is then to look at."""
        return self.triggers.kinds(data)

    def clears(self, names: Sequence[bytes]) -> bool:
        """Whether one look at all of these names shows that nothing stands in any, so that `run` need not look at each."""
        whole = b"\n".join(names) + b"\n"
        ours = b"fluxloop" in whole.lower() or any(name + b"\n" in whole for name in _PROJECT_FILES)
        return not ours and not self.triggers.kinds(whole)

    def cleared(self, count: int, size: int) -> None:
        """Counts what `suspects` has cleared: objects, and their bytes."""
        self.objects += count
        self.bytes += size

    def _holds_nothing(self, data: bytes, path: bytes, kinds: int) -> bool:
        return self._first_look(data, path, kinds)[0]

    def _first_look(self, data: bytes, path: bytes, kinds: int) -> tuple[bool, Detection | None]:
        """Whether detection clears what looked suspicious, so that nothing needs to be loaded that makes reports; what it found.

        Not asked where there is configuration, nor of an allow comment, of which a report has something to say.
        """
        if self._config is not None or kinds & MARKER:
            return False, None
        if self._is_harmless(data, kinds) and not is_fluxloop_path(path):
            return True, None
        found = self._prepared().detect(data, path)
        return not found.matches and not found.unread, found

    def _is_harmless(self, data: bytes, kinds: int) -> bool:
        from fluxguard.detect.harmless import is_harmless

        return self._config is None and is_harmless(data, kinds, self.triggers.kinds)

    def _prepared(self) -> Detector:
        if self._detector is None:
            from fluxguard.detect.engine import Detector
            from fluxguard.detect.ruleset import built_in

            self._detector = Detector(built_in(), self.triggers)
        return self._detector

    @property
    def clean(self) -> bool:
        """Whether everything was read and nothing was found."""
        return not self.skipped and (self.collector is None or self.collector.empty)


def _shelf() -> Shelf:
    from fluxguard import shelf

    return shelf


def is_fluxloop_path(path: bytes) -> bool:
    """Whether a path is one of FluxLoop's own, so that rules look into it whatever stands there."""
    return b"fluxloop" in path.lower() or path.endswith(_PROJECT_FILES)


def any_fluxloop_path(paths: Iterable[bytes]) -> bool:
    """Whether one of these paths may be such a one: asked of all of them at once."""
    joined = b"\n".join(paths).lower()
    return b"fluxloop" in joined or any(name.lower() in joined for name in _PROJECT_FILES)
