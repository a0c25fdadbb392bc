"""An MCP server behind rules: clients call its tools with project secret keys.

The server is as the `mcp` package makes it, with no decorator of keymw's. What may be asked of it,
and by whom, stands in `mcp_rules.toml`. From the repository's root (KEYMW_DATABASE_URL and
KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 assistant --scope endpoint:read
    uvicorn --app-dir examples mcp_server:app

and in Python, with the key that was printed::

    http = httpx2.AsyncClient(headers={"Authorization": "Bearer phs_..."})
    transport = streamable_http_client("http://localhost:8000/mcp", http_client=http)
    async with Client(transport) as client:
        print(await client.call_tool("run_endpoint", {"name": "revenue"}))

It is stateless. A session would be its own task, in which `current_principal()` is whoever has
opened it, and the `mcp` package would let every other key that knows its id use it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from endpoints_data import EndpointError, SavedEndpoints, describe
from keymw import AsyncKeyService, ScopeCatalog, ServicePrincipal, Settings, current_principal
from keymw.asgi import KeyAuthMiddleware
from keymw.rules import load

keys = AsyncKeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
)
endpoints = SavedEndpoints()
server = MCPServer("endpoints", log_level="WARNING")


@server.tool()
def whoami() -> dict[str, Any]:
    """Say whose key this is."""
    return describe(current_principal())


@server.tool()
async def run_endpoint(name: str) -> dict[str, Any]:
    """Run a saved endpoint of the project that the key belongs to."""
    principal = current_principal()
    assert isinstance(principal, ServicePrincipal), "the rule takes no other keys"
    try:
        return endpoints.get(principal.project_id, name).run({})
    except EndpointError as error:
        raise ToolError(error.detail) from None


app = KeyAuthMiddleware(
    server.streamable_http_app(stateless_http=True),
    keys,
    rules=load(Path(__file__).with_name("mcp_rules.toml")),
)
