"""The parser of the command line, which never repeats what may be a key: what it says ends up in the logs of CI."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from fluxguard.display import safe

_LONG = re.compile(r"[A-Za-z0-9_+/=%.\\-]*[A-Za-z0-9]{16,}[A-Za-z0-9_+/=%.\\-]*")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints may be shown. Its subparsers are of the same kind."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, with everything masked that is long enough to be a key, and ends with 2."""
        super().error(_LONG.sub("***", safe(message)))
