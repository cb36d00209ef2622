"""Names as they have to be written in a shell."""

from __future__ import annotations

import re
import shlex


def quoted(name: bytes) -> str:
    """A path for a shell; bytes that no terminal should see become an ANSI-C quoted string."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return shlex.quote(text)
    escaped = re.sub(rb"[^\x20-\x7e]|['\\]", lambda match: b"\\x%02x" % match[0][0], name)
    return f"$'{escaped.decode('ascii')}'"
