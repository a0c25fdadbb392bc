"""One request of somebody who is signed in: who, where, and with which form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import RedirectResponse

from keymw.console.forms import one
from keymw.console.pages import mounted_at, render
from keymw.management.desk import WRITE
from keymw.principals import holds

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from keymw.console.forms import Form
    from keymw.console.session import Session
    from keymw.management.desk import Desk
    from keymw.principals import UserPrincipal
    from keymw.scopes import ScopeCatalog


@dataclass(frozen=True, slots=True)
class Visit:
    """What views are given."""

    request: Request
    session: Session
    principal: UserPrincipal
    desk: Desk
    form: Form
    now: datetime
    catalog: ScopeCatalog | None

    @property
    def base(self) -> str:
        """The path of the console."""
        return mounted_at(self.request)

    @property
    def project_id(self) -> str | None:
        """Whose keys the page is about; None for the caller's own."""
        return self.request.path_params.get("project_id")

    @property
    def key_id(self) -> str:
        """Which key the page is about."""
        return str(self.request.path_params["key_id"])

    @property
    def here(self) -> str:
        """The path of the page with the keys."""
        if self.project_id is None:
            return f"{self.base}/me"
        return f"{self.base}/projects/{quote(self.project_id, safe='')}"

    @property
    def this(self) -> str:
        """The path of the page of the key."""
        return f"{self.here}/keys/{quote(self.key_id, safe='')}"

    @property
    def place(self) -> str:
        """What the page with the keys is called."""
        return "My keys" if self.project_id is None else f"Keys of project {self.project_id}"

    @property
    def may_write(self) -> bool:
        """Whether there are buttons that change something."""
        return holds(self.principal, WRITE)

    def query(self, name: str) -> str | None:
        """Return a parameter of the address, if it is there and not empty."""
        return self.request.query_params.get(name) or None

    def typed(self, name: str) -> str:
        """Return a field of the form."""
        return one(self.form, name)

    def show(self, template: str, status: int = 200, **context: Any) -> Response:
        """Return a page."""
        return render(
            self.request,
            template,
            status,
            csrf=self.session.csrf,
            me=self.principal,
            project_id=self.project_id,
            here=self.here,
            place=self.place,
            may_write=self.may_write,
            now=self.now,
            **context,
        )

    def go(self, path: str) -> Response:
        """Have the browser get another page."""
        return RedirectResponse(path, 303)
