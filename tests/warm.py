"""The real `fluxguard` in a process of its own, which starts with its modules loaded.

Most of a short command's processor time goes into the start of Python and the import of modules. Here a process does
both once, and forks for every call: into an environment, a folder and streams of the call's own, with nothing in it but
modules, and then through `fluxguard.cli.program` as the console script goes. `tests/test_warm.py` holds that each command does the
same both ways. Hooks, terminals and whatever is measured start the script itself, and so does everything where FLUXGUARD_COLD
is set.

Run as a script, this is that process; there is one for clients and one for the platform.
"""

from __future__ import annotations

import importlib
import marshal
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

COMMAND = Path(sys.executable).parent / "fluxguard"
KILLED = "tests.respond.killed"
# What Python, the C library or the loader look at before any module of ours does.
_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "TZ", "COVERAGE_PROCESS_START")
_HARMLESS = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
_PROJECT = str(Path(__file__).resolve().parent.parent)
_WORD = 8  # bytes of a number in an answer


# --- the side of the tests ---------------------------------------------------------------------------------------------


def run(
    argv: Sequence[str | os.PathLike[str]],
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout: float = 60,
) -> subprocess.CompletedProcess[bytes]:
    """As `subprocess.run` with captured output."""
    words = [os.fspath(word) for word in argv]
    if _starts_cold(words, env):
        return subprocess.run(words, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=timeout)
    return _Call(words, cwd, env).result(stdin, timeout)


def start(
    argv: Sequence[str | os.PathLike[str]], env: Mapping[str, str], log: int
) -> subprocess.Popen[bytes] | Started:
    """As `subprocess.Popen` in a session of its own, with a file for both outputs."""
    words = [os.fspath(word) for word in argv]
    if _starts_cold(words, env):
        return subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    return Started(words, env, log)


class Started:
    """A process that goes on; as far as tests ask, what `Popen` is."""

    def __init__(self, words: list[str], env: Mapping[str, str], log: int) -> None:
        self._words = words
        self._answer, answer = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        _send(words, Path.cwd(), env, [nothing, log, log, answer], session=True)
        os.close(nothing)
        os.close(answer)
        self.pid = _number(self._answer)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self._words, timeout)
        return code

    def _ended(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._answer], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(_number(self._answer))
            os.close(self._answer)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _starts_cold(words: list[str], env: Mapping[str, str]) -> bool:
    if "FLUXGUARD_COLD" in os.environ or sys.platform != "linux":
        return True
    ours = words[0] == str(COMMAND) or words[:3] == [sys.executable, "-m", KILLED]
    loaded = _surroundings()
    return not ours or any(_early(env, name) != _early(loaded, name) for name in {*env, *loaded})


def _surroundings() -> dict[str, str]:
    """Where the modules are loaded: of what is looked at early, what tests hand on."""
    kept = (*_HARMLESS, "LANG", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in os.environ if name in kept or not name.startswith(_EARLY)}


def _early(env: Mapping[str, str], name: str) -> str | None:
    if (
        not name.startswith(_EARLY)
        or name in _HARMLESS
        or (name == "PYTHONPATH" and env.get(name) == _PROJECT)
    ):
        return None
    return env.get(name)


class _Call:
    """A process forked for one call."""

    def __init__(self, words: list[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._words = words
        pipes = [os.pipe() for _ in range(4)]
        (self._answer, answer), (theirs, self._stdin), (self._stdout, out), (self._stderr, err) = pipes
        given = [theirs, out, err, answer]
        try:
            _send(words, cwd, env, given)
        finally:
            for fd in given:
                os.close(fd)

    def result(self, stdin: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
        pid, end = _number(self._answer), time.monotonic() + timeout
        try:
            out, err = self._talk(stdin, end)
        except TimeoutError:
            raise subprocess.TimeoutExpired(self._words, timeout) from None
        finally:
            status = self._status(pid, end)
            for fd in (self._answer, self._stdout, self._stderr):
                os.close(fd)
        return subprocess.CompletedProcess(self._words, os.waitstatus_to_exitcode(status), out, err)

    def _status(self, pid: int, end: float) -> int:
        """How it ended; it is killed where it does not."""
        if not select.select([self._answer], [], [], max(0.0, end - time.monotonic()))[0]:
            os.kill(pid, signal.SIGKILL)
        return _number(self._answer)

    def _talk(self, stdin: bytes, end: float) -> tuple[bytes, bytes]:
        """Writes and reads until both outputs are at their end, as `communicate` does."""
        parts: dict[int, list[bytes]] = {self._stdout: [], self._stderr: []}
        waiting = selectors.DefaultSelector()
        for fd in parts:
            waiting.register(fd, selectors.EVENT_READ)
        os.set_blocking(self._stdin, False)
        waiting.register(self._stdin, selectors.EVENT_WRITE)
        rest = memoryview(stdin)
        while waiting.get_map():
            ready = waiting.select(end - time.monotonic())
            if not ready and time.monotonic() > end:
                if self._stdin in waiting.get_map():
                    os.close(self._stdin)
                raise TimeoutError
            for key, _ in ready:
                if key.fd == self._stdin:
                    try:
                        rest = rest[os.write(key.fd, rest) if rest else 0 :]
                    except BrokenPipeError:
                        rest = rest[:0]
                    if not rest:
                        waiting.unregister(key.fd)
                        os.close(key.fd)
                elif data := os.read(key.fd, 1 << 16):
                    parts[key.fd].append(data)
                else:
                    waiting.unregister(key.fd)
        return b"".join(parts[self._stdout]), b"".join(parts[self._stderr])


def _send(
    words: list[str], cwd: Path, env: Mapping[str, str], given: list[int], session: bool = False
) -> None:
    """Has a process forked. given: its three streams, and where to say which it is and how it ended."""
    order = os.memfd_create("call")
    folder = os.open(cwd, os.O_DIRECTORY | os.O_PATH)
    try:
        told = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        os.write(order, marshal.dumps((words, told, session)))
        kind = "server" if words[1:2] == ["serve"] else "client"
        socket.send_fds(_forker(kind), [b"."], [*given, order, folder])
    finally:
        os.close(order)
        os.close(folder)


def _number(fd: int) -> int:
    data = os.read(fd, _WORD)
    assert len(data) == _WORD, "the process that forks is gone"
    return int.from_bytes(data, "little", signed=True)


_FORKERS: dict[str, tuple[socket.socket, subprocess.Popen[bytes]]] = {}


def _forker(kind: str) -> socket.socket:
    """The socket of this worker's process that forks; it ends with the worker at the latest."""
    if kind not in _FORKERS:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, __file__, str(theirs.fileno()), kind]
        process = subprocess.Popen(
            argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_surroundings()
        )
        theirs.close()
        _FORKERS[kind] = ours, process
    return _FORKERS[kind][0]


def pids() -> set[int]:
    """Those processes."""
    return {process.pid for _, process in _FORKERS.values()}


def stop() -> None:
    """Ends those processes, and waits for them."""
    while _FORKERS:
        _, (ours, process) = _FORKERS.popitem()
        ours.close()
        process.wait(30)


# --- the process that forks --------------------------------------------------------------------------------------------


def _serve(orders: socket.socket) -> None:
    """Forks for every order, and tells of every end."""
    bell, rope = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    answers: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders.fileno(), bell], [], [])
        if bell in ready:
            os.read(bell, 1 << 12)
        for pid, status in _ended():
            _say(answers[pid], status)
            os.close(answers.pop(pid))
        if orders.fileno() in ready:
            word, fds, _, _ = socket.recv_fds(orders, 1, 6)
            if not word:
                return
            pid = os.fork()
            if pid == 0:
                _become(fds)
            answers[pid] = fds.pop(3)
            _say(answers[pid], pid)
            for fd in fds:
                os.close(fd)


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status


def _say(answer: int, number: int) -> None:
    try:
        os.write(answer, number.to_bytes(_WORD, "little", signed=True))
    except BrokenPipeError:
        pass  # nobody waits for it any more


def _become(fds: list[int]) -> None:
    """The life of a call's process; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        words, env = _ordered(fds)
        entry = _entry(words)
        os.environb.clear()
        os.environb.update(env)
        code = _code(entry)
    finally:
        _leave(code)


def _ordered(fds: list[int]) -> tuple[list[str], dict[bytes, bytes]]:
    """Takes streams and folder, and a session; returns words and environment. No other descriptor is left."""
    *streams, _, order, folder = fds
    os.lseek(order, 0, os.SEEK_SET)
    with open(order, "rb", closefd=False) as stream:
        words, env, session = marshal.load(stream)
    if session:
        os.setsid()
    os.fchdir(folder)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, 256)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        old = getattr(sys, f"__{name}__")
        new = open(old.fileno(), mode, encoding=old.encoding, errors=old.errors)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return words, env


def _entry(words: list[str]) -> object:
    if words[0] == str(COMMAND):
        sys.argv[:] = words
        return sys.modules["fluxguard.cli"].program
    sys.argv[:] = words[2:]
    return sys.modules[KILLED].main


def _code(entry: object) -> int:
    """What Python's own end of a program makes of it."""
    try:
        code = entry()  # type: ignore[operator]
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    if code is None or isinstance(code, int):
        return int(code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


def _leave(code: int) -> None:
    """Ends as Python ends: threads first, then whoever asked to be called, then what the streams still hold."""
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        code = code or 120
    finally:
        os._exit(code)


def _loaded(kind: str) -> None:
    """Imports what commands import, as the console script would."""
    import gc

    sys.path[0] = str(COMMAND.parent)
    sys.argv[:] = [str(COMMAND)]  # says on import who answers Ctrl-C
    for name in _client() if kind == "client" else _server():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _client() -> Iterator[str]:
    import pkgutil

    import fluxguard

    for module in pkgutil.walk_packages(fluxguard.__path__, "fluxguard."):
        if not module.name.startswith(
            ("fluxguard.server", "fluxguard.__main__", "fluxguard.respond.rewriting")
        ):
            yield module.name
    sys.path.append(_PROJECT)
    yield KILLED
    sys.path.pop()


def _server() -> Iterator[str]:
    yield from (
        "fluxguard.cli",
        "fluxguard.commands.parser",
        "fluxguard.commands.serve",
        "fluxguard.server.running",
    )
    yield from (
        "uvicorn.config",
        "uvicorn.server",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.httptools_impl",
    )
    yield from (
        "uvloop",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.websockets.auto",
        "alembic.command",
        "psycopg",
    )
    yield from ("sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.postgresql.psycopg")


if __name__ == "__main__":
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    _loaded(sys.argv[2])
    _serve(channel)
