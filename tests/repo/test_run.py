"""git's start, at the moment at which a signal ends us."""

import signal
import subprocess
import sys

import pytest

_TOLD_TO_END_AS_GIT_STARTS = """
import os, signal, sys
from fluxguard.repo import run

start = os.posix_spawnp

def told_to_end(*given, **more):
    pid = start(*given, **more)
    os.kill(os.getpid(), {number})
    return pid

def end(*_):
    print(len(run.STARTED), flush=True)
    os._exit(0)

os.posix_spawnp = told_to_end
signal.signal({number}, end)
run.start("version")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_started_is_known_to_whoever_ends_it(number: signal.Signals) -> None:
    told = _TOLD_TO_END_AS_GIT_STARTS.format(number=int(number))
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (b"1\n", b"")


def test_git_itself_can_still_be_ended() -> None:
    asked = (
        "import sys; from fluxguard.repo import run; "
        "sys.stdout.buffer.write(run.output('-c', 'alias.m=!grep SigBlk /proc/self/status', 'm'))"
    )
    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, timeout=60)
    assert ended.stdout.split() == [b"SigBlk:", b"0" * 16], ended.stderr
