"""What the API answers: the service's own values, as they go over the wire."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from keymw.management.models import optional
from keymw.principals import KeyKind  # noqa: TC001 - pydantic reads it


def _sorted(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


Names = Annotated[list[str], BeforeValidator(_sorted)]


class Answer(BaseModel):
    """What is answered, made from the service's own values."""

    model_config = ConfigDict(from_attributes=True)


class Key(Answer):
    """A key, without its secret."""

    id: str
    kind: KeyKind
    label: str
    mask: str = Field(description="What people may see of the secret.")
    scopes: Names
    version: int = Field(description="Raised by every change.")
    project_id: str | None
    user_id: str | None
    projects: Names | None
    organizations: Names | None
    created_at: AwareDatetime
    created_by: str | None
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None
    last_rolled_at: AwareDatetime | None


class RetiredSecret(Answer):
    """A secret that the key had before it was rolled."""

    mask: str
    valid_until: AwareDatetime
    last_used_at: AwareDatetime | None


class KeyDetail(Key):
    """A key, with the secrets that it had before, newest first."""

    retired: list[RetiredSecret]


class Propagation(Answer):
    """How far a change has spread."""

    acknowledged: bool = Field(description="Redis has taken it, so other processes are told.")
    bound_seconds: Annotated[float, BeforeValidator(timedelta.total_seconds)] = Field(
        validation_alias="bound", description="After this long no process keeps to the old state."
    )


class NewSecret(Answer):
    """A key with its secret, which is shown this once."""

    token: str = Field(repr=False)
    key: Key


class RolledSecret(NewSecret):
    """A key with its new secret, which is shown this once."""

    propagation: Propagation


class ChangedKey(Answer):
    """A key as it is after a change."""

    key: Key
    propagation: Propagation


class EndedKey(Answer):
    """When a revoked key is refused everywhere."""

    propagation: Propagation


class Event(Answer):
    """One line of the activity log."""

    seq: int
    at: AwareDatetime
    action: str
    version: int
    key_id: str | None
    project_id: str | None
    user_id: str | None
    actor: str | None
    reason: str | None
    before: dict[str, Any]
    after: dict[str, Any]
    old_secret_last_used_at: AwareDatetime | None


class KeyPage(Answer):
    """A page of keys, oldest first."""

    results: list[Key]
    next: str | None = Field(description="Cursor of the next page.")


class EventPage(Answer):
    """A page of the activity log, newest first."""

    results: list[Event]
    next: str | None = Field(description="Cursor of the next page.")


class FieldError(Answer):
    """A field that is at fault."""

    field: str
    detail: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = Field(default_factory=list)
    version: int = optional(description="The key's version, if that is the conflict.")
