"""The API's description (OpenAPI 3.1), made from the table of operations and the models."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from keymw import __version__
from keymw.inputs import MAX_ID
from keymw.management.answers import Problem
from keymw.management.operations import OPERATIONS
from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from keymw.management.operations import Operation
    from keymw.scopes import ScopeCatalog

_REF = "#/components/schemas/{model}"

#: What every operation can be answered.
_ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WITH_QUERY = (HTTPStatus.UNPROCESSABLE_ENTITY,)
_WITH_BODY = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_MEANINGS = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read.",
    HTTPStatus.UNAUTHORIZED: "No API key, or one that is not valid.",
    HTTPStatus.FORBIDDEN: "The API key does not hold what this needs, or what it would hand out.",
    HTTPStatus.NOT_FOUND: "There is no such project or key, or the API key does not reach it.",
    HTTPStatus.CONFLICT: "The key has been changed meanwhile, or has ended; or the label is taken; "
    "or there are too many keys.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is over 64 kB.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is no application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Fields do not fit; `errors` names them.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The keys cannot be reached at the moment.",
}


def describe(catalog: ScopeCatalog | None) -> dict[str, Any]:
    """Return the OpenAPI document; with a catalog it names the scopes that there are."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation)
    schemas = _schemas()
    if catalog is not None:
        _name_scopes(schemas, KeyKind.PROJECT_SECRET, sorted(catalog.project_secret))
        _name_scopes(schemas, KeyKind.PERSONAL, ["*", *sorted(catalog.scopes)])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "keymw management API",
            "version": __version__,
            "description": "API keys, managed by people with personal keys of theirs.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "personal_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A personal API key. Each operation says which scope it needs.",
                }
            },
        },
    }


def _schemas() -> dict[str, Any]:
    received = {model for each in OPERATIONS for model in (each.body,) if model is not None}
    sent: set[type[BaseModel]] = {each.answer for each in OPERATIONS}
    _, definitions = models_json_schema(
        [
            *((model, "validation") for model in sorted(received, key=lambda it: it.__name__)),
            *((model, "serialization") for model in sorted(sent, key=lambda it: it.__name__)),
            (Problem, "validation"),
        ],
        ref_template=_REF,
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _name_scopes(schemas: dict[str, Any], kind: KeyKind, scopes: list[str]) -> None:
    names = ("NewProjectKey", "ProjectKeyChange")
    if kind is KeyKind.PERSONAL:
        names = ("NewPersonalKey", "PersonalKeyChange")
    for name in names:
        schemas[name]["properties"]["scopes"]["items"] = {"type": "string", "enum": scopes}


def _operation(operation: Operation) -> dict[str, Any]:
    refusals = {*_ALWAYS, *operation.refusals}
    if operation.query is not None:
        refusals |= {*_WITH_QUERY}
    if operation.body is not None:
        refusals |= {*_WITH_BODY}
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope}`.",
        "tags": ["project keys" if "{project_id}" in operation.path else "own keys"],
        "security": [{"personal_key": []}],
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": {
            str(operation.status.value): _success(operation),
            **{str(status.value): _refusal(status) for status in sorted(refusals)},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.needs_body,
            "content": {"application/json": {"schema": _reference(operation.body)}},
        }
    return described


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for name in ("project_id", "key_id"):
        if f"{{{name}}}" in path:
            schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(model: type[BaseModel] | None) -> Iterable[dict[str, Any]]:
    if model is None:
        return
    for name, schema in model.model_json_schema()["properties"].items():
        described = {"description": schema.pop("description")} if "description" in schema else {}
        yield {"name": name, "in": "query", "required": False, "schema": schema, **described}


def _success(operation: Operation) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if operation.status is HTTPStatus.CREATED:
        headers["Location"] = {
            "description": "Where the new key is.",
            "required": True,
            "schema": {"type": "string", "format": "uri-reference"},
        }
    return {
        "description": operation.status.phrase,
        "headers": headers,
        "content": {"application/json": {"schema": _reference(operation.answer)}},
    }


def _refusal(status: HTTPStatus) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    return {
        "description": _MEANINGS[status],
        "headers": headers,
        "content": {"application/problem+json": {"schema": _reference(Problem)}},
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
