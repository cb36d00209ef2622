"""What a person sees on a terminal of 80 columns: what happened, where, why it matters, and the commands for this very case."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from dataclasses import dataclass

import pytest
from conftest import COMMAND, PROJECT, Mint, Repo

STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Screen:
    """raw: with its escape sequences. text: as it reads."""

    code: int
    raw: str
    text: str

    @property
    def words(self) -> str:
        """The text as one line, however it was wrapped."""
        return " ".join(self.text.split())


def screen(repo: Repo, mint: Mint, *argv: str, **env: str) -> Screen:
    """Runs a command at a terminal of 80 columns, and holds that it fits and shows no key."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = subprocess.Popen(
        argv, cwd=repo.path, env={**repo.env, "TERM": "xterm-256color", **env},
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # how Linux says that the last one has closed its end
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    raw = b"".join(parts)
    code = process.wait(timeout=60)
    assert not mint.leaked(raw)
    text = STYLE.sub("", raw.decode()).replace("\r\n", "\n")
    assert "\x1b" not in text, "nothing but colours and weights"
    # What has to be copied stays in one piece: commands are set in by more than the text is.
    long = [line for line in text.splitlines() if len(line) > 80 and not line.startswith(" " * 5)]
    assert not long, long
    return Screen(code, raw.decode(), text)


@pytest.fixture
def hooked(repo: Repo) -> Repo:
    """A repository with our scripts as its hooks."""
    repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    return repo


def commit(repo: Repo, mint: Mint, *arguments: str, **env: str) -> Screen:
    return screen(repo, mint, "git", "commit", "-q", *(arguments or ("-m", "change")), **env)


def test_a_staged_file(hooked: Repo, mint: Mint) -> None:
    hooked.stage("my app.env", f"A=1\nTOKEN={mint.key()}\n")
    seen = commit(hooked, mint)
    assert seen.code != 0
    first = seen.text.splitlines()[0]
    assert first == "fluxguard: 1 key would be committed. The commit is refused."
    assert "    my app.env:2:7\n" in seen.text
    assert "Why it matters: Whoever reads it can" in seen.text
    assert "What to do now\n" in seen.text
    assert "       git restore --staged -- 'my app.env'\n" in seen.text
    assert "FLUXLOOP_API_KEY" in seen.text
    assert "       # fluxguard:allow why this is no key\n" in seen.text
    assert (
        "Was it ever pushed, or shown to anybody? Then it is leaked, and taking it out of the file does not help: fluxguard respond start"
        in seen.words
    )
    steps = re.findall(r"^  (\d)\. ", seen.text, re.MULTILINE)
    assert steps == ["1", "2", "3", "4"]
    hooked.git("restore", "--staged", "--", "my app.env")
    assert hooked.git("diff", "--cached", "--name-only") == b"", "the first command does what it says"


def test_on_a_branch_without_a_commit(empty_repo: Repo, mint: Mint) -> None:
    empty_repo.git("config", "core.hooksPath", str(PROJECT / "hooks"))
    empty_repo.stage("app.env", mint.key())
    assert "       git rm -r --cached -- app.env\n" in commit(empty_repo, mint).text
    empty_repo.git("rm", "-r", "-q", "--cached", "--", "app.env")


def test_many_files(hooked: Repo, mint: Mint) -> None:
    for number in range(40):
        hooked.write(f"{number}.env", f"{mint.key()}\n")
    hooked.git("add", ".")
    seen = commit(hooked, mint)
    assert "40 keys would be committed" in seen.text
    assert "  and 10 more keys (all of them: --format json)" in seen.text
    assert "this takes out all 40 and what else is staged" in seen.words
    assert "       git restore --staged -- :/\n" in seen.text
    hooked.git("restore", "--staged", "--", ":/")
    assert hooked.git("diff", "--cached", "--name-only") == b""


def test_one_key_in_many_places(hooked: Repo, mint: Mint) -> None:
    key = mint.key()
    for number in range(14):
        hooked.write(f"{number:02}.env", key)
    hooked.git("add", ".")
    assert "    and 4 more places (all of them: --format json)" in commit(hooked, mint).text


def test_a_path(hooked: Repo, mint: Mint) -> None:
    hooked.stage(f"{mint.key()}.txt", "words\n")
    seen = commit(hooked, mint)
    assert "(the file's name)" in seen.text
    assert "Rename the file or folder whose name holds the key:\n       git mv -- OLD NEW\n" in seen.text
    assert "Take it out of the commit" not in seen.text, "no command can name it"
    assert "fluxguard scan --staged --write-baseline" in seen.text
    screen(hooked, mint, str(COMMAND), "scan", "--staged", "--write-baseline")
    assert screen(hooked, mint, str(COMMAND), "hook", "pre-commit").code == 0, (
        "the way out for a false alarm is one"
    )


def test_a_message(hooked: Repo, mint: Mint) -> None:
    key = mint.key()
    seen = commit(hooked, mint, "--allow-empty", "-m", f"use {key}")
    assert seen.code != 0
    assert "fluxguard: the commit message holds 1 key. The commit is refused." in seen.text
    assert "the commit message, line 1, column 5" in seen.text
    assert 'git commit -e -F "$(git rev-parse --git-path COMMIT_EDITMSG)"' in seen.text
    assert "       # fluxguard:allow why this is no key\n" in seen.text
    assert "scan --write-baseline" not in seen.text, "a scan would not see the message"
    assert commit(hooked, mint, "--allow-empty", "-m", f"use {key} # fluxguard:allow a sample").code == 0


def test_a_branch(hooked: Repo, mint: Mint) -> None:
    hooked.git("checkout", "-q", "-b", f"fix/{mint.key()}")
    seen = commit(hooked, mint, "--allow-empty", "-m", "change")
    assert seen.code != 0
    assert "(the branch's name)" in seen.text
    assert "       git branch -m NEW-NAME\n" in seen.text
    hooked.git("branch", "-m", "NEW-NAME")
    assert commit(hooked, mint, "--allow-empty", "-m", "change").code == 0


def test_a_key_that_is_at_head(hooked: Repo, mint: Mint) -> None:
    hooked.commit("old.env", f"TOKEN={mint.key()}\n")
    hooked.stage("old.env", (hooked.path / "old.env").read_text() + "MORE=1\n")
    seen = commit(hooked, mint)
    assert seen.code == 0
    assert "old.env:1:7 (there at HEAD already)" in seen.text
    assert "already stands in the history" in seen.words
    command = re.search(r"^       (git log .*|fluxguard audit.*)$", seen.text, re.MULTILINE)
    assert command is not None
    if command[1].startswith("git log"):
        assert hooked.git(*command[1].split()[1:])


def test_what_was_not_read(hooked: Repo, mint: Mint) -> None:
    hooked.stage("pictures.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60))
    seen = commit(hooked, mint)
    assert seen.code != 0
    assert seen.text.startswith("fluxguard: not everything could be read. The commit is refused.")
    assert "pictures.7z: 7z archive: a format that fluxguard does not open" in seen.text
    entry = re.findall(r"^       (.*)$", seen.text, re.MULTILINE)
    assert entry == ["[[accept-unread]]", 'path = "pictures.7z"', 'reason = "why this is harmless"']
    hooked.write(".fluxguard.toml", "\n".join(entry))
    assert commit(hooked, mint).code == 0, "what is to be copied works"


def test_what_is_suppressed(hooked: Repo, mint: Mint) -> None:
    hooked.stage("app.py", f"K = '{mint.key()}'  # fluxguard:allow of the documentation\n")
    seen = commit(hooked, mint)
    assert seen.code == 0
    assert "Suppressed: 1 key" in seen.text
    assert "by allow-comment: of the documentation" in seen.text


def test_a_clean_commit_is_one_line(hooked: Repo, mint: Mint) -> None:
    hooked.stage("app.py", "words\n")
    assert re.fullmatch(r"fluxguard: no key in 1 staged file \(.* read\)\.\n", commit(hooked, mint).text)


def test_colours(hooked: Repo, mint: Mint) -> None:
    hooked.stage("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60))
    hooked.stage("app.env", mint.key())
    seen = commit(hooked, mint)
    codes = {code for style in re.findall(r"\x1b\[([0-9;]*)m", seen.raw) for code in style.split(";")}
    assert "31" in codes
    assert not codes & {"33", "93", "36", "37", "97", "30"}, (
        "what can't be read on a light, or on a dark, background"
    )
    assert not any(code.startswith(("4", "10")) and len(code) > 1 for code in codes), "no backgrounds"
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in commit(hooked, mint, **env).raw


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "usage: fluxguard"),
        (("--help",), 0, "Exit codes: 0 clean, 1 found"),
        (("scan", "--help"), 0, "exactly what the next commit would contain"),
        (("hook", "--help"), 0, "pre-applypatch"),
        (("rules", "--help"), 0, "{list,test}"),
        (("doctor", "--help"), 0, "how to mend it"),
        (("rules", "list"), 0, "fluxloop-api-key"),
        (("rules", "test"), 0, "look-alikes"),
        (("doctor",), 1, "pre-commit: no such hook"),
        (("scan", "missing"), 2, "missing does not exist. Check the name"),
        (("scan", "--nonsense"), 2, "unrecognized arguments"),
        (("scan", "--staged", "--stdin"), 2, "exclude one another. Run fluxguard scan once for each."),
        (("hook", "commit-msg"), 2, "takes one argument"),
        (
            ("scan", "--config", "a-configuration-with-a-rather-long-name-that-is-nowhere.toml"),
            2,
            "can't be read",
        ),
    ],
)
def test_other_screens(repo: Repo, mint: Mint, arguments: tuple[str, ...], code: int, says: str) -> None:
    seen = screen(repo, mint, str(COMMAND), *arguments, COLUMNS="80")
    assert seen.code == code
    assert says in seen.words
