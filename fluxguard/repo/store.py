"""An object store: its packs and loose objects, those of its alternates, and what is left over in it.

Layout: gitrepository-layout(5), `objects`. Read from the files themselves, so that it also works where git refuses to.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fluxguard.repo.gitdir import GitDir
from fluxguard.repo.inflate import Damaged
from fluxguard.repo.refs import small_file

_HEX = re.compile(r"[0-9a-f]+\Z")
_HEADER = re.compile(rb"(blob|tree|commit|tag) (\d{1,18})\0")
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_QUARANTINES = ("incoming-", "tmp_objdir-")
_MOST_ALTERNATES = 64
GONE = "its file is not there any more"
_UNFINISHED = "git did not finish to write it; git gc removes it once it is two weeks old"
_ALTERNATES = 1 << 20
LARGEST_LOOSE = 32 << 20  # bytes; larger loose objects are read in pieces


@dataclass(slots=True)
class Store:
    """One folder of objects.

    width: bytes of an id. packs: paths. loose: hex ids. strays: files, relative, that are none of the store's objects.
    empty: folders, relative, that hold nothing. problems: (where, what is wrong).
    """

    path: str
    name: str
    width: int
    packs: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def id_width(common: str) -> int:
    """The bytes of an object id in a repository: `extensions.objectFormat`, see git-config(1)."""
    config = small_file(os.path.join(common, "config"), 1 << 20)
    return 32 if re.search(rb"(?im)^[ \t]*objectformat[ \t]*=[ \t]*\"?sha256", config) else 20


def stores(family: Iterable[GitDir]) -> list[Store]:
    """The object stores of these git directories, with their alternates and quarantines, each once."""
    found: dict[str, Store] = {}
    for member in family:
        name = "objects" if member.name == ".git" else f"{member.name}/objects"
        _add(found, member.objects, name, id_width(member.common), 0)
    return list(found.values())


def _add(found: dict[str, Store], path: str, name: str, width: int, depth: int) -> None:
    real = os.path.realpath(path)
    if real in found or depth > _MOST_ALTERNATES:
        return
    store = found[real] = survey(real, name, width)
    listed = os.path.join(real, "info", "alternates")
    if os.path.lexists(listed) and not os.path.isfile(listed):
        store.problems.append((f"{name}/info/alternates", "it is no plain file, so no list of other stores"))
    for line in small_file(listed, _ALTERNATES).splitlines():
        if line and not line.startswith(b"#") and b"\0" not in line:
            other = os.path.join(real, os.fsdecode(_unquoted(line)))
            if os.path.isdir(other):
                _add(found, other, other, width, depth + 1)
            else:
                store.problems.append(
                    (
                        f"{name}/info/alternates",
                        "an alternate object store is not there; put it back, or fetch what it held: git fetch --refetch",
                    )
                )
    for entry in _listed(real, store):
        if entry.name.startswith(_QUARANTINES) and entry.is_dir(follow_symlinks=False):
            _add(found, entry.path, f"{name}/{entry.name}", width, depth + 1)


def _unquoted(line: bytes) -> bytes:
    """A line of `alternates`, which git may have put into quotes, as it does with odd paths elsewhere."""
    if not (line.startswith(b'"') and line.endswith(b'"') and len(line) > 1):
        return line
    return re.sub(rb"\\([0-7]{3}|.)", _escaped, line[1:-1], flags=re.DOTALL)


def _escaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 255]) if len(code) == 3 else _ESCAPES.get(code, code)


def survey(path: str, name: str, width: int) -> Store:
    """What lies in one folder of objects."""
    store = Store(path, name, width)
    for entry in _listed(path, store):
        if len(entry.name) == 2 and _HEX.match(entry.name):
            _loose(store, entry.path, entry.name)
        elif not entry.is_dir(follow_symlinks=False):
            _stray(store, entry.name)
        elif entry.name not in ("info", "pack") and not entry.name.startswith(_QUARANTINES):
            _strays(store, entry.name, 0)
    _packs(store)
    return store


def _stray(store: Store, name: str) -> None:
    store.strays.append(name)
    if os.path.basename(name).startswith("tmp_"):
        store.problems.append((f"{store.name}/{name}", _UNFINISHED))


def _strays(store: Store, folder: str, depth: int) -> None:
    entries = _listed(os.path.join(store.path, folder), store)
    if not entries:
        store.empty.append(folder)
    for entry in entries:
        name = os.path.join(folder, entry.name)
        if not entry.is_dir(follow_symlinks=False):
            _stray(store, name)
        elif depth < _MOST_ALTERNATES:
            _strays(store, name, depth + 1)


def _listed(path: str, store: Store) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(path), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        where = store.name + path[len(store.path) :]
        store.problems.append((where, f"folder can't be read: {(error.strerror or '').lower()}"))
        return []


def _loose(store: Store, folder: str, start: str) -> None:
    length = 2 * store.width - 2
    for entry in _listed(folder, store):
        if len(entry.name) == length and _HEX.match(entry.name):
            store.loose.append(start + entry.name)
        elif entry.is_dir(follow_symlinks=False):
            _strays(store, os.path.join(start, entry.name), 0)
        else:
            _stray(store, os.path.join(start, entry.name))


def _packs(store: Store) -> None:
    folder = os.path.join(store.path, "pack")
    entries = _listed(folder, store)
    names = {entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)}
    for entry in entries:
        if entry.name not in names:
            _strays(store, os.path.join("pack", entry.name), 0)
    for name in sorted(names):
        where = f"{store.name}/pack/{name}"
        stem, _, kind = name.rpartition(".")
        if kind == "pack" and f"{stem}.idx" in names:
            store.packs.append(os.path.join(folder, name))
        elif kind == "pack":
            store.strays.append(os.path.join("pack", name))
            store.problems.append(
                (where, "a pack without an index, which git does not see; make one with: git index-pack")
            )
        elif kind == "idx" and f"{stem}.pack" not in names:
            store.problems.append(
                (where, "the pack that this index is of is not there; fetch it again: git fetch --refetch")
            )
        elif kind != "idx":  # also what git writes beside a pack: it is small, and could hold anything
            _stray(store, os.path.join("pack", name))


def loose_path(store: Store, id: str) -> str:
    """The file of a loose object."""
    return os.path.join(store.path, id[:2], id[2:])


def read_loose(store: Store, id: str) -> tuple[str, bytes]:
    """Kind and content of a loose object. Raises Damaged; TooLarge where it is to be read in pieces.

    Format: gitformat-loose(5): `kind SP size NUL content`, in zlib. The content has to have the id that it is filed under.
    """
    kind, size, pieces = open_loose(store, id)
    if size > LARGEST_LOOSE:
        raise TooLarge(kind, size)
    data = b"".join(pieces)
    return kind, data


class TooLarge(Exception):
    """An object is too large to be held in memory. kind, size: what its header says."""

    def __init__(self, kind: str, size: int) -> None:
        super().__init__(kind, size)
        self.kind = kind
        self.size = size


def open_loose(store: Store, id: str) -> tuple[str, int, Iterator[bytes]]:
    """Kind, size and content, in pieces of at most 8 MiB, of a loose object. The pieces raise Damaged where it is."""
    pieces = _inflated(loose_path(store, id))
    first = next(pieces, b"")
    header = _HEADER.match(first)
    if not header:
        raise Damaged("its header is damaged")
    return header[1].decode(), int(header[2]), _checked(first, header.end(), int(header[2]), pieces, id)


def _checked(first: bytes, at: int, size: int, pieces: Iterator[bytes], id: str) -> Iterator[bytes]:
    digest = (hashlib.sha256 if len(id) == 64 else hashlib.sha1)(first, usedforsecurity=False)
    length = len(first) - at
    yield first[at:]
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        if length > size:
            break
        yield piece
    if length != size:
        raise Damaged("it is not of the size that it should have")
    if digest.hexdigest() != id:
        raise Damaged("its content is not what its id says")


_PIECE = 8 << 20


def _inflated(path: str) -> Iterator[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise Damaged(GONE) from None
    except OSError as error:
        raise Damaged(f"its file can't be read: {(error.strerror or '').lower()}") from None
    inflater = zlib.decompressobj()
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or os.read(fd, 1 << 20)
            if not packed:
                raise Damaged("its compressed data end early")
            piece = inflater.decompress(packed, _PIECE)
            if piece:
                yield piece
        if inflater.unused_data or os.read(fd, 1):
            raise Damaged("more stands in its file, behind its end")
    except zlib.error:
        raise Damaged("its compressed data are damaged") from None
    except OSError as error:
        raise Damaged(f"its file can't be read: {(error.strerror or '').lower()}") from None
    finally:
        os.close(fd)
