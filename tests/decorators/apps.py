"""The three apps by name, and the paths of their views."""

from __future__ import annotations

from decorators.fastapi_views import FASTAPI, fastapi_app
from decorators.flask_views import FLASK, flask_app
from decorators.starlette_views import STARLETTE, starlette_app

PLACES = ["framework", "whole"]

MAKERS = {"starlette": starlette_app, "fastapi": fastapi_app, "flask": flask_app}
PATHS = [
    *(("starlette", path) for path in STARLETTE),
    *(("fastapi", path) for path in FASTAPI),
    *(("flask", path) for path in FLASK),
]
IDS = [framework + path for framework, path in PATHS]

PROJECT_PATHS = [
    ("starlette", "/projects/{}/x"),
    ("starlette", "/mounted/{}/x"),
    ("fastapi", "/projects/{}/x"),
    ("fastapi", "/undeclared/{}/x"),
    ("fastapi", "/number/{}/x"),
    ("fastapi", "/stacked-project/{}"),
    ("flask", "/projects/{}/x"),
]

WS_PATHS = [
    ("starlette", "/ws"),
    ("starlette", "/ws-class"),
    ("starlette", "/ws-method"),
    ("starlette", "/ws-mount/in"),
    ("fastapi", "/ws"),
]
