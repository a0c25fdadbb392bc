"""Rules from TOML: what a file looks like, and what it is told when it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keymw import InvalidInput
from keymw.rules import Rule, load

DOCUMENT = """\
default = "deny"

[[rule]]
methods = "GET"
path = "/health"
open = true

[[rule]]
methods = ["GET", "POST"]
path = "/projects/{project_id}/runs"
scopes = ["run:read"]
kinds = ["project_secret", "personal"]
project = "project_id"
"""
RULE = '[[rule]]\nmethods = "GET"\npath = "/a"\n'


def test_a_file_of_rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(DOCUMENT)
    for given in (path, str(path)):
        rules = load(given)
        assert rules.default == "deny"
        assert rules.rules == (
            Rule("GET", "/health", open=True),
            Rule(
                ["GET", "POST"],
                "/projects/{project_id}/runs",
                ["run:read"],
                ["personal", "project_secret"],
                "project_id",
            ),
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{}, default: choose"),
        (RULE, "{}, default: choose"),
        ('default = "allow"', "{}, default: choose"),
        ("default = [", "{}: it is not TOML: .*at end of document"),
        ('default = "deny"\nrules = []', "{}: 'rules' is not known here: write default = and"),
        ('default = "deny"\n[rule]\npath = "/"', "{}, rule: write \\[\\[rule\\]\\], with two"),
        ('default = "deny"\nrule = "GET /"', "{}, rule: write \\[\\[rule\\]\\]"),
        ('default = "deny"\nrule = ["GET /"]', "{}, rule: write \\[\\[rule\\]\\]"),
        (f'default = "deny"\n{RULE}scope = ["a:read"]', "{}, rule 1, scope: write one of methods"),
        (f'default = "deny"\n{RULE}[[rule]]\npath = "/b"', "{}, rule 2, methods: it is missing"),
        ('default = "deny"\n[[rule]]\nmethods = "GET"', "{}, rule 1, path: it is missing"),
        (f'default = "deny"\n{RULE}scopes = "a:read"', "{}, rule 1, scopes: give a list"),
        (f'default = "deny"\n{RULE}scopes = ["read"]', "{}, rule 1, scopes: 'read' is not a"),
        (f'default = "deny"\n{RULE}kinds = ["robot"]', "{}, rule 1, kinds: "),
        (f'default = "deny"\n{RULE}kinds = 5', "{}, rule 1, kinds: give a list"),
        (f'default = "deny"\n{RULE}project = "id"', "{}, rule 1, project: '/a' has no segment"),
        (f'default = "deny"\n{RULE}project = 5', "{}, rule 1, project: give the name"),
        (f'default = "deny"\n{RULE}open = "yes"', "{}, rule 1, open: give true or false"),
        (f'default = "deny"\n{RULE}{RULE}', r"{}, rules: rule 2 \(GET /a\): rule 1 \(GET /a\)"),
        (f'default = "deny"\n{RULE.replace("GET", "get")}', "{}, rule 1, methods: 'get' is no"),
        (f'default = "deny"\n{RULE.replace("/a", "a")}', "{}, rule 1, path: 'a' does not start"),
        (f'default = "deny"\n{RULE.replace("/a", "/é")}', "{}: it is not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_by_file_rule_and_field(tmp_path, text, message):
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInput, match="^" + message.format(re.escape(str(path)))):
        load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "missing.toml", tmp_path, Path("missing.toml")):
        with pytest.raises(InvalidInput, match=f"^{re.escape(str(path))}: it cannot be read: "):
            load(path)


def test_the_examples_rules_are_rules():
    examples = Path(__file__).parents[2] / "examples"
    assert load(examples / "mcp_rules.toml").default == "deny"
