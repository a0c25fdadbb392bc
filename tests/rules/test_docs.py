"""What the page on rules shows is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
THEIRS = "async def app(scope, receive, send): ...\n"


def test_the_example_of_the_page_starts(tmp_path):
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "rules.toml").write_text(blocks["toml"])
    (tmp_path / "theirs.py").write_text(THEIRS)
    done = subprocess.run(
        [sys.executable, "-c", blocks["python"] + "print(app)"],
        cwd=tmp_path,
        env={**os.environ, "KEYMW_DATABASE_URL": "sqlite:///keymw.db"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "KeyAuthMiddleware" in done.stdout
