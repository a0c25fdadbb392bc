"""Opens what blocks: the store of a blocking service, and what listens for either kind."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from keymw import flows
from keymw._step import run_now
from keymw.watch import Follower, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from keymw.flows import Deps
    from keymw.ports import ChangeStream, Store
    from keymw.settings import Settings


async def block(seconds: float) -> None:
    """Pause in the way of blocking services."""
    threading.Event().wait(seconds)


def blocking_store(url: URL, settings: Settings) -> Store:
    """Return a store whose methods never suspend."""
    # Here and not above, for lightness.
    from keymw.store.engines import make_engine  # noqa: PLC0415
    from keymw.store.runners import Inline  # noqa: PLC0415
    from keymw.store.sql import SqlStore  # noqa: PLC0415

    return SqlStore(Inline(make_engine(url, settings)))


def make_watch(
    make_deps: Callable[[Store], Deps], url: URL, redis_url: str | None, settings: Settings
) -> Watch:
    """Listen for changes on behalf of a service, and note when its keys are used.

    On connections of its own, because the leases must not wait for requests. What is made must not
    refer to the service, which would never be collected otherwise.
    """
    settings = replace(settings, store_connections=1)
    deps = make_deps(blocking_store(url, settings))
    follow = partial(flows.follow_feed, deps)
    followers = [Follower("keymw-feed", follow, partial(_close), partial(_close, deps.store))]
    deps = make_deps(blocking_store(url, settings))
    follow = partial(flows.follow_usage, deps)
    followers.append(Follower("keymw-usage", follow, partial(_close), partial(_close, deps.store)))
    if redis_url is not None:
        from keymw.cache.clients import change_stream  # noqa: PLC0415

        stream = change_stream(redis_url, settings, deps.clock, deps.counters)
        deps = make_deps(blocking_store(url, settings))
        follow = partial(flows.follow_stream, deps, stream)
        end = partial(_close, stream)
        followers.append(Follower("keymw-stream", follow, end, partial(_close, deps.store, stream)))
    return Watch(followers)


def _close(*ports: Store | ChangeStream) -> None:
    for port in ports:
        run_now(port.aclose())
