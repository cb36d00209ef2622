"""`python -m fluxguard`."""

from fluxguard.cli import program

raise SystemExit(program())
