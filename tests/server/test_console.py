"""The web console, driven in real headless Chromium as a person would; and what it refuses to forged requests."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from tests.server.real import EMAIL, PASSWORD, Server

KEY = re.compile(r"flux_[a-z]+_[0-9A-Za-z]{36}")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Screen:
    """A page with somebody signed in, and what its console said."""

    def __init__(self, server: Server, context: BrowserContext) -> None:
        self.server, self.context = server, context
        self.page: Page = context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        context.set_default_timeout(15_000)

    def open(self, path: str) -> Page:
        self.page.goto(self.server.url + path)
        return self.page

    def sign_in(self, password: str = PASSWORD) -> None:
        self.open("/")
        self.page.get_by_label("E-mail address").fill(EMAIL)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def project(self, name: str) -> None:
        self.open("/projects")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_role("button", name="Create project").click()

    def create(self, name: str = "My Development Key", project: str = "customer-support-bot") -> str:
        """The whole form, by its words; returns the key that is shown."""
        self.open("/settings/api-keys")
        self.page.get_by_role("button", name="Create New API Key").click()
        self.page.get_by_label("Name:").fill(name)
        self.page.get_by_label("Description:").fill("For local development on MacBook")
        self.page.get_by_label("Specific Projects").check()
        self.page.get_by_label(project).check()
        self.page.get_by_label("Create scenarios").check()
        self.page.get_by_label("90 days").check()
        self.page.get_by_role("button", name="Create Key").click()
        assert "API Key Created Successfully" in self.page.inner_text("h1")
        return self.page.inner_text("#the-key")


@pytest.fixture
def screen(server: Server, browser: Browser) -> Iterator[Screen]:
    context = browser.new_context(accept_downloads=True, viewport={"width": 1000, "height": 900})
    made = Screen(server, context)
    made.sign_in()
    made.project("customer-support-bot")
    yield made
    assert made.said == []  # no violation of the content security policy, no error of a script
    context.close()


def settled(page: Page) -> str:
    """What the page holds once it has come to rest: a page that is still on its way can't be read."""
    for _ in range(100):
        with contextlib.suppress(Error):
            page.wait_for_load_state()
            return page.content()
        page.wait_for_timeout(100)
    raise AssertionError("the page did not come to rest in ten seconds")


def test_a_key_is_created_shown_once_copied_and_downloaded(screen: Screen, tmp_path: Path) -> None:
    key = screen.create()
    assert KEY.fullmatch(key)
    page = screen.page
    assert "You won't be able to see it again." in page.inner_text("main")
    screen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy to Clipboard").click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == key
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .env").click()
    assert download.value.suggested_filename == "fluxloop.env"
    download.value.save_as(tmp_path / "env")
    assert (tmp_path / "env").read_text() == f"FLUXLOOP_API_KEY={key}\n"
    page.get_by_role("button", name="I saved it").click()
    assert "Confirmed." in page.inner_text("main")
    with contextlib.suppress(Error):
        page.go_back()  # Chromium has kept nothing that it could show
    assert key not in settled(page)
    listed = screen.open("/settings/api-keys").inner_text("main")
    for words in (
        "Name:",
        "My Development Key",
        "never used",
        "Created:",
        "Expires:",
        "Scope:",
        "customer-support-bot",
    ):
        assert words in listed
    assert key not in listed
    assert screen.server.ask("GET", "/api/v1/self", 200, key=key)


def test_the_form_sent_twice_makes_one_key(screen: Screen) -> None:
    screen.create()
    screen.page.reload()
    assert screen.page.url.endswith("/settings/api-keys")
    assert screen.page.get_by_role("link", name="My Development Key").count() == 1


def test_a_form_with_a_mistake_keeps_what_was_typed(screen: Screen) -> None:
    page = screen.open("/settings/api-keys/new")
    page.get_by_label("Name:").fill("Mine")
    page.get_by_label("Custom:", exact=True).check()
    page.get_by_label("Custom expiry date").fill("2001-01-01")
    page.get_by_label("customer-support-bot").check()
    page.get_by_role("button", name="Create Key").click()
    assert "a date that lies ahead" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Name:").input_value() == "Mine"
    assert page.get_by_label("customer-support-bot").is_checked()
    screen.said.clear()  # Chromium notes the status 422


def test_usage_regenerate_and_delete_with_the_typed_name(screen: Screen) -> None:
    key, page = screen.create(), screen.page
    for _ in range(3):
        screen.server.ask("GET", "/api/projects", 200, key=key)
    page.wait_for_timeout(1500)
    screen.open("/settings/api-keys")
    page.get_by_role("button", name="View usage of My Development Key").click()
    text = page.inner_text("main")
    for words in (
        "API Key Usage: My Development Key",
        "Last 7 Days:",
        "3 requests",
        "Total Requests:",
        "Avg per Day:",
        "By Operation:",
        "Pull scenarios",
        "3 (100%)",
    ):
        assert words in text

    screen.open("/settings/api-keys")
    page.get_by_role("button", name="Regenerate My Development Key").click()
    assert "immediately deactivated" in page.inner_text("main")
    page.get_by_role("button", name="Confirm").click()
    fresh = page.inner_text("#the-key")
    screen.server.ask("GET", "/api/projects", 401, key=key)
    screen.server.ask("GET", "/api/projects", 200, key=fresh)

    screen.open("/settings/api-keys")
    page.get_by_role("button", name="Delete My Development Key").first.click()
    page.get_by_label("Type the key name to confirm:").fill("my development key")
    page.get_by_role("button", name="Delete").click()
    assert "Nothing was deleted" in page.get_by_role("alert").inner_text()
    screen.said.clear()
    page.get_by_label("Type the key name to confirm:").fill("My Development Key")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/settings/api-keys")
    screen.server.ask("GET", "/api/projects", 401, key=fresh)


def test_change_rotate_quarantine_and_revoke(screen: Screen) -> None:
    key, page = screen.create(), screen.page
    screen.open("/settings/api-keys")
    page.get_by_role("link", name="My Development Key").click()
    page.get_by_role("button", name="Change").click()
    page.get_by_label("Name:").fill("Renamed")
    page.get_by_role("button", name="Save").click()
    assert "Changed." in page.inner_text("main")
    page.get_by_role("button", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    fresh = page.inner_text("#the-key")
    screen.server.ask("GET", "/api/projects", 200, key=fresh)
    screen.server.ask("GET", "/api/projects", 200, key=key)
    assert "grace" in screen.open("/settings/api-keys").inner_text("main")
    page.get_by_role("link", name="Renamed").first.click()
    page.get_by_role("button", name="Quarantine").click()
    assert "quarantined" in page.inner_text("main")
    page.get_by_role("button", name="Release from quarantine").click()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_label("Reason").fill("leaked")
    page.get_by_role("button", name="Revoke").click()
    assert "Revoked" in page.inner_text("main")
    assert "leaked" in page.inner_text("main")


def test_thousands_of_keys_are_a_page_at_a_time(screen: Screen) -> None:
    screen.server.add_keys(120)
    page = screen.open("/settings/api-keys")
    assert page.get_by_role("article").count() == 50
    assert page.get_by_role("link", name="Key 00119").count() == 1
    assert not page.get_by_role("button", name="Newest").count()
    page.get_by_role("button", name="Older").click()
    page.get_by_role("button", name="Older").click()
    assert page.get_by_role("link", name="First key").count() == 1
    assert page.get_by_role("article").count() == 21
    assert not page.get_by_role("button", name="Older").count()
    page.get_by_role("button", name="Newest").click()
    assert page.get_by_role("link", name="Key 00119").count() == 1


def test_keys_are_found_by_name_state_and_project(screen: Screen) -> None:
    screen.server.add_keys(60)
    screen.create("Support")
    page = screen.open("/settings/api-keys")
    page.get_by_label("Name holds:").fill("supp")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_role("article").count() == 1
    assert page.get_by_label("Name holds:").input_value() == "supp"
    page.get_by_label("State:").select_option(label="revoked")
    page.get_by_role("button", name="Show").click()
    assert "No key fits." in page.inner_text("main")
    page.get_by_role("link", name="Show all").click()
    page.get_by_label("State:").select_option(label="never used")
    page.get_by_label("Good for project:").select_option(label="customer-support-bot")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("button", name="Older").click()
    assert page.get_by_label("State:").input_value() == "unused"  # what was chosen holds on the next page


def test_the_audit_trail_is_shown_proved_and_exported(screen: Screen) -> None:
    screen.create()
    page = screen.open("/audit")
    assert "are as they were written" in page.inner_text("main")
    assert "key.created" in page.inner_text("main")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert '"action": "key.created"' in Path(download.value.path()).read_text()


def test_leaks_and_what_is_done_about_them(screen: Screen) -> None:
    key = screen.create()
    page = screen.open("/leaks")
    page.get_by_label("Development:").select_option(label="Revoke at once")
    page.get_by_role("button", name="Save").click()
    assert "Saved." in page.inner_text("main")
    report = [{"token": key, "type": "fluxloop", "url": "https://example.org/<b>x</b>", "source": "content"}]
    assert httpx.post(f"{screen.server.url}/api/v1/leaks", json=report).status_code == 202
    text = screen.open("/leaks").inner_text("main")
    assert "revoked" in text
    assert "https://example.org/<b>x</b>" in text
    screen.server.ask("GET", "/api/projects", 401, key=key)


def connect(screen: Screen, name: str) -> str:
    """A device signs in, and the person at the screen allows it; returns its login token."""
    start = httpx.post(f"{screen.server.url}/api/cli-connect/start", json={"device_name": name}).json()
    page = screen.open(f"/connect?code={start['user_code']}")
    page.get_by_role("button", name="Allow").click()
    assert "The device is connected" in page.inner_text("main")
    code = {"device_code": start["device_code"]}
    done = httpx.post(f"{screen.server.url}/api/cli-connect/complete", json=code).json()
    token: str = done["credential"]["access_token"]
    return token


def test_a_device_is_connected_seen_and_ended(screen: Screen) -> None:
    token = connect(screen, "work laptop")
    screen.server.ask("GET", "/api/projects", 200, key=token)
    page = screen.open("/settings/api-keys")
    page.get_by_role("link", name="Devices").click()
    text = page.inner_text("main")
    for words in ("work laptop", EMAIL, "Connected:", "from 127.0.0.1", "Renewed:", "Ends:"):
        assert words in text
    page.get_by_role("button", name="End work laptop").click()
    assert "The device is no longer connected." in page.inner_text("main")
    assert "No device is connected." in page.inner_text("main")
    screen.server.ask("GET", "/api/projects", 401, key=token)
    assert "device.ended" in screen.open("/audit").inner_text("main")


def test_on_a_phone_in_the_dark_without_javascript(screen: Screen, browser: Browser) -> None:
    state = screen.context.storage_state()
    context = browser.new_context(
        viewport={"width": 390, "height": 800},
        color_scheme="dark",
        java_script_enabled=False,
        storage_state=state,
    )
    phone = Screen(screen.server, context)
    for path in ("/settings/api-keys", "/settings/api-keys/new", "/projects", "/leaks", "/devices"):
        page = phone.open(path)
        width = page.locator("main").bounding_box()
        assert width is not None
        assert width["width"] <= 390
    key = phone.create("Made without a script")
    assert KEY.fullmatch(key)
    assert not phone.page.get_by_role("button", name="Copy to Clipboard").is_visible()
    assert phone.page.get_by_role("button", name="Download .env").is_visible()
    context.close()


def test_the_longest_names_fit_a_phone(screen: Screen) -> None:
    """No screen is wider than the phone, so that nobody has to push it to and fro."""
    screen.page.set_viewport_size({"width": 360, "height": 740})
    project = screen.server.ask("POST", "/api/projects", 201, json={"name": "W" * 100})
    assert isinstance(project, dict)
    wish = {
        "name": "M" * 100, "description": "D" * 1000, "environment": "prod", "scope": {"projects": [project["id"]]},
        "permissions": ["read_scenarios"],
    }  # fmt: skip
    made = screen.server.ask("POST", "/api/v1/keys", 201, json=wish)
    assert isinstance(made, dict)
    screen.server.ask("GET", f"/api/scenarios?project_id={project['id']}", 200, key=made["key"])
    connect(screen, "W" * 100)
    time.sleep(1.5)  # a use is written each second
    mine = f"/settings/api-keys/{made['id']}"
    asking = [f"{mine}/{what}" for what in ("usage", "edit", "rotate", "regenerate", "revoke", "delete")]
    for path in (
        "/settings/api-keys",
        "/settings/api-keys/new",
        mine,
        *asking,
        "/audit",
        "/leaks",
        "/projects",
        "/devices",
    ):
        page = screen.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, path


def test_a_pending_key_can_be_confirmed_or_revoked_later(screen: Screen) -> None:
    screen.create()
    page = screen.open("/settings/api-keys")
    page.get_by_role("link", name="My Development Key", exact=True).click()
    page.get_by_role("button", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    page = screen.open("/settings/api-keys?state=pending")
    page.get_by_role("link", name="My Development Key", exact=True).click()
    assert page.get_by_role("button", name="Revoke").is_visible()
    page.get_by_role("button", name="I saved it").click()
    assert "Confirmed." in page.inner_text("main")
    assert "pending" not in page.inner_text("main")


def test_the_keyboard_alone_is_enough(screen: Screen) -> None:
    page = screen.open("/settings/api-keys/new")
    page.keyboard.press("Tab")
    for _ in range(40):
        name = page.evaluate("document.activeElement.name || ''")
        if name == "name":
            page.keyboard.type("By keyboard")
        if name == "scope":
            page.keyboard.press("ArrowUp")
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    assert "API Key Created Successfully" in page.inner_text("h1")


def test_hostile_names_stay_text(screen: Screen) -> None:
    name = "<img src=x onerror=alert(1)>{{7*7}}"
    screen.create(name)
    text = screen.open("/settings/api-keys").inner_text("main")
    assert name in text


# What it refuses.


@pytest.fixture
def visitor(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def sign_in(client: httpx.Client, password: str = PASSWORD, **how: object) -> httpx.Response:
    return client.post("/sign-in", data={"email": EMAIL, "password": password}, **how)  # type: ignore[arg-type]


def test_every_page_wants_a_session(visitor: httpx.Client) -> None:
    for path in (
        "/",
        "/settings/api-keys",
        "/settings/api-keys/new",
        "/projects",
        "/audit",
        "/audit/export",
        "/leaks",
        "/connect",
    ):
        answer = visitor.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["Location"].startswith("/sign-in")


def test_the_cookie_and_the_headers(visitor: httpx.Client) -> None:
    answer = sign_in(visitor)
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    page = visitor.get("/settings/api-keys")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_a_form_without_our_token_or_from_elsewhere_is_refused(visitor: httpx.Client, server: Server) -> None:
    sign_in(visitor)
    data = {
        "name": "forged",
        "scope": "all",
        "permissions": "read_scenarios",
        "expires": "never",
        "once": "1",
    }
    assert visitor.post("/settings/api-keys", data=data).status_code == 403
    page = visitor.get("/settings/api-keys/new").text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token is not None
    data["csrf"] = token[1]
    assert (
        visitor.post("/settings/api-keys", data=data, headers={"Origin": "https://evil.example"}).status_code
        == 403
    )
    assert (
        visitor.post("/settings/api-keys", data=data, headers={"Sec-Fetch-Site": "cross-site"}).status_code
        == 403
    )
    assert visitor.post("/settings/api-keys", data=data).status_code == 200


def test_signing_in_ends_with_too_many_wrong_tries(visitor: httpx.Client) -> None:
    for _ in range(10):
        assert sign_in(visitor, "wrong password").status_code == 401
    assert sign_in(visitor, "wrong password").status_code == 429
    assert sign_in(visitor).status_code == 429


def test_signing_in_makes_a_new_session_and_signing_out_ends_it(visitor: httpx.Client) -> None:
    visitor.cookies.set("fluxguard", "chosen-by-somebody-else", domain="127.0.0.1")
    sign_in(visitor)
    assert visitor.cookies.get("fluxguard", domain="127.0.0.1") != "chosen-by-somebody-else"
    token = re.search(r'name="csrf" value="([^"]+)"', visitor.get("/settings/api-keys").text)
    assert token is not None
    kept = dict(visitor.cookies)
    visitor.post("/sign-out", data={"csrf": token[1]})
    with httpx.Client(base_url=visitor.base_url, cookies=kept) as thief:
        assert thief.get("/settings/api-keys").status_code == 303


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(visitor: httpx.Client, wanted: str) -> None:
    answer = visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD, "next": wanted})
    assert answer.headers["Location"] == "/settings/api-keys"
