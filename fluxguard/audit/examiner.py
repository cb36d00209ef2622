"""Whoever looks into suspects. The rules, and what applies them, are loaded when the first one turns up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from fluxguard.audit.sighting import Examined
from fluxguard.detect.triggers import Triggers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config
    from fluxguard.detect.engine import Detector

_UNPACKED = 64 << 30  # bytes that all packed contents together may unpack to


class Examiner:
    """Tells what stands in an object. configure: brings the configuration, once there is something to apply it to."""

    def __init__(self, configure: Callable[[], Config], triggers: Triggers) -> None:
        self._configure = configure
        self._triggers = triggers

    @cached_property
    def _detector(self) -> Detector:
        from fluxguard.detect.engine import Detector
        from fluxguard.detect.ruleset import built_in

        config = self._configure()
        limits = replace(config.limits, total=max(config.limits.total, _UNPACKED))
        return Detector([*built_in(), *config.rules], self._triggers, limits)

    def suspects(self, data: bytes) -> bool:
        """Whether anything may stand in `data`; False is certain."""
        return bool(self._triggers.kinds(data))

    def concerned(self, path: bytes) -> bool:
        """Whether a rule wants to see this path's content whatever stands in it."""
        return self._detector.concerned(path)

    def examine(self, id: str, kind: str, data: bytes, path: bytes | None = None) -> Examined:
        """Looks through every layer of an object. path: of a blob, where it is known."""
        from fluxguard.audit.examine import examine

        return examine(id, kind, data, self._detector, path)

    def is_clear(self, text: str) -> bool:
        """Whether a text holds no key."""
        data = text.encode("utf-8", "surrogateescape")
        return not self.suspects(data) or not self._detector.detect(data).matches
