"""An app whose users manage their projects' keys over its API, and a route for those keys.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue personal user-7 laptop --scope api_key:write --scope endpoint:read
    uvicorn --app-dir examples management_app:app
    curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \
        -d '{"label": "nightly", "scopes": ["endpoint:read"]}' localhost:8000/manage/projects/2/keys
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from keymw import AsyncKeyService, KeyKind, ScopeCatalog, require_scopes
from keymw.asgi import KeyAuthMiddleware
from keymw.management import create_app

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from keymw import UserPrincipal

keys = AsyncKeyService.from_env(
    catalog=ScopeCatalog(
        {"endpoint": ("read", "write"), "api_key": ("read", "write")},
        project_secret=["endpoint:read"],
    ),
    environ={"KEYMW_DATABASE_URL": "sqlite:///keymw.db", **os.environ},
)

#: Who runs which project. An application of any size asks its database instead.
MANAGERS = {"2": {"user-7", "user-8"}, "3": {"user-8"}}


async def may_manage(user: UserPrincipal, project_id: str) -> bool:
    return user.user_id in MANAGERS.get(project_id, set())


@require_scopes("endpoint:read", kinds=[KeyKind.PROJECT_SECRET], project="project_id")
async def run(request: Request) -> Response:
    return JSONResponse({"rows": 42, "run by": request.user.display_name})


app = Starlette(
    routes=[
        Route("/projects/{project_id}/run", run),
        Mount("/manage", create_app(keys, may_manage=may_manage)),
    ],
    middleware=[Middleware(KeyAuthMiddleware, keys)],
)
