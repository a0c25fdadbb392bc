"""Calls each face as a server calls it: hand-made scopes and environs, no framework."""

from __future__ import annotations

import io
from wsgiref.validate import validator

from faces.app import Reply, Seen
from keymw import AsyncKeyService, KeyService, StoreUnavailable
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face


class AsgiHttp:
    """Drives the ASGI face over HTTP."""

    name = "asgi"
    type = "http"
    extensions = None

    def __init__(self, url, runner):
        self.keys = AsyncKeyService(url)
        self.runner = runner

    def scope(self, headers, path, method):
        return {
            "type": self.type,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": headers,
        }

    def app(self, seen, headers):
        async def app(scope, receive, send):
            body = seen.view(scope["path"], scope)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return app

    def ask(self, headers=(), path="/open", *, method="GET", seen=None, answer=(), **options):
        seen = Seen() if seen is None else seen
        app = self.app(seen, list(answer))
        face = asgi_face.KeyAuthMiddleware(app, self.keys, **options)
        return self.read(self.send(face, self.scope(list(headers), path, method)))

    def send(self, app, scope, incoming=({"type": "http.request", "body": b""},)):
        incoming, sent = list(incoming), []

        async def receive():
            return incoming.pop(0)

        async def send(message):
            sent.append(message)

        self.runner.run(app(scope, receive, send))
        return sent

    prefix = "http.response."

    def read(self, sent):
        start, *parts = sent
        assert start["type"] == f"{self.prefix}start"
        assert {part["type"] for part in parts} == {f"{self.prefix}body"}
        assert not parts[-1].get("more_body")
        for name, value in start["headers"]:
            assert isinstance(name, bytes)
            assert isinstance(value, bytes)
        headers = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        return Reply(start["status"], headers, b"".join(part["body"] for part in parts))

    def close(self):
        self.runner.run(self.keys.aclose())

    def on_path(self, seen, path_params):
        """Return what the app leaves as a router would."""

        async def app(scope, receive, send):
            scope["path_params"] = path_params
            body = seen.view("/members", scope)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return app

    def ask_project(self, headers, seen, path_params):
        face = asgi_face.KeyAuthMiddleware(self.on_path(seen, path_params), self.keys)
        return self.read(self.send(face, self.scope(headers, "/members", "GET")))

    def outage(self):
        async def find(digest):
            raise StoreUnavailable("The database cannot answer: it is on fire.")

        async def prepare():
            self.keys._deps().store.find = find

        self.runner.run(prepare())


class AsgiWebSocket(AsgiHttp):
    """Drives the ASGI face over WebSocket, on a server without denial responses."""

    name = "websocket"
    type = "websocket"

    def scope(self, headers, path, method):
        scope = super().scope(headers, path, method) | {"scheme": "ws", "subprotocols": []}
        del scope["method"]
        return scope | ({} if self.extensions is None else {"extensions": self.extensions})

    def app(self, seen, headers):
        async def app(scope, receive, send):
            assert (await receive())["type"] == "websocket.connect"
            body = seen.view(scope["path"], scope)
            await send({"type": "websocket.accept", "headers": headers})
            await send({"type": "websocket.send", "bytes": body})

        return app

    def on_path(self, seen, path_params):
        async def app(scope, receive, send):
            scope["path_params"] = path_params
            await self.app(seen, [])(scope, receive, send)

        return app

    def send(self, app, scope, incoming=({"type": "websocket.connect"},)):
        return super().send(app, scope, incoming)

    def read(self, sent):
        if sent[0]["type"] == "websocket.accept":
            return Reply(200, [], sent[1]["bytes"])
        assert len(sent) == 1
        assert sent[0]["type"] == "websocket.close"
        return Reply(None, close=sent[0]["code"])


class AsgiDenial(AsgiWebSocket):
    """The same on a server that has `websocket.http.response`."""

    name = "websocket-denial"
    extensions = {"websocket.http.response": {}}  # noqa: RUF012
    prefix = "websocket.http.response."

    def read(self, sent):
        return super().read(sent) if "http" not in sent[0]["type"] else AsgiHttp.read(self, sent)


class Wsgi:
    """Drives the WSGI face, with wsgiref's validator on both sides of it."""

    name = "wsgi"

    def __init__(self, url, runner):
        self.keys = KeyService(url)

    def environ(self, headers, path, method):
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            # As servers do it: names folded, doubles joined, bytes in disguise (PEP 3333).
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
        return environ

    def app(self, seen, headers):
        def app(environ, start_response):
            body = seen.view(environ["PATH_INFO"], environ)
            start_response(
                "200 OK",
                [(name.decode(), value.decode()) for name, value in headers]
                + [("Content-Type", "text/plain")],
            )
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

        return app

    def ask(self, headers=(), path="/open", *, method="GET", seen=None, answer=(), **options):
        seen = Seen() if seen is None else seen
        face = wsgi_face.KeyAuthMiddleware(
            validator(self.app(seen, list(answer))), self.keys, **options
        )
        return self.send(face, self.environ(headers, path, method))

    def send(self, app, environ):
        answers = []

        def start_response(status, headers, exc_info=None):
            answers.append((status, headers))
            return lambda _: None

        body = validator(app)(environ, start_response)
        try:
            content = b"".join(body)
        finally:
            body.close()
        ((status, headers),) = answers
        return Reply(int(status[:3]), headers, content)

    def ask_project(self, headers, seen, path_params):
        import flask  # noqa: F401 - only then is what Werkzeug leaves looked at
        from werkzeug.wrappers import Request, Response

        @Request.application
        def app(request):
            request.view_args = path_params  # as Flask's router does
            return Response(seen.view("/members", request.environ))

        face = wsgi_face.KeyAuthMiddleware(validator(app), self.keys)
        return self.send(face, self.environ(headers, "/members", "GET"))

    def close(self):
        self.keys.close()

    def outage(self):
        async def find(digest):
            raise StoreUnavailable("The database cannot answer: it is on fire.")

        self.keys._deps().store.find = find


FACES = {face.name: face for face in (AsgiHttp, AsgiWebSocket, AsgiDenial, Wsgi)}


def serve(wsgi, app, headers):
    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    return face(wsgi.environ(headers, "/open", "GET"), lambda *_: lambda _: None)


def answering(body):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body() if callable(body) else body

    return app
