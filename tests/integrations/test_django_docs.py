"""`docs/django.md` is right as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "django.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\w+)\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL))

#: Django is configured once for a process, so each app has its own.
ASK = """
import io, json, sys
from importlib import import_module
from wsgiref.util import setup_testing_defaults

app = import_module(sys.argv[1]).application
answers = []
for method, path, token in json.loads(sys.argv[2]):
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    if token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    started = []
    body = b"".join(app(environ, lambda status, headers, *_: started.append((status, headers))))
    status, headers = started[0]
    answers.append([int(status[:3]), json.loads(body), dict(headers).get("WWW-Authenticate")])
print(json.dumps(answers))
"""


def answers(tmp_path, url, name, *requests):
    (tmp_path / f"{name}.py").write_text(FILES[name])
    result = subprocess.run(
        [sys.executable, "-c", ASK, name, json.dumps(requests)],
        cwd=tmp_path,
        env={**os.environ, "KEYMW_DATABASE_URL": url, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def tokens(keys):
    machine = keys.issue_project_key("2", "machine", ["report:read"]).token
    person = keys.issue_personal_key("user-7", "laptop", ["report:read", "report:write"]).token
    return machine, person


def test_django(tmp_path, keys, sqlite_url, tokens):
    machine, person = tokens
    found = answers(
        tmp_path,
        sqlite_url,
        "project",
        ("GET", "/projects/2/report", machine),
        ("GET", "/projects/3/report", machine),
        ("GET", "/projects/2/report", ""),
        ("GET", "/projects/2/settings", machine),
        ("GET", "/projects/2/settings", person),
        ("PUT", "/projects/2/settings", person),
    )
    assert [status for status, *_ in found] == [200, 403, 401, 403, 200, 200]
    assert found[0][1] == {"read by": "machine"}
    assert found[1][1]["code"] == "wrong_project"
    assert found[3][1]["code"] == "kind_not_supported"
    assert found[5][1] == {"changed by": "user-7"}


def test_rest_framework(tmp_path, keys, sqlite_url, tokens):
    machine, person = tokens
    found = answers(
        tmp_path,
        sqlite_url,
        "rest",
        ("GET", "/projects/2/report", machine),
        ("PUT", "/projects/2/report", machine),
        ("PUT", "/projects/2/report", person),
        ("GET", "/projects/2/report", ""),
        ("GET", "/projects/3/report", machine),
    )
    assert [status for status, *_ in found] == [200, 403, 200, 401, 403]
    assert found[0][1] == {"read by": "machine", "scopes": ["report:read"]}
    assert found[1][1]["code"] == "scope_missing"
    assert found[3][1]["code"] == "not_authenticated"
