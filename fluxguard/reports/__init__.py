"""A Report in, text out. Each module has `write(report, stream)`; the same report gives the same bytes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TextIO

from fluxguard.model import Report

FORMATS = ("text", "json", "sarif", "gitlab", "junit", "github", "html")


def writer(format: str) -> Callable[[Report, TextIO], None]:
    """The function that writes a format."""
    write: Callable[[Report, TextIO], None] = importlib.import_module(f"fluxguard.reports.{format}").write
    return write
