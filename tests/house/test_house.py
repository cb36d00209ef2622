"""The house itself: clean under its own guard, its commands do what README says, its doctor sees what is there."""

from __future__ import annotations

import subprocess

from conftest import PROJECT, Run
from hypothesis import given
from hypothesis import strategies as st

from fluxguard import display
from fluxguard.model import Secret


def test_the_repository_is_clean_under_its_own_guard(run: Run) -> None:
    outcome = run("scan", cwd=PROJECT)
    assert outcome.code == 0, outcome.text


def test_the_scripts_are_sound_shell() -> None:
    for name in ("test", "try", ".ci/run", ".ci/python.sh"):
        subprocess.run(["bash", "-n", PROJECT / name], check=True)
    for path in (PROJECT / "hooks").iterdir():
        subprocess.run(["sh", "-n", path], check=True)


def test_rules(run: Run) -> None:
    assert run("rules", "list").code == 0
    assert run("rules", "test").code == 0


def test_help_and_version(run: Run) -> None:
    assert "fluxguard 0" in run("--version").out
    for command in ("scan", "hook", "rules", "doctor"):
        assert run(command, "--help").code == 0
    assert run().code == 2
    assert "usage: fluxguard" in run().err


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    assert all(character.isprintable() for character in display.safe(text))


def test_a_secret_does_not_show_itself() -> None:
    body = "q8Wm2Zt6Yb1Nc4Vx9Kd3Lp7RaB3dE5"
    secret = Secret(f"flux_dev_{body}".encode())
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r}", str([secret])[1:-1]):
        assert shown == "flux_dev_q8Wm...B3dE5"
