"""Realistic files in which keys stand, and others in which none does: what detection is measured by."""
