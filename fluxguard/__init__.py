"""fluxguard: stops FluxLoop API keys at the commit, finds them in history, repairs the leak."""

import _signal  # type: ignore[import-not-found]  # `signal` would import enum
import sys

# Until `cli.main` can say so in words, Ctrl-C ends the program at once, and without a traceback. It is said here, too, for even
# `from __future__ import annotations` at the top of a module takes long enough to be interrupted.
if (sys.argv or [""])[0].rpartition("/")[2] == "fluxguard" and (
    _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
):
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

__version__ = "0.1.0"
__all__ = ["__version__"]
