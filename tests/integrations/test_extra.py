"""An import of an integration whose framework is not installed says which extra brings it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXTRAS = [
    ("starlette", "starlette", "starlette"),
    ("fastapi", "fastapi", "fastapi"),
    ("flask", "flask", "flask"),
    ("quart", "quart", "quart"),
    ("django", "django", "django"),
    ("rest_framework", "rest_framework", "rest-framework"),
    ("litestar", "litestar", "litestar"),
    ("falcon", "falcon", "falcon"),
    ("bottle", "bottle", "bottle"),
    ("pyramid", "pyramid", "pyramid"),
]
#: As if a package were not installed.
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import keymw.integrations.{module}
"""


@pytest.mark.parametrize(("module", "package", "extra"), EXTRAS)
def test_it_is_named(module, package, extra):
    code = WITHOUT.format(module=module, package=package)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    expected = f"ModuleNotFoundError: {package} is not installed: pip install 'keymw[{extra}]'."
    assert last == expected


def test_every_extra_is_there():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert {extra for _, _, extra in EXTRAS} <= extras.keys()
