"""The report as a security officer reads it: sentences, no fields; who, since when, what it waits for, and what is left."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from fluxguard.respond import evidence, pages
from fluxguard.respond.incident import Incident, Wishes
from fluxguard.respond.journal import Record
from tests.respond.story import Story


def _read(story: Story) -> str:
    """The Markdown, of which the page says the same."""
    text = story.run("respond", "report").out
    page = story.run("respond", "report", "--format", "html").out
    assert "**" not in page
    assert "`" not in page
    assert "<script" not in page
    assert page.count("<table>") == page.count("</table>") > 0
    words = re.sub(
        r"[^A-Za-z0-9]+",
        " ",
        html.unescape(re.sub(r"<style>.*?</style>|<title>.*?</title>|<[^>]*>", " ", page, flags=re.S)),
    )
    assert re.sub(r"[^A-Za-z0-9]+", " ", text.replace("```sh", "")).split() == words.split()
    return text.replace("\\", "")


def _rows(text: str) -> list[str]:
    return [line for line in text.partition("## What was done")[2].splitlines() if line.startswith("| 2")]


def _says_no_fields(text: str) -> None:
    for row in _rows(text):
        _, _, title, result, _ = re.split(r" ?\| ?", row.replace("\\|", ""), maxsplit=4)
        assert not re.match(r"[a-z_-]+( \(|$)", title), f"a step's inner name: {row}"
        assert result, row
        assert not re.search(
            r"\b(?:True|False|None)\b|\b(?:key_id|expires_at|known_clients|fingerprint|masked) ", result
        ), row


def test_one_that_waits_and_then_goes_on(leaked: Callable[..., Story]) -> None:
    story = leaked("prod")
    assert story.use(story.key, "shop/7") == 200
    _wait_until_noted(story)
    story.start("--clean-history", "--push", "--yes", code=3)
    waits = _read(story)
    _says_no_fields(waits)
    assert "## Where it stands" in waits
    assert f"1. To end it at once: fluxguard apikeys revoke --key-id {story.key_id}, then resume" in waits
    assert f"It goes on with `fluxguard respond resume {story.incident.name}`" in waits
    assert "This incident cleans it later: fluxguard respond resume" in waits
    assert re.search(r"Opened: 20\S+, by \S+ on \S+", waits)
    assert "2 places of this repository: files of the history, files in the working tree" in waits
    assert "Use since then: 1 request; by whom can't be told" in waits
    assert re.search(r"\| 127\.0\.0\.1 \| shop/7 \| 1 \| nobody used it \|", waits)
    story.run("apikeys", "revoke", "--key-id", story.key_id, "--yes")
    story.resume("--yes", code=1)
    done = _read(story)
    _says_no_fields(done)
    assert "## Where it stands" not in done
    assert "somebody revoked it" in done
    assert "contain: a prod key was pushed" in done
    assert "- Still on the remote: reached from refs/pull/1/head" in done
    assert "The commits that brought the key: `" in done
    story.nowhere()


def _wait_until_noted(story: Story) -> None:
    """The platform writes each second what keys were used for."""
    until = time.monotonic() + 30
    while story.server.ask("GET", f"/api/v1/keys/{story.key_id}", 200)["last_used_at"] is None:  # type: ignore[index]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("strategy", ["overlap", "revoke-first"])
def test_one_that_is_closed(story: Story, strategy: str) -> None:
    story.start("--strategy", strategy, "--yes")
    text = _read(story)
    _says_no_fields(text)
    assert "State: **closed**" in text
    assert f"{strategy}: {'it was pushed' if strategy == 'overlap' else 'asked for'}" in text
    assert "Whoever has it may: read_scenarios. Scope: all projects." in text
    assert "Use since then: none from where it was never used before" in text
    assert "its deadline" not in text


def test_one_that_is_aborted(story: Story) -> None:
    (story.repo.path / ".env").unlink()
    story.start("--yes", code=3)
    assert "3. Do without a new key" in _read(story)
    story.run("respond", "abort", "--yes")
    text = _read(story)
    _says_no_fields(text)
    assert (
        "Abort: the incident ends as it is | what was done stays done; the last step was: Distribute" in text
    )


def test_foreign_use_stands_beside_what_was_known() -> None:
    assess: dict[str, Any] = {
        "places": 1, "kinds": ["blob"], "commit": "c" * 40, "author": "Ada", "since": "2026-01-01T00:00:00Z", "path": "a|b", "pushed": [],
        "foreign": 3, "untold": 0, "known": [{"address": "10.0.0.1", "user_agent": "shop/1"}],
        "timeline": [{"t": "t1", "type": "used", "address": "10.0.0.1", "user_agent": "shop/1", "count": 5},
                     {"t": "t2", "type": "used", "address": "6.6.6.6", "user_agent": "<b>*x*</b>|", "count": 3}],
    }  # fmt: skip
    incident = Incident(
        "inc-1", "/r", "fg1:0", "flux_dev_***", "dev", "https://x", "2026-01-02T00:00:00Z", Wishes()
    )
    told = evidence.document(incident, [Record(1, "2026-01-02T00:00:00Z", "assess", "done", assess)])
    text = pages.markdown(told)
    assert "3 requests from where it was never used before" in text
    assert "| t1 | 10.0.0.1 | shop/1 | 5 | used it, too |" in text
    assert "| 3 | never seen |" in text
    page = pages.page(told)
    assert "<td>&lt;b&gt;*x*&lt;/b&gt;|</td>" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("phase", "data", "todo"),
    [("waiting", {"reason": "it was not agreed to", "until": "", "todo": []}, []), ("failed", {"what": "It failed.", "hint": "Mend it."}, ["Mend it."]),
     ("failed", {"what": "It failed.", "hint": ""}, []), ("waiting", {"reason": "later", "until": "2026", "todo": ["a", "b"]}, ["a", "b"])],
)  # fmt: skip
def test_where_it_stands_with_and_without_something_to_do(
    phase: str, data: dict[str, Any], todo: list[str]
) -> None:
    incident = Incident(
        "inc-1", "/r", "fg1:0", "flux_dev_***", "dev", "https://x", "2026-01-02T00:00:00Z", Wishes()
    )
    told = evidence.document(incident, [Record(1, "2026-01-02T00:00:00Z", "push", phase, data)])
    assert told["waits_for"]["todo"] == todo
    text = pages.markdown(told)
    assert "At the step: Push the cleaned history" in text
    assert all(f"{number}. {one}" in text for number, one in enumerate(todo, 1))
    assert pages.page(told)
