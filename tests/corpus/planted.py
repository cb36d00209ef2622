"""Recall in other people's files: python tests/corpus/planted.py FOLDER ...

Puts a random key in the place of a quoted text, of a word, or into a base64 or escaped form of its surroundings, in files
below the folders, in memory; nothing is written. These files were not chosen by whoever wrote the detection.
"""

from __future__ import annotations

import base64
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conftest import LETTERS

from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in

LARGEST = 1 << 20
_QUOTED = re.compile(rb"\"[^\"\\\n]{1,200}\"|'[^'\\\n]{1,200}'")
_WORD = re.compile(rb"(?<![A-Za-z0-9_])[A-Za-z0-9]+(?![A-Za-z0-9_-])")


def _in_quotes(data: bytes, key: bytes, source: random.Random) -> bytes | None:
    places = list(_QUOTED.finditer(data))
    if not places:
        return None
    place = source.choice(places)
    return data[: place.start() + 1] + key + data[place.end() - 1 :]


def _as_a_word(data: bytes, key: bytes, source: random.Random) -> bytes | None:
    places = list(_WORD.finditer(data))
    if not places:
        return None
    place = source.choice(places)
    return data[: place.start()] + key + data[place.end() :]


def _in_base64(data: bytes, key: bytes, source: random.Random) -> bytes | None:
    at = source.randrange(len(data) + 1)
    around = data[max(0, at - 200) : at] + b" " + key + b" " + data[at : at + 200]
    return _in_quotes(data, base64.b64encode(around), source)


def _escaped(data: bytes, key: bytes, source: random.Random) -> bytes | None:
    return _in_quotes(data, b"".join(b"\\u%04x" % byte for byte in key), source)


def _cut_in_two(data: bytes, key: bytes, source: random.Random) -> bytes | None:
    at = source.randrange(1, len(key))
    return _in_quotes(data, key[:at] + b'" + "' + key[at:], source)


WAYS: dict[str, Callable[[bytes, bytes, random.Random], bytes | None]] = {
    "in quotes": _in_quotes,
    "as a word": _as_a_word,
    "in base64": _in_base64,
    "in \\u escapes": _escaped,
    "joined": _cut_in_two,
}


def files(folders: list[str]) -> Iterator[Path]:
    """The files below the folders, in order."""
    for folder in folders:
        for base, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if name != ".git")
            yield from (Path(base) / name for name in sorted(names))


def main(folders: list[str], many: int = 2000) -> None:
    """Prints how many of the planted keys were found, by the way in which they were planted."""
    source = random.Random("planted")
    listed = [path for path in files(folders) if path.is_file() and not path.is_symlink()]
    detector = Detector(built_in())
    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    missed: list[str] = []
    for path in source.sample(listed, min(many, len(listed))):
        if not 0 < path.stat().st_size <= LARGEST:
            continue
        data = path.read_bytes()
        for name, plant in WAYS.items():
            key = f"flux_{source.choice(('dev', 'stg', 'prod', 'ci'))}_".encode()
            key += "".join(source.choices(LETTERS, k=source.choice((18, 24, 27, 29, 36)))).encode()
            changed = None if b"\0" in data else plant(data, key, source)
            if changed is None:
                continue
            planted[name] += 1
            if any(
                match.secret.reveal() == key for match in detector.detect(changed, str(path).encode()).matches
            ):
                found[name] += 1
            else:
                missed.append(f"  {name}: {path}")
    print("| planted | number | found |\n|---|--:|--:|")
    for name in WAYS:
        print(f"| {name} | {planted[name]:,} | {found[name]:,} |")
    print("\n".join(missed))


if __name__ == "__main__":
    main(sys.argv[1:])
