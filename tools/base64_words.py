"""Prints `BASE64_WORDS` of fluxguard/detect/triggers.py: what the words to look for become in base64.

They stand there as they come out, for making them anew would cost every commit more than looking for them does.
Usage: python tools/base64_words.py
"""

from __future__ import annotations

import base64
import textwrap

SECOND = (b"_dev_", b"_stg_", b"_prod_", b"_ci_")


def main() -> None:
    print(textwrap.fill(b" ".join(words()).decode(), 110, break_on_hyphens=False))


def words() -> list[bytes]:
    """What is looked for, in the order of the table."""
    plain = (
        *(b"flux", b"FLUXLOOP", b"flx_", b"fl_sk_"),
        *(b"666c7578", b"666C7578", b"%66%6", b"\\u0066", b"&#102;"),  # escapes and hex within base64
    )
    once = forms(b"flux_")
    twice = [form for literal in once for form in forms(literal)]
    thrice = [form for literal in twice for form in forms(literal)]
    # A line break may cut the first word; the second is whole then, on either side of it.
    second = [form for name in SECOND for form in forms(name)]
    again = [form for literal in second for form in forms(literal)]
    wide = [form for word in (b"flux", *SECOND) for form in forms(word.decode().encode("utf-16-le"))]
    packed = [b"H4sI", b"UEsDB", b"SDRzS", b"VUVzRE"]  # gzip and zip, in base64 once and twice
    first = [form for word in plain for form in forms(word)]
    return list(dict.fromkeys([*first, *twice, *thrice, *second, *again, *wide, *packed]))


def forms(literal: bytes) -> list[bytes]:
    """The characters that `literal` becomes in base64, whatever stands around it: one form per alignment.

    Only characters that hold no bit of a neighbour are kept, so each form is a little shorter than the whole.
    """
    made = []
    for lead in range(3):
        whole = base64.b64encode(bytes(lead) + literal)
        made.append(whole[-(-lead * 8 // 6) : (lead + len(literal)) * 8 // 6])
    return made


if __name__ == "__main__":
    main()
