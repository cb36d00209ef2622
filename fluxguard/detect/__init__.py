"""Detection: bytes in, matches out. Knows no file, no git, no network, no terminal."""
