"""Runs git: bytes, argument lists, and nothing of the repository's own that could run or blind us.

`posix_spawn` rather than `subprocess`, whose import alone costs a commit 15 ms.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would import enum
import os
import time

from fluxguard.errors import GitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

# A repository's configuration may name programs (a file-system monitor, hooks, a pager) and may fetch
# missing objects by itself. None of it may happen while we look.
_SAFE_CONFIG = (
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "core.quotePath=true",
    "protocol.allow=never",
    "color.ui=false",
    "advice.graftFileDeprecated=false",
)
_ENVIRONMENT = {
    "GIT_NO_REPLACE_OBJECTS": "1",  # a replace ref would show another object than the one that is committed
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # git before 2.45 has no GIT_NO_LAZY_FETCH
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C",
}
_UNWANTED = (
    "FLUXLOOP_API_KEY",  # a key is in no child's environment
    "FLUXLOOP_SYNC_API_KEY",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_PAGER",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)
# What `git rev-parse --local-env-vars` prints: the names that tie git to one repository.
LOCAL = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_REPLACE_REF_BASE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_CONFIG",
)
STARTED: set[int] = set()  # processes of ours that are to end when we do
HELPERS: set[int] = set()  # and those that start others themselves, which they end when they are told to
_ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
SILENCE = 120.0  # seconds without a byte from git before it counts as hung


def environment(isolated: bool = False) -> dict[str, str]:
    """The environment for a git that looks and touches nothing.

    isolated: forget which repository a surrounding hook is bound to (GIT_DIR and its like).
    """
    drop = set(_UNWANTED)
    if isolated:
        drop.update(LOCAL)
    env = {name: value for name, value in os.environ.items() if name not in drop}
    env.update(_ENVIRONMENT)
    return env


def scratch(content: bytes = b"") -> int:
    """A descriptor of an anonymous file that holds `content`, read from its start."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("fluxguard")
    else:
        import tempfile

        fd, name = tempfile.mkstemp(prefix="fluxguard-")
        os.unlink(name)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Running:
    """A git process: read its output, then `finish()`.

    Output is read with a deadline on silence, so that a repository made to hang git can't hang us.
    """

    def __init__(self, arguments: tuple[str, ...], pid: int, stdout: int, stderr: int) -> None:
        self.arguments = arguments
        self._pid = pid
        self._stdout = stdout
        self._stderr = stderr
        self._buffer = b""
        self._poll: select.poll | None = None
        os.set_blocking(stdout, False)

    def _more(self, size: int = 1 << 16) -> bytes:
        while True:
            try:
                return os.read(self._stdout, size)
            except BlockingIOError:
                self._await()

    def _await(self) -> None:
        """Waits for a byte, or the end. A small commit hardly ever gets here: git is done before we are."""
        import select

        if not hasattr(select, "poll"):
            os.set_blocking(self._stdout, True)
            return
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._stdout, select.POLLIN | select.POLLHUP)
        if not self._poll.poll(SILENCE * 1000):
            raise self._hung()

    def _hung(self) -> GitError:
        """Stops git, and says why."""
        self.kill()
        return GitError(
            f"git {self.arguments[0]} said nothing for {SILENCE:.0f} seconds and was stopped.",
            "The repository may be damaged or made to hang git. Check it with: git fsck",
        )

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the output."""
        if len(self._buffer) >= size:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        parts = [self._buffer]
        have = len(self._buffer)
        self._buffer = b""
        while have < size:
            data = self._more(max(1 << 16, min(size - have, 1 << 20)))
            if not data:
                break
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        data, self._buffer = data[:size], data[size:]
        return data

    def readline(self) -> bytes:
        """One line without its end; empty at the end of the output."""
        while b"\n" not in self._buffer:
            data = self._more()
            if not data:
                line, self._buffer = self._buffer, b""
                return line
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def readall(self) -> bytes:
        """All that is left of the output."""
        parts = [self._buffer]
        self._buffer = b""
        while data := self._more():
            parts.append(data)
        return b"".join(parts)

    def finish(self, most: int = 4096) -> tuple[int, str]:
        """Waits for the end: (exit code, what it wrote to standard error, of which so many bytes at the most)."""
        os.close(self._stdout)
        code = os.waitstatus_to_exitcode(self._wait())
        os.lseek(self._stderr, 0, os.SEEK_SET)
        text = os.read(self._stderr, most).decode("utf-8", "replace").strip()
        os.close(self._stderr)
        return code, text

    def _wait(self) -> int:
        """The status with which git ended. One that has closed its output and goes on is given no longer than a silent one."""
        deadline = time.monotonic() + SILENCE
        pause = 0.00005
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                STARTED.discard(pid)
                return status
            if time.monotonic() > deadline:
                raise self._hung()
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def kill(self) -> None:
        """Ends the process, whatever it does."""
        import signal

        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def stop_all() -> None:
    """Ends every process that was started here: the last thing that is done before a signal ends us."""
    for pids, number in ((STARTED, 9), (HELPERS, 15)):
        for pid in pids:
            try:
                os.kill(pid, number)
            except OSError:
                pass


def start(
    *arguments: str, cwd: str | None = None, stdin: bytes | None = None, isolated: bool = False
) -> Running:
    """Starts git and returns at once.

    cwd: the directory to run in. stdin: what it reads (nothing by default).
    Raises GitError where git can't be started.
    """
    source = scratch(stdin or b"")
    try:
        return _spawn(arguments, cwd, source, isolated)
    finally:
        os.close(source)


# Everybody on the machine can read a command line, and the name of a folder may hold a key: git is given a descriptor.
_HERE = "/proc/self/fd/3"
_BY_DESCRIPTOR = os.path.isdir("/proc/self/fd")


def _folder(cwd: str) -> int:
    """A descriptor of a folder, other than the one that git gets; -1 where it can't be opened."""
    flags = os.O_DIRECTORY | os.O_CLOEXEC | (getattr(os, "O_PATH", 0) if _BY_DESCRIPTOR else 0)
    try:
        fd = os.open(cwd, flags)
    except (OSError, ValueError):
        return -1
    if fd == 3:  # duplicated onto itself it would be closed when git starts
        fd = os.dup(fd)
        os.close(3)
    return fd


def _in_folder(here: int, begin: Callable[[], int]) -> int:
    """Starts a process, where descriptors have no names in that folder: we step into it for the moment."""
    if here < 0 or _BY_DESCRIPTOR:
        return begin()
    back = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchdir(here)
        return begin()
    finally:
        os.fchdir(back)
        os.close(back)


def _noted(argv: list[str], env: dict[str, str], actions: list[tuple[int, int, int]]) -> int:
    """Starts git, and notes it among STARTED: a signal that ends us waits until then, or nobody would end it."""
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ENDING)
    try:
        pid = os.posix_spawnp("git", argv, env, file_actions=actions, setsigmask=before)
        STARTED.add(pid)
        return pid
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _spawn(arguments: tuple[str, ...], cwd: str | None, source: int, isolated: bool) -> Running:
    argv = ["git"]
    here = _folder(cwd) if cwd is not None else -1
    if cwd is not None and (here < 0 or _BY_DESCRIPTOR):
        argv += ["-C", _HERE if here >= 0 else os.devnull]  # git says itself that it can't go there
    for setting in _SAFE_CONFIG:
        argv += ["-c", setting]
    argv += arguments
    errors = scratch()
    reader, writer = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, source, 0),
        (os.POSIX_SPAWN_DUP2, writer, 1),
        (os.POSIX_SPAWN_DUP2, errors, 2),
    ]
    if here >= 0:
        actions.append((os.POSIX_SPAWN_DUP2, here, 3))
    try:
        pid = _in_folder(here, lambda: _noted(argv, environment(isolated), actions))
    except OSError as error:
        os.close(reader)
        os.close(errors)
        raise GitError(
            f"git could not be started: {error.strerror}.", "Install git, and make sure that it is on PATH."
        ) from None
    finally:
        os.close(writer)
        if here >= 0:
            os.close(here)
    if isolated:
        _bound(pid)
    return Running(arguments, pid, reader, errors)


MEMORY = 4 << 30  # bytes that a git may have of its own when it looks through somebody's repository


def _bound(pid: int) -> None:
    """Bounds the memory of a process, where the system can do that to one that runs."""
    try:
        from resource import RLIMIT_DATA, prlimit

        prlimit(pid, RLIMIT_DATA, (MEMORY, MEMORY))
    except (ImportError, OSError, ValueError):
        pass


def output(
    *arguments: str, cwd: str | None = None, stdin: bytes | None = None, isolated: bool = False
) -> bytes:
    """What git prints. Raises GitError where it fails."""
    running = start(*arguments, cwd=cwd, stdin=stdin, isolated=isolated)
    data = all_of(running)
    code, text = running.finish()
    if code:
        raise failure(arguments[0], code, text)
    return data


def try_output(*arguments: str, cwd: str | None = None, isolated: bool = False) -> bytes | None:
    """What git prints, or None where it answers with a failure."""
    running = start(*arguments, cwd=cwd, isolated=isolated)
    data = all_of(running)
    code, _ = running.finish()
    return data if code == 0 else None


def all_of(running: Running) -> bytes:
    """All that a process prints; it does not outlive an interruption."""
    try:
        return running.readall()
    except BaseException:
        running.kill()
        raise


def failure(command: str, code: int, text: str) -> GitError:
    """git's own words as an error of ours, with the next step where we know one."""
    first = next((line for line in text.splitlines() if line.startswith(("fatal:", "error:"))), text[:300])
    if "dubious ownership" in text:
        return GitError(
            "git does not trust this repository: it belongs to another user.",
            "If you trust it: git config --global --add safe.directory <its path>",
        )
    if "Permission denied" in text:
        return GitError(
            f"git may not read this repository: {first}",
            "Look at who owns the files below .git, and their modes.",
        )
    if "not a git repository" in text and os.path.lexists(".git"):
        return GitError(
            "There is a .git here that git does not take for a repository: it is damaged, or may not be read.",
            "Look at who owns the files below .git, then: git fsck",
        )
    if "not a git repository" in text:
        return GitError(
            "This is not a git repository.",
            "Change into one, or name it: fluxguard scan PATH works without git, too.",
        )
    if "must be run in a work tree" in text:
        return GitError(
            "This repository is bare: it has no working tree and nothing staged.", "Use: fluxguard audit"
        )
    if "index file" in text or "bad signature" in text or "index uses" in text:
        return GitError(
            f"The index is damaged: {first}",
            "Rebuild it: rm -f .git/index && git reset   (what was staged has to be added again)",
        )
    return GitError(f"git {command} failed ({code}): {first}", "Check the repository with: git fsck")
