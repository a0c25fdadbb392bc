"""The console in a real browser, on real servers: a key through its life."""

from __future__ import annotations

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from conftest import eventually
from console.browser import chromium, served_console
from keymw import KeyService


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def console(request, tmp_path, redis_url):
    """The console on PostgreSQL and Redis, or what the test asks for."""
    database = request.getfixturevalue(getattr(request, "param", "postgres_url"))
    with KeyService(database) as keys:
        keys.migrate()
    with served_console(tmp_path, database=database, redis=redis_url) as found:
        yield found


def use(origin, token):
    """Return the status of a request with the key."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{origin}/projects/2/report", headers=headers).status_code


def test_create_copy_use_roll_revoke(browser, console):
    origin, address, _, token = console
    browser.allow_clipboard(origin)
    browser.open(f"{address}/")
    browser.heading("Sign in")
    browser.fill("token", token)
    browser.click("button", "Sign in")
    browser.heading("Keys of your own")
    browser.fill("project", "2")
    browser.click("button", "Go")
    browser.heading("Keys of project 2")
    browser.click("a", "New key")
    browser.heading("New key")
    browser.fill("label", "<script>alert(1)</script>")
    browser.find("input[value='report:read']").click()
    browser.click("button", "Create key")
    browser.heading("The secret of <script>alert(1)</script>")
    browser.click("button", "Copy")
    browser.until_told("Copied.")
    first = browser.clipboard()
    assert first.startswith("phs_")
    assert first == browser.text("#token")
    assert use(origin, first) == 200

    browser.click("a", "To the key")
    browser.click("a", "Roll")
    browser.heading("Roll")
    browser.find("#grace option[value='0']").click()
    browser.click("button", "Roll")
    browser.heading("The secret of")
    browser.click("button", "Copy")
    browser.until_told("Copied.")
    second = browser.clipboard()
    assert second != first
    assert use(origin, second) == 200
    eventually(lambda: use(origin, first) == 401)

    browser.click("a", "To the key")
    browser.click("a", "Delete")
    browser.heading("Delete")
    browser.fill("reason", "no longer needed")
    browser.click("button", "Delete this key")
    browser.until_told("Reason: no longer needed")
    assert "revoked" in browser.text(".state-revoked")
    eventually(lambda: use(origin, second) == 401)

    # The way back leads to no page that holds a secret.
    for _ in range(3):
        browser.driver.back()
    browser.heading("Roll")
    assert second not in browser.driver.page_source
    stored = "return JSON.stringify([{...sessionStorage}, {...localStorage}])"
    assert "phs_" not in browser.driver.execute_script(stored)
    browser.click("button", "Sign out")
    browser.heading("Sign in")
    assert browser.complaints() == []


@pytest.mark.parametrize("console", ["sqlite_url"], indirect=True)
def test_what_the_policy_forbids_is_noticed(browser, console):
    _, address, _, _ = console
    browser.open(f"{address}/sign-in")
    browser.heading("Sign in")
    assert browser.complaints() == []
    for markup in ('<p style="color: red">', '<img src="x" onerror="alert(1)">'):
        browser.driver.execute_script(
            "document.body.insertAdjacentHTML('beforeend', arguments[0])", markup
        )
        eventually(lambda: any("Content Security Policy" in each for each in browser.complaints()))


@pytest.mark.parametrize("console", ["sqlite_url"], indirect=True)
def test_by_keyboard_alone(browser, console):
    origin, address, keys, token = console
    browser.allow_clipboard(origin)
    browser.open(f"{address}/sign-in")
    browser.heading("Sign in")
    browser.press(token, Keys.ENTER)  # the field has the focus
    browser.heading("Keys of your own")
    browser.tab_to("project", "input")
    browser.press("2", Keys.ENTER)
    browser.heading("Keys of project 2")
    browser.tab_to("New key")
    browser.press(Keys.ENTER)
    browser.heading("New key")
    browser.tab_to("label")
    browser.press("nightly")
    browser.tab_to("Create key")
    browser.press(Keys.ENTER)
    browser.until_told("give at least one")
    browser.complaints()  # the browser notes the 422
    assert browser.driver.switch_to.active_element.get_attribute("id") == "scopes"
    assert browser.find("[name=label]").get_attribute("value") == "nightly"
    browser.tab_to("report:read")
    browser.press(Keys.SPACE)
    browser.tab_to("Create key")
    browser.press(Keys.ENTER)
    browser.heading("The secret of nightly")
    browser.tab_to("Copy")
    browser.press(Keys.ENTER)
    browser.until_told("Copied.")
    secret = browser.clipboard()
    assert use(origin, secret) == 200
    browser.tab_to("To the key")
    browser.press(Keys.ENTER)
    browser.heading("nightly")
    browser.tab_to("Delete")
    browser.press(Keys.ENTER)
    browser.heading("Delete nightly")
    browser.tab_to("Delete this key")
    browser.press(Keys.ENTER)
    browser.until_told("revoked")
    eventually(lambda: use(origin, secret) == 401)
    assert keys.verify(secret).reason == "revoked_key"
    assert browser.complaints() == []


@pytest.mark.parametrize("console", ["sqlite_url"], indirect=True)
def test_narrow_screens_do_not_scroll_sideways(browser, console):
    _, address, keys, token = console
    issued = keys.issue_project_key("2", "\uff37" * 40, ["report:read", "insight:read"])
    keys.roll(issued.key.id)
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.open(f"{address}/sign-in")
        browser.fill("token", token)
        browser.click("button", "Sign in")
        browser.heading("Keys of your own")
        page = f"{address}/projects/2"
        key = f"{page}/keys/{issued.key.id}"
        for url in (page, key, f"{key}/edit", f"{key}/roll", f"{key}/delete", f"{page}/history"):
            browser.open(url)
            wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 360, url
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("console", ["sqlite_url"], indirect=True)
def test_without_scripts(browser, console):
    origin, address, _, token = console
    off = "Emulation.setScriptExecutionDisabled"
    browser.driver.execute_cdp_cmd(off, {"value": True})
    try:
        browser.open(f"{address}/sign-in")
        browser.fill("token", token)
        browser.click("button", "Sign in")
        browser.heading("Keys of your own")
        browser.open(f"{address}/projects/2/new")
        browser.fill("label", "plain")
        browser.find("input[value='report:read']").click()
        browser.click("button", "Create key")
        browser.heading("The secret of plain")
        assert not browser.find("[data-copy]").is_displayed()
        secret = browser.text("#token")
        assert use(origin, secret) == 200
        browser.click("a", "To the key")
        browser.click("a", "Delete")
        browser.heading("Delete plain")
        browser.click("button", "Delete this key")
        browser.until_told("revoked")
        eventually(lambda: use(origin, secret) == 401)
    finally:
        browser.driver.execute_cdp_cmd(off, {"value": False})
    assert browser.complaints() == []
