"""The OpenAPI document is true: Schemathesis tries all that it says, and finds nothing."""

from __future__ import annotations

from datetime import datetime

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import engine
from schemathesis.engine import events
from schemathesis.python import asgi
from starlette.applications import Starlette
from starlette.routing import Mount

from keymw import AsyncKeyService, InvalidInput, KeyService, ScopeCatalog, Settings
from keymw.inputs import check_id
from keymw.management import create_app
from keymw.management.operations import OPERATIONS
from management.conftest import Person

#: From then on is the future, for as long as these tests are run.
FUTURE = "2090"


def is_id(text):
    try:
        check_id("id", text)
    except InvalidInput:
        return False
    return True


# What a format's name stands for, no schema can say: text with nothing in it that is not seen.
TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
TIME = st.datetimes(datetime(2090, 1, 1), datetime(2099, 1, 1))  # noqa: DTZ001 - it is given one
schemathesis.openapi.format("keymw-label", TEXT)
schemathesis.openapi.format("keymw-text", TEXT)
schemathesis.openapi.format("keymw-id", TEXT.filter(is_id))
schemathesis.openapi.format("date-time", TIME.map(lambda time: f"{time.isoformat()}Z"))

#: Nor does it say which keys there are that a page may begin after.
CURSORS = [
    {
        "include-operation-id": name,
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "403", "404", "409", "422"]
            }
        },
    }
    for name in ("list_project_keys", "list_personal_keys")
]


@pytest.fixture
def schema(migrated_url):
    """The document, with a key for all that it describes."""
    with KeyService(migrated_url) as keys:
        token = keys.issue_personal_key("user-7", "desk", ["*"]).token
    many = Settings(max_keys_per_project=10**6, max_keys_per_user=10**6)
    config = schemathesis.Config.from_dict(
        {
            "seed": 4,
            "headers": {"Authorization": f"Bearer {token}"},
            "generation": {"max-examples": 12, "database": "none"},
            # A revoked key is not gone: its row and its log are there to be read.
            "checks": {"use_after_free": {"enabled": False}},
            "operations": CURSORS,
        }
    )
    app = create_app(AsyncKeyService(migrated_url, settings=many))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)

    @schema.hook
    def filter_body(context, body):  # it also tries times that it has been told
        end = body.get("expires_at") if isinstance(body, dict) else None
        return not isinstance(end, str) or end > FUTURE

    yield schema
    asgi.shutdown_lifespans()


def test_schemathesis_finds_nothing(schema):
    checks, failures, phases = set(), [], {}
    for each in engine.from_schema(schema).execute():
        if isinstance(each, events.ScenarioFinished):
            for found in each.recorder.checks.values():
                for check in found:
                    checks.add(check.name)
                    if check.failure_info is not None:
                        failures.append(
                            (check.failure_info.failure, check.failure_info.code_sample)
                        )
        elif isinstance(each, (events.NonFatalError, events.FatalError)):
            failures.append(each)
        elif isinstance(each, events.PhaseFinished):
            phases[each.phase.name.value] = each.status.value
    assert failures == []
    # It has looked: with good data and bad, one request at a time and one after the other.
    assert {phases.get(name) for name in ("coverage", "fuzzing", "stateful")} == {"success"}, phases
    assert checks >= {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
        "positive_data_acceptance",
        "negative_data_rejection",
        "ensure_resource_availability",
        "ignored_auth",
        "unsupported_method",
    }


async def test_the_document_is_open_and_complete(sqlite_office):
    document = await sqlite_office.stranger().get("/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(each.method, each.path) for each in OPERATIONS}
    assert len(described) == 16
    names = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(set(names)) == len(names)
    # Every refusal that can be is a problem document.
    for path in document["paths"].values():
        for operation in path.values():
            assert {"401", "403", "404", "503"} <= set(operation["responses"])
            for status, answer in operation["responses"].items():
                (media_type,) = answer["content"]
                is_good = status.startswith("2")
                assert media_type == f"application/{'' if is_good else 'problem+'}json"


async def test_the_document_says_where_it_is_and_which_scopes_there_are():
    catalog = ScopeCatalog(
        {"endpoint": ("read", "write"), "api_key": ("read", "write")},
        project_secret=["endpoint:read"],
    )
    keys = AsyncKeyService("sqlite://", catalog=catalog)
    app = Starlette(routes=[Mount("/manage", create_app(keys))])
    document = await Person(app).get("/manage/openapi.json")
    assert document["servers"] == [{"url": "/manage"}]
    schemas = document["components"]["schemas"]
    everything = ["*", "api_key:read", "api_key:write", "endpoint:read", "endpoint:write"]
    for name, scopes in (
        ("NewProjectKey", ["endpoint:read"]),
        ("ProjectKeyChange", ["endpoint:read"]),
        ("NewPersonalKey", everything),
        ("PersonalKeyChange", everything),
    ):
        assert schemas[name]["properties"]["scopes"]["items"]["enum"] == scopes
    await keys.aclose()
