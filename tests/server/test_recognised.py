"""A stranger's wrong passwords keep no owner out of a browser in which they signed in before; and nothing tells which names there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from fluxguard.server import people
from fluxguard.server.app import create_app
from fluxguard.server.platform import open_platform
from fluxguard.server.trail import Actor
from tests.server.conftest import EMAIL, PASSWORD, House

WRONG, INSIDER = "wrong wrong wrong", "insider@example.org"
MINUTE = 60_000
_ADDRESSES = iter(range(1, 250))


def browser(house: House, base: str = "http://testserver") -> TestClient:
    """Another one, at an address of its own; it stands in no `with`, so its requests run in the loop of the house's own."""
    address = f"198.51.100.{next(_ADDRESSES)}"
    return TestClient(house.client.app, base_url=base, client=(address, 50000), follow_redirects=False)


def sign_in(client: TestClient, email: str = EMAIL, password: str = PASSWORD) -> int:
    client.cookies.pop("fluxguard", None)  # the session; what remains is what the browser is known by
    return client.post("/sign-in", data={"email": email, "password": password}).status_code


def used_up(house: House, email: str = EMAIL) -> None:
    """Strangers try until the name is locked, each from an address of its own."""
    assert [sign_in(browser(house), email, WRONG) for _ in range(11)] == [401] * 10 + [429]


@contextmanager
def another_worker(house: House) -> Iterator[TestClient]:
    """A process of the same platform, as far as it can be one: all of its own but the database and the secret."""
    platform = open_platform(house.platform.settings)
    with TestClient(create_app(platform), client=("203.0.113.1", 50000), follow_redirects=False) as client:
        yield client
    platform.close()


def test_a_stranger_locks_no_owner_out(house: House) -> None:
    owner, fresh = browser(house), browser(house)
    assert sign_in(owner) == 303
    used_up(house)
    assert sign_in(fresh) == 429, "a browser that is not known waits, whatever the password"
    assert sign_in(owner, password=WRONG) == 401
    assert sign_in(owner) == 303
    assert sign_in(fresh) == 429, "an owner who comes in gives strangers no fresh tries"
    house.clock.forward(16 * MINUTE)
    assert sign_in(fresh) == 303


def test_tries_of_a_known_browser_are_its_own(house: House) -> None:
    owner, fresh = browser(house), browser(house)
    sign_in(owner)
    assert [sign_in(owner, password=WRONG) for _ in range(10)] == [401] * 10
    assert sign_in(owner) == 429
    assert sign_in(fresh) == 303
    house.clock.forward(16 * MINUTE)
    assert sign_in(owner) == 303


def test_a_browser_is_known_to_the_account_that_it_signed_in_to(house: House) -> None:
    with house.platform.store.write() as connection:
        actor = Actor("system", people.workspace_of_owner(connection))
        people.add(connection, house.platform, actor, INSIDER, PASSWORD, "member")
    owner, insider = browser(house), browser(house)
    sign_in(owner)
    sign_in(insider, INSIDER)
    used_up(house)
    assert sign_in(insider) == 429
    (name,) = (one for one in owner.cookies if one.startswith("fluxguard-known-"))
    (other,) = (one for one in insider.cookies if one.startswith("fluxguard-known-"))
    assert name != other
    mine, theirs = owner.cookies[name], insider.cookies[other]
    number, _, proof = mine.partition(".")
    for forged in (
        theirs,
        f"x{number}.{proof}",
        f".{proof}",
        number,
        f"{number}.",
        f"{number}.{'0' * 64}",
        "\xff",
    ):
        stranger = browser(house)
        answer = stranger.post(
            "/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers={b"Cookie": f"{name}={forged}".encode("latin-1")}
        )  # fmt: skip
        assert answer.status_code == 429, forged[:5]
    assert sign_in(owner) == 303
    assert sign_in(insider, INSIDER) == 303, "several accounts in one browser do not get in each other's way"


def test_it_holds_across_workers(house: House) -> None:
    owner = browser(house)
    sign_in(owner)
    with another_worker(house) as other:
        for n in range(10):
            assert sign_in(other if n % 2 else browser(house), password=WRONG) == 401
        assert sign_in(browser(house)) == 429
        other.cookies.update({name: owner.cookies[name] for name in owner.cookies})
        assert sign_in(other) == 303


def test_another_password_gives_fresh_tries(house: House) -> None:
    used_up(house)
    with house.platform.store.write() as connection:
        actor = Actor("system", people.workspace_of_owner(connection))
        people.change(connection, house.platform, actor, EMAIL, "password", PASSWORD + "!")
    assert sign_in(browser(house), password=PASSWORD + "!") == 303


@pytest.mark.parametrize("base", ["http://testserver", "https://testserver"])
def test_the_cookie_is_nobody_s_but_the_browser_s(house: House, base: str) -> None:
    answer = browser(house, base).post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
    (cookie,) = (one for one in answer.headers.get_list("set-cookie") if "fluxguard-known-" in one)
    words = cookie.split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(words)
    assert "Domain" not in cookie
    assert EMAIL not in cookie
    assert cookie.startswith("__Host-") == ("Secure" in words) == base.startswith("https")


def test_nothing_is_done_for_one_name_that_is_not_done_for_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long an answer takes tells no names: the same statements, and one password checked, whether there is an account or not."""
    with house.platform.store.write() as connection:
        actor = Actor("system", people.workspace_of_owner(connection))
        people.add(connection, house.platform, actor, INSIDER, PASSWORD, "member")
        people.change(connection, house.platform, actor, INSIDER, "disable", "")
    done: list[str] = []
    sa.event.listen(
        house.platform.store.engine, "before_cursor_execute", lambda *words: done.append(str(words[2]))
    )
    hasher = people._hasher()

    class Told:
        def verify(self, kept: str, password: str) -> bool:
            done.append(f"verify {kept.rpartition('$')[0].rpartition('$')[0]}")
            return hasher.verify(kept, password)

        hash = hasher.hash

    monkeypatch.setattr(people, "_hasher", Told)
    people._nobody.cache_clear()
    answers = []
    for email in (EMAIL, "nobody@example.org", INSIDER, "no address at all", EMAIL):
        done.clear()
        page = browser(house).post("/sign-in", data={"email": email, "password": WRONG})
        answers.append((page.status_code, page.text.replace(email, ""), list(done)))
    assert sum(one.startswith("verify $argon2id$") for one in answers[0][2]) == 1
    assert all(answer == answers[0] for answer in answers)
    for _ in range(10):
        for email in (EMAIL, "nobody@example.org"):
            sign_in(browser(house), email, WRONG)
    locked = [browser(house).post("/sign-in", data={"email": email, "password": WRONG}) for email in (EMAIL, "nobody@example.org")]  # fmt: skip
    assert [one.status_code for one in locked] == [429, 429]
    assert locked[0].text.replace(EMAIL, "") == locked[1].text.replace("nobody@example.org", "")
