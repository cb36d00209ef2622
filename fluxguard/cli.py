"""The command line: which command it is, and the one place where an exception becomes an exit code.

The hook's way through here imports no parser: `hook pre-commit` and a bare `scan --staged` go straight to their command,
and so does `scan` with names of files.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would import enum
import gc
import os
import sys

_PROGRAM = os.path.basename(sys.argv[0] if sys.argv else "") in ("fluxguard", "__main__.py")
if _PROGRAM and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # As in fluxguard/__init__.py, and for `python -m fluxguard`.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from fluxguard.errors import ExitCode, FluxguardError  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

COMMANDS = (
    "scan", "audit", "gitignore", "install", "uninstall", "hook", "rules", "respond", "apikeys", "auth", "serve",
    "demo", "doctor",
)  # fmt: skip
GARBAGE = 50_000  # objects, by so many more than before, until circles are looked for among them
PLAIN_FLAGS = ("--no-repo-config", "--no-ignore", "--quiet", "--no-color")


def program() -> int:
    """The console script: `main`, and out.

    All that there was to say is written by then; taking the interpreter apart would cost 2 ms more, after an audit many
    times that. Where somebody asked to be called at the end (coverage does), the end is the ordinary one.
    """
    gc.set_threshold(GARBAGE)
    ready = _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(_signal, name, None)
        if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, _end)
    code = main(ready=ready)
    _stop_all()  # a git that was still at work when an interruption or an error ended us
    if ready:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    if "atexit" not in sys.modules:
        _flush()
        os._exit(code)
    return code


def _end(number: int, frame: object) -> None:
    """A signal ends us as it would anyhow, but takes along the processes that we started."""
    _stop_all()
    _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _stop_all() -> None:
    run = sys.modules.get("fluxguard.repo.run")
    if run is not None:
        run.stop_all()


def _flush() -> None:
    """Hands over what a stream still holds. One that can't take it has been told of already."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue


def main(argv: list[str] | None = None, ready: bool = False) -> int:
    """Runs fluxguard. Returns the contract's exit code; never raises. ready: it is to answer Ctrl-C from now on."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if ready:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        _open_streams()
        _look_for_programs_elsewhere()
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except FluxguardError as error:
        _explain(error, arguments)
        return error.exit_code
    except KeyboardInterrupt:
        what = "interrupted; nothing that it has not said so far counts as clean."
        _say(f"\nfluxguard: {what}")
        return _told(what, ExitCode.INTERRUPTED, arguments)
    except BrokenPipeError:
        # Whoever read our output went away. What they did not read they can't call clean.
        _discard()
        return ExitCode.INCOMPLETE
    except OSError as error:
        what = f"{_refused(error)}: the run is not finished."
        code = _told(what, ExitCode.INCOMPLETE, arguments)
        _discard()
        _say(f"fluxguard: {what}")
        return code
    except (MemoryError, RecursionError):
        what = "this is too large for the memory at hand: the run is not finished."
        _say(f"fluxguard: {what}")
        return _told(what, ExitCode.INCOMPLETE, arguments)
    except Exception:
        from fluxguard.defect import record

        what = record()
        _say(f"fluxguard: {what}")
        return _told(what, ExitCode.DEFECT, arguments)


def _told(what: str, code: int, arguments: list[str]) -> int:
    """Says it as JSON, too, where that was asked for and nothing was said so far; returns the exit code."""
    mistakes = sys.modules.get("fluxguard.commands.mistakes")
    if mistakes is not None:
        from fluxguard.display import safe

        mistakes.tell(safe(" ".join(what.split())), "", code, arguments, last=True)
    return code


def _refused(error: OSError) -> str:
    """What the operating system said, and of which file. No name is shown as it is: it may hold a key."""
    words = error.strerror or "the operating system refused"
    if error.filename is not None:
        from fluxguard.display import path

        return (
            f"{words}: {path(os.fsencode(error.filename))}" if not isinstance(error.filename, int) else words
        )
    try:
        os.getcwd()
    except OSError:
        return f"{words}: the folder that this runs in is gone"
    return words


def _open_streams() -> None:
    """Puts /dev/null where a stream was closed before us, lest a file that we open takes its place.

    It is opened for writing alone: who reads from a closed standard input gets an error, not an empty text.
    """
    if sys.stdin is not None and sys.stdout is not None and sys.stderr is not None:
        return
    while (fd := os.open(os.devnull, os.O_WRONLY)) < 3:
        pass
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _look_for_programs_elsewhere() -> None:
    """Takes relative folders out of PATH: there the repository that is looked at decides what `git` is."""
    listed = os.environ.get("PATH", os.defpath).split(os.pathsep)
    sure = [folder for folder in listed if os.path.isabs(folder)]
    if len(sure) != len(listed):
        os.environ["PATH"] = os.pathsep.join(sure) or os.defpath


def _discard() -> None:
    """What could not be written is dropped, or Python would complain of it at the end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        pass


def _dispatch(arguments: list[str]) -> int:
    if arguments == ["scan", "--staged"]:
        return _staged([])
    if arguments[:2] == ["hook", "pre-commit"] and not any(name.startswith("-") for name in arguments[2:]):
        return _pre_commit(arguments[2:])
    if arguments[:3] == ["hook", "pre-commit", "--"]:
        return _pre_commit(arguments[3:])
    if arguments[:2] == ["hook", "pre-push"] and not any(name.startswith("-") for name in arguments[2:]):
        from fluxguard.commands import push

        return push.check(arguments[2:])
    if arguments[:2] == ["hook", "commit-msg"] and not any(name.startswith("-") for name in arguments[2:]):
        from fluxguard.commands import message

        return message.check(arguments[2:])
    if arguments == ["hook", "reference-transaction", "prepared"]:
        from fluxguard.commands import references

        return references.check(arguments[2:])
    if arguments[:1] == ["scan"] and _is_plain(arguments[1:]):
        from fluxguard.commands import files

        done = files.check(arguments[1:])
        if done is not None:
            return done
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if any("json" in word for word in arguments):
        from fluxguard.commands import mistakes

        mistakes.watch(arguments)
    parser = _parser(arguments)
    if not arguments:
        parser.print_help(sys.stderr)
        return ExitCode.USAGE
    args = parser.parse_args(arguments)
    code: int = args.run(args)
    return code


def _is_plain(words: list[str]) -> bool:
    """Whether the words behind `scan` are names of files and the plainest of flags."""
    return all(word in PLAIN_FLAGS or not word.startswith("-") for word in words)


def _pre_commit(names: list[str]) -> int:
    code = _staged(names, "pre-commit")
    # A state is kept where `fluxguard install` was; its hooks name the git process that they run for.
    if code == 0 and "FLUXGUARD_GIT" in os.environ:
        from fluxguard.commands import catchup

        catchup.passed()
    return code


def _staged(names: list[str], hook: str = "") -> int:
    from fluxguard.repo.ahead import Ahead

    ahead = Ahead()
    try:
        from fluxguard.commands.staged import check

        return check([os.fsencode(name) for name in names], ahead, hook)
    finally:
        ahead.close()


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    import importlib

    import fluxguard
    from fluxguard.commands.parser import Parser

    parser = Parser(
        prog="fluxguard",
        description="Stops FluxLoop API keys at the commit, finds them in files, and says what to do.",
        epilog="Exit codes: 0 clean, 1 found, 2 usage, 3 could not read everything, 4 platform, 70 defect, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"fluxguard {fluxguard.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # Each command brings in what it needs: the others only where their names are to be shown.
    for name in arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS:
        module = importlib.import_module(f"fluxguard.commands.{name}")
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__, allow_abbrev=False)
        command.add_argument("--version", action="version", version=f"fluxguard {fluxguard.__version__}")
        module.arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _explain(error: FluxguardError, arguments: list[str]) -> None:
    """What went wrong; of the command line nothing that is as long as a key, and no key."""
    import re

    from fluxguard.display import safe

    typed = {run for word in arguments for run in re.findall(r"[A-Za-z0-9]{16,}", word) if not run.isalpha()}

    def shown(text: str) -> str:
        text = safe(text)
        for run in sorted(typed, key=len, reverse=True):
            text = text.replace(run, "***")
        return text

    lines = [f"fluxguard: {error.what}", *([f"  {error.hint}"] if error.hint else [])]
    for line in map(shown, error.page or lines):
        _say(_folded(line) if sys.stderr.isatty() else line)
    mistakes = sys.modules.get("fluxguard.commands.mistakes")
    if mistakes is not None:
        mistakes.tell(shown(error.what), shown(error.hint), error.exit_code, arguments)


def _folded(line: str) -> str:
    """A line for a terminal of 80 columns; in a log it stays whole, so that it can be searched for."""
    import textwrap

    lead = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.strip(), 80, initial_indent=lead, subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _say(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
