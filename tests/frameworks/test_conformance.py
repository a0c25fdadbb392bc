"""Every framework gives the same answers, over HTTP, under a real server."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest

import tables
from frameworks.apps import APPS, SERVERS, versions
from frameworks.cases import CASES
from frameworks.checks import check, check_background, check_revoked, check_stream
from frameworks.keys import make_tokens
from keymw import KeyService
from servers import redis_server
from serving import serve

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
#: What takes more than one request.
STORIES = ("streamed bodies", "background work", "revoked")
HEADER = ["framework", *CASES, *STORIES]


class Results:
    """How many cases of each app and group were tried, and held."""

    def __init__(self):
        self.tried = defaultdict(int)
        self.held = defaultdict(int)

    @contextmanager
    def case(self, app, group):
        self.tried[app, group] += 1
        yield
        self.held[app, group] += 1

    def rows(self):
        return [[app.title, *(self.cell(app, group) for group in HEADER[1:])] for app in APPS]

    def cell(self, app, group):
        return f"{self.held[app, group]} of {self.tried[app, group]}"


@pytest.fixture(scope="module")
def results():
    """What was found out, printed when the tests have run."""
    found = Results()
    yield found
    tables.add(f"Frameworks, under {versions(SERVERS)}", HEADER, found.rows())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for this module's servers, and the URLs that they share."""
    folder = tmp_path_factory.mktemp("frameworks")
    with redis_server() as redis:
        yield folder, {"database": f"sqlite:///{folder}/keymw.db", "redis": redis}


@pytest.fixture(scope="module")
def keys(place):
    """This process's view of the keys."""
    _, urls = place
    with KeyService(**urls) as service:
        service.migrate()
        yield service


@pytest.fixture(scope="module")
def tokens(keys):
    """A token of every sort that the cases name."""
    return make_tokens(keys)


@pytest.fixture(scope="module", params=APPS, ids=lambda app: app.name)
def served(request, place, keys):  # the tables are there before the servers are
    """Each app, under its server, which must have nothing to complain of."""
    folder, urls = place
    app = request.param
    with serve(app.server, app.module, folder, **urls) as server:
        yield app, server


ROWS = [pytest.param(group, row, id=row.name) for group, rows in CASES.items() for row in rows]


@pytest.mark.parametrize(("group", "row"), ROWS)
def test_a_case(served, tokens, results, group, row):
    app, server = served
    with results.case(app, group):
        check(server, tokens, row)


@pytest.mark.parametrize("story", STORIES)
def test_a_story(served, tokens, keys, results, story):
    app, server = served
    with results.case(app, story):
        if story == "revoked":
            check_revoked(server, keys, app.name)
        elif story == "background work":
            check_background(server, tokens)
        else:
            check_stream(server, tokens)


def test_the_docs_have_this_table():
    header, *rows = tables.read(PAGE, "frameworks")
    counts = [str(len(rows)) for rows in CASES.values()] + ["1"] * len(STORIES)
    assert header == HEADER
    assert [row[0].rpartition(" ")[0] or row[0] for row in rows] == [
        app.title.rpartition(" ")[0] or app.title for app in APPS
    ]
    assert all(row[1:] == [f"{count} of {count}" for count in counts] for row in rows)
