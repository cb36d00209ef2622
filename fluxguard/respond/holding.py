"""The files of a history that hold the key: which of them can be cleaned, which have to be replaced whole, and the originals of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxguard.model import Location, Report, Secret
from fluxguard.respond.cutting import Cleaner, cut_out, plainly
from fluxguard.respond.mirror import contents
from fluxguard.respond.veil import shown
from fluxguard.writing import exactly

_TEXTS = ("commit-message", "commit-header", "tag-message")

Blobs = dict[str, list[Location]]  # by id


def places(report: Report, secret: Secret) -> list[Location]:
    """Every place where the audit found the key."""
    return [place for one in report.findings if one.secret == secret for place in one.locations]


def blobs(found: Iterable[Location]) -> Blobs:
    """The files among them."""
    by_id: Blobs = {}
    for place in found:
        if place.kind == "blob" and place.object:
            by_id.setdefault(place.object, []).append(place)
    return by_id


@dataclass(slots=True)
class Course:
    """What becomes of files, by id. whole: replaced whole. anew: archives that are made anew, each with what vouched for it and no longer fits."""

    whole: set[str] = field(default_factory=set)
    anew: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def kept(self) -> set[str]:
        """Those of which somebody may want the original."""
        return self.whole | {id for id, broken in self.anew.items() if broken}


def cleaner(folder: Path, found: list[Location], secret: Secret) -> tuple[Cleaner, Course]:
    """How each file is cleaned; and what becomes of those that are more than text."""
    key, course, cuts, by_id = secret.reveal(), Course(), {}, blobs(found)
    for id, _, data in contents(folder, sorted(by_id)):
        for path in dict.fromkeys(place.path for place in by_id[id]):
            made = cut_out(data, key, path)
            if made is None or made.data == data:
                course.whole.add(id)
            elif made.data != plainly(data, key):
                cuts[id] = path
                if made.anew:
                    course.anew[id] = made.broken
    deep = any(place.via for place in found if place.kind in _TEXTS)
    return Cleaner(key, frozenset(course.whole), cuts, deep), course


def made_anew(course: Course, by_id: Mapping[str, list[Location]], secret: Secret) -> dict[str, str]:
    """Archives that are made anew, in words, each with what of it no longer fits, or ""."""
    return {
        line: shown(", ".join(broken), secret)
        for id, broken in course.anew.items() if id not in course.whole for line in named([id], by_id, secret)
    }  # fmt: skip


def named(ids: Iterable[str], by_id: Mapping[str, list[Location]], secret: Secret) -> tuple[str, ...]:
    """Files in words: where they stand, who brought them, and in which tips they stand still."""
    return tuple(
        _named([one for one in by_id[id] if one.path == path], secret)
        for id in sorted(ids) for path in dict.fromkeys(one.path for one in by_id[id])
    )  # fmt: skip


def _named(places: list[Location], secret: Secret) -> str:
    """One file at one path, in which the key may stand several times."""
    place, trace = places[0], places[0].trace
    vias = ", ".join(dict.fromkeys(shown(" > ".join(one.via), secret) for one in places if one.via))
    commit = f", from commit {trace.commit[:12]} on" if trace and trace.commit else ""
    leading = [name for name in trace.tips if not name.startswith(OURS)] if trace else []
    tips = ", ".join(shown(name, secret) for name in leading[:_MOST])
    more = ", ..." if len(leading) > _MOST else ""
    at = f", at the tip of {tips}{more}" if tips else ""
    return f"{shown(place.path, secret)}{f' ({vias})' if vias else ''}{commit}{at}: blob {place.object}"


OURS = b"refs/fluxguard/"  # of a copy of the own clone, which nobody else knows
_MOST = 3  # tips that are named


def keep(folder: Path, ids: Iterable[str], where: Path) -> None:
    """The originals, each under its id, for the user alone: the key stands in them."""
    wanted = sorted(ids)
    if wanted:
        where.mkdir(mode=0o700, exist_ok=True)
    for id, _, data in contents(folder, wanted):
        exactly(where / id, data, 0o600)
