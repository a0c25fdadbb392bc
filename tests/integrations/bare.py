"""A WSGI app with nothing around it, in a form that `ask` takes for one."""

from __future__ import annotations

from keymw.wsgi import KeyAuthMiddleware


class Bare(KeyAuthMiddleware):
    """The app alone."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        return self.app(environ, start_response)
