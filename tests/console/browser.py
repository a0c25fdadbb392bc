"""A real browser, headless, that a test drives; and the console under a real server."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from keymw import KeyService
from serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 20


def _program(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise RuntimeError(f"{names[0]} is not installed: run `sh .ci/servers`")


@contextlib.contextmanager
def chromium(width: int = 1100, height: int = 850) -> Iterator[Browser]:
    """Run Chromium with a profile of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kb", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
        for argument in (
            *("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"),
            *(f"user-data-dir={profile}", f"window-size={width},{height}", "lang=en"),
        ):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(_program("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


@contextlib.contextmanager
def served_console(folder: Path, **urls: str) -> Iterator[tuple[str, str, KeyService, str]]:
    """Serve the example; gives both addresses, a service beside it, and a person's token."""
    with (
        KeyService(urls["database"], redis=urls.get("redis")) as keys,
        serve("uvicorn", "console_app", folder, **urls) as served,
    ):
        token = keys.issue_personal_key("user-7", "desk", ["*"], actor="user-7").token
        yield served.url, f"{served.url}/console", keys, token


class Browser:
    """What people do with a browser, in words."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, css: str):
        return self._wait(lambda driver: driver.find_element(By.CSS_SELECTOR, css))

    def named(self, tag: str, text: str):
        """Return the element of a kind whose text begins so."""
        path = f"//{tag}[starts-with(normalize-space(), '{text}')]"
        return self._wait(lambda driver: driver.find_element(By.XPATH, path))

    def click(self, tag: str, text: str) -> None:
        self.named(tag, text).click()

    def fill(self, name: str, value: str) -> None:
        self.find(f"[name={name}]").clear()
        self.find(f"[name={name}]").send_keys(value)

    def heading(self, text: str) -> None:
        """Wait for the page with this heading."""
        self._wait(lambda driver: driver.find_element(By.TAG_NAME, "h1").text.startswith(text))

    def text(self, css: str = "main") -> str:
        return self.find(css).text

    def until_told(self, text: str) -> None:
        self._wait(lambda driver: text in driver.find_element(By.CSS_SELECTOR, "main").text)

    def clipboard(self) -> str:
        """Return what is in the clipboard."""
        return self.driver.execute_async_script(
            "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0]('' + e))"
        )

    def allow_clipboard(self, origin: str) -> None:
        self.driver.execute_cdp_cmd(
            "Browser.grantPermissions",
            {"origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
        )

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, text: str, tag: str = "", *, backwards: bool = False) -> None:
        """Press Tab until the focus is on what has this text, name or value."""
        for _ in range(60):
            focused = self.driver.switch_to.active_element
            names = [focused.text, *(focused.get_attribute(each) for each in ("name", "value"))]
            if text in names and tag in ("", focused.tag_name):
                return
            self.press(Keys.SHIFT + Keys.TAB if backwards else Keys.TAB)
        raise AssertionError(f"Tab does not lead to {text!r}")

    def complaints(self) -> list[str]:
        """Return what the browser's console has said since it was last asked."""
        return [line["message"] for line in self.driver.get_log("browser")]

    def _wait(self, condition):
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )

        gone = (NoSuchElementException, StaleElementReferenceException)
        return WebDriverWait(
            self.driver, _PATIENCE, poll_frequency=0.05, ignored_exceptions=gone
        ).until(condition)
