"""`python -m fluxguard`."""

from fluxguard.cli import main

raise SystemExit(main())
