"""Makes fluxguard/detect/letters.py: how often one letter follows another in words that people write.

Reads the identifiers and words of the running Python's standard library, the one body of text that everybody who
can run this has. Usage: python tools/train_letters.py > fluxguard/detect/letters.py
"""

from __future__ import annotations

import math
import pathlib
import re
import sysconfig

SYMBOLS = "abcdefghijklmnopqrstuvwxyz0"


def main() -> None:
    counts = [[1.0] * 27 for _ in range(27)]
    words: set[str] = set()
    for path in pathlib.Path(sysconfig.get_path("stdlib")).rglob("*.py"):
        if "site-packages" not in path.parts:
            words.update(re.findall(r"[A-Za-z][A-Za-z0-9]{3,}", path.read_text("utf-8", "replace")))
    for word in sorted(words):
        symbols = [26 if letter.isdigit() else ord(letter.lower()) - 97 for letter in word]
        for first, second in zip(symbols, symbols[1:], strict=False):
            counts[first][second] += 1
    print(
        '"""How rare it is, in words that people write, that one letter follows another. Made by tools/train_letters.py.'
    )
    print()
    print(
        "One row for each of `a` to `z` and for a digit, one character a column: surprise in quarter bits, from `!`."
    )
    print('"""')
    print()
    print("ROWS = (")
    for row in counts:
        total = sum(row)
        quarters = [min(90, round(-4 * math.log2(count / total))) for count in row]
        text = "".join(chr(33 + quarter) for quarter in quarters)
        print(f"    {text!r},")
    print(")")


main()
