"""The same route in Litestar, in a module that has no other framework's names."""

from __future__ import annotations

from litestar import Litestar, get

from keymw import current_principal, require_scopes


@get("/projects/{project_id:str}/items", sync_to_thread=True)
@require_scopes("item:read", kinds=["project_secret", "personal"], project="project_id")
def items() -> str:
    return str(current_principal().identity)


app = Litestar([items])
