"""Makes the pictures in docs/images: `make screenshots`."""

from __future__ import annotations

import base64
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.browser import chromium, served_console
from keymw import KeyService

_IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
_LIMIT = 150_000


def _fill(keys: KeyService) -> str:
    """Make keys as a project may have them; gives the id of the one to look at."""
    soon = datetime.now(UTC) + timedelta(days=90)
    made = {}
    for label, scopes, expires_at in (
        ("nightly-report", ["report:read"], None),
        ("billing-export", ["report:read", "insight:read"], soon),
        ("staging", ["insight:read"], soon),
    ):
        made[label] = keys.issue_project_key(
            "2", label, scopes, expires_at=expires_at, actor="user-7"
        )
    first = made["nightly-report"]
    keys.verify(first.token)
    keys.verify(made["billing-export"].token)
    keys.roll(first.key.id, grace=timedelta(hours=24), actor="user-7")
    return first.key.id


def _save(browser, name: str) -> None:
    data = base64.b64decode(browser.driver.get_screenshot_as_base64())
    assert len(data) < _LIMIT, f"{name} has {len(data)} bytes"
    (_IMAGES / f"{name}.png").write_bytes(data)


def main() -> None:
    """Make them all."""
    _IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        database = f"sqlite:///{name}/keymw.db"
        with KeyService(database) as keys:
            keys.migrate()
        with (
            chromium(1100, 800) as browser,
            served_console(Path(name), database=database) as (_, address, keys, token),
        ):
            key_id = _fill(keys)
            keys.close()  # which writes when keys were used
            browser.open(f"{address}/sign-in")
            browser.fill("token", token)
            browser.click("button", "Sign in")
            browser.heading("Keys of your own")
            browser.open(f"{address}/projects/2")
            browser.heading("Keys of")
            _save(browser, "console-keys")
            browser.open(f"{address}/projects/2/keys/{key_id}")
            browser.heading("nightly-report")
            _save(browser, "console-key")
            browser.open(f"{address}/projects/2/new")
            browser.fill("label", "dashboard")
            browser.find("input[value='insight:read']").click()
            _save(browser, "console-new")
            media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            browser.open(f"{address}/projects/2/history")
            browser.heading("Activity log")
            _save(browser, "console-log-dark")


if __name__ == "__main__":
    main()
