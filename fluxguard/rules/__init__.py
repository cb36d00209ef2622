"""Rule files: data that proves itself. Their format is described in `fluxguard.detect.ruleset`."""
