"""Places for the new key that are not on this machine: GitHub Actions, GitLab and CircleCI variables, and whatever a command reaches.

Written to the services' published APIs: docs.github.com/rest/actions/secrets, docs.gitlab.com/api/project_level_variables,
circleci.com/docs/api/v2. A key goes out in TLS to the service, or on a child's standard input; never in an argument.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from nacl.public import PublicKey, SealedBox

from fluxguard.errors import FluxguardError, UsageError
from fluxguard.model import Secret
from fluxguard.platform.address import checked
from fluxguard.secret import veiled

KINDS = ("github", "gitlab", "circleci", "exec")
TIMEOUT = httpx.Timeout(30.0)


class NotSent(FluxguardError):
    """The key did not leave: the place does not have it."""


@dataclass(frozen=True, slots=True)
class Target:
    """kind: one of KINDS. where: OWNER/REPO, a project's path or id, a project slug, or a command. name: of the variable."""

    kind: str
    where: str
    name: str

    def __str__(self) -> str:
        return f"exec:{self.where}" if self.kind == "exec" else f"{self.kind}:{self.where}:{self.name}"


def parse(text: str) -> Target:
    """`github:OWNER/REPO:NAME`, `gitlab:GROUP/PROJECT:NAME`, `circleci:gh/OWNER/REPO:NAME`, `exec:COMMAND`. Raises: UsageError."""
    if veiled(text) != text:
        raise UsageError(
            "A key stands in a target, where everybody on this machine can read it.",
            "Leave it out: the new key comes on the command's standard input.",
        )
    kind, _, rest = text.partition(":")
    if kind == "exec" and rest.strip():
        return Target(kind, rest, "")
    where, _, name = rest.rpartition(":")
    if kind not in KINDS or not where or not name:
        raise UsageError(
            "A target is github:OWNER/REPO:NAME, gitlab:PROJECT:NAME, circleci:gh/OWNER/REPO:NAME or exec:COMMAND.",
            "For example: --target github:acme/shop:FLUXLOOP_API_KEY",
        )
    return Target(kind, where, name)


def runnable(text: str) -> None:
    """Whether the command of an `exec:` target can be started at all; better known before a new key is made. Raises: UsageError."""
    target = parse(text)
    if target.kind != "exec":
        return
    try:
        words = shlex.split(target.where)
    except ValueError:
        raise UsageError("A quote in the command of a target does not close.", _check(target)) from None
    if not words or shutil.which(words[0]) is None:
        raise UsageError("The command of a target is not to be found, or can't be run.", _check(target))


def deliver(
    target: Target,
    secret: Secret,
    environment: Mapping[str, str],
    transport: httpx.BaseTransport | None = None,
) -> str:
    """Puts the key there, and reads back what can be read back. Returns what was seen, in words.

    Raises: FluxguardError, with what to do; sent again, it does the same.
    """
    return _WAYS[target.kind](target, secret, environment, transport)


def _token(environment: Mapping[str, str], *names: str) -> str:
    for name in names:
        if environment.get(name):
            return environment[name]
    raise NotSent(
        f"{names[0]} is not set, so the new key can't be brought there.", f"Set {names[0]}, then resume."
    )


def _client(base: str, headers: Mapping[str, str], transport: httpx.BaseTransport | None) -> httpx.Client:
    return httpx.Client(
        base_url=checked(base, "of a target"),
        headers=dict(headers),
        timeout=TIMEOUT,
        transport=transport,
        follow_redirects=False,
    )


def _asked(client: httpx.Client, method: str, path: str, service: str, **how: Any) -> httpx.Response:
    try:
        answer = client.request(method, path, **how)
    except httpx.HTTPError:
        raise FluxguardError(f"{service} can't be reached.", "Resume when it can.") from None
    if answer.status_code >= 400 and answer.status_code != 404:
        raise FluxguardError(
            f"{service} refused (HTTP {answer.status_code}).", "Check the token's rights, then resume."
        )
    return answer


def _github(
    target: Target, secret: Secret, environment: Mapping[str, str], transport: httpx.BaseTransport | None
) -> str:
    token = _token(environment, "GITHUB_TOKEN", "GH_TOKEN")
    base = environment.get("GITHUB_API_URL") or "https://api.github.com"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    path = f"/repos/{target.where}/actions/secrets"
    with _client(base, headers, transport) as client:
        before = _asked(client, "GET", f"{path}/{quote(target.name)}", "GitHub")
        public = _asked(client, "GET", f"{path}/public-key", "GitHub")
        if public.status_code == 404:
            raise FluxguardError(f"GitHub knows no repository {target.where} that this token may change.")
        key = public.json()
        box = SealedBox(PublicKey(base64.b64decode(key["key"])))
        body = {
            "encrypted_value": base64.b64encode(box.encrypt(secret.reveal())).decode(),
            "key_id": key["key_id"],
        }
        _asked(client, "PUT", f"{path}/{quote(target.name)}", "GitHub", json=body)
        after = _asked(client, "GET", f"{path}/{quote(target.name)}", "GitHub")
    if after.status_code == 404:
        raise FluxguardError(
            "GitHub took the secret, and does not list it.", "Look at the repository's settings."
        )
    moved = before.status_code == 404 or before.json().get("updated_at") != after.json().get("updated_at")
    return f"updated at {after.json().get('updated_at')}" + (
        "" if moved else " (not moved: set twice in a second?)"
    )


def _gitlab(
    target: Target, secret: Secret, environment: Mapping[str, str], transport: httpx.BaseTransport | None
) -> str:
    token = _token(environment, "GITLAB_TOKEN")
    base = environment.get("GITLAB_API_URL") or "https://gitlab.com/api/v4"
    path = f"/projects/{quote(target.where, safe='')}/variables"
    value = secret.reveal().decode()
    with _client(base, {"PRIVATE-TOKEN": token}, transport) as client:
        same = [one for one in _variables(client, path, target) if one.get("key") == target.name]
        for one in same:
            scope = {"filter[environment_scope]": one.get("environment_scope", "*")}
            _asked(
                client, "PUT", f"{path}/{quote(target.name)}", "GitLab", params=scope, json={"value": value}
            )
        if not same:
            _asked(
                client,
                "POST",
                path,
                "GitLab",
                json={"key": target.name, "value": value, "masked": True, "protected": False},
            )
        after = _variables(client, path, target)
    wrong = [one for one in after if one.get("key") == target.name and one.get("value") not in (value, None)]
    if wrong:
        raise FluxguardError(
            "GitLab still shows another value.", "Look at the project's variables, then resume."
        )
    return f"read back, {max(1, len(same))} variable{'s' if len(same) > 1 else ''}"


def _variables(client: httpx.Client, path: str, target: Target) -> list[dict[str, Any]]:
    """All of a project's variables, page by page."""
    found: list[dict[str, Any]] = []
    page = "1"
    while page:
        answer = _asked(client, "GET", path, "GitLab", params={"per_page": "100", "page": page})
        if answer.status_code == 404:
            raise FluxguardError(f"GitLab knows no project {target.where} that this token may change.")
        found += answer.json()
        page = answer.headers.get("X-Next-Page", "")
    return found


def _circleci(
    target: Target, secret: Secret, environment: Mapping[str, str], transport: httpx.BaseTransport | None
) -> str:
    token = _token(environment, "CIRCLE_TOKEN", "CIRCLECI_TOKEN")
    base = environment.get("CIRCLECI_API_URL") or "https://circleci.com/api/v2"
    value = secret.reveal().decode()
    path = f"/project/{target.where}/envvar"
    with _client(base, {"Circle-Token": token}, transport) as client:
        done = _asked(client, "POST", path, "CircleCI", json={"name": target.name, "value": value})
        if done.status_code == 404:
            raise FluxguardError(f"CircleCI knows no project {target.where} that this token may change.")
        shown = _asked(client, "GET", f"{path}/{quote(target.name)}", "CircleCI").json().get("value", "")
    if not str(shown).endswith(value[-4:]):
        raise FluxguardError("CircleCI shows another value.", "Look at the project's variables, then resume.")
    return f"read back as {shown}"


def _exec(
    target: Target, secret: Secret, environment: Mapping[str, str], transport: httpx.BaseTransport | None
) -> str:
    """A command of the user's own, which gets the key on its standard input."""
    quiet = {name: value for name, value in os.environ.items() if secret.reveal().decode() not in value}
    try:
        done = subprocess.run(
            shlex.split(target.where),
            input=secret.reveal(),
            stdout=subprocess.DEVNULL,  # never shown, for the key may stand in it; and a child that it leaves behind holds nobody up
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=300,
            env=quiet,
        )
    except (OSError, ValueError):
        raise NotSent("The command of a target could not be run.", _check(target)) from None
    except subprocess.TimeoutExpired:
        raise FluxguardError("The command of a target did not end in 300 seconds.", _check(target)) from None
    if done.returncode:
        raise FluxguardError(f"The command of a target ended with {done.returncode}.", _check(target))
    return "the command ended with 0"


def _check(target: Target) -> str:
    """What to do about a command that failed."""
    shell = (
        " (it is run without a shell; with one: exec:sh -c '...')"
        if re.search(r"[|&;<>$`]", target.where)
        else ""
    )
    return f"Check it: {target.where}{shell}."


_WAYS: Mapping[str, Callable[[Target, Secret, Mapping[str, str], httpx.BaseTransport | None], str]] = {
    "github": _github, "gitlab": _gitlab, "circleci": _circleci, "exec": _exec,
}  # fmt: skip
