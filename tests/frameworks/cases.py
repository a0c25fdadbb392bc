"""What every framework's example is asked, and what all of them answer to it."""

from __future__ import annotations

import json
from dataclasses import dataclass

PROJECT = "/api/projects/2"
LIST = f"{PROJECT}/endpoints"
DETAIL = f"{LIST}/revenue"
RUN = f"{DETAIL}/run"
REVENUE = {"name": "revenue", "measure": "sum", "by": "country"}
ALL = {"name": "revenue", "results": {"DE": 220, "FR": 120, "US": 320}}
TEAM = {"name": "revenue", "results": {"DE": 200, "FR": 100, "US": 300}}
#: "2" in full-width digits, percent-encoded.
WIDE_TWO = "%EF%BC%92"

INVALID = 'Bearer realm="keymw", error="invalid_token"'
INSUFFICIENT = 'Bearer realm="keymw", error="insufficient_scope"'
#: Status and challenge of every refusal of keymw's.
REFUSALS = {
    "not_authenticated": (401, 'Bearer realm="keymw"'),
    "malformed_credentials": (400, 'Bearer realm="keymw", error="invalid_request"'),
    "unrecognized_credentials": (401, INVALID),
    "invalid_key": (401, INVALID),
    "revoked_key": (401, INVALID),
    "rolled_key": (401, INVALID),
    "owner_inactive": (401, INVALID),
    "kind_not_supported": (403, INSUFFICIENT),
    "wrong_project": (403, INSUFFICIENT),
    "scope_missing": (403, INSUFFICIENT + ', scope="{}"'),
}


@dataclass
class Row:
    """A request, and the answer that it has from both examples."""

    name: str
    method: str
    path: str
    who: str | None = None
    #: A status, or the code of a refusal.
    answer: int | str = 200
    json: object = None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    #: For a missing scope: what the route asks for.
    scope: str = ""


def fields(*names):
    return tuple((name, "Bearer {project}") for name in names)


#: By what the rows have in common.
CASES: dict[str, list[Row]] = {
    "project keys": [
        Row("project key runs", "GET", RUN, "project", json=ALL),
        Row("project key runs with a query", "GET", f"{RUN}?plan=team", "project", json=TEAM),
        Row("the last of two", "GET", f"{RUN}?plan=x&plan=team", "project", json=TEAM),
        Row("project key posts", "POST", RUN, "project", json=TEAM, body=b'{"plan": "team"}'),
        Row("project key posts nothing", "POST", RUN, "project", json=ALL),
        Row("new secret of a rolled key", "GET", RUN, "new secret", json=ALL),
        Row("head", "HEAD", RUN, "project"),
    ],
    "personal keys": [
        Row("personal key runs", "POST", RUN, "reader", json=ALL),
        Row("personal key lists", "GET", LIST, "reader", json=[REVENUE]),
        Row("personal key reads", "GET", DETAIL, "person", json=REVENUE),
        Row("wildcard reads", "GET", DETAIL, "everything", json=REVENUE),
        Row("head of what is read", "HEAD", DETAIL, "person"),
    ],
    "kinds": [
        Row("project key lists", "GET", LIST, "project", "kind_not_supported"),
        Row("project key creates", "POST", LIST, "project", "kind_not_supported", body=b"{}"),
        Row("project key reads", "GET", DETAIL, "project", "kind_not_supported"),
        Row("project key changes", "PATCH", DETAIL, "project", "kind_not_supported", body=b"{}"),
        Row("project key deletes", "DELETE", DETAIL, "project", "kind_not_supported"),
        Row("head of a refusal", "HEAD", DETAIL, "project", "kind_not_supported"),
    ],
    "scopes": [
        Row(
            "project key without scope",
            "GET",
            RUN,
            "scopeless",
            "scope_missing",
            scope="endpoint:read",
        ),
        Row(
            "project key out of catalog",
            "GET",
            RUN,
            "writer",
            "scope_missing",
            scope="endpoint:read",
        ),
        Row("reader creates", "POST", LIST, "reader", "scope_missing", scope="endpoint:write"),
        Row("reader deletes", "DELETE", DETAIL, "reader", "scope_missing", scope="endpoint:write"),
    ],
    "projects": [
        Row("other project's key", "GET", RUN, "elsewhere", "wrong_project"),
        Row("other project's endpoint", "GET", RUN.replace("2", "3"), "project", "wrong_project"),
        Row("full-width digit", "GET", RUN.replace("2", WIDE_TWO), "project", "wrong_project"),
        Row("leading zero", "GET", RUN.replace("2", "02"), "project", "wrong_project"),
        Row("encoded digit", "GET", RUN.replace("2", "%32"), "project", json=ALL),
        Row("limited personal key", "GET", DETAIL, "limited", "wrong_project"),
    ],
    "no good key": [
        Row("no key", "GET", RUN, None, "not_authenticated"),
        Row("no key, head", "HEAD", RUN, None, "not_authenticated"),
        Row("no key creates", "POST", LIST, None, "not_authenticated", body=b"{}"),
        Row("garbage", "GET", RUN, "garbage", "invalid_key"),
        Row("broken checksum", "GET", RUN, "broken checksum", "invalid_key"),
        Row("swapped prefix", "GET", RUN, "swapped prefix", "invalid_key"),
        Row("upper case", "GET", RUN, "upper case", "invalid_key"),
        Row("unknown", "GET", RUN, "unknown", "invalid_key"),
        Row("unknown, head", "HEAD", RUN, "unknown", "invalid_key"),
        Row("somebody else's", "GET", RUN, "foreign", "unrecognized_credentials"),
        Row("revoked", "GET", RUN, "revoked", "revoked_key"),
        Row("rolled", "GET", RUN, "rolled", "rolled_key"),
        Row("owner gone", "GET", DETAIL, "gone", "owner_inactive"),
    ],
    "headers": [
        Row(
            "basic",
            "GET",
            RUN,
            None,
            "not_authenticated",
            headers=(("Authorization", "Basic Og=="),),
        ),
        Row(
            "two fields",
            "GET",
            RUN,
            "project",
            "malformed_credentials",
            headers=fields("authorization"),
        ),
        Row(
            "no token",
            "GET",
            RUN,
            None,
            "malformed_credentials",
            headers=(("Authorization", "Bearer"),),
        ),
        Row("any case", "GET", RUN, json=ALL, headers=(("aUTHORIZATION", "bEARER  {project}\t"),)),
        Row(
            "elsewhere in the request",
            "GET",
            RUN,
            None,
            "not_authenticated",
            headers=fields("X-Api-Key"),
        ),
    ],
    "open routes": [
        Row("health", "GET", "/health", json={"status": "ok"}),
        Row("health with a bad key", "GET", "/health", "unknown", "invalid_key"),
        Row("health with another's key", "GET", "/health", "foreign", json={"status": "ok"}),
        Row(
            "nobody",
            "GET",
            "/whoami",
            json={"kind": None, "name": "", "project_id": None, "scopes": []},
        ),
        Row(
            "a project key",
            "GET",
            "/whoami",
            "project",
            json={
                "kind": "project_secret",
                "name": "nightly-report",
                "project_id": "2",
                "scopes": ["endpoint:read"],
            },
        ),
        Row(
            "a person",
            "GET",
            "/whoami",
            "everything",
            json={"kind": "personal", "name": "user-7", "project_id": None, "scopes": ["*"]},
        ),
    ],
    "the app's own": [
        Row("no such path", "GET", "/nowhere", answer=404, json={"detail": "Not Found"}),
        Row("no such path with a bad key", "GET", "/nowhere", "garbage", "invalid_key"),
        Row("no such method", "DELETE", RUN, "project", 405, json={"detail": "Method Not Allowed"}),
        Row(
            "no such method of a class",
            "PUT",
            DETAIL,
            answer=405,
            json={"detail": "Method Not Allowed"},
        ),
        Row("no such endpoint", "GET", f"{LIST}/x/run", "project", 404),
        Row("no such endpoint to read", "GET", f"{LIST}/x", "person", 404),
        Row("no such endpoint to change", "PATCH", f"{LIST}/x", "person", 404, body=b"{}"),
        Row("no such endpoint to delete", "DELETE", f"{LIST}/x", "person", 404),
        Row("broken JSON", "POST", RUN, "project", 400, body=b"{"),
        Row("deep JSON", "POST", RUN, "project", 400, body=b"[" * 100_000),
        Row("no object", "POST", RUN, "project", 422, body=b"[]"),
        Row("no such filter", "GET", f"{RUN}?amount=1", "project", 422),
        Row("duplicate", "POST", LIST, "person", 409, body=json.dumps(REVENUE).encode()),
        Row("no name", "POST", LIST, "person", 422, body=b"{}"),
        Row("bad name", "POST", LIST, "person", 422, body=b'{"name": "No Name"}'),
        Row("bad measure", "POST", LIST, "person", 422, body=b'{"name": "x", "measure": ["sum"]}'),
        Row("bad column", "PATCH", DETAIL, "person", 422, body=b'{"by": "amount"}'),
        Row("new name", "PATCH", DETAIL, "person", 422, body=b'{"name": "other"}'),
    ],
}
