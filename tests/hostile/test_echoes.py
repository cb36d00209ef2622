"""What a person mistyped, or a repository wrote, does not come back in clear."""

from __future__ import annotations

import base64

import pytest
from conftest import Mint, Repo, Run


@pytest.mark.parametrize(
    "words",
    [
        ["KEY"], ["--KEY"], ["scan", "--KEY"], ["scan", "-KEY"], ["scan", "--format", "KEY"], ["hook", "KEY"],
        ["hook", "pre-commit", "--KEY"], ["rules", "KEY"], ["rules", "test", "--KEY"], ["doctor", "KEY"],
        ["scan", "KEY"], ["scan", "--config", "KEY"], ["scan", "--output", "KEY/x"], ["audit", "KEY"],
        ["audit", "--explain", "KEY"], ["hook", "commit-msg", "KEY"], ["scan", "--write-baseline", "KEY/x"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["plain", "body", "base64", "hex"])
def test_a_key_in_a_wrong_command_line_is_not_repeated(
    words: list[str], form: str, run: Run, repo: Repo, mint: Mint
) -> None:
    key = mint.key()
    shown = {
        "plain": key,
        "body": key.rpartition("_")[2],
        "base64": base64.b64encode(key.encode()).decode(),
        "hex": key.encode().hex(),
    }[form]
    outcome = run(
        *(word.replace("KEY", shown) for word in words), cwd=repo.path
    )  # which holds that nothing leaks
    assert outcome.code in (2, 3), outcome.code
    assert "fluxguard" in outcome.err


def test_a_mistyped_option_is_still_named(run: Run, repo: Repo) -> None:
    assert "--stagd" in run("scan", "--stagd", cwd=repo.path).err
    assert "'xml'" in run("scan", "--format", "xml", cwd=repo.path).err


@pytest.mark.parametrize("command", [("list",), ("test",)])
def test_a_rule_of_the_repository_reaches_no_terminal(
    command: tuple[str], run: Run, repo: Repo, mint: Mint
) -> None:
    repo.write(
        ".fluxguard.toml",
        '[[rules]]\nid="evil"\ndescription="\\u001b[31mred\\u001b]0;title\\u0007\\u202e '
        + mint.key()
        + '"\npattern="k: [a-z]+"\nliterals=["k: "]\nexamples=["k: aa"]\n',
    )
    outcome = run("rules", *command, cwd=repo.path)
    assert outcome.code == 0, outcome
    assert "evil" in outcome.out
    assert not any(sign in outcome.out for sign in ("\x1b", "\x07", "\u202e"))


def test_the_reason_of_an_allow_comment_shows_no_key(run: Run, repo: Repo, mint: Mint) -> None:
    key, other, third = mint.key(), mint.key(), mint.key()
    head, _, body = other.rpartition("_")
    encoded = base64.b64encode(third.encode()).decode()
    repo.write("a.js", f'a="{key}"; /* fluxguard:allow docs */ b="{head}_" + "{body}";\n')
    repo.write("b.js", f'a="{key}"; // fluxguard:allow docs b="{head}_" + "{body}";\n')
    repo.write("c.js", f'a="{key}"; /* fluxguard:allow docs */ d="{encoded}"\n')
    repo.write("d.js", f'a="{key}"; # fluxguard:allow docs d="{encoded}"\n')
    repo.write("e.js", f'a="{head}_" + /* fluxguard:allow {body} */ "{body}"; b="{key}"\n')
    for format in ("text", "json"):
        outcome = run("scan", "--format", format, cwd=repo.path)
        assert "docs" in outcome.out


@pytest.mark.parametrize("option", ["--output", "--write-baseline"])
def test_a_link_is_never_replaced(option: str, run: Run, repo: Repo) -> None:
    target = repo.path.parent / "target"
    planted, own = repo.path / "report", repo.path.parent / "own"
    for link in (planted, own):
        link.symlink_to(target)
    refused = run("scan", option, "report", cwd=repo.path)
    assert refused.code == 2
    assert "symbolic link" in refused.err
    assert not target.exists()
    assert run("scan", option, str(own), cwd=repo.path).code == 0
    assert own.is_symlink()
    assert planted.is_symlink()
    assert target.stat().st_size


def test_the_baseline_says_which_untracked_files_it_took_keys_from(run: Run, repo: Repo, mint: Mint) -> None:
    repo.stage("tracked.txt", mint.key())
    repo.write(".fluxloop/.env", mint.key())
    outcome = run("scan", "--write-baseline", cwd=repo.path)
    assert ".fluxloop/.env" in outcome.out
    assert "tracked.txt" not in outcome.out
