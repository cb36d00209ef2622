"""Errors under `--format json`: one object on standard output, the words on standard error, and the exit code of the contract."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from conftest import Mint, Run

from fluxguard.cli import main
from fluxguard.commands import mistakes


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["scan", "--format", "json", "--nope"], "scan"), (["scan", "--format=json", "/nowhere"], "scan"), (["audit", "--format", "json", "--explain", "zz"], "audit"),
        (["gitignore", "--nope", "--format", "json"], "gitignore"), (["apikeys", "list", "--format", "json", "--nope"], "apikeys"), (["apikeys", "--format", "json"], "apikeys"),
        (["auth", "status", "--format", "json", "--nope"], "auth"), (["rules", "list", "--format", "json", "--nope"], "rules"), (["doctor", "--format", "json", "--nope"], "doctor"),
        (["serve", "init", "--format", "json"], "serve"), (["respond", "report", "--format", "json", "nope"], "respond"), (["respond", "--format", "json"], "respond"),
        (["UNKNOWN", "--format", "json"], ""), (["scan", "--format", "text", "--format", "json", "--nope"], "scan"),
    ],
)  # fmt: skip
def test_an_object(run: Run, words: list[str], command: str) -> None:
    done = run(*words)
    (told,) = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == told["exit_code"] == 2
    assert told["schema"] == "fluxguard.error/1"
    assert told["command"] == command
    assert told["what"].endswith(".")
    assert set(told) == {"schema", "command", "exit_code", "what", "hint"}
    assert done.err


@pytest.mark.parametrize("action", ["start", "resume", "status", "forget", "abort"])
def test_an_event_where_the_run_speaks_by_events(run: Run, action: str) -> None:
    done = run("respond", action, "--format", "json", "--nope")
    assert done.code == 2
    (told,) = [json.loads(line) for line in done.out.splitlines()]
    assert (told["schema"], told["step"], told["state"]) == ("fluxguard.event/1", action, "failed")
    assert told["data"]["what"]


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "json", "--output", "r.json"],
        ["--format", "text"],
        ["--format", "sarif"],
        ["--", "--format", "json"],
    ],
)
def test_nothing_of_it_where_json_does_not_go_to_standard_output(run: Run, words: list[str]) -> None:
    done = run("scan", "/nowhere", *words)
    assert done.code == 2
    assert not done.out


def test_no_key_of_the_command_line(run: Run, mint: Mint) -> None:
    key = mint.key()
    for words in ([key], ["scan", key], ["scan", f"--{key}"], ["apikeys", "show", "--key-id", key]):
        done = run(*words, "--format", "json")
        assert done.code != 0
        assert json.loads(done.out)
        assert key not in done.out + done.err


def test_what_was_said_is_not_followed_by_another_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that begins, and fails then."""
    arguments = ["scan", "--format", "json"]
    for said, lines in (("", 1), ("{}\n", 1)):
        monkeypatch.setattr(sys, "stdout", sys.stdout)
        mistakes.watch(arguments)
        print(said, end="")
        mistakes.tell("It fails.", "", 2, arguments)
        assert len(capsys.readouterr().out.splitlines()) == lines


@pytest.mark.parametrize(
    ("ends", "code"),
    [(KeyboardInterrupt(), 130), (MemoryError(), 3), (OSError(28, "No space left on device"), 3), (ZeroDivisionError(), 70)],
)  # fmt: skip
@pytest.mark.parametrize("command", ["scan", "respond"])
def test_whatever_ends_it_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ends: BaseException, code: int, command: str
) -> None:  # fmt: skip
    """An interruption, a full disk, a defect: one object; behind events one more."""
    module = importlib.import_module(f"fluxguard.commands.{command}")
    arguments = (
        ["scan", "--format", "json"] if command == "scan" else ["respond", "status", "--format", "json"]
    )

    def fails(args: object) -> int:
        if command == "respond":
            print('{"state": "done"}')
        raise ends

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr("fluxguard.cli._discard", lambda: None)  # it would close the terminal of the tests
    monkeypatch.setattr(module, "run" if command == "scan" else "_status", fails)
    assert main(arguments) == code
    out, err = capsys.readouterr()
    *before, told = [json.loads(line) for line in out.splitlines()]
    if command == "scan":
        assert not before
        assert told["exit_code"] == code
        assert " ".join(err.split()).endswith(told["what"])
    else:
        assert before
        assert (told["step"], told["state"]) == ("status", "failed")
        assert told["data"]["what"]
