"""An outage is a 503 for who sent a key, and nobody else's trouble."""

from __future__ import annotations

import json
import logging

import pytest

from either import Either
from faces.app import Reply, Seen
from faces.credentials import Stepped, bearer, credentials, issue
from keymw import Settings, StoreUnavailable
from keymw.store.sql import SqlStore


def check_outage(face, reply):
    if face.name == "websocket":
        assert reply == Reply(None, close=1008)
        return
    assert reply.status == 503
    assert reply.one("retry-after") == "1"
    assert reply.all("www-authenticate") == []
    assert reply.one("cache-control") == "no-store"
    assert reply.one("vary") == "Authorization"
    problem = json.loads(reply.body)
    assert problem["code"] == "temporarily_unavailable"
    assert problem["title"] == "Service Unavailable"
    assert problem["status"] == 503
    assert isinstance(problem["detail"], str)
    assert "fire" not in reply.body.decode()


@pytest.mark.parametrize("path", ["/open", "/both", "/humans", "/writers"])
@pytest.mark.parametrize("state", ["project", "personal", "star", "revoked", "unknown"])
def test_an_outage_is_503_and_never_401(face, keys, sqlite_url, path, state):
    headers = bearer(issue(keys, sqlite_url, state))
    face.outage()
    for _ in range(2):
        seen = Seen()
        check_outage(face, face.ask(headers, path, seen=seen))
        assert seen.called == 0


def test_an_outage_is_nobodys_who_sent_no_key(face, keys, sqlite_url):
    face.outage()
    for state in ("none", "basic", "foreign"):
        headers = credentials(keys, sqlite_url, state)
        assert face.ask(headers, "/open").status == 200
        reply = face.ask(headers, "/both")
        assert reply.status == 401 or reply.close == 1008
    reply = face.ask(bearer(issue(keys, sqlite_url, "checksum")), "/open")
    assert reply.status == 401 or reply.close == 1008


def test_a_known_key_outlives_an_outage_for_a_while(face, keys, sqlite_url, runner, monkeypatch):
    face.keys._clock = clock = Stepped()
    headers = bearer(issue(keys, sqlite_url, "project"))
    runner.run(Either(face.keys).listening())
    assert face.ask(headers, "/both").status == 200
    face.outage()

    async def gone(*_):
        raise StoreUnavailable("The database cannot answer: it is on fire.")

    monkeypatch.setattr(SqlStore, "feed", gone)
    clock.seconds += Settings().feed_lease - 0.1
    assert face.ask(headers, "/both").status == 200
    clock.seconds += 0.2
    for path in ("/both", "/open"):
        check_outage(face, face.ask(headers, path))


def test_an_outage_is_forgotten_when_it_is_over(face, keys, sqlite_url, caplog):
    headers = bearer(issue(keys, sqlite_url, "project"))
    face.outage()
    for _ in range(3):
        check_outage(face, face.ask(headers, "/both"))
    errors = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(errors) == 1  # once, not once a request
    if face.name == "wsgi":
        del face.keys._deps().store.find
    else:

        async def repair():
            del face.keys._deps().store.find

        face.runner.run(repair())
    assert face.ask(headers, "/both").status == 200


def test_a_ruined_database_is_503(face, keys, sqlite_url, tmp_path, runner):
    headers = bearer(issue(keys, sqlite_url, "project"))
    ruin = tmp_path / "ruin.db"
    ruin.write_bytes(b"this is not a database at all" * 100)
    other = type(face)(f"sqlite:///{ruin}", runner)
    for path in ("/open", "/both"):
        check_outage(other, other.ask(headers, path))
    assert other.ask([], "/open").status == 200
    other.close()


def test_a_missing_or_unmigrated_database_is_503(face, keys, sqlite_url, tmp_path, runner, caplog):
    headers = bearer(issue(keys, sqlite_url, "project"))
    for name, word in (("no/such/folder.db", "cannot"), ("empty.db", "keymw migrate")):
        caplog.clear()
        other = type(face)(f"sqlite:///{tmp_path}/{name}", runner)
        for path in ("/open", "/both"):
            check_outage(other, other.ask(headers, path))
        assert word in caplog.text
        other.close()
