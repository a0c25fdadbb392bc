"""The official PostHog SDK against the flag example, under uvicorn with a real Redis."""

from __future__ import annotations

import contextlib
import logging
from urllib.parse import urlsplit

import pytest
import requests
from posthog import Posthog

from conftest import eventually
from keymw import KeyService
from servers import redis_server
from serving import serve

SCOPES = ["feature_flag:read"]
#: What every web page of the project shows.
PUBLIC_TOKEN = "phc_public"
DEFINITIONS = "/flags/definitions"
CONFIG = "/api/projects/2/feature_flags/rate-limits/remote_config"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for the server, and the URLs that it shares with this process."""
    folder = tmp_path_factory.mktemp("flags")
    with redis_server() as redis:
        yield folder, {"database": f"sqlite:///{folder}/keymw.db", "redis": redis}


@pytest.fixture(scope="module")
def keys(place):
    """Another process's view of the keys."""
    _, urls = place
    with KeyService(**urls) as service:
        service.migrate()
        yield service


@pytest.fixture(scope="module")
def server(place, keys):  # the tables are there before the server is
    folder, urls = place
    with serve("uvicorn", "flag_definitions", folder, **urls) as served:
        yield served


@pytest.fixture
def issued(keys, request):
    """A project key of the test's own."""
    return keys.issue_project_key("2", request.node.name[:40], SCOPES)


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """Every request of the SDK's, with its answer; none may leave this machine."""
    sent, strays = [], []
    send = requests.Session.send

    def only_here(self, request, **options):
        url = urlsplit(request.url)
        if url.hostname != "127.0.0.1":
            strays.append(url)
            raise requests.ConnectionError("The tests talk to nobody else.")
        response = send(self, request, **options)
        sent.append((url, response))
        return response

    monkeypatch.setattr(requests.Session, "send", only_here)
    yield sent
    assert strays == []


@pytest.fixture
def connect(server):
    """Make SDK clients of the example; they send no events, and do not poll unless told to."""
    with contextlib.ExitStack() as stack:

        def connect(secret, **options):
            client = Posthog(
                PUBLIC_TOKEN,
                host=server.url,
                secret_key=secret,
                send=False,
                sync_mode=True,
                **{"enable_local_evaluation": False, **options},
            )
            stack.callback(client.shutdown)
            return client

        yield connect


def evaluate(client, who, **known):
    return client.evaluate_flags(who, only_evaluate_locally=True, **known)


def test_flags_are_evaluated_by_the_sdk_itself(connect, issued, sent):
    client = connect(issued.token)
    client.load_feature_flags()
    (url, response) = sent[0]
    assert (url.path, response.status_code) == (DEFINITIONS, 200)
    assert f"token={PUBLIC_TOKEN}" in url.query
    assert response.headers["Vary"] == "Authorization"

    for plan, expected in (("enterprise", True), ("starter", False)):
        flags = evaluate(client, "user-7", person_properties={"plan": plan, "email": "a@b.c"})
        assert flags.is_enabled("invoice-export") is expected
        assert flags.get_flag("invoice-export") is expected
        assert flags.unresolved_flags == {}
    assert len(sent) == 1


def test_cohorts_groups_and_rollouts(connect, issued, sent):
    client = connect(issued.token)
    client.load_feature_flags()

    def shown(who, email="somebody@elsewhere.test"):
        flags = evaluate(client, who, person_properties={"email": email, "plan": "team"})
        return flags.is_enabled("new-dashboard")

    people = [f"person-{number}" for number in range(200)]
    assert all(shown(who, f"{who}@example.com") for who in people)
    assert 0.2 < sum(map(shown, people)) / len(people) < 0.4

    for seats, expected in ((250, True), (5, False)):
        flags = evaluate(
            client,
            "user-7",
            groups={"company": "acme"},
            group_properties={"company": {"seats": seats}},
            person_properties={"email": "", "plan": ""},
        )
        assert flags.is_enabled("audit-log") is expected
    assert len(sent) == 1


def test_variants_and_their_payloads(connect, issued, sent):
    client = connect(issued.token)
    client.load_feature_flags()
    payloads = {
        "control": {"button": "Continue to payment"},
        "short": {"button": "Pay"},
    }
    found = set()
    for number in range(50):
        flags = evaluate(
            client, f"person-{number}", person_properties={"email": "", "plan": "team"}
        )
        variant = flags.get_flag("checkout-copy")
        assert flags.get_flag_payload("checkout-copy") == payloads[variant]
        found.add(variant)
    assert found == set(payloads)
    assert len(sent) == 1


def test_unchanged_definitions_are_not_sent_again(connect, issued, sent):
    client = connect(issued.token)
    client.load_feature_flags()
    client.load_feature_flags()
    (_, first), (_, second) = sent
    assert (first.status_code, second.status_code) == (200, 304)
    assert first.headers["ETag"] == second.headers["ETag"]
    assert second.headers["Cache-Control"] == "private, no-cache"
    assert second.headers["Vary"] == "Authorization"
    assert evaluate(client, "user-7", person_properties={"plan": "enterprise"}).is_enabled(
        "invoice-export"
    )


def test_remote_configuration(connect, issued, sent):
    client = connect(issued.token)
    assert client.get_remote_config_payload("rate-limits") == {"requests_per_minute": 600}
    assert sent[0][0].path == "/api/projects/@current/feature_flags/rate-limits/remote_config"


def test_polling(connect, issued, keys, sent):
    """The poller finds out by itself, with the key revoked by another process."""
    client = connect(issued.token, enable_local_evaluation=True, poll_interval=0.05)
    client.load_feature_flags()
    eventually(lambda: [response.status_code for _, response in sent][:3] == [200, 304, 304])
    assert client.feature_flags
    keys.revoke(issued.key.id)
    eventually(lambda: client.feature_flags == [])
    assert sent[-1][1].status_code == 401


def test_a_revoked_key_is_refused_and_its_flags_forgotten(
    connect, issued, keys, server, sent, caplog
):
    client = connect(issued.token)
    client.load_feature_flags()
    assert len(client.feature_flags) == 4
    keys.revoke(issued.key.id)
    eventually(lambda: server.ask("GET", DEFINITIONS, token=issued.token).status == 401)
    with caplog.at_level(logging.ERROR, "posthog"):
        client.load_feature_flags()
    assert sent[-1][1].status_code == 401
    assert client.feature_flags == []
    (record,) = caplog.records
    assert "The API key has been revoked." in record.getMessage()
    assert issued.token not in caplog.text
    # A client that is made now gets nothing either.
    late = connect(issued.token)
    late.load_feature_flags()
    assert late.feature_flags == []
    assert evaluate(late, "user-7", person_properties={"plan": "enterprise"}).keys == []
    assert late.get_remote_config_payload("rate-limits") is None


def test_a_rolled_key_goes_on_with_its_new_secret(connect, issued, keys, server):
    old = connect(issued.token)
    old.load_feature_flags()
    new = connect(keys.roll(issued.key.id).token)
    eventually(lambda: server.ask("GET", DEFINITIONS, token=issued.token).status == 401)
    for client in (old, new):
        client.load_feature_flags()
    assert (len(old.feature_flags), len(new.feature_flags)) == (0, 4)


def test_a_personal_key_is_refused_by_its_kind(connect, keys, sent, caplog):
    client = connect(keys.issue_personal_key("user-7", "laptop", ["*"]).token)
    with caplog.at_level(logging.ERROR, "posthog"):
        client.load_feature_flags()
    assert sent[-1][1].status_code == 403
    assert "This endpoint does not support personal API keys. (403)" in caplog.text
    assert not client.feature_flags


def test_another_projects_key_sees_its_own_flags_only(connect, keys):
    client = connect(keys.issue_project_key("3", "other", SCOPES).token)
    client.load_feature_flags()
    assert client.feature_flags == []
    assert client.get_remote_config_payload("rate-limits") is None


@pytest.fixture(scope="module")
def tokens(keys):
    return {
        None: None,
        "project": keys.issue_project_key("2", "table", SCOPES).token,
        "scopeless": keys.issue_project_key("2", "scopeless", ["other:read"]).token,
        "elsewhere": keys.issue_project_key("3", "elsewhere", SCOPES).token,
        "person": keys.issue_personal_key("user-7", "phone", ["*"]).token,
    }


@pytest.mark.parametrize(
    ("path", "who", "status", "code"),
    [
        (DEFINITIONS, "project", 200, None),
        (DEFINITIONS, "scopeless", 403, "scope_missing"),
        (DEFINITIONS, "person", 403, "kind_not_supported"),
        (DEFINITIONS, None, 401, "not_authenticated"),
        (DEFINITIONS + "?token={project}", None, 401, "not_authenticated"),
        (DEFINITIONS + "?token={project}&send_cohorts", "scopeless", 403, "scope_missing"),
        (DEFINITIONS + "?personal_api_key={project}", None, 401, "not_authenticated"),
        (CONFIG, "project", 200, None),
        (CONFIG, "elsewhere", 403, "wrong_project"),
        (CONFIG, "person", 403, "kind_not_supported"),
        (CONFIG, None, 401, "not_authenticated"),
        (CONFIG.replace("/2/", "/@current/"), "project", 200, None),
        (CONFIG.replace("/2/", "/@current/"), "elsewhere", 404, None),
        (CONFIG.replace("/2/", "/%EF%BC%92/"), "project", 403, "wrong_project"),
        (CONFIG.replace("rate-limits", "nothing"), "project", 404, None),
    ],
)
def test_the_token_in_the_query_is_no_credential(server, tokens, path, who, status, code):
    answer = server.ask("GET", path.format(project=tokens["project"]), token=tokens[who])
    assert (answer.status, answer.json.get("code")) == (status, code)


@pytest.mark.parametrize(
    ("tag", "status"),
    [("{}", 304), ("W/{}", 304), ('"other", {}', 304), ("*", 304), ('"other"', 200), ("", 200)],
)
def test_entity_tags(server, tokens, tag, status):
    etag = server.ask("GET", DEFINITIONS, token=tokens["project"]).headers["ETag"]
    headers = [("If-None-Match", tag.format(etag))]
    answer = server.ask("GET", DEFINITIONS, token=tokens["project"], headers=headers)
    assert (answer.status, answer.headers["ETag"]) == (status, etag)
    assert (answer.body == b"") == (status == 304)
    # Who asks is looked at before what is asked.
    assert server.ask("GET", DEFINITIONS, headers=headers).status == 401
