"""The key platform, self-hosted: REST API and web console (extra `server`). Knows nothing of git or detection."""
