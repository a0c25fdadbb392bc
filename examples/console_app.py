"""The page that people manage keys on, beside the management API and a route for the keys.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue personal user-7 desk --scope "*"
    uvicorn --app-dir examples console_app:app

Then open http://127.0.0.1:8000/console, sign in with the key, make one for project 2, and use it::

    curl -H "Authorization: Bearer $KEY" 127.0.0.1:8000/projects/2/report
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from keymw import AsyncKeyService, KeyKind, ScopeCatalog, Settings, console, require_scopes
from keymw import management as api
from keymw.asgi import KeyAuthMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request

    from keymw import UserPrincipal

keys = AsyncKeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog(
        {
            "api_key": ("read", "write"),
            "report": ("read", "write"),
            "insight": ("read",),
        },
        project_secret=["report:read", "insight:read"],
    ),
)


def may_manage(user: UserPrincipal, project_id: str) -> bool:
    """Say whose projects are whose; an application asks its own tables."""
    return project_id in {"user-7": {"2", "3"}}.get(user.user_id, set())


@require_scopes("report:read", kinds=[KeyKind.PROJECT_SECRET], project="project_id")
async def report(request: Request) -> Response:
    return JSONResponse({"project": request.path_params["project_id"], "events": 42})


app = Starlette(
    routes=[
        Route("/projects/{project_id}/report", report),
        Mount("/api", api.create_app(keys, may_manage=may_manage)),
        Mount(
            "/console",
            console.create_app(
                keys,
                # In production one that all processes share and that outlives them.
                secret=os.environ.get("CONSOLE_SECRET") or secrets.token_urlsafe(),
                may_manage=may_manage,
                secure=False,  # http on one's own machine
            ),
        ),
    ],
    middleware=[Middleware(KeyAuthMiddleware, keys)],
)
