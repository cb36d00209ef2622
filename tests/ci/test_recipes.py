"""The recipes for CI: by each system's published schema, and by running their commands as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT, Mint, Outcome, Repo, call

from fluxguard import ci
from fluxguard.errors import UsageError

SCHEMAS = {
    "github": ("vendor.github-workflows",),
    "gitlab": ("vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
    "circleci": ("vendor.circle-ci",),
    "action": ("vendor.github-actions",),
}
DOCUMENT = (PROJECT / "docs" / "ci.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)


def valid(system: str, *files: Path) -> None:
    """Holds that files follow the schema that the system publishes, as check-jsonschema brings it."""
    schema, *options = SCHEMAS[system]
    argv = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", schema, *options, *files]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def loaded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ci.recipe(name))
    return found


@pytest.mark.parametrize("system", ci.SYSTEMS)
def test_each_follows_its_schema(repo: Repo, system: str) -> None:
    planned = ci.write_recipe(system, str(repo.path))
    valid(system, *(repo.path / one.path for one in planned))


def test_the_action_follows_its_schema() -> None:
    valid("action", PROJECT / "action.yml")


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml", "circleci.yml"])
def test_the_documentation_shows_what_is_written(name: str) -> None:
    assert ci.recipe(name) in BLOCKS


def test_what_the_documentation_adds_follows_the_schemas(tmp_path: Path) -> None:
    workflow = loaded("github.yml")
    (steps,) = (yaml.safe_load(block) for block in BLOCKS if "fluxguard/fluxguard@" in block)
    (tests,) = (yaml.safe_load(block) for block in BLOCKS if "secrets.FLUXLOOP" in block)
    workflow["jobs"]["own"] = {"runs-on": "ubuntu-latest", "steps": steps}
    workflow["jobs"] |= tests
    workflow["on"] = workflow.pop(True)  # YAML 1.1 takes the name for a truth value
    pipeline = loaded("gitlab.yml")
    pipeline |= next(yaml.safe_load(block) for block in BLOCKS if block.startswith("fluxloop-test"))
    config = loaded("circleci.yml")
    (text,) = (block for block in BLOCKS if "context: fluxloop" in block)
    jobs, _, flow = text.partition("\nworkflows:")
    config["jobs"] |= yaml.safe_load(jobs)
    config["workflows"] = yaml.safe_load("workflows:" + flow)["workflows"]
    for system, value in (("github", workflow), ("gitlab", pipeline), ("circleci", config)):
        file = tmp_path / f"{system}.yml"
        file.write_text(json.dumps(value))
        valid(system, file)


def test_fluxloops_own_command_is_meant_rightly() -> None:
    for block in BLOCKS:
        assert "pip install fluxloop\n" not in block
        assert "sync upload" not in block


def test_actions_have_versions() -> None:
    used = re.findall(r"uses: (\S+)", ci.recipe("github.yml") + (PROJECT / "action.yml").read_text())
    assert used
    assert all(re.fullmatch(r"[\w.-]+(/[\w.-]+)+@v\d+", one) for one in used)


# --- written into a repository -------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ci.SYSTEMS)
def test_writing_twice_changes_nothing(repo: Repo, system: str) -> None:
    first = ci.write_recipe(system, str(repo.path))
    assert {one.state for one in first} == {ci.WRITE}
    before = {one.path: (repo.path / one.path).stat().st_mtime_ns for one in first}
    second = ci.write_recipe(system, str(repo.path))
    assert {one.state for one in second} == {ci.SAME}
    assert before == {one.path: (repo.path / one.path).stat().st_mtime_ns for one in second}


@pytest.mark.parametrize("system", ci.SYSTEMS)
def test_what_a_person_wrote_stays(repo: Repo, system: str) -> None:
    path = ci.plan(system, str(repo.path))[0].path
    repo.write(path, "mine: true\n")
    with pytest.raises(UsageError, match="holds something else"):
        ci.write_recipe(system, str(repo.path))
    assert (repo.path / path).read_text() == "mine: true\n"
    assert repo.git("status", "--porcelain", "--untracked-files=all").count(b"\n") == 1, (
        "nothing else was written"
    )


def test_gitlabs_own_file_is_left_and_the_line_is_named(
    repo: Repo, environment: dict[str, str], mint: Mint
) -> None:
    repo.write(".gitlab-ci.yml", "stages: [test]\n")
    outcome = put("gitlab", repo, environment, mint)
    assert outcome.code == 1
    assert ".gitlab/fluxguard.yml: written" in outcome.out
    assert "         - local: .gitlab/fluxguard.yml\n" in outcome.out
    assert (repo.path / ".gitlab-ci.yml").read_text() == "stages: [test]\n"
    repo.write(".gitlab-ci.yml", "stages: [test]\ninclude:\n  - local: .gitlab/fluxguard.yml\n")
    assert put("gitlab", repo, environment, mint).code == 0


def put(system: str, repo: Repo, environment: Mapping[str, str], mint: Mint) -> Outcome:
    program = f"from fluxguard.commands.recipes import put; raise SystemExit(put({system!r}, '.'))"
    return call([sys.executable, "-c", program], repo.path, environment, mint)


@pytest.mark.parametrize("link", [".github", ".github/workflows", ".github/workflows/fluxguard.yml"])
def test_no_link_leads_out_of_the_repository(repo: Repo, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = repo.path / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(UsageError, match="symbolic link"):
        ci.write_recipe("github", str(repo.path))
    assert not list(elsewhere.iterdir())


def test_a_file_in_the_way(repo: Repo) -> None:
    repo.write(".github", "a file\n")
    with pytest.raises(UsageError):
        ci.write_recipe("github", str(repo.path))
    (repo.path / ".circleci" / "config.yml").mkdir(parents=True)
    with pytest.raises(UsageError):
        ci.write_recipe("circleci", str(repo.path))


# --- run as they stand -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as a wheel, and all that it needs: what `pip install` finds in place of PyPI."""
    folder = tmp_path_factory.mktemp("wheels")
    argv = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--wheel-dir",
        folder,
    ]
    subprocess.run([*argv, PROJECT, "hatchling>=1.24"], check=True, capture_output=True, timeout=600)
    return folder


@pytest.fixture(scope="module")
def machine(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a CI machine with a fresh Python, whose pip asks no index."""
    folder = tmp_path_factory.mktemp("machine")
    subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True, timeout=120)
    (folder / "home").mkdir()
    return {
        "PATH": f"{folder / 'python' / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "CI": "true",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


Steps = Callable[[dict[str, str]], list[tuple[str, dict[str, str]]]]
ECHO = "env"  # what a careless step would do


def github(project: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The steps of GitHub's job; a repository's secrets are in no step that does not name them."""
    job = loaded("github.yml")["jobs"]["fluxguard"]
    assert "secrets." not in ci.recipe("github.yml")
    runs = [(step["run"], step.get("env", {})) for step in job["steps"] if "run" in step]
    return [(ECHO, {}), *runs, (ECHO, {})]


def gitlab(project: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """GitLab's job is one script. A project's variables are in every job without a scope, and stand before the job's own."""
    job = loaded("gitlab.yml")["fluxguard"]
    lines = [*job["before_script"], ECHO, *job["script"]]
    return [("\n".join(lines), {**job["variables"], **project})]


def circleci(project: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The steps of CircleCI's job; its own environment stands before the project's."""
    job = loaded("circleci.yml")["jobs"]["fluxguard"]
    env = {**project, **job["environment"]}
    return [
        (ECHO, env),
        *((step["run"]["command"], env) for step in job["steps"] if "run" in step),
        (ECHO, env),
    ]


SYSTEMS: dict[str, tuple[Steps, tuple[str, ...]]] = {
    "github": (github, ("fluxguard.sarif", "fluxguard.html", "fluxguard.json")),
    "gitlab": (gitlab, ("gl-secret-detection-report.json", "fluxguard-junit.xml", "fluxguard.html")),
    "circleci": (circleci, ("fluxguard-reports/tests/fluxguard.xml", "fluxguard-reports/fluxguard.html",
                            "fluxguard-reports/fluxguard.json")),
}  # fmt: skip


def carried_out(system: str, checkout: Path, machine: dict[str, str], mint: Mint) -> Outcome:
    """Runs a recipe's commands until one fails, in a project whose variables hold a key."""
    steps = SYSTEMS[system][0]({"FLUXLOOP_API_KEY": mint.key("ci"), "FLUXLOOP_SYNC_API_KEY": mint.key("ci")})
    said = Outcome(0, "", "")
    for script, env in steps:
        summary = str(checkout.parent / f"{checkout.name}-summary.md")
        done = call(["bash", "-eo", "pipefail", "-c", script], checkout, {**machine, "GITHUB_STEP_SUMMARY": summary, **env},
                    mint, timeout=300)  # fmt: skip
        said = Outcome(done.code, said.out + done.out, said.err + done.err)
        if done.code:
            break
    return said


def clone(repo: Repo, name: str, *options: str) -> Path:
    folder = repo.path.parent / name
    subprocess.run(["git", "clone", "-q", *options, f"file://{repo.path}", folder], check=True, env=repo.env)
    return folder


@pytest.mark.pypi
@pytest.mark.slow
@pytest.mark.parametrize("system", ci.SYSTEMS)
def test_the_commands_do_what_they_say(repo: Repo, machine: dict[str, str], mint: Mint, system: str) -> None:
    clean = carried_out(system, clone(repo, "clean"), machine, mint)
    assert clean.code == 0, clean.text
    repo.commit("app/settings.py", f"import os\nKEY = '{mint.checked()}'\n", "Add settings")
    repo.commit("app/settings.py", "import os\n", "Take it out")
    checkout = clone(repo, "found")
    found = carried_out(system, checkout, machine, mint)
    assert found.code == 1, found.text
    assert "app/settings.py:2:8" in found.out
    for name in SYSTEMS[system][1]:
        text = (checkout / name).read_bytes()
        assert b"app/settings.py" in text
        assert not mint.leaked(text), name
    if system == "github":
        assert "::error file=app/settings.py,line=2,col=8" in found.out
        assert "settings" in (checkout.parent / "found-summary.md").read_text()
    if system == "circleci":
        assert ET.parse(checkout / SYSTEMS[system][1][0]).getroot().get("failures") == "1"
    shallow = carried_out(system, clone(repo, "shallow", "--depth=1"), machine, mint)
    assert shallow.code == 3, "a shallow checkout is not called clean"
    assert "git fetch --unshallow" in shallow.text


def test_the_whole_history_is_asked_for() -> None:
    checkout = loaded("github.yml")["jobs"]["fluxguard"]["steps"][0]
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}
    assert loaded("gitlab.yml")["fluxguard"]["variables"]["GIT_DEPTH"] == "0"
    assert {"checkout": {"method": "full"}} in loaded("circleci.yml")["jobs"]["fluxguard"]["steps"]


@pytest.mark.pypi
@pytest.mark.slow
def test_the_action_does_what_it_says(
    repo: Repo, machine: dict[str, str], mint: Mint, tmp_path: Path
) -> None:
    steps = yaml.safe_load((PROJECT / "action.yml").read_text())["runs"]["steps"]
    repo.commit("-- a $(touch owned).txt", mint.checked())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    output = tmp_path / "output"
    given = {"PYTHON": sys.executable, "ACTION": str(PROJECT), "COMMAND": "audit", "TARGET": "."}
    base = {**machine, "RUNNER_TEMP": str(temporary), "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "FLUXLOOP_API_KEY": mint.key()}  # fmt: skip

    def carried(step: dict[str, Any], **inputs: str) -> Outcome:
        assert all("${{" not in line for line in step["run"].splitlines()), "no value is pasted into a script"
        env = {name: {**given, **inputs}.get(name, value) for name, value in step["env"].items()}
        return call(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], repo.path, {**base, **env},
                    mint, timeout=300)  # fmt: skip

    install, look = (step for step in steps if "run" in step)
    installed = carried(install)
    assert installed.code == 0, installed.text
    found = carried(look)
    assert found.code == 1, found.text
    assert "::error file=-- a $(touch owned).txt,line=1,col=1" in found.out
    named = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert set(named) == set(yaml.safe_load((PROJECT / "action.yml").read_text())["outputs"])
    assert all(Path(path).stat().st_size for path in named.values())
    assert not mint.leaked(b"".join(Path(path).read_bytes() for path in named.values()))
    assert carried(look, COMMAND="scan", TARGET="README").code == 0
    assert carried(look, COMMAND="--help; touch owned").code == 2
    flag = carried(look, TARGET="--output=owned")
    assert flag.code == 3
    assert "is not a folder" in flag.err
    assert not (repo.path / "owned").exists()
