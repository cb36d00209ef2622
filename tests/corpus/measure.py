"""Precision and recall of detection on the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from corpus import chance
from corpus.cases import Case, Expected, load
from fluxguard.detect.engine import Detector, Match
from fluxguard.detect.ruleset import built_in


@dataclass
class Result:
    """How detection did on one case. wrong: found, but not as expected, in words that show no key."""

    case: Case
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """All that is wrong, a line each."""
        return self.missed + self.wrong + self.false + self.unread

    @property
    def found(self) -> int:
        """How many of the expected keys were found."""
        return len(self.case.expected) - len(self.missed)


def check(detector: Detector, case: Case) -> Result:
    """Runs detection on a case and compares."""
    result = Result(case)
    detection = detector.detect(case.data, case.path.encode())
    left = list(detection.matches)
    for expected in case.expected:
        match = _best(left, expected)
        if match is None:
            result.missed.append(f"missed at {expected.first}")
            continue
        left.remove(match)
        result.wrong += _differences(match, expected)
    result.false = [
        f"false at {_place(match)}: {match.rule.id}, {match.confidence}, {match.via}" for match in left
    ]
    result.unread = [f"unread: {reason} {where}" for where, reason in detection.unread]
    return result


def _best(matches: Iterable[Match], expected: Expected) -> Match | None:
    """The match of this key, at the right place if there is one."""
    same = [match for match in matches if match.secret.reveal() == expected.value]
    return min(same, key=lambda match: len(list(_differences(match, expected))), default=None)


def _place(match: Match) -> tuple[int, int]:
    return match.text.position(match.start)


def _differences(match: Match, expected: Expected) -> Iterator[str]:
    if not expected.first <= _place(match) <= expected.last:
        yield f"at {_place(match)} instead of {expected.first}"
    if match.confidence not in expected.confidence:
        yield f"{match.confidence} confidence instead of {'/'.join(sorted(expected.confidence))}"
    if match.via != expected.via:
        yield f"through {match.via} instead of {expected.via}"


def results() -> list[Result]:
    """All of the corpus."""
    detector = Detector(built_in())
    return [check(detector, case) for sort in ("positive", "negative") for case in load(sort)]


HEADINGS = ("class", "cases", "keys", "found", "false", "recall", "precision")


def table(measured: list[Result]) -> Iterator[str]:
    """Precision and recall by class, in Markdown."""
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---" + "|--:" * (len(HEADINGS) - 1) + "|"
    for kind in sorted({result.case.kind for result in measured}):
        yield _row(kind, [result for result in measured if result.case.kind == kind])
    yield _row("all", measured)


def _row(name: str, measured: list[Result]) -> str:
    keys = sum(len(result.case.expected) for result in measured)
    found = sum(result.found for result in measured)
    false = sum(len(result.false) for result in measured)
    cells = (
        name,
        str(len(measured)),
        str(keys),
        str(found),
        str(false),
        _percent(found, keys),
        _percent(found, found + false),
    )
    return "| " + " | ".join(cells) + " |"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def main() -> None:
    """Prints the tables, and whatever is not as expected."""
    measured = results()
    print("\n".join(table(measured)))
    print()
    print("\n".join(chance.table("random keys", list(chance.recall()), "found")))
    print()
    print("\n".join(chance.table("names", list(chance.false_alarms()), "reported")))
    print()
    for result in measured:
        for failure in result.failures:
            known = f" (known: {result.case.miss})" if result.case.miss else ""
            print(f"{result.case.kind} / {result.case.name}: {failure}{known}")
