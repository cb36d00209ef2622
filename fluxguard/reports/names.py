"""Names that others chose (paths, refs, people, subjects), made fit to be shown: no key in any form, no control character."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from fluxguard import display
from fluxguard.detect.triggers import Triggers
from fluxguard.model import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.detect.engine import Detector

_TOGETHER = 500


class Names:
    """Shows the names of one report. A key is masked in them be it plain, encoded, or none of the report's own."""

    def __init__(self, report: Report) -> None:
        self.masks = report.masks()
        self._triggers = Triggers()
        self._detector: Detector | None = None
        self._shown: dict[bytes, str] = {}
        self.folder = _folder(report)

    def __call__(self, name: bytes | str) -> str:
        """The name as text: UTF-8 where it is, each other byte as \\xNN."""
        raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        if raw not in self._shown:
            self._shown[raw] = display.path(self.raw(raw))
        return self._shown[raw]

    def all(self, names: Sequence[bytes]) -> list[str]:
        """Many names at once: one look at some hundred of them clears those in which nothing can be."""
        for start in range(0, len(names), _TOGETHER):
            some = [name for name in names[start : start + _TOGETHER] if name.isascii()]
            whole = b"\n".join(some)
            if not self._triggers.kinds(whole) and not self.masks.stand_in(whole):
                self._shown.update((name, display.path(name)) for name in some)
        return [self(name) for name in names]

    def repository(self, name: str) -> str:
        """A repository's name, without the folder that those of the report have in common."""
        return self(name[len(self.folder) :] if name.startswith(self.folder) else name)

    def base64(self, name: bytes) -> str:
        """The name's own bytes, for names that are no UTF-8; keys are masked all the same."""
        return base64.b64encode(self.raw(name)).decode()

    def raw(self, name: bytes) -> bytes:
        """The name as it is, but for keys: for formats with an encoding of their own for what can't be shown."""
        return self.masks.hide_in(self._masked(name))

    def _masked(self, raw: bytes) -> bytes:
        if not self._triggers.kinds(raw):
            return raw
        if self._detector is None:
            from fluxguard.detect.engine import Detector
            from fluxguard.detect.ruleset import built_in

            self._detector = Detector([*built_in()], self._triggers)
        found = self._detector.detect(raw).matches
        spans = sorted({(match.start, match.end, match.secret.masked) for match in found}, reverse=True)
        end_of_rest = len(raw)
        for start, end, shown in spans:
            if end <= end_of_rest:
                raw = raw[:start] + shown.encode() + raw[end:]
                end_of_rest = start
        return raw


def _folder(report: Report) -> str:
    """The folder in which all the report's repositories are, with its slash; "" where there is none."""
    named = report.repositories
    if len(named) < 2 or len({os.path.isabs(name) for name in named}) > 1:
        return ""
    common = os.path.commonpath(os.path.dirname(name) for name in named)
    return common.rstrip("/") + "/" if common else ""
