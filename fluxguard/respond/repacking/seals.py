"""What in an archive vouches for its members as they were: signatures, and lists of sums."""

from __future__ import annotations

import io
import re
import zipfile

_SIGNED = re.compile(
    r"(?i)META-INF/[^/]+\.(?:SF|RSA|DSA|EC)|\.signature\.p7s|_xmlsignatures/.+|META-INF/(?:documentsignatures|signatures[^/]*)\.xml"
)
_LISTED = re.compile(r"[^/]+\.dist-info/RECORD|package/services/digital-signature/.+")
_APK_BLOCK = b"APK Sig Block 42"  # before the directory, from version 2 of Android's scheme on


def vouchers(data: bytes) -> tuple[str, ...]:
    """Names of what no longer fits once a member of a zip archive has changed. Of what is none: nothing."""
    if not (data.startswith(b"PK\3\4") or data[-22:-18] == b"PK\5\6"):
        return ()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names, directory = archive.namelist(), archive.start_dir
    except Exception:  # a hostile file may make zipfile raise nearly anything
        return ()
    found = [one for one in names if _SIGNED.fullmatch(one) or _LISTED.fullmatch(one)]
    block = ["APK signing block"] * (data.endswith(_APK_BLOCK, 0, directory))
    return tuple(dict.fromkeys(found + block))
