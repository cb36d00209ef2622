"""Lists of keys, a page at a time: nothing is left out, nothing comes twice, and what does not fit stays away. On both databases."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from fluxguard import wire
from fluxguard.server import life, listing, mint
from fluxguard.server.tables import keys
from tests.server.conftest import START, House

NOW = START + 1_000_000


def rows(house: House, count: int, **values: Any) -> None:
    """Keys straight into the table: thousands of them by the API take minutes. Two share each moment."""
    with house.platform.store.write() as connection:
        workspace = connection.execute(sa.select(keys.c.workspace_id)).scalar()
        made = [{**plain(n), "workspace_id": workspace, **values} for n in range(count)]
        connection.execute(keys.insert(), made)


def plain(n: int) -> dict[str, Any]:
    key_id = mint.identifier("key")
    return {
        "id": key_id, "name": f"Key {n:05}", "description": "", "environment": "dev", "masked": "flux_dev_abcd...efghi",
        "lookup": key_id.encode(), "fingerprint": f"fg1:{key_id}", "seal": b"", "permissions": "read_scenarios", "scope": "all",
        "state": "active", "hourly_limit": 1000, "version": 1, "created_by": "system", "created_at": START + n // 2,
    }  # fmt: skip


def ask(house: House, path: str, key: str = "") -> httpx.Response:
    answer: httpx.Response = house.client.get(path, headers={"Authorization": f"Bearer {key or house.first}"})
    assert answer.status_code == 200, answer.text[:300]
    return answer


def walk(house: House, path: str, key: str = "") -> list[list[dict[str, Any]]]:
    """Page after page, as the links lead."""
    pages = []
    while path:
        answer = ask(house, path, key)
        pages.append(answer.json())
        path = answer.links.get("next", {}).get("url", "")
        assert not urlsplit(path).netloc  # whoever asks knows where the platform is
    return pages


def test_a_list_of_thousands_comes_in_pages(house: House) -> None:
    rows(house, 2500)
    pages = walk(house, "/api/v1/keys?limit=1000")
    assert [len(page) for page in pages] == [1000, 1000, 501]
    shown = [key for page in pages for key in page]
    assert len({key["id"] for key in shown}) == 2501
    moments = [(key["created_at"], key["name"]) for key in shown]
    assert [moment for moment, _ in moments] == sorted((moment for moment, _ in moments), reverse=True)
    assert len(ask(house, "/api/v1/keys").json()) == 100  # the bare array, and the link


def test_what_is_made_meanwhile_moves_nothing(house: House) -> None:
    rows(house, 10)
    first = ask(house, "/api/v1/keys?limit=4")
    house.create(name="Newest of all")
    rest = walk(house, first.links["next"]["url"])
    shown = [key["name"] for page in [first.json(), *rest] for key in page]
    assert len(shown) == len(set(shown)) == 11
    assert "Newest of all" not in shown


@pytest.mark.parametrize("limit", [1, 7, 99, 100, 101, 150])
def test_every_size_of_page_shows_each_key_once(house: House, limit: int) -> None:
    rows(house, 150)
    shown = [key["id"] for page in walk(house, f"/api/v1/keys?limit={limit}") for key in page]
    assert len(shown) == len(set(shown)) == 151


def test_only_keys_that_are_good_for_a_project(house: House) -> None:
    mine, other = house.project("mine"), house.project("other")
    both = house.create(name="both", scope={"projects": [other, mine]})
    house.create(name="other", scope={"projects": [other]})
    names = {key["name"] for key in ask(house, f"/api/v1/keys?project_id={mine}").json()}
    assert names == {"both", "First key"}
    assert (
        ask(house, f"/api/v1/keys?project={mine}").json()
        == ask(house, f"/api/v1/keys?project_id={mine}").json()
    )
    assert both["id"] in {
        key["id"] for page in walk(house, f"/api/v1/keys?project_id={other}&limit=1") for key in page
    }
    for odd in ("prj_none", "%25", "_", mine[:-1]):  # a wildcard is a letter like any other
        assert {key["name"] for key in ask(house, f"/api/v1/keys?project_id={odd}").json()} == {"First key"}


def test_only_keys_of_a_state(house: House) -> None:
    ended = house.create(name="ended")
    house.call("POST", f"/api/v1/keys/{ended['id']}/revoke", status=200)
    gone = house.create(name="gone")
    house.call("DELETE", f"/api/v1/keys/{gone['id']}", status=200, params={"confirm_name": "gone"})
    house.create(name="short", expires="12h")
    house.use(house.create(name="used", environment="ci")["key"])
    house.clock.forward(wire.DAY)
    names = {
        state: [key["name"] for key in ask(house, f"/api/v1/keys?state={state}").json()]
        for state in wire.STATES
    }
    assert names["revoked"] == ["ended"]
    assert names["deleted"] == ["gone"]
    assert names["expired"] == ["short"]
    assert "used" in names["active"]
    assert "gone" not in {key["name"] for key in ask(house, "/api/v1/keys").json()}
    assert [key["name"] for key in ask(house, "/api/v1/keys?environment=ci").json()] == ["used"]
    assert [key["name"] for key in ask(house, "/api/v1/keys?q=USE").json()] == ["used"]
    assert ask(house, "/api/v1/keys?q=%25").json() == []
    assert "used" not in {key["name"] for key in ask(house, "/api/v1/keys?unused=true").json()}


def test_the_database_and_the_program_agree_on_every_state(house: House) -> None:
    """All that a row can say about its state, side by side."""
    moments = (None, NOW - 1, NOW, NOW + 1)
    with house.platform.store.write() as connection:
        workspace = connection.execute(sa.select(keys.c.workspace_id)).scalar()
        connection.execute(keys.insert(), [
            {
                **plain(n), "workspace_id": workspace, "state": state, "ends_at": ends, "expires_at": expires,
                "confirmed_at": confirmed, "pending_until": pending, "quarantine": quarantine,
            }
            for n, (state, ends, expires, confirmed, pending, quarantine) in enumerate(itertools.product(
                ("pending", "active", "revoked", "regenerated", "lapsed", "deleted"), moments, moments, (None, 1), moments,
                (None, "{}"),
            ))
        ])  # fmt: skip
    sql = listing.ALL.replace(" FROM ", f", {listing.STATE} FROM ")
    told = house.platform.store.select(sql, workspace=workspace, now=NOW)
    found = [dict(zip((*life.VIEWED, "told"), row, strict=True)) for row in told]
    assert len(found) > 1500
    assert all(row["told"] == life.state_of(row, NOW) for row in found)
    assert {row["told"] for row in found} == set(wire.STATES)


def test_a_key_of_chosen_projects_sees_its_own_and_page_after_page_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = house.project("mine"), house.project("other")
    maker = house.create(
        name="maker", permissions=["read_scenarios", "manage_keys"], scope={"projects": [mine]}
    )
    rows(house, 900, scope=other)
    rows(house, 5, scope=mine)
    monkeypatch.setattr(listing, "LOOKED_AT", 200)
    pages = walk(house, "/api/v1/keys?limit=3", maker["key"])
    assert len(pages) > 3  # short ones, for each looks at so many and no more
    shown = [key["scope"] for page in pages for key in page]
    assert shown == [{"projects": [mine]}] * 6


def test_a_key_that_manages_none_gets_itself_from_a_table_of_thousands(house: House) -> None:
    made = house.create()
    rows(house, 300)
    assert [[key["id"] for key in page] for page in walk(house, "/api/v1/keys", made["key"])] == [
        [made["id"]]
    ]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=-1", "limit=many", "cursor=nonsense", "cursor=1.", "cursor=99999999999999999.key_1",
     "state=alive", "environment=test"],
)  # fmt: skip
def test_what_is_no_page_is_said(house: House, query: str) -> None:
    problem = house.call("GET", f"/api/v1/keys?{query}", status=422)
    assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


def test_the_published_clients_list_is_whole_and_paged_for_who_asks(house: House) -> None:
    project = house.project("p")
    rows(house, 1500, scope=project)
    rows(house, 3, scope=project, state="revoked")
    path = f"/api/api-keys?project_id={project}"
    assert len(ask(house, path).json()) == 1501
    assert [len(page) for page in walk(house, f"{path}&limit=1000")] == [1000, 501]


def test_the_link_keeps_what_was_chosen(house: House) -> None:
    rows(house, 5)
    link = ask(house, "/api/v1/keys?limit=2&state=active&q=key").links["next"]["url"]
    chosen = parse_qs(urlsplit(link).query)
    assert {name: values[0] for name, values in chosen.items() if name != "cursor"} == {
        "limit": "2", "state": "active", "q": "key",
    }  # fmt: skip
    assert re.fullmatch(r"\d+\.key_[0-9a-f]+", chosen["cursor"][0])


def test_no_link_repeats_a_key(house: House) -> None:
    rows(house, 5)
    house.call("GET", f"/api/v1/keys?limit=1&q={house.first}", status=422)
    house.call("GET", f"/api/v1/keys?limit=1&project_id={house.first}", status=422)
    answer = ask(house, f"/api/v1/keys?limit=1&other={house.first}")
    assert house.first not in answer.headers["Link"]


def test_a_late_page_is_found_by_the_index(house: House) -> None:
    """No page reads what lies before it."""
    if not house.platform.settings.embedded:
        return
    for states, index in ((frozenset(), "ix_keys_listed"), (frozenset({"deleted"}), "ix_keys_workspace")):
        conditions, values = listing._question(listing.Wanted("wsp_1", states=states), NOW)
        sql, place = (
            f"EXPLAIN QUERY PLAN {listing._sql(conditions, (START, 'key_1'))}",
            listing._from((START, "key_1")),
        )
        plan = " ".join(row[3] for row in house.platform.store.select(sql, **values, **place, size=50))
        assert f"{index} (workspace_id=? AND created_at<?)" in plan, plan
