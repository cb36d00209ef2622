"""A key in a dump or in wrapped base64, wherever the end of a row cuts it: found whole, and at every offset."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from conftest import Mint

from fluxguard.detect.engine import Detector
from fluxguard.detect.ruleset import built_in

DETECTOR = Detector(built_in())


def rows(data: bytes, size: int = 16) -> list[tuple[int, bytes]]:
    return [(at, data[at : at + size]) for at in range(0, len(data), size)]


def characters(data: bytes) -> str:
    """As `od -c` and `hexdump -c` write it."""
    names = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r"}
    cell = lambda byte: names.get(byte, chr(byte) if 32 <= byte < 127 else f"{byte:03o}")  # noqa: E731
    return "".join(f"{at:07o}" + "".join(f"{cell(byte):>4}" for byte in row) + "\n" for at, row in rows(data))


def names(data: bytes) -> str:
    """As `od -a` writes it."""
    known = {0: "nul", 9: "ht", 10: "nl", 13: "cr", 32: "sp"}
    return "".join(
        f"{at:07o}" + "".join(f"{known.get(byte, chr(byte)):>4}" for byte in row) + "\n"
        for at, row in rows(data)
    )


def bare(data: bytes) -> str:
    """As `od -An -c` writes it, with the blanks at the ends of lines lost in an editor."""
    return "\n".join(line[7:].rstrip() for line in characters(data).splitlines())


def words(data: bytes, form: str, size: int) -> list[tuple[int, str]]:
    """The rows of a dump in words of the machine, the lower byte of each first; filled up with zeros."""
    return [
        (
            at,
            " ".join(
                format(int.from_bytes(row[place : place + size], "little"), form)
                for place in range(0, len(row), size)
            ),
        )
        for at, row in rows(data)
    ]


def beside(at: int, cells: str, width: int, row: bytes) -> str:
    """A row as `xxd` writes it: with the text beside the numbers."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{at:08x}: {cells:{width}}  {shown}\n"


def grouped(data: bytes) -> str:
    """As `xxd -e` writes it: of the last word there may be less."""
    dump = ""
    for at, row in rows(data):
        groups = [row[place : place + 4][::-1].hex() for place in range(0, len(row), 4)]
        dump += beside(at, " ".join(f"{group:>8}" for group in groups), 35, row)
    return dump


DUMPS: dict[str, Callable[[bytes], str]] = {
    "od -c": characters,
    "od -a": names,
    "od -An -c": bare,
    "od -tx1": lambda data: "".join(f"{at:07o} {row.hex(' ')}\n" for at, row in rows(data)),
    "od -An -tx1": lambda data: "".join(f" {row.hex(' ')}\n" for _, row in rows(data)),
    "od -b": lambda data: "".join(
        f"{at:07o} {' '.join(f'{byte:03o}' for byte in row)}\n" for at, row in rows(data)
    ),
    "od": lambda data: "".join(f"{at:07o} {row}\n" for at, row in words(data, "06o", 2)),
    "od -x": lambda data: "".join(f"{at:07o} {row}\n" for at, row in words(data, "04x", 2)),
    "od -An -x": lambda data: "".join(f" {row}\n" for _, row in words(data, "04x", 2)),
    "od -tx4": lambda data: "".join(f"{at:07o} {row}\n" for at, row in words(data, "08x", 4)),
    "od -tu1": lambda data: "".join(
        f"{at:07o}{''.join(f'{byte:4}' for byte in row)}\n" for at, row in rows(data)
    ),
    "hexdump": lambda data: "".join(f"{at:07x} {row:39}\n" for at, row in words(data, "04x", 2)),
    "hexdump -x": lambda data: "".join(
        f"{at:07x}    {row.replace(' ', '    '):60}\n" for at, row in words(data, "04x", 2)
    ),
    "xxd -b": lambda data: "".join(
        beside(at, " ".join(f"{byte:08b}" for byte in row), 53, row) for at, row in rows(data, 6)
    ),
    "xxd -e": grouped,
    "od -x, in Markdown": lambda data: "".join(f"> {at:07o} {row}\n" for at, row in words(data, "04x", 2)),
    "xxd -i": lambda data: ",\n".join(
        "  " + ", ".join(f"0x{byte:02x}" for byte in row) for _, row in rows(data, 12)
    ),
}


@pytest.mark.parametrize("dump", DUMPS)
def test_a_dump(dump: str, mint: Mint) -> None:
    for offset in range(16):
        for environment in ("dev", "stg", "prod", "ci"):
            key = mint.key(environment).encode()
            text = DUMPS[dump](b"." * offset + b"\n" + key + b" and more\n behind it"[:offset])
            matches = DETECTOR.detect(text.encode()).matches
            assert [match.secret.reveal() for match in matches] == [key], f"offset {offset}, {environment}"


@pytest.mark.parametrize("dump", DUMPS)
def test_a_dump_of_something_else(dump: str) -> None:
    data = b"conflux_dev influx_ci_config flux_capacitor(flux_dev_, x_dev_, flux_prod_) = 1\n" * 5
    for offset in range(16):
        detection = DETECTOR.detect(DUMPS[dump](b"." * offset + data).encode())
        assert (detection.matches, detection.unread) == ([], [])


@pytest.mark.parametrize(("encoding", "nested"), [("utf-8", False), ("utf-8", True), ("utf-16-le", False)])
def test_wrapped_base64(encoding: str, nested: bool, mint: Mint) -> None:
    for offset in range(60):
        key = mint.key()
        wrapped = base64.encodebytes(("#" * offset + key + " tail" * 30).encode(encoding))
        data = base64.b64encode(wrapped) if nested else wrapped
        found = [match.secret.reveal() for match in DETECTOR.detect(data).matches]
        assert found == [key.encode()], f"offset {offset}"
