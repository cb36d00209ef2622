"""`--report FORMAT=FILE`: several from one run, each whole or not at all, and the same bytes for the same input."""

from __future__ import annotations

import io
import json
import os
import re
import time
from pathlib import Path

import jsonschema
import pytest
from conftest import PROJECT, Mint, Repo, Run

from fluxguard.model import Finding, Location, Report, Secret
from fluxguard.repo.checkout import public
from fluxguard.reports import FORMATS, writer
from reports.conftest import Write
from reports.hostile import NAMES

SCHEMA = json.loads((PROJECT / "docs" / "report.schema.json").read_text())


def _undated(text: str) -> str:
    """GitLab's format also says when the run began, which depends on how long it took."""
    return re.sub(r'"start_time": "[^"]*"', "", text)


def test_the_same_input_gives_the_same_bytes(hostile: Repo, write: Write) -> None:
    for command in ("scan", "audit"):
        first, second = (write(command, cwd=hostile.path) for _ in range(2))
        for format in set(first) - {"json"}:
            assert _undated(first[format]) == _undated(second[format]), format
        one, other = (json.loads(written["json"]) for written in (first, second))
        jsonschema.validate(one, SCHEMA)
        one["stats"].pop("seconds")
        other["stats"].pop("seconds")
        assert one == other


def test_every_format_names_what_was_not_read(hostile: Repo, write: Write) -> None:
    for name, text in write("audit", cwd=hostile.path).items():
        assert "locked.7z" in text.replace("&#46;", "."), name


def test_beside_output_and_format(repo: Repo, mint: Mint, run: Run, tmp_path: Path) -> None:
    repo.stage("a.txt", mint.key())
    sarif, junit, first = (tmp_path / name for name in ("a.sarif", "b.xml", "c.json"))
    outcome = run("scan", "--staged", "--format", "json", "--report", f"sarif={sarif}", "--report", f"junit={junit}", cwd=repo.path)  # fmt: skip
    assert json.loads(outcome.out)["command"] == "scan --staged"
    assert json.loads(sarif.read_text())["version"] == "2.1.0"
    assert junit.read_text().startswith("<?xml")
    outcome = run(
        "scan", "--format", "json", "--output", str(first), "--report", f"text={junit}", cwd=repo.path
    )
    assert "fluxguard: 1 key found" in outcome.out
    assert junit.read_text().startswith("fluxguard: 1 key found")
    assert json.loads(first.read_text())["command"] == "scan"


def test_wrong_ones_are_refused(repo: Repo, run: Run, mint: Mint) -> None:
    for wrong in ("sarif", "sarif=", "pdf=x.pdf", "=x", mint.key()):
        outcome = run("scan", "--report", wrong, cwd=repo.path)
        assert outcome.code == 2
        assert "FORMAT=FILE" in outcome.err
    outcome = run("scan", "--report", "sarif=x", "--report", "html=./x", cwd=repo.path)
    assert outcome.code == 2
    assert "same file" in outcome.err
    assert not (repo.path / "x").exists()


def test_one_that_fails_keeps_no_other_back(repo: Repo, mint: Mint, run: Run, tmp_path: Path) -> None:
    repo.write("a.txt", mint.key())
    good = tmp_path / "good.html"
    outcome = run(
        "scan", "--report", f"sarif={tmp_path}/none/x.sarif", "--report", f"html={good}", cwd=repo.path
    )
    assert outcome.code == 2
    assert "can't be written to" in outcome.err
    assert "a.txt:1:1" in outcome.out
    assert good.read_text().startswith("<!DOCTYPE html>")


def test_links_and_devices_stay_what_they_are(repo: Repo, run: Run, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (repo.path / "x.sarif").symlink_to(precious)
    outcome = run("scan", "--report", "sarif=x.sarif", cwd=repo.path)
    assert outcome.code == 2
    assert "symbolic link" in outcome.err
    assert precious.read_text() == "mine"
    outcome = run("scan", "--quiet", "--report", "sarif=/dev/stdout", cwd=repo.path)
    assert outcome.code == 0
    assert '"version": "2.1.0"' in outcome.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes everywhere")
def test_what_was_there_stays_where_the_new_one_can_not_be_written(repo: Repo, run: Run, mint: Mint) -> None:
    repo.write("a.txt", "".join(f"{mint.key()}\n" for _ in range(50)))
    repo.write("old.sarif", "the old one")
    folder = repo.path / "old.sarif"
    folder.unlink()
    folder.mkdir()
    outcome = run("scan", "--report", "sarif=old.sarif", cwd=repo.path)
    assert outcome.code == 2
    assert sorted(path.name for path in repo.path.iterdir()) == [".git", "README", "a.txt", "old.sarif"]


def test_outside_of_a_repository(run: Run, mint: Mint, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.txt").write_text(mint.key())
    outcome = run("scan", "a.txt", "--format", "sarif", cwd=folder)
    (result,) = json.loads(outcome.out)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a.txt"
    outcome = run("scan", "--stdin", "--format", "gitlab", cwd=folder, stdin=mint.key().encode())
    assert json.loads(outcome.out)["vulnerabilities"][0]["location"]["commit"] == {"sha": "0000000"}


def test_thousands_of_keys_and_names_cost_seconds(mint: Mint) -> None:
    findings = tuple(
        Finding("fluxloop-api-key", Secret(mint.key().encode()), "prod", "high", "block",
                (Location("blob", b"folder/%d.txt" % number, 1, 1, object="a" * 40),))
        for number in range(3000)
    )  # fmt: skip
    for format in FORMATS:
        started = time.process_time()
        writer(format)(Report("audit", ".", findings), io.StringIO())
        assert time.process_time() - started < 60, format  # what is quadratic takes many minutes


def test_several_repositories(run: Run, make_repo: object, mint: Mint, write: Write, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_repo(name).commit("a.txt", mint.key())  # type: ignore[operator]
    run_ = json.loads(write("audit", "one", "two", cwd=tmp_path)["sarif"])["runs"][0]
    uris = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run_["results"]}
    assert uris == {"one/a.txt", "two/a.txt"}


def test_a_terminal_that_can_not_show_everything(hostile: Repo, run: Run) -> None:
    for format in ("sarif", "gitlab", "junit", "github", "html"):
        outcome = run(
            "scan", "--format", format, cwd=hostile.path, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
        )
        assert outcome.code == 1
        assert outcome.out.isascii()
    assert NAMES


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:word@example.org/a/b.git?token=1#x", "https://example.org/a/b.git"),
        ("git@example.org:a/b.git", "ssh://example.org/a/b.git"),
        ("ssh://git@example.org:2222/a/b.git", "ssh://example.org:2222/a/b.git"),
        ("https://token@example.org/a", "https://example.org/a"),
        ("https://[::1", ""),
        ("https://example.org:port/a", ""),
        ("/srv/git/a.git", ""),
        ("../a.git", ""),
        ("file:///srv/git/a.git", ""),
        ("ext::sh -c x", ""),
        ("https://example.org/<script>", "https://example.org"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_remote(url: str, shown: str) -> None:
    assert public(url) == shown
