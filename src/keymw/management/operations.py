"""What the API does, as data: one table that the routes and the OpenAPI document both come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from keymw.management import answers, models
from keymw.management.desk import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pydantic import BaseModel

    from keymw.management.desk import Desk


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read and checked as far as its form goes."""

    desk: Desk
    #: None for the caller's own keys.
    project_id: str | None
    key_id: str
    body: Any
    query: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    id: str
    summary: str
    scope: str
    run: Callable[[Call], Awaitable[answers.Answer]]
    answer: type[answers.Answer]
    body: type[models.Body] | None = None
    needs_body: bool = True
    query: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    #: What it can be answered besides what every operation can.
    refusals: tuple[HTTPStatus, ...] = field(default=())


async def _list(call: Call) -> answers.Answer:
    query: models.KeyPaging = call.query
    found, cursor = await call.desk.list(
        call.project_id,
        limit=query.limit,
        after=query.cursor,
        include_revoked=query.include_revoked,
    )
    return answers.KeyPage.model_validate({"results": found, "next": cursor})


async def _create(call: Call) -> answers.Answer:
    issued = await call.desk.create(call.project_id, **dict(call.body))
    return answers.NewSecret.model_validate(issued)


async def _get(call: Call) -> answers.Answer:
    return answers.KeyDetail.model_validate(await call.desk.get(call.project_id, call.key_id))


async def _update(call: Call) -> answers.Answer:
    body: models.KeyChange = call.body
    given = {name: getattr(body, name) for name in body.model_fields_set}
    key = await call.desk.update(call.project_id, call.key_id, **given)
    return answers.ChangedKey.model_validate({"key": key, "propagation": key.propagation})


async def _roll(call: Call) -> answers.Answer:
    body: models.Roll = call.body
    grace = timedelta(seconds=body.grace_seconds)
    rolled = await call.desk.roll(call.project_id, call.key_id, grace=grace, version=body.version)
    return answers.RolledSecret.model_validate(rolled)


async def _revoke(call: Call) -> answers.Answer:
    told = await call.desk.revoke(call.project_id, call.key_id, reason=call.query.reason)
    return answers.EndedKey.model_validate({"propagation": told})


async def _history_of_key(call: Call) -> answers.Answer:
    return await _events(call, call.key_id)


async def _history(call: Call) -> answers.Answer:
    return await _events(call, None)


async def _events(call: Call, key_id: str | None) -> answers.Answer:
    query: models.Paging = call.query
    found, cursor = await call.desk.history(
        call.project_id, key_id, limit=query.limit, before=query.cursor
    )
    return answers.EventPage.model_validate({"results": found, "next": cursor})


_CONFLICT = (HTTPStatus.CONFLICT,)


def _of(
    place: str,
    name: str,
    new: type[models.Body],
    change: type[models.Body],
) -> Iterator[Operation]:
    """Return the operations on the keys of a project, or on the caller's own."""
    keys, key = f"{place}/keys", f"{place}/keys/{{key_id}}"
    what = "of the project" if name == "project" else "of your own"
    log = "the project" if name == "project" else "your own keys"
    yield Operation(
        "GET",
        keys,
        f"list_{name}_keys",
        f"List keys {what}, oldest first.",
        READ,
        _list,
        answers.KeyPage,
        query=models.KeyPaging,
    )
    yield Operation(
        "POST",
        keys,
        f"create_{name}_key",
        f"Make a key {what}. The answer has its secret, once.",
        WRITE,
        _create,
        answers.NewSecret,
        body=new,
        status=HTTPStatus.CREATED,
        refusals=_CONFLICT,
    )
    yield Operation(
        "GET",
        key,
        f"get_{name}_key",
        f"Show a key {what}, with the secrets that it had before.",
        READ,
        _get,
        answers.KeyDetail,
    )
    yield Operation(
        "PATCH",
        key,
        f"update_{name}_key",
        f"Change label, scopes or expiry of a key {what}.",
        WRITE,
        _update,
        answers.ChangedKey,
        body=change,
        refusals=_CONFLICT,
    )
    yield Operation(
        "DELETE",
        key,
        f"revoke_{name}_key",
        f"End a key {what} for good, at once. Its row and its log are kept.",
        WRITE,
        _revoke,
        answers.EndedKey,
        query=models.Ending,
    )
    yield Operation(
        "POST",
        f"{key}/roll",
        f"roll_{name}_key",
        f"Give a key {what} a new secret. The answer has it, once.",
        WRITE,
        _roll,
        answers.RolledSecret,
        body=models.Roll,
        needs_body=False,
        refusals=_CONFLICT,
    )
    yield Operation(
        "GET",
        f"{key}/history",
        f"history_of_{name}_key",
        f"Show what has happened to a key {what}, newest first.",
        READ,
        _history_of_key,
        answers.EventPage,
        query=models.Paging,
    )
    yield Operation(
        "GET",
        f"{place}/history",
        f"history_of_{name}",
        f"Show what has happened to {log}, newest first.",
        READ,
        _history,
        answers.EventPage,
        query=models.Paging,
    )


OPERATIONS = (
    *_of("/projects/{project_id}", "project", models.NewProjectKey, models.ProjectKeyChange),
    *_of("/users/me", "personal", models.NewPersonalKey, models.PersonalKeyChange),
)
