"""A `.env` file with one variable set: to the byte what it was, but for the value.

python-dotenv reads such files well, and rewrites them badly: it drops comments, `export`, line ends and links.
"""

from __future__ import annotations

import re
from pathlib import Path

from fluxguard.errors import FluxguardError
from fluxguard.writing import exactly

_LARGEST = 1 << 20


def with_value(data: bytes, names: tuple[str, ...], value: bytes, otherwise: str) -> bytes:
    """The file's bytes with `value` in each line that sets one of `names`; a line for `otherwise` at the end where none does.

    `export`, quotes, comments behind the value, blanks and line ends stay.
    """
    pattern = re.compile(
        rb"^([ \t]*(?:export[ \t]+)?(?:"
        + b"|".join(re.escape(name.encode()) for name in names)
        + rb")[ \t]*=[ \t]*)"
        rb"(?:'[^'\r\n]*'|\"[^\"\r\n]*\"|[^\r\n#]*?)([ \t]*(?:#[^\r\n]*)?)(?=\r?$)",
        re.MULTILINE,
    )
    changed, count = pattern.subn(lambda match: match[1] + _quoted(match, value) + match[2], data)
    if count:
        return changed
    end = b"\r\n" if b"\r\n" in data else b"\n"
    lead = b"" if not data or data.endswith(b"\n") else end
    return data + lead + otherwise.encode() + b"=" + value + end


def _quoted(match: re.Match[bytes], value: bytes) -> bytes:
    old = match[0][len(match[1]) :]
    quote = old[:1] if old[:1] in (b"'", b'"') else b""
    return quote + value + quote


def save(path: Path, names: tuple[str, ...], value: bytes, otherwise: str) -> None:
    """Sets the variable in the file, which is made with mode 0600 where there is none, and is never wider after.

    Raises: FluxguardError where the file is a link out of its folder, or no plain file; OSError.
    """
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(folder.resolve().parent):
            raise FluxguardError(
                f"{path} is a link that leads out of the workspace.", "Write the key there yourself."
            )
        path = target
    if path.exists() and not path.is_file():
        raise FluxguardError(f"{path} is no plain file.", "Move it away, and try again.")
    data = path.read_bytes() if path.exists() else b""
    if len(data) > _LARGEST:
        raise FluxguardError(f"{path} is too large for a .env file.", "Write the key there yourself.")
    mode = path.stat().st_mode & 0o700 if path.exists() else 0o600
    exactly(path, with_value(data, names, value, otherwise), mode or 0o600)
