"""What an audit found in a pack or a loose object, kept so that the next one need not read it again.

Packs and objects don't change once they are written, so what was found in them stays true for as long as they are the same
files, looked at by the same rules. A wrong record would turn a leak into "clean". It can't, for all of this holds:

1. *Nobody else wrote it.* The folder is the user's own (never one inside of what is audited), not a link, and neither
   it nor a file in it can be written to by others; a file is whole (a SHA-256 over all of it), for it gets its name only once it is.
2. *It was made by the very same rules.* The key takes in fluxguard's version and its program text, Python and the libraries
   that look and unpack, the configured rules and limits.
3. *It is about the very same bytes.* The key takes in of a pack and its index the real path, device, inode, size, the times
   of the last change of content and of inode, and the checksums at the end. Size, checksums and the first time can be
   made to fit; the inode's time is set by the system alone, to now, whenever a file is written, renamed, or its times are
   set. What is kept was true of the file that was *opened* (`fstat` before the first byte was read, compared with the key).
   A change within the clock's grain of that moment would not show; so what changed within RACY seconds before the audit,
   or after it, is not kept (as in git's index: Documentation/technical/racy-git).
   Whoever can set the machine's clock, or write to the disk past the file system, is not held off by this; nor is one
   who has the pack mapped for writing while it is audited. They could as well change it after any audit.
4. *All of it was read.* Nothing is kept of a pack in which anything could not be read, nor when a process died, nor when
   the audit was interrupted.
5. *What it says of other objects is asked anew.* A record names what its objects point at outside of the pack. If any of
   that has gone, the pack is read again, and what was missing is still missing only if it is. What is kept of all objects
   together (`whole`, `unchanged`) is about one set of stores, packs and loose objects, each the very same as then: with
   nothing come and nothing gone, every such answer is the same. Of a whole in which a key stands, or anything could not
   be read, that it is unchanged is not kept at all; what refs, reflogs and indexes name is compared each time.
6. *It holds no key*, so none has to be brought back from it: fingerprints only, and no record at all where some other
   text (the name of a file in an archive, a reason in a comment) is itself a key.

Where anything about a record or the folder is not as it should be, there is none, and the audit reads.
Windows has no such times, and so no cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import fluxguard
from fluxguard import private, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fluxguard.config import Config
    from fluxguard.repo.arrays import npt

    Array = npt.NDArray[Any]

FORMAT = 1
RACY = 2.0  # seconds; the coarsest clock of a file system in use
MOST = 512 << 20  # bytes of all records together; the ones that were used longest ago go first
LARGEST = 128 << 20  # bytes of one record
_MAGIC = b"fluxguard cache %d\n" % FORMAT
_DIGEST = 32
_ABANDONED = 3600.0  # seconds, after which an unfinished file is nobody's any longer
_LIBRARIES = ("regex", "numpy", "hyperscan", "isal", "dulwich")


class Record:
    """What is kept: a value that JSON can carry, and arrays of one dimension."""

    __slots__ = ("arrays", "value")

    def __init__(self, value: Any, arrays: Mapping[str, Array] | None = None) -> None:
        self.value = value
        self.arrays = dict(arrays or {})


class Cache:
    """The records that were made under `rules` (see `rules_digest`).

    folder: where they lie. fresh: records are not read, only written. now: seconds since 1970, before anything was read.
    Nothing here raises an error: what can't be read or written is not there.
    """

    def __init__(self, folder: str, rules: bytes, fresh: bool = False, now: float | None = None) -> None:
        self._rules = rules
        self._fresh = fresh
        self._now = time.time() if now is None else now
        self._folder = _opened_folder(folder)
        self._wrote = False

    def settled(self, *seen: os.stat_result) -> bool:
        """Whether files last changed so long ago that any further change shows."""
        edge = self._now - RACY
        return all(one.st_ctime < edge and one.st_mtime < edge for one in seen)

    def read(self, name: str, identity: bytes) -> Record | None:
        """The record of that name, if it is about what has this very identity."""
        if self._folder is None or self._fresh:
            return None
        data = private.read(self._folder, _file(name), LARGEST, touch=True)  # it was of use: see _prune
        return _decoded(data, self._key(identity)) if data else None

    def write(self, name: str, identity: bytes, record: Record) -> None:
        """Puts a record in the place of what there is under the name, all at once."""
        if self._folder is None:
            return
        data = _encoded(record, self._key(identity))
        if len(data) <= LARGEST:
            private.write(self._folder, _file(name), data)
            self._wrote = True

    def close(self) -> None:
        """Makes room, if something was written, and lets go of the folder."""
        if self._folder is not None:
            if self._wrote:
                _prune(self._folder)
            os.close(self._folder)
            self._folder = None

    def _key(self, identity: bytes) -> bytes:
        return hashlib.sha256(self._rules + hashlib.sha256(identity).digest()).digest()


def of_user(config: Config | None, around: Iterable[str], full: bool = False) -> Cache | None:
    """The user's cache; None where there can be none. around: folders of what is audited, in which it may not lie."""
    folder = os.path.abspath(settings.cache_folder())
    real = os.path.realpath(folder)
    if os.name != "posix" or any(_within(real, os.path.realpath(other)) for other in around):
        return None
    rules = rules_digest(config)
    return Cache(folder, rules, full) if rules else None


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


# --- what a record is good for ---------------------------------------------------------------------------------------


def rules_digest(config: Config | None) -> bytes:
    """All that decides what is found in given bytes; b"" where it can't be told. config: None where nothing is configured."""
    limits = None if config is None else (config.limits, config.largest)
    if config is not None and limits == (type(config.limits)(), settings.LARGEST):
        limits = None  # those that the program text says
    digest = hashlib.sha256(repr((FORMAT, fluxguard.__version__, sys.version, limits)).encode())
    for rule in config.rules if config is not None else ():
        fields = (rule.id, rule.pattern.pattern, rule.pattern.flags, rule.literals, rule.judge, rule.paths)
        digest.update(repr(fields).encode())
    try:
        for part in ("audit", "detect", "repo", "rules", "sources", ""):
            _digest_folder(digest, os.path.join(os.path.dirname(fluxguard.__file__), part))
        for name in _LIBRARIES:
            digest.update(repr((name, _library(name))).encode())
    except (OSError, ValueError):
        return b""
    return digest.digest()


def _digest_folder(digest: Any, folder: str) -> None:
    for name in sorted(os.listdir(folder)):
        if name.endswith((".py", ".toml")):
            with open(os.path.join(folder, name), "rb") as stream:
                digest.update(f"{name}\0".encode() + hashlib.sha256(stream.read()).digest())


def _library(name: str) -> tuple[str, int, int] | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    seen = os.stat(spec.origin)
    return spec.origin, seen.st_size, seen.st_mtime_ns


def stamp(seen: os.stat_result) -> tuple[int, int, int, int, int]:
    """What tells whether a file is still the same."""
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


class Identity:
    """Which pack it is, for certain. seen: the pack and its index as they were."""

    __slots__ = ("name", "seen", "value")

    def __init__(self, name: str, value: bytes, seen: tuple[os.stat_result, os.stat_result]) -> None:
        self.name = name
        self.value = value
        self.seen = seen


def identity(path: str, width: int) -> Identity | None:
    """Of the pack at `path`; None where it is not made of two regular files."""
    real = os.path.realpath(path)
    parts: list[Any] = [real, width]
    seen = []
    for one in (real, real[: -len(".pack")] + ".idx"):
        try:
            fd = os.open(one, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                here = os.fstat(fd)
                if not stat.S_ISREG(here.st_mode):
                    return None
                parts += [stamp(here), os.pread(fd, 2 * width, max(0, here.st_size - 2 * width)).hex()]
            finally:
                os.close(fd)
        except OSError:
            return None
        seen.append(here)
    return Identity(f"pack {width} {real}", repr(parts).encode(), (seen[0], seen[1]))


# --- files -----------------------------------------------------------------------------------------------------------


def _file(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:40]


def _opened_folder(path: str) -> int | None:
    """The folder, made where it is not there, as a descriptor: it stays the same whatever happens to its name."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    except OSError:
        return None
    return private.opened(path, 0o022)


def _prune(folder: int) -> None:
    """Takes away what was left unfinished, and what was used longest ago, until the rest has room."""
    files = []
    for name in os.listdir(folder):
        try:
            seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(seen.st_mode):
            files.append((seen.st_mtime, seen.st_size, name))
    total = sum(size for _, size, _ in files)
    for used, size, name in sorted(files):
        if total <= MOST and not (name.endswith(".tmp") and used < time.time() - _ABANDONED):
            continue
        try:
            os.unlink(name, dir_fd=folder)
        except OSError:
            continue
        total -= size


# --- bytes -----------------------------------------------------------------------------------------------------------


def _encoded(record: Record, key: bytes) -> bytes:
    shapes = [[name, array.dtype.str, array.size] for name, array in record.arrays.items()]
    text = json.dumps([shapes, record.value]).encode()
    parts = [key, len(text).to_bytes(8, "big"), text, *(array.tobytes() for array in record.arrays.values())]
    body = b"".join(parts)
    return _MAGIC + hashlib.sha256(body).digest() + body


def _decoded(data: bytes, key: bytes) -> Record | None:
    body = memoryview(data)[len(_MAGIC) + _DIGEST :]
    if data[: len(_MAGIC)] != _MAGIC or body[:_DIGEST] != key:
        return None
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : len(_MAGIC) + _DIGEST]:
        return None
    at = _DIGEST + 8
    end = at + int.from_bytes(body[_DIGEST:at], "big")
    try:
        shapes, value = json.loads(bytes(body[at:end]))
        arrays = _arrays(shapes, body, end) if shapes else {}
        end += sum(array.nbytes for array in arrays.values())
    except (ValueError, TypeError):
        return None
    return Record(value, arrays) if end == len(body) else None


def _arrays(shapes: Any, body: memoryview, at: int) -> dict[str, Array]:
    """The arrays, one behind the other. Most of what is asked of an unchanged repository has none, and needs no numpy."""
    from fluxguard.repo.arrays import np

    arrays: dict[str, Array] = {}
    for name, kind, size in shapes:
        arrays[name] = np.frombuffer(body, dtype=kind, count=size, offset=at)
        at += arrays[name].nbytes
    return arrays
