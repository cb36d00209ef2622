"""A defect in fluxguard: a trace that can be handed on, with nothing of the input in it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback

import fluxguard


def record() -> str:
    """Writes the trace of the exception under way to a private file; returns the sentence that names it.

    Only file names, line numbers and the exception's type are written: values and messages may hold a key.
    """
    kind, _, trace = sys.exc_info()
    lines = [f"fluxguard {fluxguard.__version__}, Python {platform.python_version()}, {platform.system()}"]
    lines += [
        f"  {_module(frame.filename)}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(trace)
    ]
    lines.append(kind.__name__ if kind else "")
    try:
        path = _write("\n".join(lines) + "\n")
    except OSError:
        return (
            "this is a defect in fluxguard; the run is not finished, so nothing\n"
            "  counts as clean. Its trace could not be written: is the disk full?"
        )
    return (
        "this is a defect in fluxguard; the run is not finished, so nothing\n"
        "  counts as clean.\n"
        f"  A trace without any of your data: {path}\n"
        "  Please report it: https://github.com/fluxguard/fluxguard/issues"
    )


def _module(filename: str) -> str:
    """A module's file, without the folders above the package it is in: they may tell who somebody is."""
    return "/".join(filename.replace(os.sep, "/").split("/")[-3:])


def _write(text: str) -> str:
    fd, path = tempfile.mkstemp(prefix="fluxguard-defect-", suffix=".txt")
    try:
        with os.fdopen(fd, "w") as stream:
            stream.write(text)
    except OSError:
        os.unlink(path)
        raise
    return path
