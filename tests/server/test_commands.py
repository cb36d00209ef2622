"""`fluxguard apikeys` and `fluxguard auth` as a person types them, against the real server."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.server.real import Server

KEY = re.compile(r"flux_[a-z]+_[0-9A-Za-z]{36}")


@pytest.fixture
def work(server: Server, tmp_path: Path) -> Path:
    """A repository that keeps its .env to itself, by somebody who has logged in."""
    folder = tmp_path / "work"
    (folder / ".fluxloop").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", folder], check=True)
    (folder / ".gitignore").write_text(".env\n")
    done = server.command("auth", "login", input=server.key + "\n", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert server.key not in done.stdout + done.stderr
    server.ask("POST", "/api/projects", 201, json={"name": "customer-support-bot"})
    return folder


def created(
    server: Server, work: Path, *more: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    words = ("apikeys", "create", "--name", "CI/CD Pipeline", "--scope", "customer-support-bot", *more)
    done = server.command(*words, cwd=work, **environment)
    assert done.returncode == code, KEY.sub("***", done.stdout + done.stderr)
    return done


def listed(server: Server, work: Path) -> list[dict[str, object]]:
    done = server.command("apikeys", "list", "--format", "json", cwd=work)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


CREATED = r"""✅ API key created successfully

Name: CI/CD Pipeline
Key: flux_ci_[0-9A-Za-z]{36}
Scope: customer-support-bot
Expires: \d{4}-\d\d-\d\d
Id: key_[0-9a-f]{20}

⚠️ Save this key securely. You won't see it again.
"""


def test_create_shows_the_key_once_in_the_words_of_the_page(server: Server, work: Path) -> None:
    done = created(server, work, "--environment", "ci", "--expires", "90d")
    assert re.fullmatch(CREATED, done.stdout), KEY.sub("***", done.stdout)
    again = server.command("apikeys", "list", cwd=work)
    assert not KEY.search(again.stdout)
    assert "(never used)" in again.stdout


def test_create_for_scripts(server: Server, work: Path) -> None:
    made = json.loads(created(server, work, "--format", "json").stdout)
    assert KEY.fullmatch(made["key"])
    assert made["permissions"] == ["read_scenarios", "upload_results"]


def test_save_env_writes_a_private_file_and_shows_nothing(server: Server, work: Path) -> None:
    path = work / ".fluxloop" / ".env"
    path.write_bytes(b"# mine\r\nexport FLUXLOOP_SYNC_API_KEY='old' # here\r\nOTHER=1\r\n")
    done = created(server, work, "--save-env", FLUXLOOP_SYNC_API_KEY=server.key)
    assert not KEY.search(done.stdout + done.stderr)
    data = path.read_bytes()
    assert re.fullmatch(
        rb"# mine\r\nexport FLUXLOOP_SYNC_API_KEY='flux_dev_[0-9A-Za-z]{36}' # here\r\nOTHER=1\r\n", data
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (work / ".fluxloop" / ".env").unlink()
    assert next(key for key in listed(server, work) if key["name"] == "CI/CD Pipeline")["confirmed_at"]


def test_save_env_has_gitignore_cover_the_file_first(server: Server, work: Path) -> None:
    (work / ".gitignore").write_text("*.log\n")
    done = created(server, work, "--save-env")
    assert "now covers" in done.stderr
    ignored = subprocess.run(["git", "-C", work, "check-ignore", "-q", ".fluxloop/.env"], check=False)
    assert ignored.returncode == 0
    assert (work / ".gitignore").read_text().startswith("*.log\n")


def test_save_env_refuses_where_git_has_the_file_and_loses_no_key(server: Server, work: Path) -> None:
    (work / ".fluxloop" / ".env").write_text("OTHER=1\n")
    subprocess.run(["git", "-C", work, "add", "-f", ".fluxloop/.env"], check=True)
    done = created(server, work, "--save-env", code=3)
    assert "git rm --cached" in done.stderr
    assert (work / ".fluxloop" / ".env").read_text() == "OTHER=1\n"
    subprocess.run(["git", "-C", work, "rm", "-q", "--cached", ".fluxloop/.env"], check=True)
    done = server.command("apikeys", "resume", "--save-env", cwd=work)
    assert done.returncode == 0, done.stderr
    assert KEY.search((work / ".fluxloop" / ".env").read_text())
    (work / ".fluxloop" / ".env").unlink()
    assert [key["name"] for key in listed(server, work)].count("CI/CD Pipeline") == 1


def test_what_a_key_can_not_hand_on_is_said(server: Server, work: Path) -> None:
    """Without --expires and --limit it is as much as may be handed on; more is refused in a sentence."""
    manager = ("apikeys", "create", "--name", "M", "--scope", "all", "--permission", "manage_keys")
    assert "API key created successfully" in server.command(*manager, cwd=work).stdout
    for more, words in (
        (("--expires", "never"), "can't hand on more time than it has"),
        (("--limit", "1001"), "can't hand on a higher limit than its own, 1,000 requests an hour"),
    ):
        done = server.command(*manager, *more, cwd=work)
        assert done.returncode == 4
        assert words in done.stderr
        assert "Solution" not in done.stderr
    assert "Nothing is outstanding" in server.command("apikeys", "resume", cwd=work).stdout


def test_a_scope_has_to_be_named(server: Server, work: Path) -> None:
    done = server.command("apikeys", "create", "--name", "x", cwd=work)
    assert done.returncode == 2
    assert "--scope" in done.stderr
    done = server.command("apikeys", "create", "--name", "x", "--scope", "nothing-of-that-name", cwd=work)
    assert done.returncode == 2
    assert "customer-support-bot" in done.stderr


def test_all_projects_with_all_permissions_is_warned_of(server: Server, work: Path) -> None:
    permissions = [word for name in ("read_scenarios", "upload_results", "create_scenarios", "delete_scenarios", "manage_projects") for word in ("--permission", name)]  # fmt: skip
    done = server.command("apikeys", "create", "--name", "x", "--scope", "all", *permissions, cwd=work)
    assert done.returncode == 0
    assert "opens everything" in done.stderr


def test_rotate_regenerate_revoke_delete(server: Server, work: Path) -> None:
    made = json.loads(created(server, work, "--format", "json").stdout)
    done = server.command(
        "apikeys", "rotate", "--key-id", made["id"], "--overlap", "2h", "--format", "json", cwd=work
    )
    fresh = json.loads(done.stdout)
    server.ask("GET", "/api/projects", 200, key=fresh["key"])
    server.ask("GET", "/api/projects", 200, key=made["key"])
    states = {key["id"]: key["state"] for key in listed(server, work)}
    assert (states[made["id"]], states[fresh["id"]]) == ("grace", "active")

    done = server.command("apikeys", "regenerate", "--key-id", fresh["id"], cwd=work)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    done = server.command(
        "apikeys", "regenerate", "--key-id", fresh["id"], "--yes", "--format", "json", cwd=work
    )
    newest = json.loads(done.stdout)
    server.ask("GET", "/api/projects", 401, key=fresh["key"])

    done = server.command(
        "apikeys", "revoke", "--key-id", newest["id"], "--yes", "--reason", "leaked", cwd=work
    )
    assert done.returncode == 0
    server.ask("GET", "/api/projects", 401, key=newest["key"])
    done = server.command("apikeys", "delete", "--key-id", newest["id"], "--yes-delete", "wrong", cwd=work)
    assert done.returncode == 2
    done = server.command(
        "apikeys", "delete", "--key-id", newest["id"], "--yes-delete", "CI/CD Pipeline", cwd=work
    )
    assert done.returncode == 0
    assert newest["id"] not in {key["id"] for key in listed(server, work)}


def test_usage_as_the_page_shows_it(server: Server, work: Path) -> None:
    made = json.loads(created(server, work, "--format", "json").stdout)
    for _ in range(3):
        server.ask("GET", "/api/projects", 200, key=made["key"])
    deadline = threading.Event()
    deadline.wait(1.5)
    done = server.command("apikeys", "usage", "--key-id", made["id"], cwd=work)
    assert "API Key Usage: CI/CD Pipeline" in done.stdout
    assert "Total Requests: 3" in done.stdout
    assert "• Pull scenarios: 3 (100%)" in done.stdout


def test_rotate_every_prints_a_crontab_line(server: Server, work: Path) -> None:
    done = server.command("apikeys", "rotate", "--key-id", "key_1", "--every", "90d", cwd=work)
    assert done.returncode == 0
    assert re.search(
        r"^17 4 \* \* \* .*% 90 .*apikeys rotate --key-id key_1 .*--save-env$", done.stdout, re.M
    )


def test_status_says_which_key_counts(server: Server, work: Path) -> None:
    made = json.loads(created(server, work, "--format", "json").stdout)
    (work / ".fluxloop" / ".env").write_text(f"FLUXLOOP_API_KEY={made['key']}\n")
    done = server.command("auth", "status", cwd=work)
    lines = done.stdout.splitlines()
    assert made["masked"] in lines[1]
    assert ".fluxloop/.env (FLUXLOOP_API_KEY)" in lines[1]
    assert "shadowed" in lines[2]
    assert "The platform says: active" in done.stdout
    first = server.command("auth", "status", cwd=work, FLUXLOOP_SYNC_API_KEY=server.key)
    assert "environment (FLUXLOOP_SYNC_API_KEY)" in first.stdout.splitlines()[1]
    done = server.command("auth", "logout", cwd=work)
    assert done.returncode == 0
    assert "Still there" in done.stdout


INVALID = """\
❌ Error: Invalid API key. It was revoked.

Possible causes:
1. Key was regenerated or deleted
2. Key expired
3. Typo in key value

Solution:
- Check key in web platform
- Regenerate if needed
- Update environment variable"""
DENIED = """\
❌ Error: Permission denied

You don't have permission to access this resource.

Current permissions:
✅ Read scenarios
✅ Upload results
❌ Manage API keys (required)

Solution:
- Update key permissions in web platform
- Or create a new key with required permissions"""
LIMITED = r"""⚠️ Warning: Rate limit exceeded

Current rate: 1 requests/hour
Your usage: \d requests/hour
Retry after: \d+ minutes

Solution:
- Wait for rate limit to reset
- Contact support for higher limits"""


def test_a_wrong_key_gets_the_page_s_words(server: Server, work: Path) -> None:
    dead = json.loads(created(server, work, "--format", "json").stdout)
    server.ask("POST", f"/api/v1/keys/{dead['id']}/revoke", 200)
    done = server.command("apikeys", "list", cwd=work, FLUXLOOP_API_KEY=dead["key"])
    assert done.returncode == 4
    assert done.stderr.rstrip() == INVALID
    weak = json.loads(created(server, work, "--format", "json").stdout)
    done = server.command(
        "apikeys",
        "create",
        "--name",
        "x",
        "--scope",
        "customer-support-bot",
        cwd=work,
        FLUXLOOP_API_KEY=weak["key"],
    )
    assert done.returncode == 4
    assert done.stderr.rstrip() == DENIED
    server.ask("PATCH", f"/api/v1/keys/{weak['id']}", 200, json={"hourly_limit": 1})
    done = server.command("apikeys", "list", cwd=work, FLUXLOOP_API_KEY=weak["key"])
    assert done.returncode == 4
    assert re.fullmatch(LIMITED, done.stderr.rstrip()), done.stderr


def test_no_platform_no_key(server: Server, tmp_path: Path) -> None:
    for words in (("list",), ("create", "--name", "x", "--scope", "all")):
        done = server.command("apikeys", *words, cwd=tmp_path)
        assert done.returncode == 2
        assert "fluxguard auth login" in done.stderr
    url = server.url
    server.kill()
    done = server.command("apikeys", "list", cwd=tmp_path, FLUXLOOP_API_KEY="flux_dev_" + "x" * 20)
    assert done.returncode == 4
    assert url in done.stderr


class Thief(BaseHTTPRequestHandler):
    """Writes down what it is sent."""

    seen: list[str] = []  # noqa: RUF012
    redirect = ""

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.send_response(302 if self.redirect else 200)
        if self.redirect:
            self.send_header("Location", self.redirect)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def thief() -> object:
    Thief.seen = []
    Thief.redirect = ""
    server = HTTPServer(("127.0.0.1", 0), Thief)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_repository_does_not_choose_where_the_key_goes(server: Server, work: Path, thief: str) -> None:
    (work / ".fluxloop" / "project.json").write_text(json.dumps({"api_url": thief}))
    (work / ".fluxloop" / ".env").write_text(f"FLUXLOOP_API_URL={thief}\n")
    (work / ".fluxguard.toml").write_text(f'[platform]\nurl = "{thief}"\n')
    environment = {
        "FLUXLOOP_API_URL": "",
        "FLUXLOOP_API_KEY": server.key,
        "https_proxy": "http://127.0.0.1:1",
    }
    done = server.command("apikeys", "list", cwd=work, **environment)
    assert done.returncode in (3, 4), done.stderr
    assert "fluxguard auth trust" in done.stderr
    assert Thief.seen == []
    assert server.command("auth", "trust", cwd=work, **environment).returncode == 0
    server.command("apikeys", "list", cwd=work, **environment)
    assert Thief.seen != []
    Thief.seen.clear()
    (work / ".fluxloop" / "project.json").write_text(json.dumps({"api_url": thief + "/elsewhere"}))
    server.command("apikeys", "list", cwd=work, **environment)
    assert Thief.seen == []


def test_a_redirect_does_not_carry_the_key(server: Server, work: Path, thief: str) -> None:
    Thief.redirect = server.url + "/api/v1/keys"
    done = server.command("apikeys", "list", cwd=work, FLUXLOOP_API_URL=thief, FLUXLOOP_API_KEY=server.key)
    assert done.returncode == 4
    assert "is not sent after it" in done.stderr


def test_a_key_travels_encrypted_or_on_loopback(server: Server, work: Path) -> None:
    for url in ("http://example.org", "ftp://example.org", "https://user:word@example.org", "nonsense"):
        done = server.command("apikeys", "list", "--api-url", url, cwd=work)
        assert done.returncode == 2, url
        assert "Traceback" not in done.stderr


def test_the_public_service_offers_less_and_that_is_said(server: Server, work: Path) -> None:
    done = server.command(
        "apikeys",
        "revoke",
        "--key-id",
        "x",
        "--yes",
        "--api-url",
        "https://api.fluxloop.ai",
        cwd=work,
        FLUXLOOP_API_KEY=server.key,
    )
    assert done.returncode == 4
    assert "https://app.fluxloop.ai/settings/api-keys" in done.stderr


def test_a_saved_key_that_others_may_read_is_refused(server: Server, work: Path) -> None:
    kept = server.folder / "state" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    os.chmod(kept, 0o644)
    done = server.command("apikeys", "list", cwd=work)
    assert done.returncode == 3
    assert "chmod 600" in done.stderr


def test_a_list_of_thousands_is_shown_whole_or_in_parts(server: Server, work: Path) -> None:
    server.add_keys(2100)
    assert len(listed(server, work)) == 2101
    done = server.command("apikeys", "list", "--limit", "3", cwd=work)
    assert done.returncode == 0
    assert done.stdout.count("Name: ") == 3
    assert "Name: Key 02099\n" in done.stdout
    place = re.search(r"--after (\S+)$", done.stderr.strip())
    assert place is not None
    rest = server.command("apikeys", "list", "--after", place[1], "--format", "json", cwd=work)
    assert json.loads(rest.stdout)[0]["name"] == "Key 02096"
    assert len(json.loads(rest.stdout)) == 2098
    assert "--after" not in rest.stderr


def test_a_list_of_one_state(server: Server, work: Path) -> None:
    made = json.loads(created(server, work, "--format", "json").stdout)
    server.ask("POST", f"/api/v1/keys/{made['id']}/revoke", 200)
    done = server.command("apikeys", "list", "--state", "revoked", cwd=work)
    assert done.stdout.count("Name: ") == 1
    assert "CI/CD Pipeline  [revoked]" in done.stdout
    none = server.command("apikeys", "list", "--state", "lapsed", cwd=work)
    assert none.stdout == "No key fits.\n"
    assert (
        server.command("apikeys", "list", "--state", "lapsed", "--format", "json", cwd=work).stdout == "[]\n"
    )
    assert server.command("apikeys", "list", "--limit", "0", cwd=work).returncode == 2
    odd = server.command("apikeys", "list", "--after", "nonsense", cwd=work)
    assert odd.returncode == 4
    assert "cursor" in odd.stderr
