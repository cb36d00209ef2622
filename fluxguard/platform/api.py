"""The platform's REST API as a client: time-bounded, patient where that is safe, and careful where the key goes.

A request that may not be carried out twice is repeated only with an idempotency key. A redirect is never followed: it could carry
the key to another host.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import getproxies

import httpx

import fluxguard
from fluxguard import wire
from fluxguard.model import Secret
from fluxguard.platform.address import Address
from fluxguard.platform.errors import PlatformError, Unreachable, from_answer, not_offered
from fluxguard.wire import Key

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
TRIES = 4
LONGEST_WAIT = 60.0  # seconds: who is told to wait longer hears so at once
AGAIN = frozenset({429, 502, 503, 504})
_LARGEST = 32 << 20
_PAGE = 1000  # keys in one answer


class Api:
    """One platform, asked as one key. transport, sleep: a test hands in its own."""

    def __init__(
        self, address: Address, secret: Secret | None, *, transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.address = address
        self._secret = secret
        self._sleep = sleep
        self._told = ""  # the time of its last answer
        self._client = httpx.Client(
            base_url=address.url, timeout=TIMEOUT, transport=transport, follow_redirects=False, verify=_trust(address.url),
            headers={"User-Agent": f"fluxguard/{fluxguard.__version__}", "Accept": "application/json"},
        )  # fmt: skip

    def close(self) -> None:
        self._client.close()

    def asks_with(self, secret: Secret) -> bool:
        """Whether this is the key that asks."""
        return self._secret == secret

    @property
    def anonymous(self) -> bool:
        """Whether it is asked as nobody: there is no key."""
        return self._secret is None

    @property
    def clock(self) -> int | None:
        """What time it is by the platform, to the second, as of its last answer; None where it did not say. In milliseconds since 1970."""
        try:
            return int(parsedate_to_datetime(self._told).timestamp() * 1000)
        except (ValueError, OverflowError):
            return None

    # Keys.

    def create(self, wish: Mapping[str, Any], idempotency: str) -> dict[str, Any]:
        """`POST /api/v1/keys`; on FluxLoop's public service what that offers."""
        if self.address.public:
            return self._create_public(wish)
        return self._minted(self._object("POST", "/api/v1/keys", json=wish, idempotency=idempotency))

    def _create_public(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        scope = wish.get("scope")
        if not isinstance(scope, Mapping) or len(scope["projects"]) != 1:
            raise not_offered("create a key for anything but one project")
        return self._object(
            "POST", "/api/api-keys", json={"project_id": scope["projects"][0], "name": wish["name"]}
        )

    def pages(
        self, *, project: str = "", state: str = "", unused: bool = False, limit: int | None = None, after: str = ""
    ) -> Iterator[tuple[list[Key], str]]:  # fmt: skip
        """Keys, newest first, as they come: each page, and where the next one goes on ("" behind the last one).

        limit: the most keys in all. after: where another list ended. FluxLoop's public service knows neither, and lists a project's alone.
        """
        if self.address.public:
            if not project:
                raise not_offered("list the keys of all projects; name one with --scope")
            if state or unused or after:
                raise not_offered("choose among a project's keys")
            found = self._list("GET", "/api/api-keys", params={"project_id": project})
            yield [self._key_of(_public(one)) for one in found][:limit], ""
            return
        chosen = {"project_id": project, "state": state, "unused": "true" if unused else ""}
        left, known = limit, {after}
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            params = {
                name: value
                for name, value in {**chosen, "limit": str(size), "cursor": after}.items()
                if value
            }
            answer = self._send("GET", "/api/v1/keys", params=params)
            keys = [self._key_of(one) for one in self._objects(self._read(answer))][:left]
            after = _further(answer)
            yield keys, after
            if not after:
                return
            if after in known:
                raise self._odd()
            known.add(after)
            left = None if left is None else left - len(keys)

    def keys(self, project: str = "") -> list[Key]:
        """All keys, or those that are good for a project."""
        return [key for page, _ in self.pages(project=project) for key in page]

    def key(self, key_id: str) -> Key:
        self._only_own("show one key")
        return self._key_of(self._object("GET", _key(key_id)))

    def update(self, key_id: str, changes: Mapping[str, Any]) -> Key:
        self._only_own("change a key")
        return self._key_of(self._object("PATCH", _key(key_id), json=changes, repeat=True))

    def delete(self, key_id: str, name: str) -> Key:
        self._only_own("delete a key")
        return self._key_of(self._object("DELETE", _key(key_id), params={"confirm_name": name}, repeat=True))

    def revoke(self, key_id: str, reason: str = "") -> Key:
        self._only_own("revoke a key")
        return self._key_of(
            self._object("POST", _key(key_id, "revoke"), json={"reason": reason}, repeat=True), key_id
        )

    def regenerate(self, key_id: str, idempotency: str, reveal_to: str) -> dict[str, Any]:
        self._only_own("regenerate a key")
        return self._minted(
            self._object(
                "POST", _key(key_id, "regenerate"), json={"reveal_to": reveal_to}, idempotency=idempotency
            )
        )

    def rotate(self, key_id: str, terms: Mapping[str, Any], idempotency: str) -> dict[str, Any]:
        self._only_own("rotate a key")
        return self._minted(self._object("POST", _key(key_id, "rotate"), json=terms, idempotency=idempotency))

    def confirm(self, key_id: str) -> Key:
        self._only_own("confirm a key")
        return self._key_of(self._object("POST", _key(key_id, "confirm"), repeat=True), key_id)

    def quarantine(self, key_id: str, terms: Mapping[str, Any]) -> Key:
        self._only_own("quarantine a key")
        return self._key_of(self._object("POST", _key(key_id, "quarantine"), json=terms, repeat=True), key_id)

    def release(self, key_id: str) -> Key:
        self._only_own("release a key")
        return self._key_of(self._object("POST", _key(key_id, "release"), repeat=True))

    def usage(self, key_id: str, days: int = 7) -> dict[str, Any]:
        self._only_own("show a key's usage")
        return self._object("GET", _key(key_id, "usage"), params={"days": str(days)})

    def timeline(self, key_id: str, since: str = "") -> list[dict[str, Any]]:
        self._only_own("show a key's timeline")
        return self._list("GET", _key(key_id, "timeline"), params={"since": since} if since else {})

    # Everything else.

    def me(self) -> Key:
        """What the key is that we ask with. No use of it."""
        self._only_own("tell a key about itself")
        return self._key_of(self._object("GET", "/api/v1/self"))

    def projects(self) -> list[dict[str, Any]]:
        return self._list("GET", "/api/projects")

    def liveness(self, secret: Secret) -> dict[str, Any] | None:
        """What the platform knows of a key, without the key being sent: None where it knows none such.

        Five hex digits of the fingerprint go out; the answers can be opened by whoever holds the key.
        """
        from fluxguard.platform.sealed import opened

        self._only_own("ask whether a key is alive without sending it")
        answer = self._object(
            "POST", "/api/v1/liveness", json={"prefixes": [secret.fingerprint.removeprefix("fg1:")[:5]]}, repeat=True,
            anonymous=True,
        )  # fmt: skip
        digest = wire.seal_digest(secret.reveal().decode("ascii", "replace"))
        matches = answer.get("matches")
        if not isinstance(matches, list) or not all(isinstance(one, dict) for one in matches):
            raise self._odd()  # no answer is not the answer that it knows none such
        for match in matches:
            found = opened(str(match.get("payload")), digest)
            if found is not None:
                return self._known(found)
        return None

    def _known(self, found: dict[str, Any]) -> dict[str, Any]:
        texts = ("key_id", "status", "environment")
        if not all(isinstance(found.get(name), str) for name in texts) or "permissions" not in found:
            raise self._odd()
        return {"expires_at": None, "last_used_at": None, **found}

    def _only_own(self, what: str) -> None:
        if self.address.public:
            raise not_offered(what)

    def _object(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        answer = self._ask(method, path, **how)
        if not isinstance(answer, dict):
            raise self._odd()
        return answer

    def _key_of(self, answer: Mapping[str, Any], asked: str = "") -> Key:
        """asked: the id of the key that the answer is about."""
        try:
            key = Key.from_json(answer)
        except wire.WireError:
            raise self._odd() from None
        if asked and key.id != asked:
            raise self._odd()
        return key

    def _minted(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer that brings a new key: in clear, or sealed."""
        if not all(
            isinstance(answer.get(name), str)
            for name in ("id", "sealed_key" if "sealed_key" in answer else "key")
        ):
            raise self._odd()
        return answer

    def _list(self, method: str, path: str, **how: Any) -> list[dict[str, Any]]:
        return self._objects(self._ask(method, path, **how))

    def _objects(self, answer: Any) -> list[dict[str, Any]]:
        if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
            raise self._odd()
        return answer

    def _odd(self) -> Unreachable:
        """What was asked for may have been carried out, or not."""
        return Unreachable(
            "The platform's answer is not what it should be.",
            f"Is this its address? {self.address.url}   If it is, run the same command again.",
        )

    def _ask(self, method: str, path: str, **how: Any) -> Any:
        return self._read(self._send(method, path, **how))

    def _send(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, str] | None = None, idempotency: str = "",
        repeat: bool = False, anonymous: bool = False,
    ) -> httpx.Response:  # fmt: skip
        headers = {"Idempotency-Key": idempotency} if idempotency else {}
        if self._secret is not None and not anonymous:
            headers["Authorization"] = f"Bearer {_header(self._secret)}"
        safe = repeat or bool(idempotency) or method == "GET"
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES or not safe
            try:
                answer = self._client.request(method, path, json=json, params=params, headers=headers)
            except httpx.HTTPError as error:
                if last:
                    raise self._unreachable(error) from None
                self._sleep(_pause(attempt))
                continue
            if answer.status_code in AGAIN and not last and (wait := _wait(answer, attempt)) is not None:
                self._sleep(wait)
                continue
            self._told = answer.headers.get("Date", "")
            return answer
        raise AssertionError("the last attempt returns or raises")

    def _read(self, answer: httpx.Response) -> Any:
        if answer.is_redirect:
            raise PlatformError(
                "The platform sends us elsewhere; the key is not sent after it.",
                "Name the platform's own address with --api-url or FLUXLOOP_API_URL.", answer.status_code,
            )  # fmt: skip
        if len(answer.content) > _LARGEST:
            raise PlatformError(
                "The platform's answer is too large.", f"Is this its address? {self.address.url}"
            )
        try:
            body = answer.json() if answer.content else None
        except (ValueError, RecursionError):
            body = None
        if not answer.is_success:
            raise from_answer(answer.status_code, body, answer.headers.get("Retry-After", ""))
        return body

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        how = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "can't be reached"
        return Unreachable(
            f"The platform {how}: {self.address.url} (from {self.address.source}).",
            "Check the address and the network, then run the same command again.",
        )


def _trust(url: str) -> ssl.SSLContext | bool:
    """Whom to trust. To load the system's authorities takes 50 ms; where nothing is encrypted nobody is, so none are loaded."""
    if url.startswith("http://") and not getproxies():
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return True


def _further(answer: httpx.Response) -> str:
    """Where the next page goes on: the cursor of the link, and nothing else of it. The address is ours to choose."""
    link = answer.links.get("next", {}).get("url", "")
    try:
        return parse_qs(urlsplit(link).query).get("cursor", [""])[0]
    except ValueError:
        return ""


def _key(key_id: str, action: str = "") -> str:
    return f"/api/v1/keys/{quote(key_id, safe='')}" + (f"/{action}" if action else "")


def _header(secret: Secret) -> str:
    """The key for the header. Raises: PlatformError where it can't be one: a line break in it would be another header."""
    text = secret.reveal().decode("ascii", "replace")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise PlatformError(
            "The key that would be used is no API key.", "See which one counts: fluxguard auth status"
        )
    return text


def _pause(attempt: int) -> float:
    """Half a second, doubled each time, with some chance in it."""
    return float(0.5 * 2 ** (attempt - 1) * (0.75 + random.random() / 2))  # noqa: S311


def _wait(answer: httpx.Response, attempt: int) -> float | None:
    """How long to wait before the same again, or None where it would be too long."""
    told = answer.headers.get("Retry-After", "")
    if not told.isdigit():
        return _pause(attempt)
    return float(told) if int(told) <= LONGEST_WAIT else None


def _public(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """A key as FluxLoop's public service lists it: it tells id, name and when."""
    return {**one, "masked": one.get("masked") or "***", "state": one.get("state") or "unknown"}
