"""Browsers that somebody signed in with before: a signed cookie for each account, so that a stranger's wrong passwords keep no owner out.

Tries of one such browser are counted by themselves; those of all others for a name are counted together, and it is they who wait.
https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
"""

from __future__ import annotations

import hmac
import secrets

from fastapi import Request
from fastapi.responses import Response

from fluxguard.server.platform import Platform

SECURE, PLAIN = "__Host-fluxguard-known-", "fluxguard-known-"  # on HTTPS, and on loopback without it
KEPT = 365 * 86_400  # seconds


def browser(request: Request, platform: Platform, email: str) -> str:
    """The name under which a browser that signed in as `email` before has its tries counted; nothing for any other browser."""
    value = request.cookies.get(_cookie(request, platform, email), "")
    name, _, proof = value.partition(".")
    fits = hmac.compare_digest(proof.encode(), _proof(platform, email, name).encode())
    return name if name and fits else ""


def remember(answer: Response, request: Request, platform: Platform, email: str) -> None:
    """A fresh cookie with the answer to a sign-in that worked."""
    name = secrets.token_urlsafe(16)
    answer.set_cookie(
        _cookie(request, platform, email), f"{name}.{_proof(platform, email, name)}", max_age=KEPT, path="/", httponly=True,
        secure=request.url.scheme == "https", samesite="lax",
    )  # fmt: skip


def _cookie(request: Request, platform: Platform, email: str) -> str:
    """Its name: one for each account, which does not tell whose."""
    return (SECURE if request.url.scheme == "https" else PLAIN) + platform.vault.browser(_bytes(email)).hex()[
        :12
    ]


def _proof(platform: Platform, email: str, name: str) -> str:
    return platform.vault.browser(_bytes(f"{name}\0{email}")).hex()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
