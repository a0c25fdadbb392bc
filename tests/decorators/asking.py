"""Asks an app as a server does, and checks what it answers."""

from __future__ import annotations

import contextlib
import json

from flask import Flask, Response
from starlette.testclient import TestClient
from werkzeug.test import Client

from keymw import wsgi as wsgi_face


class Answer:
    """An answer, whichever client got it."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def problem(self):
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


class Asking:
    """Asks apps as a server does: what the app raises, the test raises.

    An app's lifespan goes on until another app is asked.
    """

    def __init__(self):
        self._serving = contextlib.ExitStack()
        self._app = self._client = None

    def __call__(self, app, path, token=None, *, method="GET", scheme="Bearer", **options):
        headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
        headers |= options.pop("headers", {})
        if isinstance(app, (Flask, wsgi_face.KeyAuthMiddleware)):
            with Client(app, Response).open(path, method=method, headers=headers, **options) as got:
                return Answer(got.status_code, got.headers.items(), got.get_data())
        self._serve(app)
        got = self._client.request(method, path, headers=headers, **options)
        return Answer(got.status_code, got.headers.items(), got.content)

    def _serve(self, app):
        if app is not self._app:
            self.close()
            self._client = self._serving.enter_context(TestClient(app))
            self._app = app

    def close(self):
        self._app = None
        self._serving.close()


def check_problem(answer, status, code, detail, challenge, title):
    assert answer.status == status
    assert answer.problem == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    assert answer.headers["www-authenticate"] == f'Bearer realm="keymw"{challenge}'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Authorization"
    assert int(answer.headers["content-length"]) == len(answer.body)


MISSING = (
    401,
    "not_authenticated",
    "Authentication credentials were not provided.",
    "",
    "Unauthorized",
)
UNRECOGNIZED = (
    401,
    "unrecognized_credentials",
    "The API key is invalid.",
    ', error="invalid_token"',
    "Unauthorized",
)
INVALID = (
    401,
    "invalid_key",
    "The API key is invalid.",
    ', error="invalid_token"',
    "Unauthorized",
)
NARROW = (
    403,
    "scope_missing",
    "API key missing required scope 'endpoint:read'.",
    ', error="insufficient_scope", scope="endpoint:read"',
    "Forbidden",
)
KIND = (
    403,
    "kind_not_supported",
    "This endpoint does not support project secret API keys.",
    ', error="insufficient_scope"',
    "Forbidden",
)
PROJECT = (
    403,
    "wrong_project",
    "API key does not have access to the requested project.",
    ', error="insufficient_scope"',
    "Forbidden",
)


def without_denial(app):
    """Return the app on a server that has no `websocket.http.response`."""

    async def plain(scope, receive, send):
        scope.pop("extensions", None)
        await app(scope, receive, send)

    return plain


def connect(app, path, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with TestClient(app).websocket_connect(path, headers=headers) as websocket:
        return websocket.receive_text()
