"""The key platform seen from here: where it is, as whom we ask, and what it answers."""
