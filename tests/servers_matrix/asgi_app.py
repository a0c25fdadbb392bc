"""A plain ASGI app that says who one is: what servers are measured with."""

from __future__ import annotations

from keymw import AsyncKeyService, current_principal, require_scopes
from keymw.asgi import KeyAuthMiddleware


async def answer(send, text, status=200):
    headers = [(b"content-length", b"%d" % len(text)), (b"x-answered-by", b"app")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def whoami(scope, receive, send):
    principal = current_principal()
    name = f"granted {principal.label}" if principal.is_authenticated else "anonymous"
    if scope["type"] == "http":
        await answer(send, name)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": name})
    await send({"type": "websocket.close"})


guarded = require_scopes("endpoint:read", kinds=["project_secret"])(whoami)


async def seen(scope, receive, send):
    fields = [value.decode() for name, value in scope["headers"] if name in (b"x-y", b"x_y")]
    await answer(send, " and ".join(fields))


told = []


async def lifespan(receive, send):
    told.append("started")
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


async def route(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] in ("/guarded", "/socket"):
        await guarded(scope, receive, send)
    elif scope["path"] == "/whoami":
        await whoami(scope, receive, send)
    elif scope["path"] == "/seen":
        await seen(scope, receive, send)
    elif scope["path"] == "/lifespan":
        await answer(send, "started" if told else "not told")
    else:
        await answer(send, "no such path", 404)


app = KeyAuthMiddleware(route, AsyncKeyService.from_env())
