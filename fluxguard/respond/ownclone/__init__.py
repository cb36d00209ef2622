"""The user's own clone, cleaned with their consent: looked at, backed up, rewritten in a private copy, moved over, proved."""
