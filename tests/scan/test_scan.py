"""`fluxguard scan` of files, folders and standard input, with its configuration, as the command it is."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from conftest import PROJECT, Mint, Repo, Run

SCHEMA = json.loads((PROJECT / "docs" / "report.schema.json").read_text())


def report(outcome: object) -> dict:
    document = json.loads(outcome.out)  # type: ignore[attr-defined]
    jsonschema.validate(document, SCHEMA)
    return document


def test_a_folder_is_scanned_and_reported(run: Run, repo: Repo, mint: Mint) -> None:
    key = mint.key()
    repo.stage("app/settings.py", f"import os\nKEY = '{key}'\n")
    repo.write("untracked.txt", f"x {key}\n")
    outcome = run("scan", "--format", "json", cwd=repo.path)
    assert outcome.code == 1
    finding = report(outcome)["findings"][0]
    assert [(place["path"], place["line"], place["column"]) for place in finding["locations"]] == [
        ("app/settings.py", 2, 8),
        ("untracked.txt", 1, 3),
    ]
    assert finding["environment"] == "prod"


def test_names_of_files_are_no_objects(run: Run, repo: Repo) -> None:
    repo.stage("fluxloop/notes.txt", "nothing\n")
    assert report(run("scan", "--format", "json", cwd=repo.path))["stats"]["objects"] == 2


def test_what_git_ignores_is_left_out_unless_asked_for(run: Run, repo: Repo, mint: Mint) -> None:
    repo.commit(".gitignore", ".env\n")
    repo.write(".env", f"FLUXLOOP_API_KEY={mint.key()}\n")
    assert run("scan", cwd=repo.path).code == 0
    assert run("scan", "--no-ignore", ".", cwd=repo.path).code == 1
    assert run("scan", ".env", cwd=repo.path).code == 1


def test_standard_input(run: Run, mint: Mint) -> None:
    outcome = run("scan", "--stdin", "--stdin-name", "build.log", stdin=f"a\nb {mint.checked()}\n".encode())
    assert outcome.code == 1
    assert "build.log:2:3" in outcome.out
    assert run("scan", "--stdin", stdin=b"nothing\n").code == 0


def test_a_key_across_a_window_of_a_long_file(run: Run, tmp_path: Path, mint: Mint) -> None:
    key = mint.key().encode()
    line = b"0123456789abcde\n"
    seam = 32 << 20
    before = line * (seam // 16)
    (tmp_path / "long.log").write_bytes(before[: -len(key) // 2] + b"\n" + key + b"\n" + line * 1000)
    outcome = run("scan", "--format", "json", "long.log", cwd=tmp_path)
    places = [place for finding in report(outcome)["findings"] for place in finding["locations"]]
    assert len(places) == 1
    assert places[0]["line"] == before[: -len(key) // 2].count(b"\n") + 2


def test_limits_are_reported_and_not_called_clean(run: Run, repo: Repo) -> None:
    own = repo.path.parent / "own.toml"
    own.write_text("[limits]\nmax-file-size = 100\n")
    repo.write("big.txt", "x" * 200)
    outcome = run("scan", "--config", str(own), cwd=repo.path)
    assert outcome.code == 3
    assert "big.txt" in outcome.out
    own.write_text('[limits]\nmax-file-size = 100\n[[accept-unread]]\npath = "big.txt"\nreason = "x only"\n')
    assert run("scan", "--config", str(own), cwd=repo.path).code == 0


def test_suppression_leaves_a_trace(run: Run, repo: Repo, mint: Mint) -> None:
    repo.write("a.py", f"K = '{mint.key()}'  # fluxguard:allow an example\n")
    repo.write("data/b.txt", mint.key())
    repo.write(".fluxguard.toml", '[[allow]]\npaths = ["data/**"]\nreason = "samples"\n')
    outcome = run("scan", "--format", "json", cwd=repo.path)
    assert outcome.code == 0
    assert sorted(finding["suppressed"]["by"] for finding in report(outcome)["findings"]) == [
        "allow-comment",
        "path",
    ]
    assert run("scan", "--no-repo-config", "data", cwd=repo.path).code == 1


def test_a_baseline_holds_fingerprints_and_points_out_what_is_gone(run: Run, repo: Repo, mint: Mint) -> None:
    key = mint.key()
    repo.write("a.txt", key)
    assert run("scan", "--write-baseline", cwd=repo.path).code == 0
    baseline = (repo.path / ".fluxguard-baseline.json").read_bytes()
    assert not mint.leaked(baseline)
    assert run("scan", cwd=repo.path).code == 0
    repo.write("a.txt", "gone")
    assert "no longer found" in run("scan", cwd=repo.path).out


def test_severity_by_environment(run: Run, repo: Repo, mint: Mint) -> None:
    repo.write(".fluxguard.toml", '[severity]\ndev = "warn"\n')
    repo.write("a.txt", mint.key("dev"))
    assert run("scan", cwd=repo.path).code == 0
    repo.write("b.txt", mint.key("prod"))
    assert run("scan", cwd=repo.path).code == 1


def test_a_rule_of_the_team(run: Run, repo: Repo) -> None:
    rule = "[[rules]]\nid = 'acme-token'\npattern = 'acme-[0-9]{6}'\nliterals = ['acme-']\nexamples = ['acme-123¦456']\n"
    repo.write(".fluxguard.toml", rule)
    repo.write("a.txt", "token acme-654321\n")
    assert run("scan", cwd=repo.path).code == 1
    repo.write(".fluxguard.toml", rule.replace("acme-[0-9]{6}", "(a+)+x|acme-"))
    assert run("scan", cwd=repo.path).code in (0, 1, 2)
    repo.write(".fluxguard.toml", rule.replace("acme-[0-9]{6}", "acme-["))
    outcome = run("scan", cwd=repo.path)
    assert outcome.code == 2
    assert "acme-token" in outcome.err


def test_the_report_goes_to_a_file_and_text_to_the_terminal(run: Run, repo: Repo, mint: Mint) -> None:
    repo.write("a.txt", mint.key())
    outcome = run("scan", "--format", "json", "--output", "report.json", cwd=repo.path)
    assert outcome.code == 1
    assert "a.txt:1:1" in outcome.out
    written = (repo.path / "report.json").read_bytes()
    assert not mint.leaked(written)
    jsonschema.validate(json.loads(written), SCHEMA)
    assert run("scan", "--output", "/nowhere/at/all", cwd=repo.path).code == 2


def test_quiet_says_nothing_when_clean(run: Run, repo: Repo) -> None:
    assert run("scan", "--quiet", cwd=repo.path).text == ""


def test_what_can_be_wrong_on_the_command_line(run: Run, tmp_path: Path) -> None:
    assert run("scan", "missing", cwd=tmp_path).code == 2
    assert run("scan", "--staged", "--stdin", cwd=tmp_path).code == 2
    assert run("scan", "--nonsense", cwd=tmp_path).code == 2
    assert run("scan", "--staged", cwd=tmp_path).code == 3
