"""How detection does on random keys, and on names that only look like keys: figures on ten thousand of each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import LETTERS

from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in
from fluxguard.secret import checksum

ENVIRONMENTS = ("dev", "stg", "prod", "ci")
LENGTHS = (16, 18, 24, 27, 29, 36)
ALPHABETS = {"letters and digits": LETTERS, "lower case and digits": "abcdefghijklmnopqrstuvwxyz0123456789"}
MANY = 10_000


@dataclass(frozen=True)
class Tally:
    """Of `total` values, how many were found, by confidence."""

    name: str
    total: int
    confidences: Counter[str]

    @property
    def found(self) -> int:
        """How many were reported at all."""
        return sum(self.confidences.values())


def tally(name: str, values: list[str]) -> Tally:
    """Writes each value on a line of its own and counts what is found."""
    wanted = Counter(value.encode() for value in values)
    seen: Counter[str] = Counter()
    # In pieces, for a report of ten thousand findings in one text is not what is measured here.
    detector = Detector(built_in())
    for at in range(0, len(values), 100):
        text = "\n".join(f"KEY={value}" for value in values[at : at + 100])
        for match in detector.detect(text.encode(), b"keys.txt").matches:
            if wanted[match.secret.reveal()]:
                seen[match.confidence] += 1
    return Tally(name, len(values), seen)


def random_keys(alphabet: str, length: int, many: int = MANY) -> list[str]:
    """`many` keys of each environment; no body twice, none that is a placeholder by chance."""
    source = random.Random(f"{alphabet}/{length}")
    return [
        f"flux_{environment}_" + "".join(source.choices(alphabet, k=length))
        for environment in ENVIRONMENTS
        for _ in range(many)
    ]


def checked_keys(many: int = MANY) -> list[str]:
    """Keys with a right checksum."""
    source = random.Random("checked")
    heads = [
        f"flux_{environment}_" + "".join(source.choices(LETTERS, k=30))
        for environment in ENVIRONMENTS
        for _ in range(many)
    ]
    return [head + checksum(head.encode()).decode() for head in heads]


def recall(many: int = MANY) -> Iterator[Tally]:
    """Every length and alphabet, then keys that prove themselves."""
    for alphabet, letters in ALPHABETS.items():
        for length in LENGTHS:
            yield tally(f"{alphabet}, {length}", random_keys(letters, length, many))
    yield tally("checksum", checked_keys(many))


WORDS = (Path(__file__).parent / "words.txt").read_text("ascii").split()
Style = Callable[[random.Random], str]


def _words(source: random.Random) -> list[str]:
    """As many words as make a name of 16 characters or more: a shorter one is no candidate."""
    words = [source.choice(WORDS)]
    while sum(map(len, words)) < 16:
        words.append(source.choice(WORDS))
    return words


def _camel(source: random.Random) -> str:
    first, *rest = _words(source)
    return first + "".join(map(str.capitalize, rest))


STYLES: dict[str, Style] = {
    "snake_case": lambda source: "_".join(_words(source)),
    "runtogether": lambda source: "".join(_words(source)),
    "RUNTOGETHER": lambda source: "".join(_words(source)).upper(),
    "camelCase": _camel,
    "PascalCase": lambda source: "".join(map(str.capitalize, _words(source))),
    "camelCase42": lambda source: _camel(source) + str(source.randrange(1, 100)),
    "runtogether7": lambda source: "".join(_words(source)) + str(source.randrange(1, 100)),
}


def false_alarms(many: int = MANY) -> Iterator[Tally]:
    """Names behind `flux_dev_`, standing alone and behind another word."""
    for prefix in ("flux_dev_", "influx_dev_"):
        for style, make in STYLES.items():
            source = random.Random(style)
            yield _alarms(prefix + style, [prefix + make(source) for _ in range(many)])


def _alarms(name: str, values: list[str]) -> Tally:
    detector = Detector(built_in())
    seen: Counter[str] = Counter()
    for at in range(0, len(values), 100):
        text = "\n".join(f"x = {value}" for value in values[at : at + 100])
        seen.update(match.confidence for match in detector.detect(text.encode(), b"names.txt").matches)
    return Tally(name, len(values), seen)


def table(title: str, tallies: list[Tally], verb: str) -> Iterator[str]:
    """Markdown, a row a tally."""
    yield f"| {title} | number | {verb} | share | high | medium | low |"
    yield "|---" + "|--:" * 6 + "|"
    for entry in tallies:
        levels = " | ".join(f"{entry.confidences[level]:,}" for level in ("high", "medium", "low"))
        share = 100 * entry.found / entry.total
        yield f"| {entry.name} | {entry.total:,} | {entry.found:,} | {share:.2f} % | {levels} |"
