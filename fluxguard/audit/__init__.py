"""The audit: everything that a repository holds, each leak traced, and a certificate of what was read."""
