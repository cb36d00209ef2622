"""Reports in every format, as the command writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from conftest import Mint, Repo, Run

from reports.hostile import fill

FORMATS = ("json", "sarif", "gitlab", "junit", "github", "html")
CLOCK = {"SOURCE_DATE_EPOCH": "1769853600"}


Written = dict[str, str]
Write = Callable[..., Written]


@pytest.fixture
def hostile(repo: Repo, mint: Mint) -> Repo:
    """A repository full of names that try to break out."""
    fill(repo, mint)
    return repo


@pytest.fixture
def write(run: Run, mint: Mint, tmp_path: Path) -> Write:
    """Runs a command once with --report for every format, and returns what each file (and the job's summary) holds.

    No key may stand in any of them, and nothing but printable text and line ends.
    """
    counter = iter(range(100))

    def written(*arguments: str, cwd: Path, code: int = 1, env: Mapping[str, str] | None = None) -> Written:
        folder = tmp_path / f"written-{next(counter)}"
        folder.mkdir()
        reports = [word for format in FORMATS for word in ("--report", f"{format}={folder / format}")]
        outcome = run(
            *arguments,
            *reports,
            cwd=cwd,
            env={**CLOCK, "GITHUB_STEP_SUMMARY": str(folder / "summary"), **(env or {})},
        )
        assert outcome.code == code, outcome.err
        return dict(_checked(folder, mint))

    return written


def _checked(folder: Path, mint: Mint) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.iterdir()):
        leaked = mint.leaked(path.read_bytes())
        assert not leaked, f"{leaked} in {path.name}"
        text = path.read_bytes().decode("utf-8")
        odd = {one for one in text if not one.isprintable() and one != "\n"}
        assert not odd, f"{odd} in {path.name}"
        yield path.name, text
