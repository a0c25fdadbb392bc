"""The command line, and nothing of the caller's environment."""

from __future__ import annotations

import os

import pytest

from cli.driving import Cli


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Nothing of the caller's environment decides, and no file is left outside of the test."""
    for name in list(os.environ):
        if name.startswith("KEYMW_") or name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(migrated_url):
    """The command line on a migrated SQLite database."""
    return Cli(migrated_url)
