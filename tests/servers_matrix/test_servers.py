"""No server makes a grant or an error of what is no key; the page says what each of them does."""

from __future__ import annotations

import re

import pytest

import tables
from servers_matrix.cases import CASES
from servers_matrix.declared import SERVERS
from servers_matrix.measured import measure_all
from servers_matrix.page import COMMANDS, FACES, PAGE, answers, binding, commands, documented, names

REFRESH = "if it is as it should be: PYTHONPATH=tests python -m servers_matrix"
_GRANT = re.compile(r"granted (\w)")

every_server = pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What came of every server; printed when all tests have run."""
    found = measure_all(tmp_path_factory.mktemp("servers"))
    for face, title in FACES.items():
        tables.add(title, *answers(face, found))
    return found


@pytest.fixture
def outcomes(measured, server):
    return measured[server.name].outcomes


@every_server
def test_what_is_sent_has_a_safe_outcome(server, outcomes):
    cases = {case.name: case for case in CASES if server.face in case.faces}
    assert outcomes.keys() == cases.keys()
    unsafe = {
        name: outcome
        for name, outcome in outcomes.items()
        if outcome not in cases[name].safe and outcome != server.known.get(name)
    }
    assert not unsafe


@every_server
def test_who_is_granted_has_sent_the_key(server, outcomes):
    for case in CASES:
        for key in _GRANT.findall(outcomes.get(case.name, "")):
            assert f"{{{key}}}".encode() in b"".join(case.sent), case.name


@every_server
def test_the_log_has_no_errors(server, measured):
    assert measured[server.name].complaints == []


@every_server
def test_the_page_tells_what_each_server_does(server, outcomes):
    told = documented(server)
    if not binding(server):
        told |= outcomes
    differing = {
        name: (told[name], outcome) for name, outcome in outcomes.items() if told[name] != outcome
    }
    assert not differing, f"{server.versions}: {REFRESH}"


@every_server
def test_what_is_excused_is_told(server):
    told = documented(server)
    assert {name: told[name] for name in server.known} == server.known


@pytest.mark.parametrize("face", FACES)
def test_the_page_has_all_cases_and_servers(face):
    header, *rows = tables.read(PAGE, FACES[face])
    assert header[1:] == [server.name for server in SERVERS if server.face == face], REFRESH
    assert [row[0] for row in rows] == names(face), REFRESH


def test_the_page_has_the_commands_that_are_run():
    header, *rows = tables.read(PAGE, COMMANDS)
    expected, lines = commands()
    assert header == expected
    assert [(row[0], row[2]) for row in rows] == [(line[0], line[2]) for line in lines], REFRESH


def test_no_outcome_that_is_taken_for_safe_is_an_error():
    taken = set().union(*(case.safe for case in CASES), *(s.known.values() for s in SERVERS))
    assert not [outcome for outcome in taken if re.search(r"\b5\d\d\b|silent|odd", outcome)]
