"""Makes pages: the templates, and how they show times, states and changes. All text is escaped."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from keymw.model import Event, Key

#: htmx neither evaluates nor writes styles, keeps no page (one may show a secret), and shows the
#: pages that tell of errors.
_HTMX = {
    "allowEval": False,
    "allowScriptTags": False,
    "includeIndicatorStyles": False,
    "selfRequestsOnly": True,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "responseHandling": [{"code": "204", "swap": False}, {"code": "...", "swap": True}],
}


def mounted_at(request: Request) -> str:
    """Return the path that the console is mounted at."""
    return quote(request.scope.get("root_path", "").rstrip("/"))


def render(
    request: Request, template: str, status: int = 200, *, csrf: str = "", **context: Any
) -> HTMLResponse:
    """Return a page."""

    def csrf_field() -> Markup:
        return Markup('<input type="hidden" name="csrf" value="{}">').format(csrf)

    page = _ENVIRONMENT.get_template(template).render(
        base=mounted_at(request),
        htmx_config=_HTMX,
        csrf=csrf,
        csrf_field=csrf_field,
        **{"me": None, **context},
    )
    return HTMLResponse(page, status)


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def state(key: Key, now: datetime) -> str:
    """Return in one word whether a key still works."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _changes(event: Event) -> Iterator[str]:
    for name, new in event.after.items():
        old = event.before.get(name)
        what = name.replace("_", " ").capitalize()
        said = _shown(name, new)
        yield f"{what}: {said}" if old is None else f"{what}: {_shown(name, old)} → {said}"


def _shown(name: str, value: object) -> str:
    if isinstance(value, str) and name.endswith(("_at", "_until")):  # as JSON has times
        return _when(datetime.fromisoformat(value))
    if isinstance(value, (list, tuple, frozenset)):
        return ", ".join(sorted(map(str, value))) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _words(action: str) -> str:
    return action.replace("_", " ").capitalize()


_ENVIRONMENT = Environment(
    loader=PackageLoader("keymw.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "when": _when,
    "state": state,
    "changes": _changes,
    "quoted": _quoted,
    "words": _words,
}
