"""Markdown that no name can break out of: what others wrote stands in it as plain text."""

from __future__ import annotations


def plain(text: str) -> str:
    """Text in which nothing is markup, a link, a mention or HTML: every other sign than these is a character reference."""
    return "".join(
        one if (one.isalnum() and one.isascii()) or one == " " else f"&#{ord(one)};" for one in text
    )


def code(text: str) -> str:
    """The same, set as code, in which GitHub and GitLab look for no mentions."""
    return f"<code>{plain(text)}</code>" if text else ""
