"""The parser of the command line, which never repeats what may be a key: what it says ends up in the logs of CI."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from fluxguard.display import safe
from fluxguard.errors import UsageError

_LONG = re.compile(r"[A-Za-z0-9_+/=%.\\-]*[A-Za-z0-9]{16,}[A-Za-z0-9_+/=%.\\-]*")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints may be shown. Its subparsers are of the same kind."""

    def error(self, message: str) -> NoReturn:
        """Raises: UsageError, with everything masked that is long enough to be a key."""
        said = _LONG.sub("***", safe(message))
        usage = self.format_usage()
        wrong = UsageError(
            f"{said[:1].upper()}{said[1:]}.", " ".join(usage.split()).replace("usage:", "Usage:", 1)
        )
        wrong.page = (*usage.splitlines(), f"{self.prog}: error: {said}")
        raise wrong
