"""Feature flags for servers, in FastAPI: what PostHog's SDKs load to evaluate flags by themselves.

Only machines ask for definitions, so only project secret keys are taken. From the repository's
root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 checkout-service --scope feature_flag:read
    uvicorn --app-dir examples flag_definitions:app

and in Python, with the key that was printed::

    client = posthog.Posthog("phc_public", host="http://localhost:8000", secret_key="phs_...")
    client.load_feature_flags()
    flags = client.evaluate_flags("user-7", person_properties={"plan": "enterprise"})
    flags.is_enabled("invoice-export")
    client.get_remote_config_payload("rate-limits")

The `?token=` that the SDK sends along is the project's public token. It is in every web page that
the project tracks, so it says nothing about who asks, and nothing here reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Response

from keymw import (
    AsyncKeyService,
    KeyKind,
    ScopeCatalog,
    Settings,
    current_principal,
    require_scopes,
)
from keymw.asgi import KeyAuthMiddleware

keys = AsyncKeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"feature_flag": ("read", "write")}, project_secret=["feature_flag:read"]),
)
app = FastAPI(title="Flag definitions")
app.add_middleware(KeyAuthMiddleware, keys=keys)


def condition(rollout: int, *properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a release condition: what must hold, and for how many percent of those."""
    return {"properties": properties, "rollout_percentage": rollout, **more}


def flag(number: int, key: str, *conditions: dict[str, Any], **filters: Any) -> dict[str, Any]:
    """Return an active flag in the form of PostHog's API."""
    return {
        "id": number,
        "key": key,
        "name": key.replace("-", " ").capitalize(),
        "active": True,
        "deleted": False,
        "version": 1,
        "ensure_experience_continuity": False,
        "filters": {"groups": conditions, **filters},
    }


ENTERPRISE = {"key": "plan", "type": "person", "operator": "exact", "value": ["enterprise"]}
STAFF = {"key": "id", "type": "cohort", "value": 7}
LARGE = {
    "key": "seats",
    "type": "group",
    "group_type_index": 0,
    "operator": "gt",
    "value": "100",
}

DEFINITIONS: dict[str, Any] = {
    "flags": [
        flag(1, "invoice-export", condition(100, ENTERPRISE)),
        flag(2, "new-dashboard", condition(100, STAFF), condition(30)),
        flag(
            3,
            "checkout-copy",
            condition(100),
            multivariate={
                "variants": [
                    {"key": "control", "rollout_percentage": 50},
                    {"key": "short", "rollout_percentage": 50},
                ]
            },
            payloads={
                "control": json.dumps({"button": "Continue to payment"}),
                "short": json.dumps({"button": "Pay"}),
            },
        ),
        flag(4, "audit-log", condition(100, LARGE), aggregation_group_type_index=0),
    ],
    "group_type_mapping": {"0": "company"},
    "cohorts": {
        "7": {
            "type": "AND",
            "values": [
                {
                    "key": "email",
                    "type": "person",
                    "operator": "icontains",
                    "value": "@example.com",
                }
            ],
        }
    },
}


@dataclass
class Project:
    """What a project serves: its flags' definitions, and values that are changed from afar."""

    definitions: dict[str, Any]
    remote_config: dict[str, Any]

    def __post_init__(self) -> None:
        """Write the definitions down once; the tag says which ones they are (RFC 9110 §8.8.3)."""
        self.body = json.dumps(self.definitions).encode()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


PROJECTS = {"2": Project(DEFINITIONS, {"rate-limits": {"requests_per_minute": 600}})}
NOTHING_YET = Project({"flags": [], "group_type_mapping": {}, "cohorts": {}}, {})


def own_project() -> str:
    """Return the project of the key: a machine need not say which one it is."""
    return str(current_principal().project_id)


@app.get("/flags/definitions")
@require_scopes("feature_flag:read", kinds=[KeyKind.PROJECT_SECRET])
async def definitions(if_none_match: Annotated[str, Header()] = "") -> Response:
    project = PROJECTS.get(own_project(), NOTHING_YET)
    headers = {"etag": project.etag, "cache-control": "private, no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    if project.etag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(project.body, headers=headers, media_type="application/json")


@app.get("/api/projects/@current/feature_flags/{key}/remote_config")
@require_scopes("feature_flag:read", kinds=[KeyKind.PROJECT_SECRET])
async def own_remote_config(key: str) -> Any:
    return find_remote_config(own_project(), key)


@app.get("/api/projects/{project_id}/feature_flags/{key}/remote_config")
@require_scopes("feature_flag:read", kinds=[KeyKind.PROJECT_SECRET], project="project_id")
async def remote_config(project_id: str, key: str) -> Any:
    return find_remote_config(project_id, key)


def find_remote_config(project_id: str, key: str) -> Any:
    try:
        return PROJECTS.get(project_id, NOTHING_YET).remote_config[key]
    except KeyError:
        raise HTTPException(404, "The project has no remote configuration of this name.") from None
