"""The only package that talks to git. It knows nothing of detection."""
