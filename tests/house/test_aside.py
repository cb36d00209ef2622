"""The process beside: ended while it is at work, it says nothing."""

import subprocess
import sys

_ENDED_WHERE_EXCEPTIONS_CAN_NOT_PASS = """
import os
from fluxguard.commands import aside

aside.pays = lambda: True  # with a single core, too
reader, writer = os.pipe()

class Last:
    def __del__(self):
        os.write(writer, b"here")
        while True:
            pass

def work():
    del globals()["last"]

last = Last()
with aside.Aside(work):
    os.read(reader, 4)
"""


def test_ended_inside_a_callback_it_prints_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ENDED_WHERE_EXCEPTIONS_CAN_NOT_PASS],
        capture_output=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
