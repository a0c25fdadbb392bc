"""Trouble is one line, shows no secret, and closes the service."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.driving import NOWHERE, UNKNOWN, assert_one_line, program
from keymw import KeyService
from keymw.cli.input import parse_grace, span
from keymw.cli.output import one_line


@pytest.mark.parametrize(("arguments", "status"), [(["list"], 0), (["show", "key_0"], 1)])
def test_the_service_is_closed_whatever_happens(run, monkeypatch, arguments, status):
    made, closed = [], []
    make, close = KeyService.__init__, KeyService.close

    def counted_make(self, *arguments, **options):
        make(self, *arguments, **options)
        made.append(self)

    def counted_close(self):
        closed.append(self)
        close(self)

    monkeypatch.setattr(KeyService, "__init__", counted_make)
    monkeypatch.setattr(KeyService, "close", counted_close)
    assert run(*arguments).exit_code == status
    assert len(made) == 1
    assert closed == made


def test_a_defect_shows_no_secret(run, monkeypatch):
    def fail(self, **_):
        raise RuntimeError(f"{UNKNOWN} at {NOWHERE}")

    monkeypatch.setattr(KeyService, "list", fail)
    message = assert_one_line(run("list"), 1)
    assert re.fullmatch(
        r"keymw: a defect in keymw: RuntimeError at test_trouble\.py:\d+\.\n", message
    )


def test_an_interrupt_is_no_traceback(run, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(KeyService, "migrate", stop)
    result = run("migrate")
    assert result.exit_code == 1
    assert result.stderr.strip() == "keymw: stopped."


def test_logs_and_warnings_are_single_lines():
    code = """
import logging, warnings
from keymw.cli.output import set_up
set_up()
logging.getLogger("keymw").warning("keymw: one\\nof %s", "two")
logging.getLogger("keymw").info("not shown")
try:
    raise ValueError("hidden")
except ValueError:
    logging.getLogger("other").exception("failed")
warnings.warn("three\\nof three")
"""
    result = program(prefix=("-c", code))
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "keymw: one of two\nkeymw: failed\nkeymw: three of three\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  b\r\nc", "a b c"),
        ("keymw: said once", "said once"),
        pytest.param(f"token {UNKNOWN}.", "token phs_***.", id="token"),
        ("digest " + "0f" * 32, "digest ***"),
        (NOWHERE, "postgresql://anna:***@127.0.0.1:1/keymw"),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql://anna@db/keymw", "postgresql://anna@db/keymw"),
        ("red \x1b[31m, dead \u202e", r"red \x1b[31m, dead \u202e"),
    ],
)
def test_one_line(text, line):
    assert one_line(text) == "keymw: " + line


@given(st.text())
def test_one_line_of_anything(text):
    line = one_line(text)
    assert line.startswith("keymw: ")
    assert line.isprintable()


@pytest.mark.parametrize("text", ["45s", "90m", "24h", "7d", "90s", "25h"])
def test_durations(text):
    assert parse_grace(span(parse_grace(text))) == parse_grace(text)


def test_duration_units():
    assert [parse_grace(text).total_seconds() for text in ("1s", "1m", "1h", "1d")] == [
        1,
        60,
        3600,
        86_400,
    ]
