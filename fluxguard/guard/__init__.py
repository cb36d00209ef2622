"""Hooks in repositories: put in, recognised, kept up to date, taken out again."""
