"""The plugin as pytest itself finds it, in a folder with nothing but a test."""

from __future__ import annotations

import subprocess
import sys

TEST = """
import pytest
from flask import Flask
from keymw import require_scopes
from keymw.http import MISSING
from keymw.wsgi import KeyAuthMiddleware


@pytest.fixture
def client(keymw_service):
    app = Flask("x")
    app.wsgi_app = KeyAuthMiddleware(app.wsgi_app, keymw_service)

    @app.get("/<project_id>")
    @require_scopes("item:read", kinds=["project_secret", "personal"], project="project_id")
    def item(project_id):
        return "ok"

    return app.test_client()


def test_project(client, acting_as):
    acting_as(project="2", scopes=["item:read"])
    assert client.get("/2").status_code == 200
    with_other = acting_as("3", ["item:read"])
    assert with_other.project_id == "3"
    assert client.get("/2").status_code == 403


def test_user(client, acting_as_user):
    assert acting_as_user("user-7", scopes=["*"]).user_id == "user-7"
    assert client.get("/2").status_code == 200


def test_nobody(client, keymw_async_service, keymw_clock):
    assert KeyAuthMiddleware.without_key is MISSING
    assert client.get("/2").status_code == 401
    assert "in memory" in repr(keymw_async_service)
"""


def test_its_fixtures_are_there_by_themselves(tmp_path):
    (tmp_path / "test_app.py").write_text(TEST)
    done = subprocess.run(
        [*(sys.executable, "-m", "pytest", "-q", "-W", "error"), "-p", "no:asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_it_imports_nothing_before_it_is_used():
    code = "import sys, _keymw_pytest; print('keymw' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
