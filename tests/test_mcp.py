"""The `mcp` package's own client against the MCP example, under uvicorn with a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from keymw import KeyService
from keymw.rules import load
from servers import redis_server
from serving import EXAMPLES, serve

READ = ["endpoint:read"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for the server, and the URLs that it shares with this process."""
    folder = tmp_path_factory.mktemp("mcp")
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
    with serve("uvicorn", "mcp_server", folder, **urls) as served:
        yield served


@contextlib.asynccontextmanager
async def connected(server, token, mode="auto"):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def called(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_with_a_project_key_calls_a_tool(server, keys, mode):
    issued = keys.issue_project_key("2", f"assistant {mode}", READ)
    async with connected(server, issued.token, mode) as client:
        tools = await client.list_tools()
        assert {tool.name for tool in tools.tools} == {"whoami", "run_endpoint"}
        found = await called(client, "run_endpoint", name="revenue")
        assert found["name"] == "revenue"
        assert await called(client, "whoami") == {
            "kind": "project_secret",
            "name": f"assistant {mode}",
            "project_id": "2",
            "scopes": READ,
        }


async def test_each_call_is_its_own_keys(server, keys):
    """Two clients at once: no tool takes one for the other, nor finds the other's endpoints."""
    tokens = {project: keys.issue_project_key(project, "own", READ).token for project in "23"}

    async def ask(project):
        async with connected(server, tokens[project]) as client:
            found = [await called(client, "whoami") for _ in range(10)]
            assert {answer["project_id"] for answer in found} == {project}
            return await client.call_tool("run_endpoint", {"name": "revenue"})

    second, third = await asyncio.gather(ask("2"), ask("3"))
    assert not second.is_error
    assert third.is_error
    assert "There is no such endpoint." in third.content[0].text


async def test_a_client_without_a_good_key_does_not_connect(server, keys):
    revoked = keys.issue_project_key("2", "revoked", READ)
    keys.revoke(revoked.key.id)
    for token in (None, revoked.token, keys.issue_personal_key("user-7", "laptop", READ).token):
        with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
            async with connected(server, token) as client:
                await client.call_tool("whoami", {})


def post(server, path="/mcp", token=None):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}
    headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ]
    return server.ask("POST", path, token=token, headers=headers, body=json.dumps(call).encode())


def test_what_the_rules_refuse(server, keys):
    good = keys.issue_project_key("2", "good", READ).token
    other = keys.issue_project_key("2", "other", ["other:read"]).token
    personal = keys.issue_personal_key("user-8", "laptop", READ).token
    for path, token, status, code in (
        ("/mcp", None, 401, "not_authenticated"),
        ("/mcp", other, 403, "scope_missing"),
        ("/mcp", personal, 403, "kind_not_supported"),
        ("/mcp/", good, 400, "ambiguous_request"),
        ("//mcp", None, 400, "ambiguous_request"),
        ("/x/%2e%2e/mcp", None, 400, "ambiguous_request"),
        ("/%6dcp", None, 400, "ambiguous_request"),
        ("/.well-known/oauth-protected-resource", None, 403, "no_rule"),
        ("/", good, 403, "no_rule"),
    ):
        answer = post(server, path, token)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="keymw"')
    assert post(server, token=good).status == 200


def test_the_rules_are_those_of_the_file():
    (rule,) = load(EXAMPLES / "mcp_rules.toml").rules
    assert str(rule) == "GET POST DELETE /mcp"
