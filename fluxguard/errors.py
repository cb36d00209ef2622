"""How a run ends: the exit codes, and the errors that a person reads.

Imports nothing, for the commit hook loads it.
"""


class ExitCode:
    """The contract's exit codes. Plain integers, so that the hook need not import `enum`."""

    CLEAN = 0
    FOUND = 1
    USAGE = 2
    INCOMPLETE = 3
    PLATFORM = 4
    DEFECT = 70
    INTERRUPTED = 130


class FluxguardError(Exception):
    """Something went wrong that a person can mend: what happened, then what to do.

    `what` says where the bad input was, never what it was: it may hold a key. `page`: the same at length, line by line, where the
    documentation has words for it.
    """

    exit_code = ExitCode.INCOMPLETE
    page: tuple[str, ...] = ()

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Undelivered(FluxguardError):
    """A report that could not be written. Where it says that a key was found, the exit code still says so."""

    def __init__(self, what: str, hint: str, code: int) -> None:
        super().__init__(what, hint)
        self.exit_code = code or ExitCode.INCOMPLETE


class UsageError(FluxguardError):
    """The command line or the configuration is wrong."""

    exit_code = ExitCode.USAGE


class GitError(FluxguardError):
    """git could not be run, or refused."""


class BrokenRepository(GitError):
    """The repository is not in a state that can be read."""
