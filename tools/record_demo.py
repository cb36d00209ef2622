"""The demo as it stands on a terminal of 80 columns once it has ended, without its paragraphs of advice: for the README."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

SIZE = struct.pack("HHHH", 500, 80, 0, 0)  # rows, columns: nothing scrolls out of it
_PART = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+")


def recorded(argv: list[str]) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, SIZE)
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    with subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        raw = b"".join(iter(lambda: _read(leader), b""))
    if process.returncode:
        sys.exit(process.returncode)
    return raw.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 1 << 16)
    except OSError:  # how Linux says that the last one has closed its end
        return b""


def stands(text: str) -> list[str]:
    """The lines that stand on the screen in the end: live parts are written over."""
    lines, row, column = [""], 0, 0
    for part in _PART.findall(text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            if part.endswith("A"):
                row = max(0, row - int(part[2:-1] or 1))
            elif part.endswith("K"):
                lines[row] = ""
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


ADVICE = ("Why it matters", "What to do now", "What was committed before")


def shortened(lines: list[str]) -> str:
    """Three dots for what advises, which the commands' own documentation has."""
    kept: list[str] = []
    for paragraph in "\n".join(lines).strip("\n").split("\n\n"):
        if not paragraph.startswith(ADVICE):
            kept.append(paragraph)
            continue
        _, command, rest = paragraph.partition("\n$ ")  # the next command follows without a blank line
        if kept[-1] != "  ...":
            kept.append("  ...")
        if command:
            kept[-1] += f"{command}{rest}"
    return "\n\n".join(kept).replace("\n\n  ...", "\n  ...")


if __name__ == "__main__":
    print(shortened(stands(recorded([sys.executable, "-m", "fluxguard", "demo"]))))
