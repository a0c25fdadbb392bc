"""What the examples of all frameworks serve: saved questions about orders. No framework here."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from keymw import current_principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keymw import AnonymousPrincipal, ServicePrincipal, UserPrincipal


class Order(NamedTuple):
    """A row of the table that endpoints ask about."""

    country: str
    plan: str
    amount: int


ORDERS = (
    Order("DE", "starter", 20),
    Order("DE", "team", 90),
    Order("DE", "team", 110),
    Order("FR", "starter", 20),
    Order("FR", "team", 100),
    Order("US", "starter", 20),
    Order("US", "team", 300),
)
MEASURES: dict[str, Callable[[list[int]], float]] = {"sum": sum, "count": len, "average": fmean}
COLUMNS = ("country", "plan")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class EndpointError(Exception):
    """Why a request cannot be served, and the HTTP status that says so."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Endpoint:
    """A question with a name: a measure of the orders' amounts, by a column if one is given."""

    name: str
    measure: str = "sum"
    by: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise _unprocessable("name: use 1 to 40 of a-z 0-9 -, starting with a letter.")
        if self.measure not in tuple(MEASURES):
            raise _unprocessable(f"measure: use one of {', '.join(MEASURES)}.")
        if self.by not in (None, *COLUMNS):
            raise _unprocessable(f"by: use one of {', '.join(COLUMNS)}, or null.")

    def run(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the question for the orders whose columns are as the parameters say."""
        if parameters.keys() - set(COLUMNS):
            raise _unprocessable(f"Filter by {' and '.join(COLUMNS)} only.")
        amounts = defaultdict(list)
        for order in ORDERS:
            row = order._asdict()
            if all(row[column] == value for column, value in parameters.items()):
                amounts[row[self.by] if self.by else "all"].append(order.amount)
        measure = MEASURES[self.measure]
        return {"name": self.name, "results": {key: measure(amounts[key]) for key in amounts}}


class SavedEndpoints:
    """The endpoints of every project, in memory; safe to use from several threads."""

    def __init__(self) -> None:
        self._saved = {("2", "revenue"): Endpoint("revenue", by="country")}

    def of(self, project_id: str) -> list[dict[str, Any]]:
        """Return the endpoints of a project."""
        saved = self._saved.copy()
        return [asdict(saved[key]) for key in saved if key[0] == project_id]

    def get(self, project_id: str, name: str) -> Endpoint:
        """Return one endpoint."""
        try:
            return self._saved[project_id, name]
        except KeyError:
            raise EndpointError(HTTPStatus.NOT_FOUND, "There is no such endpoint.") from None

    def create(self, project_id: str, fields: Mapping[str, Any]) -> Endpoint:
        """Save a new endpoint."""
        try:
            endpoint = Endpoint(**fields)
        except TypeError:
            raise _unprocessable("Give a name, and if you like a measure and by.") from None
        if self._saved.setdefault((project_id, endpoint.name), endpoint) is not endpoint:
            raise EndpointError(HTTPStatus.CONFLICT, "There is an endpoint with this name.")
        return endpoint

    def update(self, project_id: str, name: str, fields: Mapping[str, Any]) -> Endpoint:
        """Change what an endpoint asks; its name stays."""
        endpoint = self.get(project_id, name)
        if fields.keys() - {"measure", "by"}:
            raise _unprocessable("Only measure and by can be changed.")
        endpoint = self._saved[project_id, name] = replace(endpoint, **fields)
        return endpoint

    def delete(self, project_id: str, name: str) -> None:
        """Forget an endpoint."""
        self.get(project_id, name)
        self._saved.pop((project_id, name), None)


class Refreshes:
    """Work that goes on after the answer: who has asked for it last, as the work itself sees it."""

    def __init__(self) -> None:
        self._by: dict[str, str] = {}

    def run(self, project_id: str) -> None:
        """Do the work, in the background."""
        self._by[project_id] = current_principal().display_name

    def last(self, project_id: str) -> dict[str, str | None]:
        """Return who asked for the last one that is done."""
        return {"by": self._by.get(project_id)}


def export() -> Iterator[str]:
    """Yield the orders, a line each, and for whom, as it is when the line is drawn."""
    for order in ORDERS:
        yield f"{current_principal().display_name} {' '.join(map(str, order))}\n"


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a request's body is; no body is an empty one."""
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise EndpointError(HTTPStatus.BAD_REQUEST, "The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise _unprocessable("The body is not a JSON object.")
    return document


def describe(principal: ServicePrincipal | UserPrincipal | AnonymousPrincipal) -> dict[str, Any]:
    """Say who a request is."""
    return {
        "kind": principal.kind,
        "name": principal.display_name,
        "project_id": principal.project_id,
        "scopes": sorted(principal.scopes),
    }


def _unprocessable(detail: str) -> EndpointError:
    return EndpointError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
